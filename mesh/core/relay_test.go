package core

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

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

// flood follows one record from its origin over the graph as spread does it, and says how often each node is sent it, and how often it gets news of it.
func (g graph) flood(origin wire.NodeID) (copies, news map[wire.NodeID]int) {
	cores := map[wire.NodeID]*Core{}
	for _, id := range g.ids {
		cores[id] = &Core{self: id, db: g.db, planner: route.NewPlanner(id)}
		cores[id].planner.Follow(g.db)
	}
	copies, news = map[wire.NodeID]int{origin: 1}, map[wire.NodeID]int{}
	for queue := []wire.NodeID{origin}; len(queue) > 0; queue = queue[1:] {
		here := cores[queue[0]]
		onward, _ := here.planner.Onward(origin)
		for _, to := range onward {
			if copies[to]++; copies[to] == 1 {
				queue = append(queue, to)
			}
		}
		for _, to := range g.neighbours(here.self) {
			if to != origin && here.backs(origin, to) {
				news[to]++
			}
		}
	}
	return copies, news
}

// Pushes bring a record to every node, and news of it come to every other than its origin, once.
func TestFloodReachesEveryNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		origin := rapid.SampledFrom(g.ids).Draw(t, "origin")
		copies, news := g.flood(origin)
		for _, id := range g.ids {
			if copies[id] == 0 {
				t.Errorf("%v is not sent what %v made", id, origin)
			}
			if id != origin && news[id] != 1 {
				t.Errorf("%v gets %d news of what %v made", id, news[id], origin)
			}
		}
	})
}

// On links that differ, as measured ones do, pushes come once.
func TestFloodSendsOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	ids := make([]wire.NodeID, 60)
	for i := range ids {
		ids[i] = wire.NodeID(rnd.Uint64() | 1)
	}
	slices.Sort(ids)
	g := graph{route.NewDatabase(), ids}
	vectors := make([][]route.Link, len(ids))
	for i := range ids {
		for range 6 {
			if j := rnd.IntN(len(ids)); j != i {
				cost := 1 + rnd.Uint32N(100_000)
				vectors[i], vectors[j] = append(vectors[i], route.Link{To: ids[j], Cost: cost}), append(vectors[j], route.Link{To: ids[i], Cost: cost})
			}
		}
	}
	for i, id := range ids {
		g.db.Set(id, vectors[i])
	}
	for _, origin := range ids {
		copies, _ := g.flood(origin)
		for id, n := range copies {
			if n != 1 {
				t.Errorf("%v is sent %d times what %v made", id, n, origin)
			}
		}
		if len(copies) != len(ids) {
			t.Errorf("%d of %d nodes have it", len(copies), len(ids))
		}
	}
}

// A core pushes a new record to those, and only those, that the rule gives it, and tells who is to have news of it by itself a little later.
func TestSpread(t *testing.T) {
	r := newRig(t, 2)
	for _, i := range []int{3, 4, 5} {
		r.up(i)
	}
	r.step(r.member(6, 1)) // no link to it
	// 6 hangs on 3, which reaches 4 as well, but not 5: 4 and 5 hear this node alone, 4 at a greater cost than 3.
	two, three, four, five, six := r.id(2), r.id(3), r.id(4), r.id(5), r.id(6)
	a := r.author(6, 1)
	r.step(r.records(3, r.author(3, 1).links(9, two, four, six)), r.records(4, r.author(4, 1).links(9, two, three)), r.records(5, r.author(5, 1).links(9, two)))
	r.step(r.records(3, a.links(9, three)))
	r.pass(time.Second)
	targets := func(effects []Effect, kind wire.Kind) (out []wire.NodeID) {
		for _, s := range frames(effects, kind) {
			out = append(out, s.To)
		}
		return out
	}
	rec := a.links(8, three)
	effects := r.step(r.records(3, rec))
	if got := targets(effects, wire.KindRecords); !slices.Equal(got, []wire.NodeID{five}) {
		t.Errorf("what node 3 sent is pushed to %v, want %v", got, five)
	}
	if got := of[Announce](effects); len(got) != 1 || got[0].Entry != (wire.DigestEntry{Origin: a.id, Kind: wire.RecordLinks, Stamp: rec.Stamp()}) {
		t.Errorf("announced %v", got)
	}
	if effects := r.step(r.records(5, rec)); len(effects) != 0 {
		t.Errorf("a copy made %d effects", len(effects))
	}
	var news []wire.NodeID
	for _, s := range r.pass(newsPause) {
		if e, is := s.Effect.(SendControl); is && wire.Kind(e.Frame[0]) == wire.KindNews {
			if s.at.Sub(r.now) > 0 || !slices.Equal(digestOf(t, e.Frame).Entries, []wire.DigestEntry{{Origin: a.id, Kind: wire.RecordLinks, Stamp: rec.Stamp()}}) {
				t.Errorf("news %+v", digestOf(t, e.Frame))
			}
			news = append(news, e.To)
		}
	}
	if slices.Contains(news, three) || slices.Contains(news, five) {
		t.Errorf("news to %v, who are known to have it", news)
	}
	if r.c.backs(a.id, four) != slices.Contains(news, four) {
		t.Errorf("news to %v", news)
	}
	effects = r.step(InterestChanged{"t", pattern(t, "mine"), true})
	effects = append(effects, r.passed(interestPause)...)
	if got := targets(effects, wire.KindRecords); !slices.Equal(got, []wire.NodeID{three, four, five}) {
		t.Errorf("its own record is pushed to %v, want to all neighbours", got)
	}
}

// What came before there is a path from its origin is pushed once there is.
func TestRecordsThatCameEarlyAreSpread(t *testing.T) {
	r := newRig(t, 2)
	for _, i := range []int{3, 4} {
		r.up(i)
	}
	two, three, six := r.id(2), r.id(3), r.id(6)
	a := r.author(6, 1)
	r.step(r.member(6, 1), r.records(3, r.author(3, 1).links(9, two)), r.records(4, r.author(4, 1).links(9, two)))
	r.pass(time.Second)
	interest, links := a.wants(t, "one"), a.links(9, three)
	effects := append(r.step(r.records(3, interest)), r.step(r.records(3, links))...)
	if n := len(sentRecords(t, effects, r.id(4))); n != 0 {
		t.Errorf("%d records of a node that no path leads to are pushed", n)
	}
	again := r.author(3, 1)
	again.links(1)
	effects = r.step(r.records(3, again.links(9, two, six)))
	if got := sentRecords(t, append(effects, r.passed(spfPause)...), r.id(4)); len(got) != 3 {
		t.Errorf("%d records are pushed once a path leads there, want node 3's and both of node 6's", len(got))
	}
}
