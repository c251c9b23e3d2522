package scale

import (
	"math"
	"slices"
	"time"
)

const stretchSources = 150 // nodes whose paths are looked at, at most

// stretch compares, for pairs that carry traffic, the path taken with the shortest there is over links between any nodes, where each hop takes a
// time besides.
func (w *World) stretch(hop time.Duration) (s Stretch) {
	var ratios []float64
	step := max(1, len(w.nodes)/stretchSources)
	for from := 0; from < len(w.nodes); from += step {
		if !w.nodes[from].alive || len(w.flows.to) == 0 || len(w.flows.to[from]) == 0 {
			continue
		}
		best := w.shortest(from, hop)
		for _, to := range w.flows.to[from] {
			path := w.path(from, to)
			if path == nil {
				continue
			}
			var taken time.Duration
			for k := 1; k < len(path); k++ {
				taken += w.delay(path[k-1], path[k]) + hop
			}
			s.Pairs++
			s.Longest = max(s.Longest, best[to])
			ratios = append(ratios, float64(taken)/float64(best[to]))
			s.Mean += float64(taken) / float64(best[to])
			if taken > w.delay(from, to)+hop+slowerBy {
				s.Slower++
			}
		}
	}
	if s.Pairs == 0 {
		return s
	}
	slices.Sort(ratios)
	s.Mean /= float64(s.Pairs)
	s.Slower /= float64(s.Pairs)
	s.P99 = ratios[min(len(ratios)-1, len(ratios)*99/100)]
	return s
}

// shortest are the delays of the shortest paths from one node over links between any: Dijkstra on the complete graph, without a heap.
func (w *World) shortest(from int, hop time.Duration) []time.Duration {
	n := len(w.nodes)
	dist, done := make([]time.Duration, n), make([]bool, n)
	for i := range dist {
		dist[i] = math.MaxInt64
	}
	dist[from] = 0
	for {
		at := -1
		for i, d := range dist {
			if !done[i] && d < math.MaxInt64 && (at < 0 || d < dist[at]) {
				at = i
			}
		}
		if at < 0 {
			return dist
		}
		done[at] = true
		for to := range dist {
			if !done[to] && w.nodes[to].alive {
				dist[to] = min(dist[to], dist[at]+w.delay(at, to)+hop)
			}
		}
	}
}
