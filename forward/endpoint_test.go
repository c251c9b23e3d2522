package forward

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// station is an endpoint on a simulated host that records what it is told.
type station struct {
	*Endpoint
	addr *net.UDPAddr

	mu        sync.Mutex
	delivered []arrival
	events    []Event
	control   [][]byte
	packets   []string
	streams   chan net.Conn
}

type arrival struct {
	channel, payload string
	via              []wire.NodeID
	age              uint32
	at               time.Time
}

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// newStation starts an endpoint at 10.0.0.n:7946 that runs until the test's context ends.
func newStation(ctx context.Context, t *testing.T, n *simnet.Net, number byte) *station {
	t.Helper()
	host := fmt.Sprintf("10.0.0.%d", number)
	socket, err := n.Host(host).ListenPacket(host + ":7946")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{addr: &net.UDPAddr{IP: net.ParseIP(host), Port: 7946}, streams: make(chan net.Conn, 4)}
	s.Endpoint, err = New(Config{
		Key: keyOf(number), Boot: 1, Socket: socket, Log: zerolog.Nop(),
		Emit: func(e Event) { s.locked(func() { s.events = append(s.events, e) }) },
		Control: func(_ wire.NodeID, frame []byte) error {
			s.locked(func() { s.control = append(s.control, bytes.Clone(frame)) })
			return nil
		},
		Deliver: func(m *wire.Message) bool {
			a := arrival{string(m.Channel), string(m.Payload), append([]wire.NodeID(nil), m.Via...), m.Age, time.Now()}
			s.locked(func() { s.delivered = append(s.delivered, a) })
			return true
		},
		Packet: func(b []byte, _ net.Addr, _ time.Time) { s.locked(func() { s.packets = append(s.packets, string(b)) }) },
		Stream: func(c net.Conn) { s.streams <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Run(ctx) }() // the bubble waits for it
	return s
}

func (s *station) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *station) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.delivered...)
}

// use gives the station routes over all its open links: next hops as told, all links usable.
func (s *station) use(costs map[wire.NodeID][]route.Link) {
	db := route.NewDatabase()
	for id, links := range costs {
		db.Set(id, links)
	}
	snapshot := &Snapshot{
		Table: route.Compute(s.self, db), Links: map[wire.NodeID]*Link{}, Boots: map[wire.NodeID]uint64{}, Keys: map[wire.NodeID]ed25519.PublicKey{},
	}
	for number := byte(1); number < 10; number++ {
		public := keyOf(number).Public().(ed25519.PublicKey)
		snapshot.Keys[wire.IDOf(public)] = public
	}
	for _, l := range s.Links() {
		l.SetUsable(true)
		snapshot.Links[l.Peer] = l
	}
	for id := range costs {
		snapshot.Boots[id] = 1
	}
	s.Forwarder().Publish(snapshot, nil)
}

// bubble runs a test in virtual time over a network whose paths take 10 ms one way.
func bubble(t *testing.T, path simnet.Path, test func(ctx context.Context, t *testing.T, n *simnet.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(simnet.Config{Seed: 1, Path: path})
		ctx, cancel := context.WithCancel(t.Context())
		defer n.Close()
		defer time.Sleep(10 * time.Second) // what is left of QUIC's timers
		defer cancel()
		test(ctx, t, n)
	})
}

// exactly allows for the network's jitter, which keeps timers from falling together.
func exactly(got, want time.Duration) bool { return got >= want && got < want+10*time.Microsecond }

var tenMS = simnet.Path{Delay: 10 * time.Millisecond}

func TestLinkOpensAndCarries(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		if err := a.Dial(ctx, b.addr, b.self); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		both := map[wire.NodeID][]route.Link{a.self: {{To: b.self, Cost: 10000}}, b.self: {{To: a.self, Cost: 10000}}}
		a.use(both)
		b.use(both)
		for _, size := range []int{0, 1, 100, 20_000, wire.MaxPayload} {
			sent := time.Now()
			m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: bytes.Repeat([]byte("x"), size)}
			if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{b.self}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			got := b.arrivals()
			last := got[len(got)-1]
			if len(last.payload) != size {
				t.Fatalf("payload of %d bytes arrived as %d", size, len(last.payload))
			}
			if d := last.at.Sub(sent); size <= 100 && !exactly(d, 10*time.Millisecond) {
				t.Errorf("%d bytes took %v, want 10ms", size, d)
			}
			if last.age < 9_000 || last.age > 12_000 {
				t.Errorf("age of %d µs, want about 10,000", last.age)
			}
		}
		// And backwards on the same connection.
		m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte("back")}
		if err := b.Forwarder().Spread(ctx, &m, []wire.NodeID{a.self}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := a.arrivals(); len(got) != 1 || got[0].payload != "back" {
			t.Errorf("a got %v", got)
		}
		if len(a.Links()) != 1 || len(b.Links()) != 1 {
			t.Errorf("%d and %d links, want one each", len(a.Links()), len(b.Links()))
		}
	})
}

