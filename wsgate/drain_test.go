package wsgate

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

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
	"github.com/fastpubsub/fastpubsub/wsgate/handover"
)

// startDrain drains in the background.
func (w *world) startDrain(budget time.Duration) (done chan struct{}) {
	ctx, cancel := context.WithTimeout(w.t.Context(), budget)
	done = make(chan struct{})
	go func() {
		defer cancel()
		w.server.Drain(ctx)
		close(done)
	}()
	return done
}

// TestDrain: everybody is told once, evenly spread, and served until he goes; nobody new comes in; when all have gone the drain ends.
func TestDrain(t *testing.T) {
	inWorld(t, Config{Timing: Timing{Spread: 2 * time.Second}}, func(t *testing.T, w *world) {
		const count = 400
		clients := make([]*rawClient, count)
		for i := range clients {
			clients[i] = w.dial("llps.v1")
			clients[i].ask("SUB:t:a", "OK:SUB:t:a")
		}
		console := w.dial()
		console.ask(`{"action":"ping"}`, `{"event":"pong"}`)
		start := time.Now()
		done := w.startDrain(time.Minute)
		toldAt := make([]time.Duration, count)
		var reading sync.WaitGroup
		for i, c := range clients {
			reading.Go(func() {
				if line := c.line(); line != "RECONNECT" {
					t.Errorf("got %q", line)
				}
				toldAt[i] = time.Since(start)
			})
		}
		reading.Wait()
		if line := console.line(); line != `{"event":"reconnect"}` {
			t.Errorf("got %q", line)
		}
		slices.Sort(toldAt)
		for i, at := range toldAt {
			if due := time.Duration(i) * 2 * time.Second / count; at < due-50*time.Millisecond || at > due+50*time.Millisecond {
				t.Fatalf("number %d was told after %v, want about %v", i, at, due)
			}
		}
		for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/v1/bootstrap": 200} {
			if status, _ := w.get(path); status != want {
				t.Errorf("%s: %d", path, status)
			}
		}
		if _, response := w.handshake("/ws"); response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" {
			t.Errorf("a new client got %s", response.Status)
		}
		clients[0].publish("a", "still here")
		for _, c := range clients {
			c.expect("a", "still here", "a")
		}
		clients[0].ask("UNSUB:t:a", "OK:UNSUB:t:a")
		for _, c := range append(clients, console) {
			select {
			case <-done:
				t.Fatal("drained with clients connected")
			default:
			}
			c.send(opClose, []byte("\x03\xe8"))
			if f := c.next(); f.op != opClose {
				t.Fatalf("got frame %d %q: told twice?", f.op, f.payload)
			}
		}
		<-done
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestDrainWithoutClients takes no time.
func TestDrainWithoutClients(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		synctest.Wait() // Serve has begun
		start := time.Now()
		<-w.startDrain(time.Minute)
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

// TestDrainGivesUp: who does not go is closed with 1001 when the time is over; one who does not read is told nothing, and holds up nobody.
func TestDrainGivesUp(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		stays, deaf := w.dial("llps.v1"), w.dial("llps.v1")
		deaf.ask("SUB:t:a", "OK:SUB:t:a")
		for i := range 10 {
			w.deliver(i, 60_000)
		}
		synctest.Wait()
		for _, s := range w.sessions() {
			if s.remote == deaf.conn.LocalAddr().String() { // fill what room there is for replies
				for taken := true; taken; taken, _ = s.box.offer(make([]byte, 1000)) {
				}
				for taken := true; taken; taken, _ = s.box.offer(make([]byte, 1)) {
				}
			}
		}
		start := time.Now()
		done := w.startDrain(8 * time.Second)
		if line := stays.line(); line != "RECONNECT" {
			t.Errorf("got %q", line)
		}
		<-done
		if d := time.Since(start); d != 8*time.Second {
			t.Errorf("took %v", d)
		}
		w.stop()
		stays.closed(1001)
	})
}

// TestDrainWaitsForWhoEnters: one who was let in before the drain, and is no session yet, is told as well.
func TestDrainWaitsForWhoEnters(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		synctest.Wait() // Serve has begun
		g := w.server.gatherings()[0]
		g.entering.Add(1)
		done := w.startDrain(time.Minute)
		time.Sleep(5 * time.Second)
		select {
		case <-done:
			t.Fatal("the drain has ended")
		default:
		}
		g.entering.Add(-1)
		if <-done; len(w.sessions()) != 0 {
			t.Error("a session is left")
		}
	})
}

// sessions are all there are.
func (w *world) sessions() (all []*session) {
	for _, g := range w.server.gatherings() {
		all = append(all, g.all()...)
	}
	return all
}

// pair is a mesh of gateways: what is published at one reaches the subscribers of all.
type pair struct{ hubs []*Hub }

func (p *pair) Publish(_ context.Context, m channel.Message) error {
	for _, hub := range p.hubs {
		hub.Deliver(m)
	}
	return nil
}

func (p *pair) SetInterest(string, channel.Pattern, bool) {}
func (p *pair) AfterSpread(func())                        {}

