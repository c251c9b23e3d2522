package mesh

import (
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
)

// ageBounds are those of a histogram of ages, in ms.
func ageBounds() []float64 {
	return []float64{1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000, 2000}
}

const ageBuckets = 16 // one for each bound, and one for what is more

// ages counts how old messages are when they come. Any number of goroutines may add.
type ages struct {
	bounds [ageBuckets - 1]time.Duration
	counts [ageBuckets]atomic.Uint64
	sum    atomic.Uint64 // µs
}

func newAges() *ages {
	a := &ages{}
	for i, ms := range ageBounds() {
		a.bounds[i] = time.Duration(ms * float64(time.Millisecond))
	}
	return a
}

// add counts a message.
func (a *ages) add(age time.Duration) {
	i := 0
	for i < len(a.bounds) && age > a.bounds[i] {
		i++
	}
	a.counts[i].Add(1)
	a.sum.Add(uint64(age / time.Microsecond))
}

// view is the counts so far.
func (a *ages) view() core.Histogram {
	h := core.Histogram{Bounds: ageBounds(), Sum: float64(a.sum.Load()) / 1000}
	for i := range a.counts {
		h.Counts = append(h.Counts, a.counts[i].Load())
	}
	return h
}
