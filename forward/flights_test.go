package forward

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/flight"
	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// startStation is newStation for other settings.
func startStation(ctx context.Context, t *testing.T, n *simnet.Net, number byte, adapt func(*Config)) *station {
	t.Helper()
	host := fmt.Sprintf("10.0.0.%d", number)
	socket, err := n.Host(host).ListenPacket(host + ":7946")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{addr: &net.UDPAddr{IP: net.ParseIP(host), Port: 7946}}
	cfg := Config{
		Key: keyOf(number), Boot: 1, Socket: socket, Log: zerolog.Nop(),
		Emit: func(Event) {}, Control: func(wire.NodeID, []byte) error { return nil },
		Deliver: func(m *wire.Message) bool {
			a := arrival{string(m.Channel), string(m.Payload), slices.Clone(m.Via), m.Age, time.Now()}
			s.locked(func() { s.delivered = append(s.delivered, a) })
			return true
		},
		Packet: func([]byte, net.Addr, time.Time) {}, Stream: func(net.Conn) {},
	}
	adapt(&cfg)
	if s.Endpoint, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Run(ctx) }() // the bubble waits for it
	return s
}

// payloads is what came, in order, each payload up to its first space.
func (s *station) payloads() (out []string) {
	for _, a := range s.arrivals() {
		first, _, _ := strings.Cut(a.payload, " ")
		out = append(out, first)
	}
	return out
}

// numbers is 0 to n-1 as payloads.
func numbers(n int) (out []string) {
	for i := range n {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// spread publishes a payload of a size at least to nodes.
func (s *station) spread(t *testing.T, payload string, size int, to ...wire.NodeID) {
	t.Helper()
	if more := size - len(payload); more > 0 {
		payload += strings.Repeat(" ", more)
	}
	m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte(payload)}
	if err := s.Forwarder().Spread(t.Context(), &m, to); err != nil {
		t.Error(err)
	}
}

// peers is how many nodes there are tables and windows of.
func (s *station) peers() (tables, windows int) {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	return len(s.flights.out), len(s.flights.in)
}

func knows(boots map[wire.NodeID]uint64) *Snapshot { return &Snapshot{Boots: boots} }

// The table keeps to its bound by giving up the oldest message of all, and what nobody acknowledges at its deadline; each is counted.
func TestTableIsBounded(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		const size, room = 100 + len("tc") + cargoBytes, 10
		a := startStation(ctx, t, n, 1, func(c *Config) { c.FlightBytes = room * size })
		a.Forwarder().Publish(knows(map[wire.NodeID]uint64{71: 1, 72: 1}), nil)
		for i := range 3 * room {
			a.spread(t, strconv.Itoa(i), 100, wire.NodeID(71+i%2))
			time.Sleep(time.Millisecond)
			if state := a.Flights(); state.OutgoingBytes > room*size || state.Outgoing != min(i+1, room) {
				t.Fatalf("after %d messages: %+v", i+1, state)
			}
		}
		a.spread(t, "for nobody known", 100, 73)
		counters := a.Counters()
		if got := counters.Dropped(DropEvicted); got != 2*room {
			t.Errorf("%d evicted, want %d", got, 2*room)
		}
		if got := counters.Dropped(DropNoRoute); got != 1 {
			t.Errorf("%d for unknown nodes, want 1", got)
		}
		for id, o := range a.flights.out { // the newest of either destination are left
			o.mu.Lock()
			base, kept := o.table.Base(), o.table.Len()
			o.mu.Unlock()
			if base != 1+room || kept != room/2 {
				t.Errorf("to %v: %d messages from %d on", id, kept, base)
			}
		}
		time.Sleep(5*time.Second + flightTick)
		if state := a.Flights(); state != (FlightState{}) || counters.Dropped(DropExpired) != room {
			t.Errorf("past the deadline: %+v, %d expired", state, counters.Dropped(DropExpired))
		}
	})
}

// meet opens a link between two stations and has both use it, each for the other's run.
func meet(ctx context.Context, t *testing.T, a, b *station) {
	t.Helper()
	if err := a.Dial(ctx, b.addr, b.self); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	costs := map[wire.NodeID][]route.Link{a.self: {{To: b.self, Cost: 10000}}, b.self: {{To: a.self, Cost: 10000}}}
	for _, s := range []*station{a, b} {
		s.use(costs)
		snapshot := *s.forwarder.snapshot.Load()
		snapshot.Boots = map[wire.NodeID]uint64{a.self: a.cfg.Boot, b.self: b.cfg.Boot}
		s.Forwarder().Publish(&snapshot, nil)
	}
}