func TestRelaySplitsDestinations(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		var s []*station
		for i := byte(1); i <= 4; i++ {
			s = append(s, newStation(ctx, t, n, i))
		}
		a, relay, c, d := s[0], s[1], s[2], s[3]
		for _, far := range []*station{a, c, d} {
			if err := far.Dial(ctx, relay.addr, relay.self); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		star := map[wire.NodeID][]route.Link{}
		for _, far := range []*station{a, c, d} {
			star[far.self] = []route.Link{{To: relay.self, Cost: 1}}
			star[relay.self] = append(star[relay.self], route.Link{To: far.self, Cost: 1})
		}
		for _, x := range s {
			x.use(star)
		}
		m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte("hi")}
		sent := time.Now()
		if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{relay.self, c.self, d.self}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, x := range []*station{relay, c, d} {
			got := x.arrivals()
			if len(got) != 1 {
				t.Fatalf("%v got %d messages, want 1", x.self, len(got))
			}
			hops := time.Duration(1 + len(got[0].via))
			if took := got[0].at.Sub(sent); !exactly(took, hops*10*time.Millisecond) {
				t.Errorf("%v: %d hops took %v", x.self, hops, took)
			}
		}
		if got := c.arrivals()[0].via; len(got) != 1 || got[0] != relay.self {
			t.Errorf("via %v, want the relay", got)
		}
		if out := a.Counters().Originated.Load(); out != 1 {
			t.Errorf("a sent %d copies, want 1", out)
		}
		if out := relay.Counters().Relayed.Load(); out != 2 {
			t.Errorf("the relay sent %d copies, want 2", out)
		}
	})
}

func TestDuplicateConnectionsResolve(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		var group sync.WaitGroup
		group.Go(func() { _ = a.Dial(ctx, b.addr, b.self) })
		group.Go(func() { _ = b.Dial(ctx, a.addr, a.self) })
		group.Wait()
		time.Sleep(2 * time.Second)
		la, lb := a.Link(b.self), b.Link(a.self)
		if la == nil || lb == nil || la.dialed == lb.dialed || la.dialed != (a.self < b.self) {
			t.Fatalf("links %+v and %+v: want the connection that the smaller ID dialled", la, lb)
		}
		if got := la.conn.RemoteAddr().String(); got != b.addr.String() {
			t.Errorf("link to %s", got)
		}
	})
}

func TestDialWrongNode(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		if err := a.Dial(ctx, b.addr, 42); err == nil || !strings.Contains(err.Error(), "peer identity") {
			t.Errorf("dialling another node: %v", err)
		}
		began := time.Now()
		nobody := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 7946}
		if err := a.Dial(ctx, nobody, 42); err == nil || time.Since(began) > 2*DialTimeout {
			t.Errorf("dialling nobody: %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Second)
		if len(a.Links())+len(b.Links()) != 0 {
			t.Error("a link is left")
		}
	})
}

func TestPacketsStreamsAndGarbage(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		if err := a.WritePacket([]byte{3, 'h', 'i'}, b.addr); err != nil {
			t.Fatal(err)
		}
		for _, junk := range [][]byte{{0xff, 1, 2}, bytes.Repeat([]byte{0xc5}, 1200), bytes.Repeat([]byte{0x45}, 20)} {
			_ = a.WritePacket(junk, b.addr)
		}
		time.Sleep(time.Second)
		b.locked(func() {
			if len(b.packets) != 1 || b.packets[0] != "\x03hi" {
				t.Errorf("packets %q", b.packets)
			}
		})
		if b.Counters().Dropped(DropGarbage) == 0 {
			t.Error("garbage was not counted")
		}
		client, err := a.DialStream(ctx, b.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		server := <-b.streams
		buf := make([]byte, 4)
		if _, err := io.ReadFull(server, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("read %q, %v", buf, err)
		}
		if _, err := server.Write([]byte("pong")); err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
		if _, err := io.ReadFull(client, buf); err != nil || string(buf) != "pong" {
			t.Fatalf("read %q, %v", buf, err)
		}
		_ = client.Close()
	})
}
