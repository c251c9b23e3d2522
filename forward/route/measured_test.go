package route

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/fastpubsub/fastpubsub/testdata"
)

// hopCost is what a link costs beyond its delay, in microseconds: the default of package latency.
const hopCost = 500

// measured is a full mesh over real latencies: each end claims half of the round trip it measured, plus the hop.
func measured(t testing.TB, csv []byte) model {
	t.Helper()
	matrix, err := wan.ParseMatrix(bytes.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	m := make(model)
	for i := range matrix.Len() {
		vector := make(map[wire.NodeID]uint32)
		for j := range matrix.Len() {
			if delay, ok := matrix.OneWay(i, j); ok && i != j {
				vector[wire.NodeID(j+1)] = uint32(delay/time.Microsecond) + hopCost
			}
		}
		m[wire.NodeID(i+1)] = vector
	}
	return m
}

func wonderproxy245(t testing.TB) model {
	t.Helper()
	csv, err := os.ReadFile("../../testdata/latency/wonderproxy245_2020-07.csv")
	if err != nil {
		t.Fatal(err)
	}
	return measured(t, csv)
}

// The whole mesh of 36 cities: every route is the oracle's, every message takes it, every alternate is loop-free, and
// the overlay is worth having.
func TestMetro36(t *testing.T) {
	m := measured(t, testdata.Metro36CSV())
	dist, tables := m.distances(m.nodes()), m.tables()
	relayed, routes, alternates := 0, 0, 0
	for _, table := range tables {
		if err := m.check(table, dist); err != nil {
			t.Fatal(err)
		}
		for dst, r := range table.All() {
			routes++
			if r.Cost > r.DirectCost {
				t.Errorf("%d to %d costs %d; direct %d", table.Self(), dst, r.Cost, r.DirectCost)
			}
			if r.NextHop != dst {
				relayed++
			}
			if r.Alternate != 0 {
				alternates++
			}
		}
	}
	if err := m.checkForwarding(tables); err != nil {
		t.Error(err)
	}
	if routes != 36*35 || alternates != routes || relayed < routes/2 {
		t.Errorf("%d routes, %d relayed, %d with an alternate; want 1260, over half of them relayed, all with one",
			routes, relayed, alternates)
	}
}

// The large set, which has holes, from every fortieth site.
func TestWonderproxy245(t *testing.T) {
	m := wonderproxy245(t)
	nodes := m.nodes()
	var origins []wire.NodeID
	for some := range slices.Chunk(nodes, 40) {
		origins = append(origins, some[0])
	}
	db, dist := m.database(nodes), m.distances(origins)
	for _, self := range origins {
		table := Compute(self, db)
		if table.Len() != len(nodes)-1 {
			t.Errorf("%d destinations; want %d", table.Len(), len(nodes)-1)
		}
		for dst, r := range table.All() {
			want := dist[self][dst]
			if r.Cost != want.reported() || int(r.Hops) != want.hops {
				t.Errorf("%d to %d: %+v; want %v", self, dst, r, want)
			}
			var total length
			path := table.Path(dst)
			for i, at := range path[1:] {
				l, ok := m.link(path[i], at)
				if !ok {
					t.Fatalf("path %v: no link from %d to %d", path, path[i], at)
				}
				total = total.plus(l)
			}
			if total != want || path[1] != r.NextHop {
				t.Errorf("path %v costs %v; want %v", path, total, want)
			}
		}
	}
}
