package web_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twins is two gateways, in place of two nodes of a mesh: what is published at one reaches the subscribers of both.
type twins struct {
	t     *testing.T
	nodes [2]*node
	hubs  [2]*wsgate.Hub
}

// node is one gateway, which can be stopped and started at the same address.
type node struct {
	addr string

	mu    sync.Mutex
	first net.Listener // for the first start
	stop  context.CancelFunc
	ended chan error
}

// Publish delivers to one hub or both.
func (w *twins) Publish(_ context.Context, m channel.Message) error {
	for _, hub := range w.hubs {
		if hub.Deliver(m) > 0 && m.Mode != channel.Broadcast {
			return nil
		}
	}
	return nil
}

// SetInterest has nothing to tell: Publish asks both hubs.
func (w *twins) SetInterest(string, channel.Pattern, bool) {}

// AfterSpread never calls.
func (w *twins) AfterSpread(func()) {}

func startTwins(t *testing.T) *twins {
	t.Helper()
	w := &twins{t: t}
	for i := range w.nodes { // both, before any of them runs and reads of the other
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.hubs[i] = wsgate.NewHub(wsgate.HubConfig{})
		w.nodes[i] = &node{addr: l.Addr().String(), first: l}
	}
	for i := range w.nodes {
		w.start(i)
		t.Cleanup(func() { w.halt(i) })
	}
	return w
}

// start starts a node that does not run.
func (w *twins) start(i int) {
	n := w.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop != nil {
		return
	}
	server, err := wsgate.New(wsgate.Config{
		Hub: w.hubs[i], Broker: w, Limits: wsgate.Limits{Subscriptions: 20},
		Handlers: map[string]http.Handler{"GET " + web.Prefix: web.Handler()}, Edges: w.edges,
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	l := n.first
	if n.first = nil; l == nil {
		if l, err = net.Listen("tcp", n.addr); err != nil {
			w.t.Error(err)
			return
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.ended = stop, make(chan error, 1)
	go func() { n.ended <- server.Serve(ctx, l) }()
}

// halt stops a node and waits for its end.
func (w *twins) halt(i int) {
	n := w.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop == nil {
		return
	}
	n.stop()
	n.stop = nil
	if err := <-n.ended; err != nil {
		w.t.Error(err)
	}
}

// edges lists both nodes, whether they run or not.
func (w *twins) edges() []wsgate.Edge {
	return []wsgate.Edge{{Host: w.nodes[0].addr}, {Host: w.nodes[1].addr}}
}

// control lets a program stop and start nodes: POST /halt/<i>, /start/<i>. The answer comes when it is done.
func (w *twins) control() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{what}/{node}", func(rw http.ResponseWriter, r *http.Request) {
		i := strings.Index("01", r.PathValue("node"))
		switch r.PathValue("what") {
		case "halt":
			w.halt(i)
		case "start":
			w.start(i)
		}
		rw.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewServer(mux)
	w.t.Cleanup(server.Close)
	return server
}

// program finds a program by one of its names. Without it the test is skipped, unless FASTPUBSUB_WANT_BROWSER is set.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("FASTPUBSUB_WANT_BROWSER") != "" {
		t.Fatalf("none of %q is installed, and FASTPUBSUB_WANT_BROWSER is set", names)
	}
	t.Skipf("none of %q is installed", names)
	return ""
}
