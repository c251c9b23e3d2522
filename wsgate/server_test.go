package wsgate

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (w *world) get(path string, header ...string) (int, string) {
	w.t.Helper()
	conn, err := w.net.Host(clientIP).DialContext(w.t.Context(), "tcp", wsAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	web := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+wsAddr+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 { // names and values in turn
		request.Header.Set(header[i], header[i+1])
	}
	response, err := web.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestPages(t *testing.T) {
	ready := false
	cfg := Config{
		Version: "v1.2.3", Home: "/extra",
		Ready: func() bool { return ready },
		Handlers: map[string]http.Handler{
			"GET /extra": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "more") }),
		},
	}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for _, test := range []struct {
			path   string
			status int
			body   string
		}{
			{"/ping", 200, "pong"},
			{"/healthz", 200, "ok\n"},
			{"/readyz", 503, "not ready\n"},
			{"/v1/mesh", 200, `{"nodes":1}` + "\n"},
			{"/extra", 200, "more"},
			{"/nothing", 404, "404 page not found\n"},
		} {
			if status, body := w.get(test.path); status != test.status || body != test.body {
				t.Errorf("%s: %d %q", test.path, status, body)
			}
		}
		if status, body := w.get("/"); status != 200 || !strings.HasPrefix(body, "FastPubSub v1.2.3\n") {
			t.Errorf("/: %d %q", status, body)
		}
		if status, _ := w.get("/", "Accept", "text/html,*/*;q=0.8"); status != http.StatusFound {
			t.Errorf("/ for a browser: %d", status)
		}
		if status, _ := w.get("/ws"); status != http.StatusUpgradeRequired {
			t.Errorf("/ws: %d", status)
		}
		ready = true
		if status, _ := w.get("/readyz"); status != 200 {
			t.Errorf("/readyz: %d", status)
		}
	})
}

// TestShutdown: queued deliveries, then 1001, for all in parallel; those who do not answer are cut after Timing.Close.
func TestShutdown(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		polite, rude, stuck := w.dial("llps.v1"), w.dial("llps.v1"), w.dial("llps.v1")
		for _, c := range []*rawClient{polite, rude, stuck} {
			c.ask("SUB:t:a", "OK:SUB:t:a")
		}
		for i := range 10 {
			w.deliver(i, 60_000)
		}
		start := time.Now()
		w.stop()
		for range 10 {
			if f := polite.next(); f.op != opBinary {
				t.Fatalf("got frame %d %q", f.op, f.payload)
			}
		}
		polite.closed(1001)
		for range 10 {
			rude.next()
		}
		if f := rude.next(); f.op != opClose {
			t.Errorf("got frame %d", f.op)
		}
		rude.text("SUB:t:b") // in vain
		if f, err := rude.readFrame(); err == nil {
			t.Errorf("got frame %d", f.op)
		}
		err := <-w.ended
		if d := time.Since(start); d > 7*time.Second {
			t.Errorf("took %v", d)
		}
		if s := w.server.Stats(); s.Closed.Shutdown != 3 {
			t.Errorf("%+v", s.Closed)
		}
		w.ended <- err
	})
}

// TestSeveralListeners share limits and counters, and end apart.
func TestSeveralListeners(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		l, err := w.net.Host(serverIP).Listen(":9090")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.server.Serve(ctx, l) }()
		conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", serverIP+":9090")
		if err != nil {
			t.Fatal(err)
		}
		other, _ := rawHandshake(t, conn, "/ws")
		c := w.dial()
		other.ask("SUB:t:a", "OK:SUB:t:a")
		c.publish("a", "p")
		other.expect("a", "p", "a")
		if n := w.server.Stats().Connections; n != 2 {
			t.Errorf("%d connections", n)
		}
		cancel()
		other.closed(1001)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.ask("PING", "PONG")
	})
}

// TestSlowHandshake: a client that does not finish its request does not stay, nor does it hold up the end.
func TestSlowHandshake(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost:"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("kept for %v", d)
		}
		conn, err = w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		synctest.Wait()
		start = time.Now()
		w.stop()
		err = <-w.ended
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("end took %v", d)
		}
		w.ended <- err
	})
}

