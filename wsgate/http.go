package wsgate

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

const (
	// subprotocol is what a client that wants this protocol offers.
	subprotocol = "llps.v1"
	// readLimit bounds a message of a client, in bytes. It is well above the longest valid publication (65,925 bytes), so
	// that one with too large a payload gets an error rather than the end of its connection.
	readLimit = 128 << 10
)

// routes is the HTTP side: upgrade serves WebSocket requests, stream GET /v1/subscribe.
func (s *Server) routes(upgrade, stream http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range s.pages(upgrade, stream) {
		mux.HandleFunc(pattern, handler)
	}
	for pattern, handler := range s.handlers {
		mux.Handle(pattern, handler)
	}
	return mux
}

// pages are this package's pages by http.ServeMux pattern.
func (s *Server) pages(upgrade, stream http.HandlerFunc) map[string]http.HandlerFunc {
	pages := map[string]http.HandlerFunc{
		"/ws": upgrade,
		"/{$}": func(w http.ResponseWriter, r *http.Request) {
			if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
				upgrade(w, r)
				return
			}
			if s.home != "" && strings.Contains(r.Header.Get("Accept"), "text/html") {
				http.Redirect(w, r, s.home, http.StatusFound)
				return
			}
			writeText(w, http.StatusOK, "FastPubSub "+s.version+"\n\n"+
				"WebSocket "+subprotocol+" at /ws and /; also /ping, /healthz, /readyz, and /v1, which "+openAPIPath+" describes\n")
		},
		"GET /ping": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*") // pages measure all nodes, wherever they come from
			writeText(w, http.StatusOK, "pong")
		},
		"GET /healthz": func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") },
		"GET /readyz": func(w http.ResponseWriter, _ *http.Request) {
			if !s.draining.Load() && s.ready() {
				writeText(w, http.StatusOK, "ready\n")
			} else {
				writeText(w, http.StatusServiceUnavailable, "not ready\n")
			}
		},
		"GET /v1/mesh":       s.serveMesh,
		"POST /v1/trace":     s.serveTrace,
		"GET /v1/bootstrap":  s.serveEdges,
		"POST /v1/publish":   s.servePublish,
		"GET /v1/subscribe":  stream,
		"GET " + openAPIPath: serveOpenAPI,
		"GET /swagger-ui":    http.RedirectHandler(openAPIPath, http.StatusFound).ServeHTTP,
	}
	maps.Copy(pages, s.authority.Routes())
	return pages
}

// caller is an HTTP connection. Its requests come one after the other.
type caller struct {
	conn  net.Conn
	guest *guest // nil: its address is not limited
	id    uint64 // in the log: the how manieth of this run it is

	requests uint64  // begun, the present one included
	rates    Rates   // that credits were made for
	credits  credits // what it may publish: as much as a WebSocket connection
}

// callerKey is the key of a request's caller in its context.
type callerKey struct{}

// callerOf is the connection that brought a request: a new one where no server knows of any.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return new(caller)
}

// callers notes for all requests of a connection which one it is.
func (s *Server) callers(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{conn: c, guest: guestOf(c), id: s.connections.Add(1)})
}

// answerable refuses all requests of a connection over its address's limits.
func (s *Server) answerable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := callerOf(r.Context()).guest
		if g == nil || g.said == welcome {
			next.ServeHTTP(w, r)
			return
		}
		s.counts.refusedAddress.Add(1)
		why, wait := fault{codeLimitExceeded, "connections of your address"}, "10"
		if g.said == tooOften {
			why, wait = fault{codeRateLimited, "connections of your address"}, "1"
		}
		w.Header().Set("Retry-After", wait)
		w.Header().Set("Connection", "close")
		s.refuse(w, why)
	})
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone if this fails.
	_, _ = io.WriteString(w, body)
}

// serveMesh shows the overlay's state.
func (s *Server) serveMesh(w http.ResponseWriter, r *http.Request) {
	if leave, ok := s.overlooks(w, r); ok {
		defer leave()
		writeJSON(w, http.StatusOK, s.describe())
	}
}

