package wsgate

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"
)

const (
	// subprotocol is what a client that wants this protocol offers.
	subprotocol = "llps.v1"
	// readLimit bounds a message of a client, in bytes. It is well above the longest valid publication (65,925 bytes), so
	// that one with too large a payload gets an error rather than the end of its connection.
	readLimit = 128 << 10
)

// routes is the HTTP side: upgrade serves WebSocket requests.
func (s *Server) routes(upgrade http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", upgrade)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			upgrade(w, r)
			return
		}
		writeText(w, http.StatusOK, "FastPubSub "+s.version+"\n\n"+
			"WebSocket "+subprotocol+" at /ws and /; also /ping, /healthz, /readyz, /v1/bootstrap, /v1/mesh\n")
	})
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // pages measure all nodes, wherever they come from
		writeText(w, http.StatusOK, "pong")
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.ready() {
			writeText(w, http.StatusOK, "ready\n")
		} else {
			writeText(w, http.StatusServiceUnavailable, "not ready\n")
		}
	})
	mux.HandleFunc("GET /v1/mesh", s.serveMesh)
	mux.HandleFunc("GET /v1/bootstrap", s.serveEdges)
	for pattern, handler := range s.handlers {
		mux.Handle(pattern, handler)
	}
	return mux
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone if this fails.
	_, _ = io.WriteString(w, body)
}

func (s *Server) serveMesh(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.describe())
}

// upgrade makes a session of a WebSocket request. ctx ends what the session asks of the Broker; the context of the
// request ends with the upgrade. What the client offers besides the subprotocol, such as a token, is
// ignored, and never echoed.
func (g *gathering) upgrade(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	counts := &g.server.counts
	if counts.open.Add(1) > int64(g.server.limits.Connections) {
		counts.open.Add(-1)
		counts.refused.Add(1)
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	s, err := g.server.accept(w, r)
	if err != nil {
		counts.open.Add(-1)
		g.server.log.Debug().Str("remote", r.RemoteAddr).Err(err).Msg("upgrade refused")
		return
	}
	counts.opened.Add(1)
	if !g.add(ctx, s) {
		counts.open.Add(-1)
		counts.refused.Add(1)
		_ = s.ws.CloseNow()
	}
}

// accept does the WebSocket handshake.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) (*session, error) {
	h := &hijacker{ResponseWriter: w, buffers: s.intakes}
	made := &session{server: s, remote: r.RemoteAddr, heardAt: time.Now()}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // any Origin may come in while the server is open to everyone
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     made.pinged,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(readLimit)
	made.ws, made.conn = ws, h.conn
	made.box = outbox{
		conn:    h.conn,
		limits:  s.queueLimits(),
		batches: &s.batches,
		counts:  &s.counts,
		room:    make(chan struct{}, 1),
	}
	made.subscriber.box = &made.box
	return made, nil
}

func (s *Server) queueLimits() outboxLimits {
	return outboxLimits{
		bytes:    s.limits.QueueBytes,
		frames:   s.limits.QueueFrames,
		overflow: s.timing.Overflow,
		stall:    s.timing.Write,
		linger:   s.timing.Close,
	}
}

// debugLog turns the lines net/http logs, which any peer can provoke, into debug messages.
type debugLog struct{ zerolog.Logger }

// Write logs one line.
func (l debugLog) Write(line []byte) (int, error) {
	l.Debug().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
