package mesh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// liar is a member gone bad: it keeps links and answers probes, says that its links to all members cost nothing, and drops all that it is to pass on.
type liar struct {
	*forward.Endpoint
	gossip *gossip.Gossip
	key    ed25519.PrivateKey
	life   context.Context //nolint:containedctx // of the test's goroutines

	mu      sync.Mutex // guards what follows
	members map[wire.NodeID]bool
	version uint64
}

// infiltrate adds a liar as the node with this number, known by the one with number joins.
func (c *cluster) infiltrate(i, joins int) *liar {
	c.t.Helper()
	ip := ipOf(i)
	socket, err := c.net.Host(ip).ListenPacket(ip + ":7946")
	if err != nil {
		c.t.Fatal(err)
	}
	l := &liar{key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize)), members: map[wire.NodeID]bool{}}
	l.Endpoint, err = forward.New(forward.Config{
		Key: l.key, Boot: 1, Socket: socket, Log: zerolog.Nop(), Emit: func(forward.Event) {},
		Control: func(wire.NodeID, []byte) error { return nil }, Deliver: func(*wire.Message) bool { return true },
		Packet: func(b []byte, from net.Addr, at time.Time) { l.gossip.Receive(b, from, at) },
		Stream: func(conn net.Conn) { l.gossip.Accept(conn) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	l.gossip, err = gossip.New(gossip.Config{
		Meta: wire.Meta{ID: l.Self(), Boot: 1, Name: fmt.Sprint("n", i)}, Key: l.key, Advertise: netip.MustParseAddrPort(ip + ":7946"),
		Seeds: []string{ipOf(joins) + ":7946"}, Log: zerolog.Nop(), Dial: l.DialStream, Emit: l.met,
		Write: func(b []byte, _ wire.NodeID, addr net.Addr) error { return l.WritePacket(b, addr) },
		Sums:  func() []byte { return nil },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.life = ctx
	c.nodes = append(c.nodes, &clusterNode{ip: ip, stop: stop})
	c.group.Go(func() { _ = l.Run(ctx) })
	c.group.Go(func() { _ = l.gossip.Run(ctx) })
	c.group.Go(func() { l.lie(ctx) })
	return l
}

func (l *liar) met(e gossip.Event) {
	if joined, ok := e.(gossip.Joined); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.members[joined.Member.ID] = true
	}
}

// lie tells all neighbours how near it is to everybody.
func (l *liar) lie(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		delete(l.members, l.Self())
		var links []wire.Link
		for _, id := range slices.SortedFunc(maps.Keys(l.members), cmp.Compare[wire.NodeID]) {
			links = append(links, wire.Link{To: id, Cost: 1})
		}
		l.mu.Unlock()
		l.version++
		r := wire.Record{Boot: 1, Kind: wire.RecordLinks, Version: l.version, Body: wire.AppendLinks(nil, links)}
		wire.SignRecord(&r, l.key)
		for _, link := range l.Links() {
			_ = link.SendControl(wire.AppendRecords(nil, r.Raw))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// forge tells every neighbour, in the name of all others, that all it has sent them has come; both as if passed on, and as if from their own links.
func (l *liar) forge(ctx context.Context, began time.Time, every time.Duration) {
	for ctx.Err() == nil {
		time.Sleep(every)
		l.mu.Lock()
		members := slices.Collect(maps.Keys(l.members))
		l.mu.Unlock()
		sent := uint64(time.Since(began) / every)
		for _, link := range l.Links() {
			for _, name := range members {
				if name == link.Peer || name == l.Self() {
					continue
				}
				a := wire.Ack{Boot: 1, OriginBoot: 1, Floor: sent, Newest: sent}
				m := wire.Message{Class: wire.ClassAck, HopsLeft: 2, Origin: name, Boot: 1, Deadline: 5000, Via: []wire.NodeID{l.Self()}, Payload: wire.AppendAck(nil, &a)}
				for _, m.Sealed = range []bool{false, true} {
					_ = link.SendControl(append(wire.AppendMessageHead(nil, &m, []wire.Destination{{ID: link.Peer}}), m.Payload...))
				}
				m.Via, m.Sealed = nil, false
				_ = link.SendControl(append(wire.AppendMessageHead(nil, &m, []wire.Destination{{ID: link.Peer}}), m.Payload...))
			}
		}
	}
}

// A member that all traffic is to go through, since it is near to everybody and says nearer still, and that drops all of it: messages between honest nodes take
// other ways within 2 s, acknowledgements too, and none is lost, doubled or out of order.
func TestLiarIsGoneAround(t *testing.T) { goAround(t, 1, false) }

// Nor can it have messages forgotten by acknowledging them in the name of those whom they are for.
func TestLiarWhoForges(t *testing.T) { goAround(t, 1, true) }

// Several are found out one after the other, each by a time-out.
func TestLiarsInLeague(t *testing.T) { goAround(t, 3, false) }

func goAround(t *testing.T, liars int, forges bool) {
	t.Helper()
	inBubble(t, simnet.Path{Delay: 60 * time.Millisecond}, func(c *cluster) {
		const honest, every = 4, 20 * time.Millisecond
		near := simnet.Path{Delay: 10 * time.Millisecond}
		for i := range honest {
			for k := range liars {
				c.net.SetPath(ipOf(i), ipOf(honest+k), near)
				c.net.SetPath(ipOf(honest+k), ipOf(i), near)
			}
			c.start(i, 1, max(0, i-1))
		}
		c.meshed(5 * time.Second)
		for i, n := range c.nodes {
			n.subscribe(t, fmt.Sprint("to.", i))
		}
		time.Sleep(time.Second)
		nodes := slices.Clone(c.nodes)
		var stops []func() int
		for _, n := range nodes {
			for to := range nodes {
				if nodes[to] != n {
					stops = append(stops, c.stream(n, fmt.Sprint("to.", to), every))
				}
			}
		}
		began := time.Now()
		time.Sleep(time.Second)
		x := c.infiltrate(honest, 0)
		bad := []wire.NodeID{x.Self()}
		for k := range liars - 1 {
			bad = append(bad, c.infiltrate(honest+1+k, 0).Self())
		}
		if forges {
			c.group.Go(func() { x.forge(x.life, began, every) })
		}
		through := c.eventually(20*time.Second, "all routes lead through liars", func() bool {
			return nodes[0].through(bad) == honest-1 && nodes[1].through(bad) == honest-1
		})
		lured := time.Now()
		time.Sleep(20 * time.Second)
		sent := 0
		for _, stop := range stops {
			sent += stop()
		}
		time.Sleep(2 * time.Second)
		got, gap, last := 0, time.Duration(0), time.Duration(0)
		for _, n := range nodes {
			for _, from := range nodes {
				if from == n {
					continue
				}
				count, longest, lasted := n.flowOf(t, from.ID(), lured.Add(-through))
				got, gap, last = got+count, max(gap, longest), max(last, lasted)
			}
			if n.endpoint.Flights().Outgoing != 0 {
				t.Errorf("%s has under way at the end: %+v", n.Name(), n.endpoint.Flights())
			}
		}
		t.Logf("%d of %d messages arrived; the longest gap was %v, and the last message later than 200 ms came %v after the liar", got, sent, gap, last)
		if got != sent {
			t.Errorf("%d of %d messages arrived", got, sent)
		}
		if faults := nodes[0].endpoint.Faults()[x.Self()]; forges != (faults["forged"] > 100) {
			t.Errorf("faults of the liar: %v", faults)
		}
		if most := time.Duration(liars+1) * time.Second; gap > most {
			t.Errorf("gap of %v, want at most %v", gap, most)
		}
	})
}

// through is how many routes lead through one of these relays.
func (n *clusterNode) through(relays []wire.NodeID) (routes int) {
	v, _ := n.View()
	for _, r := range v.Routes {
		if slices.Contains(relays, r.NextHop) && !slices.Contains(relays, r.To) {
			routes++
		}
	}
	return routes
}

// flowOf checks that what came from a node came once and in order, and is how much came, the longest time without any since a moment, and how long
// after that moment the last came that was late.
func (n *clusterNode) flowOf(t *testing.T, origin wire.NodeID, since time.Time) (count int, gap, late time.Duration) {
	t.Helper()
	at := since
	for _, r := range n.received() {
		if r.trace.Origin != origin {
			continue
		}
		if r.payload != fmt.Sprint(count) {
			t.Fatalf("%s got %s of %v, want %d", n.Name(), r.payload, origin, count)
		}
		count++
		if r.at.Before(since) {
			continue
		}
		gap, at = max(gap, r.at.Sub(at)), r.at
		if r.trace.Age > 200*time.Millisecond {
			late = r.at.Sub(since)
		}
	}
	return count, gap, late
}
