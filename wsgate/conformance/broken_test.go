package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate/conformance/suite"
)

const brokenIP = "10.0.0.3"

// message is a WebSocket message.
type message struct {
	kind websocket.MessageType
	body string
}

func text(line string) message { return message{websocket.MessageText, line} }

func (m message) isDelivery() bool { return m.kind == websocket.MessageBinary }

// broken is a proxy before a real server that does something wrong. A nil function does nothing.
type broken struct {
	up, down func(s *relay, m message) []message // what to pass on, to the server and to the client
	accept   func(r *http.Request, w http.ResponseWriter, opts *websocket.AcceptOptions)
	page     func(r *http.Response, body string) string
	status   func(websocket.StatusCode) websocket.StatusCode
	delay    func(m message) bool // the message goes behind all that comes within 100 ms
	mute     byte                 // frames that begin so are not sent

	guarded bool                     // the real server is the one that wants tokens
	open    bool                     // but connections are made to the other
	offer   func(header http.Header) // changes what the client sends to come in
}

// relay is a connection through the proxy.
type relay struct {
	mu    sync.Mutex // guards what follows, which belongs to the functions of broken
	count int
	held  []message
	seen  map[string]bool
}

// serve is the proxy.
func (b broken) serve(network *simnet.Net) func(context.Context, net.Listener) error {
	transport := &http.Transport{DialContext: network.Host(brokenIP).DialContext, DisableKeepAlives: true}
	host := serverIP + ":8080"
	if b.guarded {
		host = guardedIP + ":8080"
	}
	pages := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	pages.Transport = transport
	pages.ModifyResponse = func(r *http.Response) error {
		if b.page == nil {
			return nil
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		changed := b.page(r, body.String())
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
		r.Header.Del("Content-Length")
		return nil
	}
	return func(ctx context.Context, l net.Listener) error {
		var relays sync.WaitGroup
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
				pages.ServeHTTP(w, r)
				return
			}
			relays.Add(1)
			defer relays.Done()
			if b.open {
				host = serverIP + ":8080"
			}
			b.relay(ctx, &http.Client{Transport: transport}, host, w, r)
		})}
		defer context.AfterFunc(ctx, func() { _ = web.Close() })()
		err := web.Serve(muteListener{l, b.mute})
		relays.Wait()
		return err
	}
}

// muteListener makes connections that do not send some frames.
type muteListener struct {
	net.Listener
	first byte
}

type muteConn struct {
	net.Conn
	first byte
}

func (l muteListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.first == 0 {
		return conn, err
	}
	return muteConn{conn, l.first}, nil
}

