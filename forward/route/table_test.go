package route

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// parse reads a mesh from words such as "1-2:10" (both ends claim 10) and "1>2:10" (only node 1 claims).
func parse(t testing.TB, text string) model {
	t.Helper()
	m := make(model)
	for word := range strings.FieldsSeq(text) {
		var a, b wire.NodeID
		var kind rune
		var cost uint32
		if _, err := fmt.Sscanf(word, "%d%c%d:%d", &a, &kind, &b, &cost); err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		for _, id := range []wire.NodeID{a, b} {
			if m[id] == nil {
				m[id] = make(map[wire.NodeID]uint32)
			}
		}
		m[a][b] = cost
		if kind == '-' {
			m[b][a] = cost
		}
	}
	return m
}

func TestCompute(t *testing.T) {
	const far = math.MaxUint32
	tests := []struct {
		name, mesh string
		want       map[wire.NodeID]Route // from node 1
		path       []wire.NodeID         // to node 4
	}{
		{
			"a relay beats the direct link, which stays as the alternate", "1-2:10 2-4:10 1-4:50",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Alternate: 4, Cost: 10, AlternateCost: 60, DirectCost: 10, Hops: 1},
				4: {NextHop: 2, Alternate: 4, Cost: 20, AlternateCost: 50, DirectCost: 50, Hops: 2},
			},
			[]wire.NodeID{1, 2, 4},
		},
		{
			"the worse claim counts", "1>2:10 2>1:30 2-4:10 1-4:35",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Alternate: 4, Cost: 30, AlternateCost: 45, DirectCost: 30, Hops: 1},
				4: {NextHop: 4, Alternate: 2, Cost: 35, AlternateCost: 40, DirectCost: 35, Hops: 1},
			},
			[]wire.NodeID{1, 4},
		},
		{
			"a link that one end advertises is none", "1>2:10 2-4:10 1-4:35",
			map[wire.NodeID]Route{
				2: {NextHop: 4, Cost: 45, Hops: 2},
				4: {NextHop: 4, Cost: 35, DirectCost: 35, Hops: 1},
			},
			[]wire.NodeID{1, 4},
		},
		{
			"a neighbor that would send it back is no alternate", "1-4:10 1-2:10 2-4:21",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Cost: 10, DirectCost: 10, Hops: 1},
				4: {NextHop: 4, Cost: 10, DirectCost: 10, Hops: 1},
			},
			[]wire.NodeID{1, 4},
		},
		{
			"one whose own path is as cheap but has fewer hops is one", "1-4:10 1-2:10 2-4:20",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Alternate: 4, Cost: 10, AlternateCost: 30, DirectCost: 10, Hops: 1},
				4: {NextHop: 4, Alternate: 2, Cost: 10, AlternateCost: 30, DirectCost: 10, Hops: 1},
			},
			[]wire.NodeID{1, 4},
		},
		{
			"equal cost: fewer hops, then the least ID", "1-2:10 1-3:10 2-4:10 3-4:10 1-5:5 5-4:15",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Cost: 10, DirectCost: 10, Hops: 1},
				3: {NextHop: 3, Cost: 10, DirectCost: 10, Hops: 1},
				4: {NextHop: 2, Alternate: 3, Cost: 20, AlternateCost: 20, Hops: 2},
				5: {NextHop: 5, Cost: 5, DirectCost: 5, Hops: 1},
			},
			[]wire.NodeID{1, 2, 4},
		},
		{
			"the least ID decides where paths part, not where they meet", "1-2:1 1-3:1 2-9:1 3-8:1 9-4:1 8-4:1",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Cost: 1, DirectCost: 1, Hops: 1},
				3: {NextHop: 3, Cost: 1, DirectCost: 1, Hops: 1},
				4: {NextHop: 2, Alternate: 3, Cost: 3, AlternateCost: 3, Hops: 3},
				8: {NextHop: 3, Cost: 2, Hops: 2},
				9: {NextHop: 2, Cost: 2, Hops: 2},
			},
			[]wire.NodeID{1, 2, 9, 4},
		},
		{
			"parts without connection", "1-2:10 4-5:10",
			map[wire.NodeID]Route{2: {NextHop: 2, Cost: 10, DirectCost: 10, Hops: 1}},
			nil,
		},
		{
			"sums saturate, and still order", "1-2:4294967295 2-3:4294967295 3-4:4294967295 1-4:4294967295",
			map[wire.NodeID]Route{
				2: {NextHop: 2, Cost: far, DirectCost: far, Hops: 1},
				3: {NextHop: 2, Alternate: 4, Cost: far, AlternateCost: far, Hops: 2},
				4: {NextHop: 4, Cost: far, DirectCost: far, Hops: 1},
			},
			[]wire.NodeID{1, 4},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := parse(t, tt.mesh)
			table := Compute(1, m.database(m.nodes()))
			if got := maps.Collect(table.All()); !maps.Equal(got, tt.want) {
				t.Errorf("routes %+v; want %+v", got, tt.want)
			}
			if got := table.Path(4); !slices.Equal(got, tt.path) {
				t.Errorf("path %v; want %v", got, tt.path)
			}
			if err := m.checkForwarding(m.tables()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTableEdges(t *testing.T) {
	m := parse(t, "9-2:1 2-5:1 5-7:1 3>9:1")
	table := Compute(9, m.database(m.nodes()))
	if table.Self() != 9 || table.Len() != 3 {
		t.Errorf("Self %d, Len %d; want 9, 3", table.Self(), table.Len())
	}
	var order []wire.NodeID
	for id := range table.All() {
		order = append(order, id)
	}
	if want := []wire.NodeID{2, 5, 7}; !slices.Equal(order, want) {
		t.Errorf("All yields %v; want %v", order, want)
	}
	for range table.All() {
		break // must be safe
	}
	if _, ok := table.Lookup(9); ok {
		t.Error("a route to self")
	}
	if got := table.Path(9); !slices.Equal(got, []wire.NodeID{9}) {
		t.Errorf("path to self %v", got)
	}
	for _, id := range []wire.NodeID{0, 3, 4} {
		if _, ok := table.Lookup(id); ok || table.Path(id) != nil {
			t.Errorf("a route to %d", id)
		}
	}
	for _, db := range []*Database{NewDatabase(), m.database(m.nodes())} {
		stranger := Compute(100, db)
		if _, ok := stranger.Lookup(2); ok || stranger.Len() != 0 || stranger.Path(2) != nil || stranger.Self() != 100 {
			t.Error("a node without a vector has a route")
		}
	}
}

func TestLongChain(t *testing.T) {
	db := NewDatabase()
	const n = 2000
	for i := wire.NodeID(1); i <= n; i++ {
		db.Set(i, []Link{{i - 1, math.MaxUint32}, {i + 1, math.MaxUint32}})
	}
	table := Compute(1, db)
	r, ok := table.Lookup(n)
	if want := (Route{NextHop: 2, Cost: math.MaxUint32, Hops: math.MaxUint8}); !ok || r != want {
		t.Errorf("%+v, %v; want %+v", r, ok, want)
	}
	if got := len(table.Path(n)); got != n {
		t.Errorf("a path over %d nodes; want %d", got, n)
	}
}

// The metric of the longest path at the greatest cost stays in order and below infinity.
func TestMetricHoldsAnyPath(t *testing.T) {
	longest := (MaxOrigins - 1) * linkMetric(math.MaxUint32)
	if longest >= infinity || longest <= longest-linkMetric(1) || longest&(1<<hopBits-1) != MaxOrigins-1 {
		t.Errorf("longest path %#x, infinity %#x", longest, infinity)
	}
	if infinity+infinity < infinity || infinity+linkMetric(math.MaxUint32) < infinity {
		t.Error("a sum with infinity overflows")
	}
}

// A table shares nothing with the database, and readers need no lock: the race detector watches.
func TestTableIsImmutable(t *testing.T) {
	m := parse(t, "1-2:10 2-4:10 1-4:50 4-5:1")
	db := m.database(m.nodes())
	table := Compute(1, db)
	want, path := maps.Collect(table.All()), table.Path(5)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 100 {
				for id, r := range want {
					if got, ok := table.Lookup(id); !ok || got != r || len(table.Path(id)) != int(r.Hops)+1 {
						t.Errorf("route to %d became %+v", id, got)
					}
				}
			}
		})
	}
	db.Remove(1) // moves every other origin of the database
	for range 100 {
		db.Set(3, []Link{{4, 1}})
		db.Set(2, []Link{{4, 9}})
		db.Remove(3)
		db.Set(2, nil)
		Compute(1, db)
	}
	readers.Wait()
	if got := maps.Collect(table.All()); !maps.Equal(got, want) || !slices.Equal(table.Path(5), path) {
		t.Errorf("routes became %v, path %v; want %v, %v", got, table.Path(5), want, path)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m := parse(t, "1-2:10 2-4:10 1-4:50")
	table := Compute(1, m.database(m.nodes()))
	if n := testing.AllocsPerRun(100, func() { table.Lookup(4) }); n != 0 {
		t.Errorf("%v allocations per Lookup", n)
	}
}
