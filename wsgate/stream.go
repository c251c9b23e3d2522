package wsgate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// streamPatterns bounds the patterns of an event stream, whose URL names them.
const streamPatterns = 100

// stream makes an event stream of GET /v1/subscribe (https://html.spec.whatwg.org/multipage/server-sent-events.html): the JSON messages of
// a WebSocket session, with the same rights, bounds and notices. Last-Event-ID means nothing, since nothing is stored.
func (g *gathering) stream(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	commands, err := subscriptionsOf(r)
	if err == nil && r.Method != http.MethodGet {
		err = fault{codeUnknownCommand, "an event stream has no HEAD"}
	}
	if err != nil {
		g.server.refuse(w, err)
		return
	}
	g.admit(ctx, w, access.Bearer(r.Header), r, func(pass *access.Pass) (*session, error) {
		return g.server.acceptStream(w, r, pass, commands)
	})
}

// subscriptionsOf reads the query: channel=<pattern>, once or more, tenant, and policy.
func subscriptionsOf(r *http.Request) ([]command, error) {
	query := r.URL.Query()
	patterns := query["channel"]
	if len(patterns) == 0 || len(patterns) > streamPatterns {
		return nil, fault{codeInvalidPattern, fmt.Sprintf("want channel=<pattern> 1 to %d times", streamPatterns)}
	}
	how, err := parsePolicy(query.Get("policy"))
	if err != nil {
		return nil, err
	}
	var commands []command
	for _, pattern := range patterns {
		c := command{verb: verbSubscribe, tenant: query.Get("tenant"), name: pattern, policy: how}
		if _, _, err := parseNames(c); err != nil {
			return nil, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// streamHead is the answer before the events. There is no length: the end of the connection ends the stream.
const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\nX-Accel-Buffering: no\r\n\r\n"

// acceptStream takes the connection over, unless the client may not have all it asks for: then curl shows why.
func (s *Server) acceptStream(w http.ResponseWriter, r *http.Request, pass *access.Pass, commands []command) (*session, error) {
	for _, c := range commands {
		if tenant, pattern, err := parseNames(c); err != nil || !pass.MaySubscribe(tenant, pattern) {
			err = errors.Join(err, fault{code: codePermissionDenied})
			s.refuse(w, err)
			return nil, err
		}
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "event streams need HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, err
	}
	if err := errors.Join(conn.SetDeadline(time.Time{}), writeHead(conn, s.timing.Write)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	made := &session{server: s, id: callerOf(r.Context()).id, remote: r.RemoteAddr, heardAt: time.Now(), wanted: commands}
	made.subscriber.json.Store(true)
	made.use(newFrameConn(&eventConn{Conn: conn}, s.intakes, nil))
	return made, nil
}

func writeHead(conn net.Conn, within time.Duration) error {
	if err := conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(streamHead)); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}

// follow subscribes what an event stream is for, and waits for its end.
func (s *session) follow(ctx context.Context) error {
	for _, c := range s.wanted {
		if err := s.subscribe(ctx, c); err != nil {
			s.refuse(ctx, err, nil)
		}
	}
	s.wanted = nil
	var ignored [256]byte
	for {
		if _, err := s.conn.receive(ignored[:]); err != nil {
			return err
		}
	}
}

// eventConn turns the frames of a session into events: a text frame is one, a ping a comment, and a close frame the last event.
type eventConn struct {
	net.Conn
	out []byte // working memory; frameConn lets one write at a time
}

// Write takes whole frames.
func (c *eventConn) Write(frames []byte) (int, error) {
	c.out = c.out[:0]
	ends := false
	for rest := frames; len(rest) > 0; {
		kind, payload, after, ok := cutFrame(rest)
		if !ok {
			return 0, errFrameSplit
		}
		rest = after
		switch kind {
		case frameText:
			c.out = append(append(append(c.out, "data: "...), payload...), "\n\n"...)
		case framePing:
			c.out = append(c.out, ": ping\n\n"...)
		case frameClose:
			c.out = appendClosed(c.out, payload)
			ends = true
		}
	}
	_, err := c.Conn.Write(c.out)
	if cap(c.out) > batchBytes {
		c.out = nil
	}
	if ends {
		err = errors.Join(err, c.Close()) // there is no closing handshake
	}
	if err != nil {
		return 0, err
	}
	return len(frames), nil
}

// NetConn is the transport under TLS, or the connection itself.
func (c *eventConn) NetConn() net.Conn {
	if tls, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return tls.NetConn()
	}
	return c.Conn
}

// cutFrame takes an unmasked frame of ours apart.
func cutFrame(b []byte) (kind byte, payload, rest []byte, ok bool) {
	h, ok := parseHead(b)
	if !ok || h.masked || uint64(len(b)-h.size) < h.length {
		return 0, nil, nil, false
	}
	end := h.size + int(h.length)
	return h.first, b[h.size:end], b[end:], true
}

// appendClosed appends the last event, made of the payload of a close frame.
func appendClosed(dst, payload []byte) []byte {
	closed := struct {
		Event  string `json:"event"`
		Code   uint16 `json:"code"`
		Reason string `json:"reason"`
	}{"closed", 1000, ""}
	if len(payload) >= 2 {
		closed.Code, closed.Reason = binary.BigEndian.Uint16(payload), string(payload[2:])
	}
	dst = append(dst, "data: "...)
	return append(appendJSON(dst, closed), "\n\n"...)
}
