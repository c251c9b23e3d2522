package core

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// globe is a core in a large mesh: every other node has a place, and a dial succeeds unless it is told not to. The core's own place is learnt.
type globe struct {
	t       *testing.T
	c       *Core
	now     time.Time
	nodes   []wire.NodeID
	place   map[wire.NodeID]wire.Place
	refuses map[wire.NodeID]bool
	dialled []wire.NodeID
	opened  map[wire.NodeID]uint64
	told    map[wire.NodeID]bool // what the core said of its need of links
	closed  []wire.NodeID
	pinged  map[wire.NodeID]int
	slow    map[wire.NodeID]bool // pings take a second
	due     []Echoed
	number  uint64
}

// newGlobe has size nodes at random on a plane, the core in its middle.
func newGlobe(t *testing.T, size int) *globe {
	t.Helper()
	g := &globe{
		t: t, now: epoch(), place: map[wire.NodeID]wire.Place{}, refuses: map[wire.NodeID]bool{}, opened: map[wire.NodeID]uint64{}, told: map[wire.NodeID]bool{},
		pinged: map[wire.NodeID]int{}, slow: map[wire.NodeID]bool{},
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	g.c = New(Config{Key: key, Meta: wire.Meta{Boot: 5}, Index: new(interest.Index), Rand: rand.New(rand.NewPCG(1, 2)), FullMesh: 20}, g.now)
	g.place[g.c.self] = wire.Place{Error: 1}
	rnd := rand.New(rand.NewPCG(3, 4))
	var came []Event
	for i := range size - 1 {
		var seed [ed25519.SeedSize]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i+1))
		a := newAuthor(ed25519.NewKeyFromSeed(seed[:]), 1)
		g.place[a.id] = wire.Place{Axes: [wire.PlaceAxes]int16{int16(rnd.IntN(1600) - 800), int16(rnd.IntN(1600) - 800)}, Error: 1}
		g.nodes = append(g.nodes, a.id)
		record := a.record(wire.RecordLinks, wire.AppendPlace(wire.AppendLinks(nil, nil), g.place[a.id]), true)
		came = append(came, MemberUp{Meta: wire.Meta{ID: a.id, Boot: 1}, Addr: addrOf(i)}, RecordsCame{Records: []wire.Record{record}})
	}
	g.step(came...)
	return g
}

func (g *globe) rtt(id wire.NodeID) time.Duration {
	return latency.RoundTrip(g.place[g.c.self], g.place[id])
}

func (g *globe) step(events ...Event) {
	for _, e := range g.c.Step(g.now, events) {
		switch e := e.(type) {
		case Dial:
			g.dialled = append(g.dialled, e.Peer)
			ok := !g.refuses[e.Peer]
			answer := []Event{Dialed{Peer: e.Peer, OK: ok}}
			if ok {
				g.number++
				g.opened[e.Peer] = g.number
				answer = append(answer, LinkOpened{Peer: e.Peer, Boot: 1, Link: g.number})
			}
			g.step(answer...)
		case Probe:
			g.due = append(g.due, Echoed{Peer: e.Peer, Link: g.opened[e.Peer], Seq: e.Seq, RTT: g.rtt(e.Peer), At: g.now.Add(g.rtt(e.Peer))})
		case Ping:
			g.pinged[e.Peer]++
			answer := Pinged{Peer: e.Peer, RTT: g.rtt(e.Peer)}
			if g.slow[e.Peer] {
				answer.RTT = time.Second
			}
			if g.refuses[e.Peer] {
				answer.RTT = 0
			}
			g.step(answer)
		case CloseLink:
			g.closed = append(g.closed, e.Peer)
			delete(g.opened, e.Peer)
		case SendControl:
			if wire.Kind(e.Frame[0]) == wire.KindNeed {
				needed, err := wire.ParseNeed(e.Frame)
				if err != nil {
					g.t.Fatal(err)
				}
				g.told[e.To] = needed
			}
		}
	}
}

// dialIn is a link that another node opens.
func (g *globe) dialIn(id wire.NodeID) {
	g.number++
	g.opened[id] = g.number
	g.step(LinkOpened{Peer: id, Boot: 1, Link: g.number})
}