// What a destination's earlier run had not acknowledged went with it; its next run begins afresh. The origin learns of the new run
// from the control plane or, if that is slower, from the run itself.
func TestDestinationRestarts(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("told=", told), func(t *testing.T) {
			bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
				a := startStation(ctx, t, n, 1, func(*Config) {})
				b := startStation(ctx, t, n, 2, func(*Config) {})
				meet(ctx, t, a, b)
				a.spread(t, "before", 0, b.self)
				time.Sleep(time.Second)
				n.Kill("10.0.0.2")
				for range 5 {
					a.spread(t, "lost", 0, b.self)
				}
				again := startStation(ctx, t, n, 2, func(c *Config) { c.Boot = 2 })
				meet(ctx, t, a, again)
				if !told {
					snapshot := *a.forwarder.snapshot.Load()
					snapshot.Boots = map[wire.NodeID]uint64{b.self: 1}
					a.Forwarder().Publish(&snapshot, nil)
					a.spread(t, "lost", 0, b.self) // the answer to it says which run is there
					time.Sleep(100 * time.Millisecond)
				}
				for i := range 3 {
					a.spread(t, strconv.Itoa(i), 0, b.self)
				}
				time.Sleep(6 * time.Second)
				if got := again.payloads(); !slices.Equal(got, numbers(3)) {
					t.Errorf("the new run got %v, want %v", got, numbers(3))
				}
				if got := b.payloads(); len(got) != 1 {
					t.Errorf("the earlier run got %v", got)
				}
				if lost := a.Counters().Dropped(DropRestarted); told && lost != 5 || !told && lost != 6 {
					t.Errorf("%d counted as lost with the earlier run", lost)
				}
				if a.Flights() != (FlightState{}) {
					t.Errorf("under way at the end: %+v", a.Flights())
				}
			})
		})
	}
}

// from is a message as it arrives from node 71, with a payload that names it.
func from(boot uint64, payload string) *wire.Message {
	return &wire.Message{Origin: 71, Boot: boot, Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte(payload)}
}

// When an origin has restarted, what its earlier run left waiting is let go in order, and nothing of that run counts any more.
func TestOriginRestarts(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		d := startStation(ctx, t, n, 1, func(c *Config) { c.Boot = 5 })
		arrive := func(boot uint64, payload string, seq, back uint64) {
			d.flights.arrived(from(boot, payload), wire.Destination{ID: d.self, Seq: seq, Back: back, Ahead: seq - 1, Boot: 5})
		}
		arrive(3, "1", 1, 0)
		arrive(3, "4", 4, 1) // 3 is missing
		arrive(3, "5", 5, 1)
		arrive(4, "new 1", 1, 0)
		arrive(3, "3", 3, 1)
		arrive(3, "6", 6, 1)
		arrive(4, "new 2", 2, 1)
		if got, want := d.payloads(), []string{"1", "4", "5", "new", "new"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := d.Counters().Dropped(DropRestarted); got != 2 {
			t.Errorf("%d of the earlier run counted, want 2", got)
		}
		if d.Flights() != (FlightState{}) {
			t.Errorf("%+v is held", d.Flights())
		}
	})
}

// A message for another run of this node is not delivered, and its origin is told; acknowledgements of other runs free nothing.
func TestRunsDoNotMix(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		d := startStation(ctx, t, n, 1, func(c *Config) { c.Boot = 5 })
		d.flights.arrived(from(3, "x"), wire.Destination{ID: d.self, Seq: 1, Boot: 4})
		if got := d.Counters(); len(d.payloads()) != 0 || got.Dropped(DropRestarted) != 1 || got.Acks.Load() != 1 {
			t.Errorf("delivered %v, %d counted, %d answers", d.payloads(), got.Dropped(DropRestarted), got.Acks.Load())
		}
		if _, windows := d.peers(); windows != 0 {
			t.Error("it has made a window")
		}
		d.Forwarder().Publish(knows(map[wire.NodeID]uint64{72: 7}), nil)
		d.spread(t, "y", 0, 72)
		for _, a := range []wire.Ack{
			{Boot: 7, OriginBoot: 4, Floor: 1, Newest: 1}, // to an earlier run of this node
			{Boot: 7, OriginBoot: 6, Floor: 1, Newest: 1}, // to a later one
			{Boot: 6, OriginBoot: 5, Floor: 1, Newest: 1}, // from an earlier run of the destination
			{Boot: 7, OriginBoot: 5, Floor: 9, Newest: 9}, // of what was never sent
		} {
			d.flights.acknowledged(72, &a)
			d.flights.acknowledged(73, &a) // from a node that nothing was sent to
			if d.Flights().Outgoing != 1 {
				t.Fatalf("%+v freed a message", a)
			}
		}
		d.flights.acknowledged(72, &wire.Ack{Boot: 7, OriginBoot: 5, Floor: 1, Newest: 1})
		if d.Flights() != (FlightState{}) {
			t.Errorf("acknowledged, yet under way: %+v", d.Flights())
		}
	})
}

