package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverIP = "10.0.0.1"
	clientIP = "10.0.0.2"
	delay    = 10 * time.Millisecond
)

// loopback is a Broker that is alone in its mesh.
type loopback struct{ hub *wsgate.Hub }

func (l loopback) Publish(_ context.Context, m channel.Message) error {
	if m.Channel == "down" {
		return errors.New("overlay is down")
	}
	l.hub.Deliver(m)
	return nil
}
func (loopback) SetInterest(string, channel.Pattern, bool) {}
func (loopback) AfterSpread(func())                        {}

// world is a network in a bubble, with servers that can be killed and started again.
type world struct {
	t       *testing.T
	net     *simnet.Net
	servers sync.WaitGroup
	stop    context.CancelFunc
	server  *wsgate.Server

	mu     sync.Mutex
	errors []error
}

func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(simnet.Config{Path: simnet.Path{Delay: delay}})}
		w.serve(wsgate.Limits{})
		test(t, w)
		w.stop()
		w.servers.Wait()
		w.net.Close()
	})
}

// serve starts a server.
func (w *world) serve(limits wsgate.Limits) {
	w.t.Helper()
	hub := wsgate.NewHub(wsgate.HubConfig{})
	server, err := wsgate.New(wsgate.Config{Hub: hub, Broker: loopback{hub}, Limits: limits})
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = server
	w.serveWith(server.Serve)
}

func (w *world) serveWith(serve func(context.Context, net.Listener) error) {
	w.t.Helper()
	l, err := w.net.Host(serverIP).Listen(":8080")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.servers.Go(func() { _ = serve(ctx, l) })
}

func (w *world) config() client.Config {
	return client.Config{
		URL:         "ws://" + serverIP + ":8080/ws",
		DialContext: w.net.Host(clientIP).DialContext,
		OnError: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errors = append(w.errors, err)
		},
	}
}

// reported is the errors that OnError got since it was last asked.
func (w *world) reported() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.errors
	w.errors = nil
	return all
}

func (w *world) dial(cfg client.Config) *client.Client {
	w.t.Helper()
	c, err := client.Dial(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func receive(t *testing.T, c *client.Client, ch, payload string, patterns ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m, err := c.Receive(ctx)
	slices.Sort(m.Patterns)
	if err != nil || m.Channel != ch || string(m.Payload) != payload || !slices.Equal(m.Patterns, patterns) {
		t.Fatalf("got %+v, %v; want %s %s %q", m, err, ch, payload, patterns)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPubSub(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.dial(w.config()), w.dial(w.config())
		do(t, a.Subscribe(t.Context(), "", "x.#"))
		do(t, a.Subscribe(t.Context(), "", "x.y"))
		do(t, b.Publish(t.Context(), "~", "x.y", []byte("1")))
		receive(t, a, "x.y", "1", "x.#", "x.y")
		do(t, a.Unsubscribe(t.Context(), "~", "x.#"))
		do(t, a.Publish(t.Context(), "", "x.z", []byte("2")))
		do(t, a.Publish(t.Context(), "", "x.y", nil))
		receive(t, a, "x.y", "", "x.y")
		rtt, err := a.Ping(t.Context())
		if err != nil || rtt < 2*delay || rtt > 2*delay+10*time.Microsecond {
			t.Errorf("ping: %v, %v", rtt, err)
		}
		do(t, a.Close())
		do(t, a.Close())
		if _, err := a.Receive(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Receive after Close: %v", err)
		}
		if err := a.Publish(t.Context(), "", "a", nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Publish after Close: %v", err)
		}
		do(t, b.Close())
	})
}

func TestHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		got := make(chan string, 10)
		cfg.Handler = func(m client.Message) { got <- m.Channel + " " + string(m.Payload) }
		c := w.dial(cfg)
		do(t, c.Subscribe(t.Context(), "t", ">"))
		for i := range 3 {
			do(t, c.Publish(t.Context(), "t", "a", fmt.Append(nil, i)))
		}
		for i := range 3 {
			if s := <-got; s != fmt.Sprintf("a %d", i) {
				t.Errorf("got %s", s)
			}
		}
		do(t, c.Close())
	})
}