func (c muteConn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == c.first {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (b broken) relay(ctx context.Context, web *http.Client, host string, w http.ResponseWriter, r *http.Request) {
	if b.offer != nil {
		b.offer(r.Header)
	}
	opts := &websocket.DialOptions{HTTPClient: web, HTTPHeader: http.Header{}}
	for _, name := range []string{"Authorization", "Origin"} {
		if value := r.Header.Get(name); value != "" {
			opts.HTTPHeader.Set(name, value)
		}
	}
	for offered := range strings.SplitSeq(r.Header.Get("Sec-WebSocket-Protocol"), ",") {
		if offered = strings.TrimSpace(offered); offered != "" {
			opts.Subprotocols = append(opts.Subprotocols, offered)
		}
	}
	server, response, err := websocket.Dial(ctx, "ws://"+host+r.URL.Path, opts)
	if err != nil {
		if response != nil {
			w.WriteHeader(response.StatusCode)
		}
		return
	}
	defer server.CloseNow()
	accept := &websocket.AcceptOptions{Subprotocols: []string{"llps.v1"}, InsecureSkipVerify: true}
	if b.accept != nil {
		b.accept(r, w, accept)
	}
	ws, err := websocket.Accept(w, r, accept)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1)
	server.SetReadLimit(-1)
	s := &relay{seen: map[string]bool{}}
	var both sync.WaitGroup
	both.Go(func() { b.pass(ctx, s, ws, server, b.up, false) })
	both.Go(func() { b.pass(ctx, s, server, ws, b.down, true) })
	both.Wait()
}

// pass passes messages on until one side ends, and then ends the other in the same way.
func (b broken) pass(ctx context.Context, s *relay, from, to *websocket.Conn, change func(*relay, message) []message, down bool) {
	var late sync.WaitGroup
	defer late.Wait()
	for {
		kind, body, err := from.Read(ctx)
		if err != nil {
			status := websocket.CloseStatus(err)
			if down && b.status != nil {
				status = b.status(status)
			}
			switch status {
			case -1:
				_ = to.CloseNow()
			case websocket.StatusNoStatusRcvd:
				_ = to.Close(websocket.StatusNormalClosure, "")
			default:
				_ = to.Close(status, "")
			}
			return
		}
		list := []message{{kind, string(body)}}
		if change != nil {
			s.mu.Lock()
			list = change(s, list[0])
			s.mu.Unlock()
		}
		for _, m := range list {
			write := func() { _ = to.Write(ctx, m.kind, []byte(m.body)) }
			if down && b.delay != nil && b.delay(m) {
				late.Go(func() { time.Sleep(100 * time.Millisecond); write() })
			} else {
				write()
			}
		}
	}
}

// each makes a function that changes messages of one kind.
func each(kind websocket.MessageType, change func(body string) []string) func(*relay, message) []message {
	return func(_ *relay, m message) []message {
		if m.kind != kind {
			return []message{m}
		}
		var list []message
		for _, body := range change(m.body) {
			list = append(list, message{kind, body})
		}
		return list
	}
}

func lines(change func(line string) []string) func(*relay, message) []message {
	return each(websocket.MessageText, change)
}

func frames(change func(body string) []string) func(*relay, message) []message {
	return each(websocket.MessageBinary, change)
}

// splitDelivery is a delivery up to its patterns, and these.
func splitDelivery(body string) (head string, patterns []string) {
	at := 1
	for _, size := range []int{2, 2, 4} {
		n := 0
		for _, x := range []byte(body[at : at+size]) {
			n = n<<8 | int(x)
		}
		at += size + n
	}
	head, rest := body[:at], body[at+2:]
	for len(rest) > 0 {
		n := int(binary.BigEndian.Uint16([]byte(rest)))
		patterns = append(patterns, rest[2:2+n])
		rest = rest[2+n:]
	}
	return head, patterns
}

func joinDelivery(head string, patterns []string) string {
	b := binary.BigEndian.AppendUint16([]byte(head), uint16(len(patterns)))
	for _, p := range patterns {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	return string(b)
}

// TestProxyIsHarmless: what the proxies of TestBroken do besides what is wrong with them does not matter, nor do lines that
// nobody knows.
func TestProxyIsHarmless(t *testing.T) {
	for name, b := range map[string]broken{
		"nothing":            {},
		"nothing but a door": {guarded: true},
		"new lines":          {down: lines(func(line string) []string { return []string{"NEWS", line, "READY:~:x", "RECONNECT"} })},
	} {
		if failed := failures(t, b, nil); len(failed) > 0 {
			t.Errorf("%s: %q fail", name, failed)
		}
	}
}

// failures are the cases that a broken server fails, of those that accepts takes.
func failures(t *testing.T, b broken, accepts func(name string) bool) (names []string) {
	t.Helper()
	inWorld(t, func(t *testing.T, network *simnet.Net) {
		defer serve(t, network, brokenIP, b.serve(network))()
		to := target(network, brokenIP)
		if b.guarded {
			to.Master = master
		}
		results, err := suite.Run(t.Context(), to, accepts)
		if err != nil {
			t.Error(err)
		}
		for _, r := range results {
			if r.Outcome == suite.Fail {
				names = append(names, r.Name)
			}
		}
	})
	return names
}

// TestBroken: each fault of a server is found, by the cases that are about it.
func TestBroken(t *testing.T) {
	found := map[string]bool{}
	for name, test := range faults() {
		t.Run(name, func(t *testing.T) {
			fails := strings.Fields(test.fails)
			failed := failures(t, test.server, func(name string) bool { return slices.Contains(fails, name) })
			for _, want := range fails {
				if found[want] = true; !slices.Contains(failed, want) {
					t.Errorf("%s does not fail", want)
				}
			}
		})
	}
	// Cases that are listed with no fault might be unable to fail.
	for _, c := range suite.Cases() {
		if !found[c.Name] {
			t.Errorf("nothing makes %s fail", c.Name)
		}
	}
}