// TestHandOver: clients that follow the contract miss and double nothing while the gateway they are connected to is replaced by another at the same address.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Config{})
		defer network.Close()
		for _, host := range []string{"10.0.1.1", "10.0.1.2"} {
			network.SetPath(clientIP, host, simnet.Path{Delay: 40 * time.Millisecond, Jitter: 30 * time.Millisecond})
			network.SetPath(host, clientIP, simnet.Path{Delay: 40 * time.Millisecond, Jitter: 30 * time.Millisecond})
		}
		mesh := &pair{}
		var current atomic.Pointer[string] // the host that a balancer sends clients to
		serve := func(host string) (server *Server, stop context.CancelFunc, ended chan error) {
			hub := NewHub(HubConfig{})
			server, err := New(Config{Hub: hub, Broker: mesh, Timing: Timing{Spread: 5 * time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			mesh.hubs = append(mesh.hubs, hub)
			l, err := network.Host(host).Listen(":8080")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended = make(chan error, 1)
			go func() { ended <- server.Serve(ctx, l) }()
			return server, cancel, ended
		}
		old, stopOld, oldEnded := serve("10.0.1.1")
		_, stopNew, newEnded := serve("10.0.1.2")
		first, second := "10.0.1.1", "10.0.1.2"
		current.Store(&first)
		dialer := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return network.Host(clientIP).DialContext(ctx, "tcp", *current.Load()+":8080")
			},
		}}
		audience := newAudience(t, 40, handover.Config{URL: "ws://gateway:8080/ws", HTTP: dialer, Subscribe: []string{"t:news.#", "t:other"}})
		audience.publish(3 * time.Second)
		current.Store(&second)
		drain, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		drained := make(chan struct{})
		go func() {
			old.Drain(drain)
			close(drained)
		}()
		audience.publish(15 * time.Second)
		<-drained
		stopOld()
		if err := <-oldEnded; err != nil {
			t.Error(err)
		}
		if closed := old.Stats().Closed; closed.Shutdown != 0 || closed.Lost != 40 {
			t.Errorf("connections ended as %+v", closed)
		}
		audience.publish(time.Second)
		audience.end()
		stopNew()
		if err := <-newEnded; err != nil {
			t.Error(err)
		}
	})
}

// audience is clients that follow the contract, subscribe to the same, take turns in publishing, and count what they get.
type audience struct {
	t          *testing.T
	clients    []*handover.Client
	stop       context.CancelFunc
	running    sync.WaitGroup
	published  int
	reconnects atomic.Int64

	mu  sync.Mutex // guards what follows
	got []map[string]int
}

func newAudience(t *testing.T, count int, cfg handover.Config) *audience {
	a := &audience{t: t, got: make([]map[string]int, count)}
	ctx, stop := context.WithCancel(t.Context())
	a.stop = stop
	for i := range count {
		own := cfg
		own.Reconnects = &a.reconnects
		own.Faults = func(err error) { t.Error(err) }
		a.got[i] = map[string]int{}
		own.On = func(m client.Message) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.got[i][string(m.Payload)]++
		}
		c := handover.New(own)
		a.clients = append(a.clients, c)
		a.running.Go(func() { c.Run(ctx) })
		if err := c.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// publish publishes for a while, each client in turn.
func (a *audience) publish(d time.Duration) {
	a.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(7 * time.Millisecond) {
		payload := fmt.Sprint("message ", a.published)
		if err := a.clients[a.published%len(a.clients)].Publish(a.t.Context(), "t", "news.x", []byte(payload)); err != nil {
			a.t.Fatal(err)
		}
		a.published++
	}
}

// end checks that every client got everything once.
func (a *audience) end() {
	a.t.Helper()
	time.Sleep(time.Second)
	a.stop()
	a.running.Wait()
	for i, got := range a.got {
		for n := range a.published {
			if times := got[fmt.Sprint("message ", n)]; times != 1 {
				a.t.Errorf("client %d got message %d %d times", i, n, times)
			}
		}
	}
	if n := int(a.reconnects.Load()); n != len(a.clients) {
		a.t.Errorf("%d reconnects of %d clients", n, len(a.clients))
	}
}

// TestDoorShut: connections that wait when a door is shut are let in, and then no more.
func TestDoorShut(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: l, visitors: newVisitors(0, 0)}
	const waiting = 20
	for range waiting {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	d.shut()
	d.shut()
	for i := 0; ; i++ {
		c, err := d.Accept()
		if err == nil {
			c.Close()
			continue
		}
		if i != waiting || !errors.Is(err, errDoorShut) {
			t.Errorf("%d let in, then %v", i, err)
		}
		break
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestBootstrapWithTwoOfOneHost: a node that takes over from another is listed once.
func TestBootstrapWithTwoOfOneHost(t *testing.T) {
	edges := func() []Edge {
		return []Edge{{Host: "h:1", Name: "new", Cost: 1}, {Host: "h:1", Name: "old"}, {Host: "i:1", Cost: 2}}
	}
	inWorld(t, Config{Edges: edges}, func(t *testing.T, w *world) {
		if _, body := w.get("/v1/bootstrap"); strings.Count(body, `"h:1"`) != 1 || !strings.Contains(body, `"i:1"`) {
			t.Error(body)
		}
	})
}
