package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// fabric is a network in a bubble, with nodes that pass messages on to each other after a delay of the receiving node.
type fabric struct {
	t     *testing.T
	net   *simnet.Net
	nodes map[string]*node // by name

	mu       sync.Mutex
	listed   []string // on the bootstrap pages
	faults   []error
	received []string // payloads, as the Handler got them
}

// node is a real server.
type node struct {
	fabric *fabric
	ip     string
	delay  time.Duration // until a message published elsewhere is here
	hub    *wsgate.Hub
	server *wsgate.Server
	tap    *tap
	stop   context.CancelFunc
	done   chan struct{}
}

// Publish implements wsgate.Broker.
func (n *node) Publish(_ context.Context, m channel.Message) error {
	n.fabric.publish(n, m)
	return nil
}

// SetInterest implements wsgate.Broker.
func (n *node) SetInterest(string, channel.Pattern, bool) {}

// AfterSpread implements wsgate.Broker: nothing is ever known everywhere.
func (n *node) AfterSpread(func()) {}

func inFabric(t *testing.T, test func(t *testing.T, f *fabric)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fabric{t: t, net: simnet.New(simnet.Config{Path: simnet.Path{Delay: 5 * time.Millisecond}}), nodes: map[string]*node{}}
		test(t, f)
		for _, n := range f.nodes {
			n.end()
		}
		time.Sleep(time.Second) // for what fake servers started
		f.net.Close()
	})
}

// start starts a node; its path to the client and the way of messages to it take so long.
func (f *fabric) start(name string, path, delay time.Duration, limits wsgate.Limits) *node {
	f.t.Helper()
	n := &node{fabric: f, ip: fmt.Sprintf("10.0.1.%d", len(f.nodes)+1), delay: delay, done: make(chan struct{})}
	if before := f.nodes[name]; before != nil {
		n.ip = before.ip
	}
	n.hub = wsgate.NewHub(wsgate.HubConfig{})
	var err error
	n.server, err = wsgate.New(wsgate.Config{Hub: n.hub, Broker: n, Edges: f.edges, Limits: limits})
	if err != nil {
		f.t.Fatal(err)
	}
	f.place(n.ip, path)
	f.run(name, n, n.server.Serve)
	return n
}

// fake starts something that is no real server: serve handles each connection, of which it is told the number.
func (f *fabric) fake(name string, path time.Duration, serve func(ctx context.Context, ws *websocket.Conn, nth int)) *node {
	f.t.Helper()
	n := &node{fabric: f, ip: fmt.Sprintf("10.0.1.%d", len(f.nodes)+1), done: make(chan struct{})}
	f.place(n.ip, path)
	var mu sync.Mutex
	connections := 0
	f.run(name, n, func(ctx context.Context, l net.Listener) error {
		mux := http.NewServeMux()
		mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(" pong\n")) })
		mux.HandleFunc("/{any}/ws", func(w http.ResponseWriter, r *http.Request) { // where there is no ping
			r.URL.Path = "/ws"
			mux.ServeHTTP(w, r)
		})
		mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"llps.v1"}})
			if err != nil {
				return
			}
			defer ws.CloseNow()
			mu.Lock()
			connections++
			nth := connections
			mu.Unlock()
			serve(ctx, ws, nth)
		})
		web := &http.Server{Handler: mux}
		defer context.AfterFunc(ctx, func() { _ = web.Close() })()
		return web.Serve(l)
	})
	return n
}

func (f *fabric) place(ip string, path time.Duration) {
	f.net.SetPath(clientIP, ip, simnet.Path{Delay: path})
	f.net.SetPath(ip, clientIP, simnet.Path{Delay: path})
}

func (f *fabric) run(name string, n *node, serve func(context.Context, net.Listener) error) {
	f.t.Helper()
	listener, err := f.net.Host(n.ip).Listen(":8080")
	if err != nil {
		f.t.Fatal(err)
	}
	n.tap = &tap{Listener: listener}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() {
		defer close(n.done)
		_ = serve(ctx, n.tap)
	}()
	f.mu.Lock()
	f.nodes[name] = n
	f.mu.Unlock()
}

