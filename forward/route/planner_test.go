package route

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// R5, of a Planner: whatever the database went through, its table is the one that is computed from nothing, and the oracle's.
func TestPlannerEqualsComputeAndOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		nodes := m.nodes()
		db := m.database(nodes)
		planners := map[wire.NodeID]*Planner{}
		for _, id := range nodes {
			planners[id] = NewPlanner(id)
			planners[id].Compute(db)
		}
		usable := pairs(m)
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				m.alter(t, db, nodes)
			}
			dist := m.distances(m.nodes())
			for id, p := range planners {
				got := p.Compute(db)
				if want := Compute(id, db); !alike(got, want) {
					t.Fatalf("%+v; want %+v", got, want)
				}
				if m[id] != nil {
					if err := m.check(got, dist); err != nil {
						t.Fatal(err)
					}
				}
			}
			now := pairs(m)
			lost := slices.DeleteFunc(usable, func(p Pair) bool { return slices.Contains(now, p) })
			for id, p := range planners {
				if got := sortedPairs(p.Lost()); !slices.Equal(got, lost) {
					t.Fatalf("%d lost %v; want %v", id, got, lost)
				}
			}
			usable = now
		}
	})
}

// alike reports whether two tables tell the same, around relays too; what they keep of links that are claimed by one end alone may differ.
func alike(a, b *Table) bool {
	equal := func(a, b Table) bool {
		a.vectors, b.vectors = nil, nil
		return reflect.DeepEqual(a, b)
	}
	relays := a.ids[:len(a.ids)/2]
	return equal(*a, *b) && equal(*a.Avoiding(relays), *b.Avoiding(relays))
}

// What makes no link usable, unusable or of another cost leaves the table as it is, to the pointer.
func TestClaimsOfOneEndKeepTheTable(t *testing.T) {
	db := NewDatabase()
	db.Set(1, []Link{{2, 1000}})
	db.Set(2, []Link{{1, 1000}})
	db.Set(3, nil)
	p := NewPlanner(1)
	table := p.Compute(db)
	for _, step := range []struct {
		what   string
		origin wire.NodeID
		links  []Link
		same   bool
	}{
		{"one end of a new link", 2, []Link{{1, 1000}, {3, 1000}}, true},
		{"a lower claim than the other end's", 2, []Link{{1, 900}, {3, 1000}}, true},
		{"the other end of the new link", 3, []Link{{2, 1000}}, false},
		{"one end of a link that is gone", 2, []Link{{1, 900}}, false},
		{"the other end", 3, nil, true},
		{"nothing", 3, nil, true},
		{"the greater claim falls", 1, []Link{{2, 950}}, false},
	} {
		db.Set(step.origin, step.links)
		before := table
		table = p.Compute(db)
		if (table == before) != step.same {
			t.Errorf("%s: the same table is %v", step.what, table == before)
		}
		if want := Compute(1, db); !alike(table, want) {
			t.Errorf("%s: %+v; want %+v", step.what, table, want)
		}
	}
}

func TestCrosses(t *testing.T) {
	db := NewDatabase()
	db.Set(1, []Link{{2, 1000}, {3, 3000}})
	db.Set(2, []Link{{1, 1000}, {3, 1000}})
	db.Set(3, []Link{{1, 3000}, {2, 1000}})
	table := Compute(1, db)
	for pair, want := range map[Pair]bool{{1, 2}: true, {2, 3}: true, {1, 3}: false, {3, 4}: false} {
		if table.Crosses(pair.A, pair.B) != want || table.Crosses(pair.B, pair.A) != want {
			t.Errorf("%v: %v", pair, !want)
		}
	}
	if new(Table).Crosses(1, 2) {
		t.Error("an empty table crosses a link")
	}
}

// alter makes one change to the model and the database alike: an origin goes, comes, or tells another vector.
func (m model) alter(t *rapid.T, db *Database, nodes []wire.NodeID) {
	id := rapid.SampledFrom(nodes).Draw(t, "origin")
	if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
		delete(m, id)
		db.Remove(id)
		return
	}
	vector := map[wire.NodeID]uint32{}
	maps.Copy(vector, m[id])
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		to := rapid.SampledFrom(nodes).Draw(t, "to")
		if to == id {
			continue
		}
		if cost := rapid.Uint32Range(0, 5).Draw(t, "cost"); cost == 0 {
			delete(vector, to)
		} else {
			vector[to] = cost
		}
	}
	m[id] = vector
	var links []Link
	for to, cost := range vector {
		links = append(links, Link{to, cost})
	}
	db.Set(id, links)
}

// What every node passes on to its Onward comes to each node that can be reached: once, but where paths tie, and never by a longer way.
func TestOnwardReachesAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		nodes := m.nodes()
		db := m.database(nodes)
		planners := map[wire.NodeID]*Planner{}
		for _, id := range nodes {
			planners[id] = NewPlanner(id)
			planners[id].Follow(db)
		}
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			m.alter(t, db, nodes)
			for _, p := range planners {
				p.Follow(db)
			}
		}
		dist := m.distances(m.nodes())
		for origin := range m {
			copies := map[wire.NodeID]int{}
			at := []wire.NodeID{origin}
			seen := map[wire.NodeID]bool{origin: true}
			for len(at) > 0 {
				here := at[0]
				at = at[1:]
				onward, reached := planners[here].Onward(origin)
				if !reached {
					t.Fatalf("%d does not know the way from %d", here, origin)
				}
				for _, id := range onward {
					l, ok := m.link(here, id)
					if !ok || dist[origin][here].plus(l) != dist[origin][id] {
						t.Fatalf("from %d by %d to %d is no shortest path", origin, here, id)
					}
					copies[id]++
					if !seen[id] {
						seen[id] = true
						at = append(at, id)
					}
				}
			}
			for id := range m {
				if _, reachable := dist[origin][id]; reachable != seen[id] {
					t.Fatalf("from %d to %d: reachable %v, %d copies", origin, id, reachable, copies[id])
				}
				if parents := m.parents(origin, id, dist); copies[id] != parents {
					t.Fatalf("from %d to %d: %d copies over %d paths", origin, id, copies[id], parents)
				}
			}
		}
	})
}

