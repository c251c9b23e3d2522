package scale

import (
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

// Times within a place where several nodes are.
const (
	nearLeast = 100 * time.Microsecond
	nearMost  = 400 * time.Microsecond
	detour    = 10 * time.Millisecond // what a path that was not measured takes beyond the best that was, over one relay
)

// Sites are places and the one-way delays between them.
type Sites struct{ oneWay [][]time.Duration }

// Len is the number of sites.
func (s *Sites) Len() int { return len(s.oneWay) }

// SitesOf are the sites of measured latencies. What was measured are round trips, from either end at another time; how a round trip divides is not known to anybody, so
// both ways take a quarter of the two together. Few pairs were not measured at all: these take what one relay would, and 10 ms more.
func SitesOf(m *wan.Matrix) *Sites {
	s := &Sites{oneWay: make([][]time.Duration, m.Len())}
	for i := range s.oneWay {
		s.oneWay[i] = make([]time.Duration, m.Len())
		for j := range s.oneWay[i] {
			delay, ok := m.OneWay(i, j)
			if !ok {
				delay = relayed(m, i, j)
			}
			s.oneWay[i][j] = delay
		}
	}
	for i := range s.oneWay {
		for j := range i {
			mean := (s.oneWay[i][j] + s.oneWay[j][i]) / 2
			s.oneWay[i][j], s.oneWay[j][i] = mean, mean
		}
	}
	return s
}

func relayed(m *wan.Matrix, i, j int) time.Duration {
	best := 500 * time.Millisecond
	for k := range m.Len() {
		a, ok := m.OneWay(i, k)
		b, ok2 := m.OneWay(k, j)
		if ok && ok2 {
			best = min(best, a+b+detour)
		}
	}
	return best
}

// Draw puts n nodes on sites at random, no site twice before each has been taken, and is the delay between the nodes. Nodes of one site are a fraction of a
// millisecond apart.
func (s *Sites) Draw(n int, seed uint64) Delay {
	rnd := rand.New(rand.NewPCG(seed, 0x517e5))
	at, near := make([]int, n), make([]time.Duration, n)
	var left []int
	for i := range at {
		if len(left) == 0 {
			left = rnd.Perm(s.Len())
		}
		at[i], left = left[0], left[1:]
		near[i] = nearLeast/2 + time.Duration(rnd.Int64N(int64(nearMost-nearLeast)/2))
	}
	return func(from, to int) time.Duration { return near[from] + s.oneWay[at[from]][at[to]] + near[to] }
}