func TestErrors(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stop()
		w.servers.Wait()
		w.serve(wsgate.Limits{Subscriptions: 1})
		c := w.dial(w.config())
		ctx := t.Context()
		for _, test := range []struct{ err, want error }{
			{c.Subscribe(ctx, ":", "a"), channel.ErrTenant},
			{c.Subscribe(ctx, "t", "a..b"), channel.ErrPattern},
			{c.Unsubscribe(ctx, "t", ""), channel.ErrPattern},
			{c.Publish(ctx, "t", "a.*", nil), channel.ErrChannel},
			{c.Publish(ctx, "t", "a", make([]byte, 65536)), channel.ErrPayload},
		} {
			if !errors.Is(test.err, test.want) {
				t.Errorf("got %v, want %v", test.err, test.want)
			}
		}
		do(t, c.Subscribe(ctx, "t", "a"))
		var refused *client.ServerError
		if err := c.Subscribe(ctx, "t", "b"); !errors.As(err, &refused) || refused.Code != "limit_exceeded" {
			t.Errorf("got %v", err)
		}
		do(t, c.Publish(ctx, "t", "down", nil))
		time.Sleep(time.Second)
		if all := w.reported(); len(all) != 1 || all[0].Error() != "client: server reports unavailable: overlay is down" {
			t.Errorf("reported %v", all)
		}
		late, cancel := context.WithTimeout(ctx, time.Nanosecond)
		defer cancel()
		if _, err := c.Receive(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		do(t, c.Close())
	})
}

// TestPipelined: many subscriptions at once, of which the refused ones are told apart by order.
func TestPipelined(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stop()
		w.servers.Wait()
		w.serve(wsgate.Limits{Subscriptions: 50})
		c := w.dial(w.config())
		results := make(chan error, 80)
		for i := range 80 {
			go func() { results <- c.Subscribe(t.Context(), "t", fmt.Sprintf("a%d", i)) }()
		}
		refused := 0
		for range 80 {
			if err := <-results; err != nil {
				refused++
			}
		}
		if refused != 30 || w.server.Stats().Subscriptions != 50 {
			t.Errorf("%d refused, %d held", refused, w.server.Stats().Subscriptions)
		}
		do(t, c.Close())
	})
}

// TestEndsWithConnection: without Reconnect, the end of the connection is the end of the Client.
func TestEndsWithConnection(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.dial(w.config())
		do(t, c.Subscribe(t.Context(), "t", "a"))
		do(t, c.Publish(t.Context(), "t", "a", []byte("last")))
		time.Sleep(time.Second)
		w.stop()
		w.servers.Wait()
		receive(t, c, "a", "last", "a")
		_, err := c.Receive(t.Context())
		if !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrLost) || websocket.CloseStatus(err) != 1001 {
			t.Errorf("got %v", err)
		}
		if err := c.Subscribe(t.Context(), "t", "b"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
		_ = c.Close()
	})
}

// TestReconnect: after the server's death calls wait, and subscriptions come back, those refused excepted.
func TestReconnect(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Reconnect = true
		c := w.dial(cfg)
		for _, p := range []string{"a", "b", "c"} {
			do(t, c.Subscribe(t.Context(), "t", p))
		}
		do(t, c.Unsubscribe(t.Context(), "t", "b"))
		for range 3 {
			w.net.Kill(serverIP)
			w.stop()
			w.servers.Wait()
			waiting := make(chan error, 1)
			go func() {
				time.Sleep(30 * time.Second)
				waiting <- c.Publish(t.Context(), "t", "c", []byte("waited"))
			}()
			time.Sleep(time.Minute)
			w.serve(wsgate.Limits{Subscriptions: 2})
			do(t, <-waiting)
			receive(t, c, "c", "waited", "c")
			if n := w.server.Stats().Subscriptions; n != 2 {
				t.Errorf("%d subscriptions", n)
			}
		}
		if all := w.reported(); len(all) < 6 || !errors.Is(all[0], client.ErrLost) {
			t.Errorf("reported %v", all)
		}
		w.stop()
		w.servers.Wait()
		w.serve(wsgate.Limits{Subscriptions: 1})
		time.Sleep(time.Minute)
		var refused *client.ServerError
		if all := w.reported(); !errors.As(errors.Join(all...), &refused) || refused.Code != "limit_exceeded" {
			t.Errorf("reported %v", all)
		}
		do(t, c.Close())
	})
}

// TestDeadServer: silence is noticed by the Client's own test of the connection, and outlived.
func TestDeadServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Reconnect = true
		c := w.dial(cfg)
		do(t, c.Subscribe(t.Context(), "t", "a"))
		time.Sleep(time.Minute)
		if all := w.reported(); len(all) != 0 {
			t.Errorf("reported %v", all)
		}
		w.net.Cut(clientIP, serverIP)
		time.Sleep(26 * time.Second)
		if all := w.reported(); len(all) == 0 || !errors.Is(all[0], client.ErrLost) {
			t.Errorf("reported %v", all)
		}
		time.Sleep(time.Minute)
		w.net.Heal(clientIP, serverIP)
		do(t, c.Publish(t.Context(), "t", "a", []byte("back")))
		receive(t, c, "a", "back", "a")
		do(t, c.Close())
	})
}

