package route

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/fastpubsub/fastpubsub/testdata"
)

// plane is n nodes on a square of 80 ms with as many links each as said; noise makes relays worth while, as in real
// networks.
func plane(n, degree int) *Database {
	r := rand.New(rand.NewPCG(1, 2))
	ids, x, y := make([]wire.NodeID, n), make([]float64, n), make([]float64, n)
	for i := range n {
		ids[i], x[i], y[i] = wire.NodeID(r.Uint64()), r.Float64(), r.Float64()
	}
	vectors := make([][]Link, n)
	link := func(i, j int) {
		dx, dy := x[i]-x[j], y[i]-y[j]
		cost := 500 + uint32((dx*dx+dy*dy)*80_000) + r.Uint32N(20_000)
		vectors[i] = append(vectors[i], Link{ids[j], cost})
		vectors[j] = append(vectors[j], Link{ids[i], cost + r.Uint32N(500)})
	}
	for i := range n {
		if degree == n-1 {
			for j := range i {
				link(i, j)
			}
			continue
		}
		for range degree / 2 {
			link(i, r.IntN(n))
		}
	}
	db := NewDatabase()
	for i, id := range ids {
		db.Set(id, vectors[i])
	}
	return db
}

func BenchmarkCompute(b *testing.B) {
	m := measured(b, testdata.Metro36CSV())
	for _, c := range []struct {
		name string
		db   *Database
	}{
		{"metro36", m.database(m.nodes())},
		{"mesh36", plane(36, 35)},
		{"mesh128", plane(128, 127)},
		{"sparse1000x12", plane(1000, 12)},
	} {
		b.Run(c.name, func(b *testing.B) {
			self := c.db.origins[c.db.Len()/2]
			b.ReportAllocs()
			for b.Loop() {
				Compute(self, c.db)
			}
		})
	}
}

// BenchmarkLinkChange is a table computed again after one link costs something else, which is what most changes are. Reported too is what a node
// keeps of a mesh: its own state, and each table.
func BenchmarkLinkChange(b *testing.B) {
	for _, c := range []struct {
		name      string
		n, degree int
	}{{"mesh128", 128, 127}, {"sparse1000x12", 1000, 12}, {"sparse1000x24", 1000, 24}, {"sparse10000x24", 10_000, 24}} {
		db := plane(c.n, c.degree)
		p := NewPlanner(db.origins[c.n/2])
		var table *Table
		before := heap()
		table = p.Compute(db)
		state := heap() - before
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			b.ReportAllocs()
			for b.Loop() {
				origin := db.origins[r.IntN(c.n)]
				vector := slices.Clone(db.Links(origin))
				vector[r.IntN(len(vector))].Cost = 500 + r.Uint32N(60_000)
				db.Set(origin, vector)
				table = p.Compute(db)
			}
			b.ReportMetric(float64(state)/1000, "kB-kept")
		})
		runtime.KeepAlive(table)
	}
}

// BenchmarkNewOrigin is what a node that begins meets: an origin that it did not know, again and again.
func BenchmarkNewOrigin(b *testing.B) {
	db := plane(1000, 24)
	self, stranger := db.origins[500], db.origins[250]
	vector := slices.Clone(db.Links(stranger))
	p := NewPlanner(self)
	p.Follow(db)
	b.ReportAllocs()
	for b.Loop() {
		db.Remove(stranger)
		p.Follow(db)
		db.Set(stranger, vector)
		p.Follow(db)
	}
}

// heap is the memory in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkLookup(b *testing.B) {
	db := plane(1000, 12)
	table := Compute(db.origins[0], db)
	// Lookups in another order than that of the IDs, so that the processor cannot guess.
	ids := make([]wire.NodeID, 1024)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range ids {
		ids[i] = db.origins[r.IntN(db.Len())]
	}
	i := 0
	for b.Loop() {
		table.Lookup(ids[i%len(ids)])
		i++
	}
}