// overlooks lets in who may see the overlay, or answers why not; the caller calls leave. Where clients need tokens it takes what it takes to subscribe the nodes'
// reports, which tell the same, or a master token.
func (s *Server) overlooks(w http.ResponseWriter, r *http.Request) (leave func(), ok bool) {
	text := access.Bearer(r.Header)
	if s.authority == nil || s.authority.IsMaster(text) {
		return func() {}, true
	}
	pass, ok := s.enter(w, r, text)
	if !ok {
		return nil, false
	}
	reports, err := channel.ParsePattern(channel.MeshPrefix + "#")
	if err != nil || !pass.MaySubscribe(channel.DefaultTenant, reports) {
		s.leave(pass, nil)
		s.refuse(w, fault{codePermissionDenied, "this takes a token that may subscribe to " + channel.MeshPrefix + "# in the tenant " + channel.DefaultTenant})
		return nil, false
	}
	return func() { s.leave(pass, nil) }, true
}

// upgrade makes a session of a WebSocket request. ctx ends what the session asks of the Broker; the context of the
// request ends with the upgrade. Only the subprotocol is echoed, never a token offered beside it.
func (g *gathering) upgrade(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	g.admit(ctx, w, access.Offered(r.Header), r, func(*access.Pass) (*session, error) { return g.server.accept(w, r) })
}

// admit starts the session that accept makes of a request, if there is room and the token is good.
func (g *gathering) admit(ctx context.Context, w http.ResponseWriter, text string, r *http.Request, accept func(*access.Pass) (*session, error)) {
	counts := &g.server.counts
	g.entering.Add(1) // before the look at draining, so that a drain that began meanwhile waits for the session
	defer g.entering.Add(-1)
	if g.server.draining.Load() && !g.door.shutting.Load() {
		counts.refused.Add(1)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "this node is about to stop", http.StatusServiceUnavailable)
		return
	}
	if counts.open.Add(1) > int64(g.server.rules.Load().limits.Connections) {
		counts.open.Add(-1)
		counts.refused.Add(1)
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	if !g.start(ctx, w, text, r, accept) {
		counts.open.Add(-1)
	}
}

// start is admit where there is room.
func (g *gathering) start(ctx context.Context, w http.ResponseWriter, text string, r *http.Request, accept func(*access.Pass) (*session, error)) bool {
	counts := &g.server.counts
	pass, ok := g.server.enter(w, r, text)
	if !ok {
		return false
	}
	share, ok := g.server.shares.enter(pass.ID(), time.Now())
	if !ok {
		g.server.leave(pass, nil)
		counts.refused.Add(1)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many connections with this token", http.StatusTooManyRequests)
		return false
	}
	s, err := accept(pass)
	if err != nil {
		g.server.leave(pass, share)
		g.server.journal.refused(r, err)
		return false
	}
	s.pass = pass
	s.share = share
	s.obey(g.server.rules.Load())
	counts.opened.Add(1)
	if !g.add(ctx, s) {
		g.server.leave(pass, share)
		counts.refused.Add(1)
		s.hangUp()
		return false
	}
	if pass != nil {
		g.server.authority.OnRevoke(pass, s.revoke)
	}
	return true
}

// enter lets a client in, or answers why not. The pass of an open gateway is nil.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, text string) (*access.Pass, bool) {
	if s.authority == nil {
		return nil, true
	}
	pass, err := s.authority.Enter(text, access.VisitorOf(r), time.Now())
	if err != nil {
		access.Refuse(w, err)
	}
	return pass, err == nil
}

// leave ends what a connection or request has of its token; either may be nil.
func (s *Server) leave(pass *access.Pass, share *share) {
	s.shares.leave(share, time.Now())
	if pass != nil {
		s.authority.Leave(pass)
	}
}

// accept does the WebSocket handshake.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) (*session, error) {
	h := &hijacker{ResponseWriter: w, buffers: s.intakes}
	made := &session{server: s, id: callerOf(r.Context()).id, remote: r.RemoteAddr, heardAt: time.Now()}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // a token says which Origins may come in; without one, any
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     made.pinged,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(readLimit)
	made.ws = ws
	made.use(h.conn)
	return made, nil
}

// use gives a session its connection.
func (s *session) use(conn *frameConn) {
	s.conn = conn
	s.box = outbox{
		conn:    conn,
		limits:  s.server.queueLimits(),
		batches: &s.server.batches,
		counts:  &s.server.counts,
		room:    make(chan struct{}, 1),
	}
	s.subscriber.box = &s.box
}

func (s *Server) queueLimits() outboxLimits {
	limits := &s.rules.Load().limits
	return outboxLimits{
		bytes:    limits.QueueBytes,
		frames:   limits.QueueFrames,
		overflow: s.timing.Overflow,
		stall:    s.timing.Write,
		linger:   s.timing.Close,
	}
}