// TestSlowHandler: a Handler that takes its time does not make a dead connection.
func TestSlowHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		got := make(chan string, 10)
		cfg.Handler = func(m client.Message) {
			time.Sleep(28 * time.Second)
			got <- string(m.Payload)
		}
		c := w.dial(cfg)
		do(t, c.Subscribe(t.Context(), "t", "a"))
		do(t, c.Publish(t.Context(), "t", "a", []byte("1")))
		do(t, c.Publish(t.Context(), "t", "a", []byte("2")))
		if a, b := <-got, <-got; a+b != "12" {
			t.Errorf("got %s and %s", a, b)
		}
		do(t, c.Close())
	})
}

// TestCloseWhileAway: Close does not wait for a server that is not there, nor for somebody to receive.
func TestCloseWhileAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Reconnect, cfg.Buffer = true, 1
		away, full := w.dial(cfg), w.dial(cfg)
		do(t, full.Subscribe(t.Context(), "t", "a"))
		for range 5 {
			do(t, full.Publish(t.Context(), "t", "a", nil))
		}
		time.Sleep(time.Second)
		start := time.Now()
		_ = full.Close() // the server's goodbye is behind messages nobody wants
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("took %v", d)
		}
		w.net.Kill(serverIP)
		w.stop()
		w.servers.Wait()
		time.Sleep(time.Minute)
		start = time.Now()
		do(t, away.Close())
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v", d)
		}
		w.serve(wsgate.Limits{})
	})
}

// TestForeignServer: the token goes into the header, a server's wish to reconnect is followed, lines and frames nobody
// knows are survived, and a server of another protocol is refused.
func TestForeignServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stop()
		w.servers.Wait()
		var connections atomic.Int32
		w.serveWith(func(ctx context.Context, l net.Listener) error {
			web := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer AT_1_2" {
					http.Error(rw, "who?", http.StatusUnauthorized)
					return
				}
				opts := &websocket.AcceptOptions{Subprotocols: []string{"llps.v1"}}
				if r.URL.Path == "/other" {
					opts = nil
				}
				ws, err := websocket.Accept(rw, r, opts)
				if err != nil {
					return
				}
				defer ws.CloseNow()
				nth := connections.Add(1)
				for _, line := range []string{"NEWS", "PONG", "OK:SUB:t:a", "ERR:permission_denied", "RECONNECT"} {
					if line == "RECONNECT" && nth > 1 {
						break
					}
					_ = ws.Write(ctx, websocket.MessageText, []byte(line))
				}
				_ = ws.Write(ctx, websocket.MessageBinary, []byte("nonsense"))
				_, _, _ = ws.Read(ctx)
			})}
			stop := context.AfterFunc(ctx, func() { _ = web.Close() })
			defer stop()
			return web.Serve(l)
		})
		cfg := w.config()
		if _, err := client.Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("without token: %v", err)
		}
		cfg.Token = "AT_1_2"
		cfg.Reconnect = true
		c := w.dial(cfg)
		time.Sleep(10 * time.Second)
		if n := connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
		var malformed, denied int
		for _, err := range w.reported() {
			var fault *client.ServerError
			if errors.As(err, &fault) && fault.Code == "permission_denied" {
				denied++
			}
			if errors.Is(err, client.ErrDelivery) {
				malformed++
			}
		}
		if denied != 2 || malformed != 2 {
			t.Errorf("reported %d denials, %d malformed deliveries", denied, malformed)
		}
		_ = c.Close()
		asked := 0
		cfg.NewToken = func(context.Context) (string, error) {
			if asked++; asked > 1 {
				return "AT_1_2", nil
			}
			return "", context.Canceled
		}
		cfg.Token = "no more"
		if _, err := client.Dial(t.Context(), cfg); !errors.Is(err, context.Canceled) {
			t.Errorf("without a new token: %v", err)
		}
		_ = w.dial(cfg).Close()
		cfg.NewToken, cfg.Token = nil, "AT_1_2"
		cfg.URL = strings.TrimSuffix(cfg.URL, "/ws") + "/other"
		if _, err := client.Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "does not speak llps.v1") {
			t.Errorf("other protocol: %v", err)
		}
	})
}