func (n *node) url() string { return "ws://" + n.ip + ":8080/ws" }

// end stops a node as an operator would.
func (n *node) end() {
	n.stop()
	<-n.done
}

// crash ends a node as the death of its process would: connections break, nothing more is said.
func (n *node) crash() {
	n.tap.breakAll()
	n.end()
}

// edges is the nodes on the bootstrap pages.
func (f *fabric) edges() []wsgate.Edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	var edges []wsgate.Edge
	for _, name := range f.listed {
		edges = append(edges, wsgate.Edge{Host: f.nodes[name].ip + ":8080", Name: name})
	}
	return edges
}

func (f *fabric) list(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed = names
}

// publish brings a message to all nodes: at once to where it was published, or nil for nowhere, and to each other in order,
// after its delay.
func (f *fabric) publish(from *node, m channel.Message) {
	m.Payload = bytes.Clone(m.Payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.hub == nil {
			continue
		}
		if n == from {
			n.hub.Deliver(m)
		} else {
			time.AfterFunc(n.delay, func() { n.hub.Deliver(m) })
		}
	}
}

// say publishes somewhere else.
func (f *fabric) say(channelName, payload string) {
	f.publish(nil, channel.Message{Tenant: "t", Channel: channelName, Payload: []byte(payload)})
}

// config is of a client that notes what it gets.
func (f *fabric) config(urls ...string) client.Config {
	return client.Config{
		URLs:        urls,
		DialContext: f.net.Host(clientIP).DialContext,
		Reconnect:   true,
		Spread:      -1,
		Handler: func(m client.Message) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.received = append(f.received, string(m.Payload))
		},
		OnError: func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.faults = append(f.faults, err)
		},
	}
}

// still is config for a client that moves only when it is told to.
func (f *fabric) still(urls ...string) client.Config {
	cfg := f.config(urls...)
	cfg.Measure = -1
	return cfg
}

func (f *fabric) dial(cfg client.Config, patterns ...string) *client.Client {
	f.t.Helper()
	c, err := client.Dial(f.t.Context(), cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range patterns {
		do(f.t, c.Subscribe(f.t.Context(), "t", p))
	}
	return c
}

// got is what the Handler got since it was last asked.
func (f *fabric) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.received
	f.received = nil
	return all
}

// reported is what OnError got since it was last asked.
func (f *fabric) reported() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.faults
	f.faults = nil
	return all
}

// stream says numbers from first, one at a time, for a while, and returns the next number.
func (f *fabric) stream(channelName string, first int, every, long time.Duration) int {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for range int(long / every) {
		<-ticker.C
		f.say(channelName, fmt.Sprint(first))
		first++
	}
	return first
}

// numbers checks that exactly the numbers from 0 to n came, in order.
func (f *fabric) numbers(n int) {
	f.t.Helper()
	got := f.got()
	for i, s := range got {
		if s != fmt.Sprint(i) {
			f.t.Fatalf("number %d of %d is %s, after %q", i, len(got), s, got[max(0, i-3):i])
		}
	}
	if len(got) != n {
		f.t.Fatalf("%d messages of %d", len(got), n)
	}
}

// tap lets a test speak on the connections of a server, and break them.
type tap struct {
	net.Listener
	refusing atomic.Bool // new connections are closed at once
	mu       sync.Mutex
	conns    []*tappedConn
}

// tappedConn takes one write at a time.
type tappedConn struct {
	net.Conn
	turn chan struct{}
}

func (l *tap) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	for err == nil && l.refusing.Load() {
		_ = conn.Close()
		conn, err = l.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	c := &tappedConn{conn, make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, nil
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.Conn.Write(p)
}

// all are the connections that are not closed, as far as the test knows.
func (l *tap) all() []*tappedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.conns)
}

// line sends a text line on all connections. The time must be one at which the server writes nothing.
func (l *tap) line(text string) {
	for _, c := range l.all() {
		_, _ = c.Write(append([]byte{0x81, byte(len(text))}, text...))
	}
}

func (l *tap) breakAll() {
	for _, c := range l.all() {
		_ = c.Close()
	}
}

func has(faults []error, want error) bool { return errors.Is(errors.Join(faults...), want) }