// What there is no room to hold is refused unseen, and delivered in its place when it comes again.
func TestRefusedThenDelivered(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		d := startStation(ctx, t, n, 1, func(c *Config) { c.Boot = 5 })
		const size = 60_000
		const room = flight.HoldBytes / (size + len("tc") + cargoBytes)
		body := strings.Repeat(" ", size-3)
		arrive := func(number int) {
			back := uint64(min(number, 1))
			d.flights.arrived(from(3, fmt.Sprintf("%-3d", number)+body), wire.Destination{ID: d.self, Seq: uint64(number + 1), Back: back, Ahead: uint64(number), Boot: 5})
		}
		for number := 1; number <= room+3; number++ {
			arrive(number)
		}
		if state := d.Flights(); state.Held != room || state.HeldBytes > flight.HoldBytes {
			t.Errorf("%+v, want %d held", state, room)
		}
		if got := d.Counters().Dropped(DropRefused); got != 3 {
			t.Errorf("%d refused, want 3", got)
		}
		arrive(0)
		for number := room + 3; number > room; number-- {
			arrive(number)
		}
		if got := d.payloads(); !slices.Equal(got, numbers(room+4)) {
			t.Errorf("got %v", got)
		}
		if d.Flights() != (FlightState{}) {
			t.Errorf("%+v is held", d.Flights())
		}
	})
}

// Peers may make up origins: neither their windows nor what these hold grows without bound, and members are served all the same.
func TestMadeUpOriginsAreBounded(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		d := startStation(ctx, t, n, 1, func(c *Config) { c.Boot = 5 })
		d.Forwarder().Publish(knows(map[wire.NodeID]uint64{71: 3}), nil)
		payload := make([]byte, 60_000)
		for i := range unknownMost + 10 {
			m := from(1, "")
			m.Origin, m.Payload = wire.NodeID(1000+i), payload
			for seq := uint64(2); seq <= 3; seq++ { // 1 is missing
				d.flights.arrived(m, wire.Destination{ID: d.self, Seq: seq, Back: 1, Ahead: seq - 1, Boot: 5})
			}
		}
		if _, got := d.peers(); got > unknownMost+1 {
			t.Errorf("%d windows, want at most %d", got, unknownMost+1)
		}
		state := d.Flights()
		if state.HeldBytes > holdMost || state.HeldBytes < holdMost/2 || int64(state.HeldBytes) != d.flights.held.Load() {
			t.Errorf("%d bytes held, counted as %d", state.HeldBytes, d.flights.held.Load())
		}
		if d.Counters().Dropped(DropRefused) == 0 {
			t.Error("nothing was counted as refused")
		}
		d.flights.arrived(from(3, "member"), wire.Destination{ID: d.self, Seq: 1, Boot: 5})
		if got := d.payloads(); len(got) != 1 || got[0] != "member" {
			t.Errorf("got %d messages", len(got))
		}
		time.Sleep(6 * time.Second)
		if d.Flights() != (FlightState{}) || d.flights.held.Load() != 0 {
			t.Errorf("past the deadline: %+v, counted as %d", d.Flights(), d.flights.held.Load())
		}
	})
}

