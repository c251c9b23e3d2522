package core

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// graph is a link-state database and its nodes.
type graph struct {
	db  *route.Database
	ids []wire.NodeID
}

// newGraph is the graph over n nodes with these links, by index, at cost 1.
func newGraph(ids []wire.NodeID, linked func(i, j int) bool) graph {
	g := graph{route.NewDatabase(), ids}
	for i := range ids {
		var links []route.Link
		for j := range ids {
			if i != j && linked(min(i, j), max(i, j)) {
				links = append(links, route.Link{To: ids[j], Cost: 1})
			}
		}
		g.db.Set(ids[i], links)
	}
	return g
}

// drawGraph is any connected graph: a random tree and some more links.
func drawGraph(t *rapid.T) graph {
	n := rapid.IntRange(2, 12).Draw(t, "nodes")
	ids := rapid.SliceOfNDistinct(rapid.Uint64Min(1), n, n, rapid.ID).Draw(t, "ids")
	links := map[[2]int]bool{}
	for i := 1; i < n; i++ {
		links[[2]int{rapid.IntRange(0, i-1).Draw(t, "parent"), i}] = true
		for j := range i {
			if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
				links[[2]int{j, i}] = true
			}
		}
	}
	nodes := make([]wire.NodeID, n)
	for i, id := range ids {
		nodes[i] = wire.NodeID(id)
	}
	return newGraph(nodes, func(i, j int) bool { return links[[2]int{i, j}] })
}

func (g graph) neighbours(id wire.NodeID) []wire.NodeID {
	var out []wire.NodeID
	for _, l := range g.db.Links(id) {
		out = append(out, l.To)
	}
	return out
}

// Of the nodes that hear the sender and reach a node which the sender does not, at least one and at most relays pass a record on.
func TestSomeRelayPassesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		origin := rapid.SampledFrom(g.ids).Draw(t, "origin")
		for _, sender := range g.ids {
			receivers := g.neighbours(sender)
			for _, to := range g.ids {
				if to == sender {
					continue
				}
				eligible, passing := 0, 0
				for _, r := range receivers {
					reaches := slices.Contains(g.neighbours(r), to)
					passes := (&Core{self: r, db: g.db}).passesOn(origin, sender, to)
					if reaches && r != to {
						eligible++
						if passes {
							passing++
						}
					}
					if passes && slices.Contains(receivers, to) {
						t.Errorf("%v passes on to %v, which %v reaches itself", r, to, sender)
					}
				}
				if !slices.Contains(receivers, to) && passing != min(eligible, relays) {
					t.Errorf("from %v to %v: %d of %d pass it on", sender, to, passing, eligible)
				}
			}
		}
	})
}

func TestNobodyPassesOnInAFullMesh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 10).Draw(t, "nodes")
		ids := make([]wire.NodeID, n)
		for i := range ids {
			ids[i] = wire.NodeID(i + 1)
		}
		g := newGraph(ids, func(int, int) bool { return true })
		for _, self := range ids {
			for _, sender := range ids {
				for _, to := range ids {
					if self != sender && to != sender && (&Core{self: self, db: g.db}).passesOn(1, sender, to) {
						t.Errorf("%v passes on to %v what %v sent", self, to, sender)
					}
				}
			}
		}
	})
}

// flood follows one record from its origin over the graph, each hop with a delay of its own, as spread does it. It says who has it
// in the end and how often it was sent.
func (g graph) flood(origin wire.NodeID, delay func() int) (has map[wire.NodeID]bool, sent int) {
	type push struct {
		at       int
		from, to wire.NodeID
	}
	has = map[wire.NodeID]bool{origin: true}
	var queue []push
	send := func(now int, from, to wire.NodeID) {
		sent++
		queue = append(queue, push{now + delay(), from, to})
	}
	for _, to := range g.neighbours(origin) {
		send(0, origin, to)
	}
	for len(queue) > 0 {
		slices.SortStableFunc(queue, func(a, b push) int { return a.at - b.at })
		p := queue[0]
		queue = queue[1:]
		if has[p.to] {
			continue
		}
		has[p.to] = true
		c := &Core{self: p.to, db: g.db}
		for _, next := range g.neighbours(p.to) {
			if next != p.from && next != origin && c.passesOn(origin, p.from, next) {
				send(p.at, p.to, next)
			}
		}
	}
	return has, sent
}