// brokenListener fails at once.
type brokenListener struct{ net.Listener }

var errBroken = errors.New("broken")

func (brokenListener) Accept() (net.Conn, error) { return nil, errBroken }
func (brokenListener) Close() error              { return nil }
func (brokenListener) Addr() net.Addr            { return &net.TCPAddr{} }

func TestListenerFails(t *testing.T) {
	hub := NewHub(HubConfig{})
	s, err := New(Config{Hub: hub, Broker: &loopback{hub: hub}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), brokenListener{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Limits: Limits{QueueBytes: -1, Subscriptions: 70_000}, Timing: Timing{Ping: -1}})
	for _, want := range []string{"no Hub", "no Broker", "negative limit", "70000 subscriptions", "negative time"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	if got := (Timing{}).withDefaults().tick(); got != 625*time.Millisecond {
		t.Errorf("tick %v", got)
	}
}

// TestJSON is a console session.
func TestJSON(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Subscriptions: 1}}, func(t *testing.T, w *world) {
		c, other := w.dial(), w.dial("llps.v1")
		c.ask(`{"action":"subscribe","tenant":"t","channel":"a.#","id":1}`, `{"event":"subscribed","id":1,"tenant":"t","channel":"a.#"}`)
		other.ask("SUB:t:a.b", "OK:SUB:t:a.b")
		c.text(`{"tenant":"t","channel":"a.b","payload":"é"}`)
		if got, want := c.line(), `{"event":"message","tenant":"t","channel":"a.b","payload":"é","patterns":["a.#"]}`; got != want {
			t.Errorf("got %s", got)
		}
		other.expect("a.b", "é", "a.b")
		other.publish("a.b", "\xff\x00")
		if got, want := c.line(), `{"event":"message","tenant":"t","channel":"a.b","payload_base64":"/wA=","patterns":["a.#"]}`; got != want {
			t.Errorf("got %s", got)
		}
		other.expect("a.b", "\xff\x00", "a.b")
		for _, test := range []struct{ in, want string }{
			{`{"action":"publish","tenant":"t","channel":"x","payload_base64":"/wA=","id":"m"}`, `{"event":"published","id":"m"}`},
			{`{"action":"ping"}`, `{"event":"pong"}`},
			{`PING`, `{"event":"pong"}`}, // lines still work
			{`SUB:t:b`, `{"event":"error","error":"limit_exceeded","detail":"1 subscriptions"}`},
			{`{"action":"subscribe","channel":"a..b","id":2}`, `{"event":"error","id":2,"error":"invalid_pattern","detail":"empty token"}`},
			{`{"channel":"a.*","payload":"p"}`, `{"event":"error","error":"invalid_channel","detail":"byte \"*\" not allowed here"}`},
			{`{"channel":"$a","payload":"p"}`, `{"event":"error","error":"permission_denied"}`},
			{`{"tenant":":","channel":"a","payload":"p"}`, `{"event":"error","error":"invalid_tenant","detail":"byte \":\" not allowed here"}`},
			{`{"action":"subscribe","channel":1}`, `{"event":"error","error":"bad_json","detail":"channel must be a string"}`},
			{`{`, `{"event":"error","error":"bad_json","detail":"not a JSON object"}`},
			{`{"action":"unsubscribe","tenant":"t","channel":"a.#"}`, `{"event":"unsubscribed","tenant":"t","channel":"a.#"}`},
			{`{"action":"subscribe","channel":"x"}`, `{"event":"subscribed","tenant":"~","channel":"x"}`},
		} {
			c.ask(test.in, test.want)
		}
		big := strings.Repeat("p", 65_535)
		c.ask(`{"channel":"y","payload":"`+big+`","id":3}`, `{"event":"published","id":3}`)
		c.ask(`{"channel":"y","payload":"`+big+`p"}`, `{"event":"error","error":"payload_too_large","detail":"65536 bytes, limit 65535"}`)
		c.binary(nil)
		if got, want := c.line(), `{"event":"error","error":"bad_frame","detail":"empty"}`; got != want {
			t.Errorf("got %s", got)
		}
	})
}