// What waits at a relay for a link that has died goes another way at once, without its origin; the rest its origin sends again.
func TestQueueOfADeadLinkGoesAnotherWay(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		var s []*station
		for i := byte(1); i <= 4; i++ {
			s = append(s, startStation(ctx, t, n, i, func(*Config) {}))
		}
		a, relay, c, other := s[0], s[1], s[2], s[3]
		costs := map[wire.NodeID][]route.Link{}
		connect := func(x, y *station, cost uint32) {
			if err := x.Dial(ctx, y.addr, y.self); err != nil {
				t.Fatal(err)
			}
			costs[x.self] = append(costs[x.self], route.Link{To: y.self, Cost: cost})
			costs[y.self] = append(costs[y.self], route.Link{To: x.self, Cost: cost})
		}
		connect(a, relay, 10_000)
		connect(relay, c, 10_000)
		connect(relay, other, 10_000)
		connect(other, c, 10_000)
		time.Sleep(100 * time.Millisecond)
		for _, x := range s {
			x.use(costs)
		}
		const count = 50 // what the dead link has not begun to write fits into what a link may send at once: its acknowledgements come before the origin's time-out
		n.Cut("10.0.0.2", "10.0.0.3")
		for i := range count {
			a.spread(t, strconv.Itoa(i), 1500, c.self)
		}
		time.Sleep(40 * time.Millisecond)
		for _, x := range []*station{relay, c} { // they have noticed
			before := x.forwarder.snapshot.Load()
			snapshot := &Snapshot{Table: before.Table, Links: maps.Clone(before.Links), Boots: before.Boots, Keys: before.Keys}
			delete(snapshot.Links, relay.self)
			delete(snapshot.Links, c.self)
			x.Forwarder().Publish(snapshot, nil)
		}
		relay.Link(c.self).SetUsable(false)
		time.Sleep(time.Second)
		if got := c.payloads(); !slices.Equal(got, numbers(count)) {
			t.Errorf("got %v", got)
		}
		again := a.Counters().Resent.Load()
		if again == 0 || again > count*2/3 {
			t.Errorf("the origin sent %d of %d again: want those that the dead link had begun to write", again, count)
		}
		if twice := c.Counters().Duplicates.Load(); twice != 0 {
			t.Errorf("%d came twice", twice)
		}
	})
}

// Nothing ticks, nothing is sent and nothing is kept once all is acknowledged; nodes that are gone for long are forgotten.
func TestIdleCostsNothing(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		b := startStation(ctx, t, n, 2, func(*Config) {})
		meet(ctx, t, a, b)
		for i := range 1000 {
			a.spread(t, strconv.Itoa(i), 0, b.self)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		acks := b.Counters().Acks.Load()
		for _, s := range []*station{a, b} {
			if s.Flights() != (FlightState{}) {
				t.Errorf("%+v is under way", s.Flights())
			}
		}
		if acks < 1000/25 || acks > 1000/15 {
			t.Errorf("%d acknowledgements in a second, want one every %v", acks, flight.AckDelay)
		}
		time.Sleep(2 * time.Minute)
		if more := b.Counters().Acks.Load() - acks; more != 0 || a.Counters().Resent.Load() != 0 {
			t.Errorf("%d acknowledgements and %d messages while nothing was published", more, a.Counters().Resent.Load())
		}
		if tables, windows := a.peers(); tables != 1 || windows != 0 {
			t.Errorf("a has %d tables and %d windows: a member was forgotten", tables, windows)
		}
		if tables, windows := b.peers(); windows != 1 {
			t.Errorf("b has %d tables and %d windows: a member was forgotten", tables, windows)
		}
		for _, s := range []*station{a, b} {
			s.Forwarder().Publish(knows(nil), nil)
		}
		time.Sleep(goneAfter + 3*sweepEvery)
		for _, s := range []*station{a, b} {
			if tables, windows := s.peers(); tables != 0 || windows != 0 {
				t.Errorf("%d tables and %d windows of nodes that are gone", tables, windows)
			}
		}
		meet(ctx, t, a, b)
		a.spread(t, "again", 0, b.self)
		time.Sleep(time.Second)
		if got := b.payloads(); len(got) != 1001 || got[1000] != "again" {
			t.Errorf("after being forgotten %d messages came", len(got))
		}
	})
}

