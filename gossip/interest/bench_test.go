package interest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// meshOf is an index of nodes with so many keys each, and the query for a channel that every 16th of them wants.
func meshOf(nodes, keys int, name string) (*Index, []Key) {
	rng := rand.New(rand.NewPCG(1, 2))
	query := AppendQuery(nil, "~", name)
	x := new(Index)
	for id := range nodes {
		own := make([]Key, keys)
		for i := range own {
			own[i] = exactKey(rng.Uint64())
		}
		if id%16 == 0 {
			own[0] = query[len(query)-1]
		}
		x.Set(wire.NodeID(id), of(usual.leastFor(keys), own...))
	}
	return x, query
}

func BenchmarkLookup(b *testing.B) {
	for _, tc := range []struct{ nodes, keys int }{{36, 100}, {36, 1000}, {36, 10_000}, {1000, 100}, {1000, 1000}, {1000, 1700}} {
		b.Run(fmt.Sprintf("nodes=%d/keys=%d", tc.nodes, tc.keys), func(b *testing.B) {
			x, query := meshOf(tc.nodes, tc.keys, "a.b.c")
			dst := make([]wire.NodeID, 0, tc.nodes)
			b.ReportAllocs()
			for b.Loop() {
				dst = x.Lookup(dst[:0], query)
			}
			b.ReportMetric(float64(len(dst)), "found")
		})
	}
}

// BenchmarkLookupCold asks for another channel each time: rows are not in the first-level cache.
func BenchmarkLookupCold(b *testing.B) {
	x, _ := meshOf(1000, 1000, "a.b.c")
	queries := make([][]Key, 4096)
	for i := range queries {
		queries[i] = AppendQuery(nil, "~", fmt.Sprint("a.", i%64, ".", i))
	}
	dst := make([]wire.NodeID, 0, 1000)
	i := 0
	for b.Loop() {
		dst = x.Lookup(dst[:0], queries[i%len(queries)])
		i++
	}
}

// bigMesh is an index of 1,000 nodes with 1,000,000 keys in all, told apart as real ones would be: one node has 100,000, one half of that, one a
// third, ... until all keys but those of the smallest nodes are spent. It is the many sizes of filters that make this harder than 1,000 keys each.
// Of every node's keys the given share are trees of none to three tokens.
func bigMesh(trees float64) (x *Index, keys int) {
	rng := rand.New(rand.NewPCG(3, 4))
	x = new(Index)
	for i := range 1000 {
		own := make([]Key, max(100_000/(i+1), 506))
		for k := range own {
			own[k] = exactKey(rng.Uint64())
			if rng.Float64() < trees {
				own[k] = treeKey(rng.Uint64(), rng.IntN(4))
			}
		}
		keys += len(own)
		x.Set(wire.NodeID(i+1), of(usual.leastFor(len(own)), own...))
	}
	return x, keys
}

// BenchmarkBigMesh is the lookup that a publish makes in a mesh of 1,000 nodes and 1,000,000 channels, for another channel each time: where nobody
// subscribes by wildcards, where one key in 1,000 does, and where every node does at every depth.
func BenchmarkBigMesh(b *testing.B) {
	for _, trees := range []float64{0, 0.001, 0.5} {
		b.Run(fmt.Sprint("trees=", trees), func(b *testing.B) {
			before := heap()
			x, keys := bigMesh(trees)
			kept := heap() - before
			queries := make([][]Key, 4096)
			for i := range queries {
				queries[i] = AppendQuery(nil, "~", fmt.Sprint("a.", i%64, ".", i))
			}
			dst := make([]wire.NodeID, 0, 1000)
			i, found := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				dst = x.Lookup(dst[:0], queries[i%len(queries)])
				found += len(dst)
				i++
			}
			b.ReportMetric(float64(found)/float64(i), "false/op")
			b.ReportMetric(float64(keys), "keys")
			b.ReportMetric(float64(len(x.current.Load().classes)), "sizes")
			b.ReportMetric(float64(kept)/1000, "kB-kept")
		})
	}
}

// heap is the memory in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkLookupParallel(b *testing.B) {
	x, query := meshOf(1000, 1000, "a.b.c")
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]wire.NodeID, 0, 1000)
		for pb.Next() {
			dst = x.Lookup(dst[:0], query)
		}
	})
}

func BenchmarkAppendQuery(b *testing.B) {
	dst := make([]Key, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendQuery(dst[:0], "acme", "market.eu.ticker")
	}
}

// BenchmarkFlush is one pattern that comes or goes on a node with 1,000, told as a delta.
func BenchmarkFlush(b *testing.B) {
	l := NewLocal()
	rng := rand.New(rand.NewPCG(1, 2))
	for len(l.added) < 1000 {
		l.added[Key(rng.Uint64())] = 1
	}
	l.resize(usual.leastFor(1000))
	l.Flush()
	p := mustPattern(b, "market.eu.ticker")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			l.Add("acme", p)
		} else {
			l.Remove("acme", p)
		}
		l.Flush()
	}
}

// BenchmarkJoin is a node that enters an index of 1,000 and leaves again.
func BenchmarkJoin(b *testing.B) {
	x, _ := meshOf(1000, 1000, "a.b.c")
	f := x.nodes[7].filter.clone()
	for b.Loop() {
		x.Set(5000, f)
		x.Remove(5000)
	}
}

// BenchmarkRebuild is a class of 1,000 nodes written anew, as when it doubles.
func BenchmarkRebuild(b *testing.B) {
	x, _ := meshOf(1000, 1000, "a.b.c")
	c := x.classes()[0]
	for b.Loop() {
		x.rebuild(c, c.log2Slots)
	}
}
