package route

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// R1, R2 and the choice of next hop and alternate.
func TestRoutesEqualOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		dist := m.distances(m.nodes())
		for _, table := range m.tables() {
			if err := m.check(table, dist); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// R3, R4.
func TestForwardingIsLoopFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		if err := m.checkForwarding(m.tables()); err != nil {
			t.Fatal(err)
		}
	})
}

// R5: a database that came to be in another order, by way of other vectors, gives the same table.
func TestTableIsOrderIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		nodes := m.nodes()
		straight := m.database(nodes)
		devious := NewDatabase()
		for range rapid.IntRange(0, 5).Draw(t, "detours") {
			origin := wire.NodeID(rapid.Uint64().Draw(t, "origin"))
			devious.Set(origin, []Link{{rapid.SampledFrom(nodes).Draw(t, "to"), 1}})
			devious.Remove(origin)
			devious.Set(rapid.SampledFrom(nodes).Draw(t, "known"), []Link{{origin, 3}})
		}
		other := m.database(rapid.Permutation(nodes).Draw(t, "order"))
		for _, origin := range rapid.Permutation(nodes).Draw(t, "order") {
			devious.Set(origin, other.Links(origin))
		}
		for _, self := range nodes {
			want := Compute(self, straight)
			for _, db := range []*Database{other, devious} {
				if got := Compute(self, db); !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v; want %+v", got, want)
				}
			}
		}
	})
}

// R7, and R3 for it: routes around some relays are the shortest without them, and following them passes none.
func TestAvoiding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		avoided := rapid.SliceOfN(rapid.SampledFrom(m.nodes()), 0, 3).Draw(t, "avoided")
		tables := m.tables()
		for id, table := range tables {
			tables[id] = table.Avoiding(avoided)
		}
		for self, table := range tables {
			within := maps.Clone(m) // without the avoided relays, but for self
			maps.DeleteFunc(within, func(id wire.NodeID, _ map[wire.NodeID]uint32) bool { return id != self && slices.Contains(avoided, id) })
			for dst := range m {
				best, reached := length{}, false // the last link may lead to an avoided node
				for last, dist := range within.distances([]wire.NodeID{self})[self] {
					l, linked := m.link(last, dst)
					if total := dist.plus(l); linked && dst != self && (!reached || total.compare(best) < 0) {
						best, reached = total, true
					}
				}
				r, ok := table.Lookup(dst)
				if ok != reached || ok && (r.Cost != best.reported() || int(r.Hops) != best.hops || r.Alternate != 0 && r.Alternate != dst) {
					t.Fatalf("%v to %v avoiding %v: %+v, %v; want %+v, %v", self, dst, avoided, r, ok, best, reached)
				}
				for at, hops := self, 0; ok && at != dst; hops++ {
					next, _ := tables[at].Lookup(dst)
					if hops > best.hops || next.NextHop != dst && slices.Contains(avoided, next.NextHop) {
						t.Fatalf("%v to %v avoiding %v: by %v after %d hops", self, dst, avoided, next.NextHop, hops)
					}
					at = next.NextHop
				}
			}
		}
	})
}

// R6: Set against a naive screen, on vectors full of what no honest origin sends.
func TestSetScreensAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Map(rapid.Uint64Range(0, 6), func(v uint64) wire.NodeID { return wire.NodeID(v) })
		link := rapid.Custom(func(t *rapid.T) Link {
			return Link{id.Draw(t, "to"), rapid.Uint32Range(0, 5).Draw(t, "cost")}
		})
		db, m := NewDatabase(), make(model)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			origin := id.Draw(t, "origin")
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				if _, known := m[origin]; db.Remove(origin) != known {
					t.Fatalf("Remove(%d) = %v", origin, !known)
				}
				delete(m, origin)
				continue
			}
			links := rapid.SliceOfN(link, 0, 12).Draw(t, "links")
			vector := make(map[wire.NodeID]uint32)
			for _, l := range links {
				if l.To != 0 && l.To != origin && l.Cost > 0 {
					vector[l.To] = max(vector[l.To], l.Cost)
				}
			}
			old, known := m[origin]
			if changed := origin != 0 && (!known || !maps.Equal(old, vector)); db.Set(origin, links) != changed {
				t.Fatalf("Set(%d, %v) = %v", origin, links, !changed)
			}
			if origin != 0 {
				m[origin] = vector
			}
		}
		dist := m.distances(m.nodes())
		for self := range m {
			if err := m.check(Compute(self, db), dist); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The queue gives back what it was given, in order.
func TestQueueSorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		dists := rapid.SliceOfN(rapid.Uint64Range(0, 50), 0, 60).Draw(t, "dists")
		for i, d := range dists {
			q.push(entry{metric(d), int32(i)})
		}
		slices.Sort(dists)
		for i, want := range dists {
			if got := q.pop(); got.dist != metric(want) {
				t.Fatalf("pop %d: %d; want %d", i, got.dist, want)
			}
		}
		if !q.empty() {
			t.Fatal("not empty at the end")
		}
	})
}

// seek against a linear search.
func TestSeek(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 60), 0, 40, rapid.ID).Draw(t, "ids")
		var ids []wire.NodeID
		for _, id := range raw {
			ids = append(ids, wire.NodeID(id))
		}
		slices.Sort(ids)
		at := rapid.IntRange(0, len(ids)).Draw(t, "at")
		id := wire.NodeID(rapid.Uint64Range(0, 61).Draw(t, "id"))
		want := at
		for want < len(ids) && ids[want] < id {
			want++
		}
		if got := seek(ids, at, id); got != want {
			t.Fatalf("seek(%v, %d, %d) = %d; want %d", ids, at, id, got, want)
		}
	})
}
