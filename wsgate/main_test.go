package wsgate

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverIP = "10.0.0.1"
	clientIP = "10.0.0.2"
	wsAddr   = serverIP + ":8080"

	streamWindow = 64 << 10 // bytes under way in one direction of a simulated stream
)

// loopback is a Broker that is alone in its mesh: what is published comes back to the Hub.
type loopback struct {
	hub *Hub

	mu        sync.Mutex
	published []channel.Message
	calls     map[string][]bool // SetInterest, by tenant:pattern
	stuck     chan struct{}     // Publish waits for it to be closed, if not nil
	fail      error
	awaiting  []func()
}

func (l *loopback) Publish(ctx context.Context, m channel.Message) error {
	l.mu.Lock()
	stuck, fail := l.stuck, l.fail
	l.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	kept := m
	kept.Payload = append([]byte{}, m.Payload...)
	l.mu.Lock()
	l.published = append(l.published, kept)
	l.mu.Unlock()
	l.hub.Deliver(m)
	return nil
}

// batches is how many of the publications were several messages.
func (l *loopback) batches() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.published {
		if m.Batch {
			n++
		}
	}
	return n
}

func (l *loopback) SetInterest(tenant string, p channel.Pattern, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := tenant + ":" + p.String()
	l.calls[key] = append(l.calls[key], wanted)
}

// AfterSpread never calls: most tests are not about that.
func (l *loopback) AfterSpread(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaiting = append(l.awaiting, f)
}

// set changes how Publish behaves.
func (l *loopback) set(stuck chan struct{}, fail error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck, l.fail = stuck, fail
}

// world is a server on a simulated network, in a bubble of its own.
type world struct {
	t      *testing.T
	net    *simnet.Net
	hub    *Hub
	broker *loopback
	server *Server
	stop   context.CancelFunc
	ended  chan error
}

// inWorld runs a test against a server made of cfg, which needs no Hub and no Broker.
func inWorld(t *testing.T, cfg Config, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(simnet.Config{StreamBuffer: streamWindow}), hub: NewHub(HubConfig{}), ended: make(chan error, 1)}
		defer w.net.Close()
		w.broker = &loopback{hub: w.hub, calls: map[string][]bool{}}
		cfg.Hub, cfg.Broker = w.hub, w.broker
		cfg.Describe = func() any { return map[string]any{"nodes": 1} }
		server, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l, err := w.net.Host(serverIP).Listen(":8080")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.server, w.stop = server, cancel
		go func() { w.ended <- server.Serve(ctx, l) }()
		test(t, w)
		cancel()
		if err := <-w.ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := w.hub.subscriptions(); n != 0 || w.hub.tenants.Len() != 0 {
			t.Errorf("invariant 7: %d subscriptions, %d tenants left", n, w.hub.tenants.Len())
		}
		if open := server.Stats().Connections; open != 0 {
			t.Errorf("%d connections open at the end", open)
		}
	})
}

// dial connects and does the handshake, offering the given subprotocols.
func (w *world) dial(protocols ...string) *rawClient {
	w.t.Helper()
	c, response := w.handshake("/ws", protocols...)
	if response.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("handshake: %s", response.Status)
	}
	return c
}

func (w *world) handshake(path string, protocols ...string) (*rawClient, *http.Response) {
	w.t.Helper()
	conn, err := w.net.Host(clientIP).DialContext(w.t.Context(), "tcp", wsAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	return rawHandshake(w.t, conn, path, protocols...)
}
