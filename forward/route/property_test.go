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