// Where every hop takes the same time pushes alone reach everybody, with the relays at each distance chosen among their like.
func TestFloodReachesEveryNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		origin := rapid.SampledFrom(g.ids).Draw(t, "origin")
		has, sent := g.flood(origin, func() int { return 1 })
		if len(has) != len(g.ids) {
			t.Errorf("%d of %d nodes have it", len(has), len(g.ids))
		}
		if sent > relays*len(g.ids)*len(g.ids) {
			t.Errorf("sent %d times to %d nodes", sent, len(g.ids))
		}
	})
}

// Where hops differ a node may hear of a record first by a detour and leave it to others, who leave it to yet others. Then announcements and
// digests help; pushes must miss next to nobody all the same.
func TestFloodOverUnequalHops(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	missed, nodes, sent := 0, 0, 0
	for range 2000 {
		ids := make([]wire.NodeID, 3+rnd.IntN(14))
		for i := range ids {
			ids[i] = wire.NodeID(rnd.Uint64() | 1)
		}
		slices.Sort(ids)
		links := map[[2]int]bool{}
		density := rnd.Float64()
		for i := 1; i < len(ids); i++ {
			links[[2]int{rnd.IntN(i), i}] = true
			for j := range i {
				if rnd.Float64() < density {
					links[[2]int{j, i}] = true
				}
			}
		}
		g := newGraph(ids, func(i, j int) bool { return links[[2]int{i, j}] })
		has, n := g.flood(ids[rnd.IntN(len(ids))], func() int { return 1 + rnd.IntN(100) })
		missed += len(ids) - len(has)
		nodes += len(ids)
		sent += n
	}
	t.Logf("%d of %d nodes missed, %.2f pushes a node", missed, nodes, float64(sent)/float64(nodes))
	if missed*1000 > nodes {
		t.Errorf("%d of %d nodes missed", missed, nodes)
	}
}

// A core pushes a new record to those, and only those, that the rule gives it.
func TestSpread(t *testing.T) {
	r := newRig(t, 2)
	for _, i := range []int{3, 4, 5} {
		r.up(i)
	}
	r.step(r.member(6, 1)) // no link to it
	// 3 reaches 4 but not 5; 4 and 5 hear this node alone.
	two, three, four, five := r.id(2), r.id(3), r.id(4), r.id(5)
	r.step(r.records(3, r.author(3, 1).links(9, two, four)), r.records(4, r.author(4, 1).links(9, two, three)), r.records(5, r.author(5, 1).links(9, two)))
	targets := func(effects []Effect) []wire.NodeID {
		var out []wire.NodeID
		for _, s := range frames(effects, wire.KindRecords) {
			out = append(out, s.To)
		}
		return out
	}
	a := r.author(6, 1)
	rec := a.links(1, three)
	effects := r.step(r.records(3, rec))
	if got := targets(effects); !slices.Equal(got, []wire.NodeID{five}) {
		t.Errorf("what node 3 sent is pushed to %v, want %v", got, five)
	}
	if got := of[Announce](effects); len(got) != 1 || got[0].Entry != (wire.DigestEntry{Origin: a.id, Kind: wire.RecordLinks, Stamp: rec.Stamp()}) {
		t.Errorf("announced %v", got)
	}
	if effects := r.step(r.records(5, rec)); len(effects) != 0 {
		t.Errorf("a copy made %d effects", len(effects))
	}
	if got := targets(r.step(r.records(5, r.author(3, 2).links(1, two)))); !slices.Equal(got, []wire.NodeID{four}) {
		t.Errorf("node 3's record from node 5 is pushed to %v, want %v: not back to its origin", got, four)
	}
	effects = r.step(InterestChanged{"t", pattern(t, "mine"), true})
	effects = append(effects, r.passed(interestPause)...)
	if got := targets(effects); !slices.Equal(got, []wire.NodeID{three, four, five}) {
		t.Errorf("its own record is pushed to %v, want to all neighbours", got)
	}
}