func (g *globe) pass(d time.Duration) {
	for end := g.now.Add(d); g.now.Before(end); {
		slices.SortStableFunc(g.due, func(a, b Echoed) int { return a.At.Compare(b.At) })
		at := g.c.Next(g.now)
		if len(g.due) > 0 && !g.due[0].At.After(at) {
			e := g.due[0]
			g.now, g.due = later(g.now, e.At), g.due[1:]
			g.step(e)
			continue
		}
		g.now = later(g.now.Add(time.Millisecond), at)
		g.step()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A node of a large mesh has links to those near it on all sides, and to some others; it needs no more.
func TestNeighborsAreNearAndFew(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(3 * time.Minute)
	if len(g.c.near) > nearLinks || len(g.c.wanted) > nearLinks+randomLinks || len(g.c.wanted) < firstLinks {
		t.Fatalf("%d near neighbours of %d wanted", len(g.c.near), len(g.c.wanted))
	}
	byNearness := slices.Clone(g.nodes)
	slices.SortFunc(byNearness, func(a, b wire.NodeID) int { return int(g.rtt(a) - g.rtt(b)) })
	if !slices.ContainsFunc(byNearness[:4], func(id wire.NodeID) bool { return g.c.near[id] }) {
		t.Error("none of the four nearest is a neighbour")
	}
	sides := map[[2]bool]int{}
	for id := range g.c.near {
		sides[[2]bool{g.place[id].Axes[0] > 0, g.place[id].Axes[1] > 0}]++
		if rank := slices.Index(byNearness, id); rank > 150 {
			t.Errorf("one that is near is the %d. nearest", rank+1)
		}
	}
	if len(sides) != 4 {
		t.Errorf("neighbours on %d of 4 sides", len(sides))
	}
	needed := 0
	for _, p := range g.c.links {
		if p.needed {
			needed++
		}
	}
	if needed > nearLinks+randomLinks {
		t.Errorf("%d links are said to be needed", needed)
	}
	dials := len(g.dialled)
	if g.pass(20 * time.Minute); len(g.dialled)-dials > 10 {
		t.Errorf("%d dials in 20 minutes in which nothing changed", len(g.dialled)-dials)
	}
}

// A link closes when neither end needs it, and not before; one that carries messages is needed.
func TestLinksThatNobodyNeedsClose(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(time.Minute)
	for _, id := range g.nodes {
		if !g.c.wanted[id] && g.opened[id] == 0 { // somebody else's choice
			g.dialIn(id)
			g.pass(2 * time.Minute)
			if g.told[id] || len(g.closed) > 0 && slices.Contains(g.closed, id) {
				t.Fatalf("its far end needs it: told %v", g.told[id])
			}
			used := Activity{Peer: id, Link: g.opened[id], Heard: g.now, Used: g.now}
			g.step(used, Polled{}, NeedCame{From: id, Needed: false})
			if slices.Contains(g.closed, id) || !g.told[id] {
				t.Fatal("a link in use is closed")
			}
			g.pass(10 * time.Minute)
			g.step(NeedCame{From: id, Needed: false})
			if !slices.Contains(g.closed, id) {
				t.Fatal("a link that neither end needs stays")
			}
			return
		}
	}
}

// Links open to where messages go, to most of them where they go to many, and are let go when they do no longer.
func TestLinksFollowTraffic(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(time.Minute)
	var flows []Flow
	for i, id := range g.nodes {
		if !g.c.wanted[id] && len(flows) < 2*demandLinks {
			flows = append(flows, Flow{Peer: id, Messages: 1 + i%2*100})
		}
	}
	g.step(Traffic{Sent: flows})
	for range 10 {
		g.pass(time.Second)
		g.step(Traffic{Sent: flows})
	}
	open, busy := 0, 0
	for _, f := range flows {
		if g.opened[f.Peer] != 0 {
			open++
			if f.Messages > 1 {
				busy++
			}
		}
	}
	if open < demandLinks || open > demandLinks+nearLinks || busy < 3*demandLinks/4 {
		t.Errorf("%d links to where messages go, %d of them to where most go", open, busy)
	}
	g.pass(15 * time.Minute)
	for _, f := range flows {
		if p := g.c.peers[f.Peer]; p.link != 0 && p.needed && !g.c.wanted[f.Peer] {
			t.Fatal("a link is needed though no message has gone there for long")
		}
	}
}

// Neighbours that cannot be reached are given up for others; but not where nobody can be, since then it is the node itself that is cut off.
func TestNeighborsThatCannotBeReached(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(time.Minute)
	victims := slices.Collect(func(yield func(wire.NodeID) bool) {
		for i, p := range g.c.links {
			if i%2 == 0 && !yield(p.id) {
				return
			}
		}
	})
	for _, id := range victims {
		g.refuses[id] = true
		g.step(LinkClosed{Peer: id, Link: g.opened[id]})
		delete(g.opened, id)
	}
	g.pass(2 * time.Minute)
	if n := len(g.opened); n < firstLinks {
		t.Errorf("%d links", n)
	}
	for _, id := range victims {
		if g.c.wanted[id] {
			t.Error("one that cannot be reached is wanted still")
		}
	}
	for _, id := range g.nodes {
		g.refuses[id] = true
	}
	for id, link := range g.opened {
		g.step(LinkClosed{Peer: id, Link: link})
	}
	clear(g.opened)
	g.pass(10 * time.Minute)
	clear(g.refuses)
	g.pass(20 * time.Second)
	if n := len(g.opened); n < firstLinks {
		t.Errorf("%d links 20 s after an outage of ten minutes", n)
	}
}

// A mesh is sparse when it is larger than the limit, and full again when it is clearly smaller; then all are linked.
func TestSizeDecides(t *testing.T) {
	g := newGlobe(t, 24)
	if !g.c.Sparse() {
		t.Fatal("a mesh of 24 with a limit of 20 is full")
	}
	g.pass(time.Minute)
	leave := func(n int) {
		for range n {
			g.step(MemberDown{ID: g.nodes[0], Boot: 1, Graceful: true})
			g.nodes = g.nodes[1:]
		}
	}
	if leave(5); !g.c.Sparse() {
		t.Error("full already with 19 nodes")
	}
	leave(2)
	g.pass(10 * time.Second)
	if g.c.Sparse() || len(g.opened) < len(g.nodes) {
		t.Errorf("with 17 nodes sparse is %v, and there are %d links", g.c.Sparse(), len(g.opened))
	}
}

// Once it is known who is near, a newcomer is made a neighbour for a clear gain alone; what was good enough at first no longer is.
func TestLateChoicesAskMore(t *testing.T) {
	g := newGlobe(t, 200)
	g.pass(3 * time.Minute)
	rnd := rand.New(rand.NewPCG(5, 6))
	const newcomer = wire.NodeID(77)
	early, late := 0, 0
	for range 300 {
		p := g.c.peer(g.now, newcomer)
		p.member, p.place = true, wire.Place{Axes: [wire.PlaceAxes]int16{int16(rnd.IntN(1000) - 500), int16(rnd.IntN(1000) - 500)}, Error: 1}
		chosen := func(choices int) bool {
			g.c.choices = choices
			return slices.Contains(g.c.nearest(g.now), p)
		}
		first, later := chosen(choicesEarly), chosen(choicesEarly+1)
		if later && !first {
			t.Fatalf("at %v, chosen late but not early", p.place)
		}
		if first {
			early++
		}
		if later {
			late++
		}
		delete(g.c.peers, newcomer)
	}
	if late == 0 || late > early*3/4 {
		t.Errorf("of 300 newcomers %d are chosen early, %d late", early, late)
	}
}

// gone has nodes die, and what they were linked by; back has them come back.
func (g *globe) gone(ids ...wire.NodeID) {
	for _, id := range ids {
		g.step(MemberDown{ID: id, Boot: 1}, LinkClosed{Peer: id, Link: g.opened[id]})
	}
}

func (g *globe) back(ids ...wire.NodeID) {
	for _, id := range ids {
		g.step(MemberUp{Meta: wire.Meta{ID: id, Boot: 1}, Addr: addrOf(slices.Index(g.nodes, id))})
	}
}

// A mesh that was in pieces becomes one again: of the nodes that come back, those that are this one's random neighbours have links at once, long before its next choice.
func TestRandomNeighboursComeBack(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(3 * time.Minute)
	var random, other []wire.NodeID
	for i, p := range g.c.ranked(g.now) {
		if i < randomLinks {
			random = append(random, p.id)
		}
	}
	for _, id := range g.nodes {
		if !g.c.wanted[id] && len(other) < 10 {
			other = append(other, id)
		}
	}
	group := append(slices.Clone(random), other...)
	g.gone(group...)
	g.pass(30 * time.Second)
	g.dialled = nil
	if next := g.c.chooseAt.Sub(g.now); next < time.Minute {
		t.Fatalf("the next choice comes in %v", next)
	}
	g.back(group...)
	for _, id := range random {
		if !slices.Contains(g.dialled, id) {
			t.Errorf("no link to random neighbour %d", id)
		}
	}
	for _, id := range other {
		if slices.Contains(g.dialled, id) {
			t.Errorf("a link to %d, which is none", id)
		}
	}
	if next := g.c.chooseAt.Sub(g.now); next < 30*time.Second {
		t.Errorf("few came back, and the next choice comes in %v", next)
	}
}

// Where a good part of a mesh comes back, neighbours are chosen as when all began.
func TestManyComeBack(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(3 * time.Minute)
	half := g.nodes[:len(g.nodes)/2]
	var near []wire.NodeID
	for _, id := range half {
		if g.c.near[id] {
			near = append(near, id)
		}
	}
	if len(near) < 3 {
		t.Fatalf("%d of the near neighbours in one half", len(near))
	}
	g.gone(half...)
	g.pass(time.Minute)
	g.back(half...)
	if next := g.c.chooseAt.Sub(g.now); next > 2*chooseSoon {
		t.Errorf("the next choice comes in %v", next)
	}
	g.pass(30 * time.Second)
	again := 0
	for _, id := range near {
		if g.c.near[id] {
			again++
		}
	}
	if 2*again < len(near) { // one that is a little nearer than who took its place is not taken back
		t.Errorf("%d of %d near neighbours are such again", again, len(near))
	}
	if next := g.c.chooseAt.Sub(g.now); next < 30*time.Second {
		t.Errorf("the next choice comes in %v still", next)
	}
}