// parents counts the last but one nodes of the shortest paths.
func (m model) parents(origin, dst wire.NodeID, dist map[wire.NodeID]map[wire.NodeID]length) (n int) {
	for via := range m {
		l, ok := m.link(via, dst)
		if d, reached := dist[origin][via]; ok && reached && dst != origin && d.plus(l) == dist[origin][dst] {
			n++
		}
	}
	return n
}

// Since against its definition, by whole paths.
func TestSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		nodes := m.nodes()
		db := m.database(nodes)
		p := NewPlanner(nodes[0])
		before := p.Compute(db)
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				m.alter(t, db, nodes)
			}
			after := p.Compute(db)
			lost := map[Pair]bool{}
			for _, pair := range p.Lost() {
				lost[pair] = true
			}
			var broken, left []wire.NodeID
			for id := range after.All() {
				path := before.Path(id)
				switch {
				case path == nil || Uses(path, lost):
					broken = append(broken, id)
				case !slices.Equal(path, after.Path(id)):
					left = append(left, id)
				}
			}
			if gotBroken, gotLeft := after.Since(before, p.Lost()); !slices.Equal(gotBroken, broken) || !slices.Equal(gotLeft, left) {
				t.Fatalf("broken %v, left %v; want %v, %v", gotBroken, gotLeft, broken, left)
			}
			before = after
		}
	})
}

// pairs are the usable links of the model, in order.
func pairs(m model) (out []Pair) {
	for _, a := range m.nodes() {
		for _, b := range m.nodes() {
			if _, ok := m.link(a, b); ok && a < b {
				out = append(out, Pair{a, b})
			}
		}
	}
	return out
}

func sortedPairs(pairs []Pair) []Pair {
	return slices.SortedFunc(slices.Values(pairs), func(a, b Pair) int { return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B)) })
}

// The same on meshes as large as we build them, with changes as they happen there: costs move, links break and come, nodes go and come back.
func TestPlannerOnLargeMeshes(t *testing.T) {
	for _, tc := range []struct{ n, degree int }{{128, 127}, {400, 16}} {
		rng := rand.New(rand.NewPCG(5, uint64(tc.n)))
		db := plane(tc.n, tc.degree)
		self := db.origins[0]
		p := NewPlanner(self)
		away := map[wire.NodeID][]Link{}
		for round := range 150 {
			for range 1 + rng.IntN(3) {
				disturb(rng, db, self, away)
			}
			if got, want := p.Compute(db), Compute(self, db); !alike(got, want) {
				t.Fatalf("%d nodes: another table in round %d", tc.n, round)
			}
		}
	}
}

// disturb changes one thing of the database.
func disturb(rng *rand.Rand, db *Database, self wire.NodeID, away map[wire.NodeID][]Link) {
	origin := db.origins[rng.IntN(len(db.origins))]
	vector := slices.Clone(db.Links(origin))
	switch what := rng.IntN(10); {
	case what == 0 && origin != self:
		away[origin] = vector
		db.Remove(origin)
		return
	case what == 1 && len(away) > 0:
		for id, links := range away {
			db.Set(id, links)
			delete(away, id)
			return
		}
	case what == 2 && len(vector) > 0:
		vector = slices.Delete(vector, 0, 1)
	case what == 3 && self != origin:
		vector = append(vector, Link{self, 700})
		own := append(slices.Clone(db.Links(self)), Link{origin, 700})
		db.Set(self, own)
	case len(vector) > 0:
		vector[rng.IntN(len(vector))].Cost = 500 + rng.Uint32N(40_000)
	}
	db.Set(origin, vector)
}

// A node with links to more neighbors than can be alternates has the cheapest of them as such, and every direct link for its own node.
func TestAlternatesAreBounded(t *testing.T) {
	const n = alternatesMost + 50
	db := NewDatabase()
	hub := wire.NodeID(1)
	var own []Link
	for i := range n {
		id := wire.NodeID(2 + i)
		cost := uint32(1000 + 10*i)
		own = append(own, Link{id, cost})
		db.Set(id, []Link{{hub, cost}, {id - 1, 5}, {id + 1, 5}}) // a chain beside the star
	}
	db.Set(hub, own)
	p := NewPlanner(hub)
	table := p.Compute(db)
	if len(p.near) != alternatesMost {
		t.Errorf("distances from %d neighbors are kept", len(p.near))
	}
	for dst, r := range table.All() {
		if dst == 2 || r.NextHop == dst {
			continue
		}
		if r.Alternate == 0 {
			t.Errorf("no alternate to %d: %+v", dst, r)
		}
		if int(dst)-2 >= alternatesMost && r.Alternate != 3 && r.Alternate != dst {
			t.Errorf("the alternate to %d is %d", dst, r.Alternate)
		}
	}
}