// More than a tick sends again, or a link takes at once, is sent as soon as may be, though nothing else happens.
func TestAllIsSentAgainWithoutAnotherEvent(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		b := startStation(ctx, t, n, 2, func(*Config) {})
		meet(ctx, t, a, b)
		good := a.forwarder.snapshot.Load()
		a.Forwarder().Publish(knows(good.Boots), nil) // no way anywhere
		const count = 2*resendBatch + 10
		for i := range count {
			a.spread(t, strconv.Itoa(i), 500, b.self)
		}
		time.Sleep(3500 * time.Millisecond) // time-outs have grown to seconds
		a.Forwarder().Publish(good, []wire.NodeID{b.self})
		time.Sleep(300 * time.Millisecond)
		if got := b.payloads(); !slices.Equal(got, numbers(count)) {
			t.Errorf("%d of %d came: %v", len(got), count, got)
		}
	})
}

// load publishes messages of 1 KiB from count publishers for a while, each of them every 50 ms if there is room. It keeps the
// most bytes that were under way.
func (s *station) load(ctx context.Context, to wire.NodeID, count int, lasting time.Duration) (most int) {
	const every = 50 * time.Millisecond
	var group sync.WaitGroup
	end := time.Now().Add(lasting)
	for i := range count {
		group.Go(func() {
			time.Sleep(every * time.Duration(i) / time.Duration(count))
			for time.Now().Before(end) {
				sent := time.Now()
				payload := binary.BigEndian.AppendUint64(make([]byte, 0, 1024), uint64(sent.UnixNano()))[:1024]
				m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte(strconv.Itoa(i)), Payload: payload}
				if s.Forwarder().Spread(ctx, &m, []wire.NodeID{to}) != nil {
					return
				}
				time.Sleep(time.Until(sent.Add(every)))
			}
		})
	}
	for time.Now().Before(end) {
		most = max(most, s.Flights().OutgoingBytes)
		time.Sleep(20 * time.Millisecond)
	}
	group.Wait()
	return most
}

// slowest is how long the slowest of the messages of load took that came after the first n.
func (s *station) slowest(n int) (slowest time.Duration) {
	for _, a := range s.arrivals()[n:] {
		slowest = max(slowest, a.at.Sub(time.Unix(0, int64(binary.BigEndian.Uint64([]byte(a.payload))))))
	}
	return slowest
}

// Twelve times what a path carries, for half a minute: publishers wait, what is under way does not grow, the path goes on carrying
// what it can, and two seconds later all is as before.
func TestOverload(t *testing.T) {
	bubble(t, simnet.Path{Delay: 50 * time.Millisecond, Loss: 0.03}, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		b := startStation(ctx, t, n, 2, func(*Config) {})
		meet(ctx, t, a, b)
		const busy, far = 5, 64 // publishers at 20 messages/s: what the path carries, and far more
		a.load(ctx, b.self, busy, 10*time.Second)
		time.Sleep(time.Second)
		sustained := len(b.arrivals()) / 10
		// Some 11 of 1,000, over 100 once in a hundred runs: the connection itself waits for its lost packets.
		if again := a.Counters().Resent.Load(); again > uint64(3*sustained) {
			t.Errorf("%d of %d messages were sent again under normal load", again, 10*sustained)
		}
		var most [3]int
		for i := range most {
			most[i] = a.load(ctx, b.self, far, 10*time.Second)
		}
		time.Sleep(2 * time.Second)
		overloaded := (len(b.arrivals()) - 10*sustained) / 30
		if a.Flights() != (FlightState{}) || b.Flights() != (FlightState{}) {
			t.Errorf("under way afterwards: %+v and %+v", a.Flights(), b.Flights())
		}
		before := len(b.arrivals())
		a.load(ctx, b.self, 1, 2*time.Second)
		time.Sleep(time.Second)
		t.Logf("%d messages/s under normal load, %d under overload; at most %d bytes under way; afterwards the slowest took %v; %d sent again, %d came twice, %d expired",
			sustained, overloaded, most, b.slowest(before), a.Counters().Resent.Load(), b.Counters().Duplicates.Load(), a.Counters().Dropped(DropExpired))
		if overloaded < sustained*3/4 {
			t.Errorf("%d messages/s under overload, %d without", overloaded, sustained)
		}
		// One message of each publisher, those in the link's queue, and those in the connection or not acknowledged yet: two seconds of what the
		// path carries at most. Publishers offer 38 MB.
		if bound := (far+2*sustained)*(1024+len("t00")+cargoBytes) + defaultQueueBytes; slices.Max(most[:]) > bound {
			t.Errorf("%d bytes under way, want at most %d", most, bound)
		}
		if got := b.slowest(before); got > 500*time.Millisecond {
			t.Errorf("two seconds later a message took %v", got)
		}
	})
}
