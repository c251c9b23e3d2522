package interest

import (
	"fmt"
	"math/rand/v2"
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
			own[i] = Key(rng.Uint64())
		}
		if id%16 == 0 {
			own[0] = query[len(query)-1]
		}
		x.Set(wire.NodeID(id), of(leastFor(keys), own...))
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
	l.resize(leastFor(1000))
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
