package wan

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// MaxSites is how many sites a Matrix holds.
const MaxSites = 1024

// Unreachable is what Oracle says of a pair that no path connects.
const Unreachable = time.Duration(math.MaxInt64)

// unmeasured marks a round trip that was not measured.
const unmeasured = time.Duration(-1)

// Matrix is the measured latency between every ordered pair of sites. Sites are numbered from 0 in the order of their
// names; a method panics on a number that is not a site's. A Matrix never changes and is safe for concurrent use.
type Matrix struct {
	names  []string        // ascending
	rtt    []time.Duration // from*Len()+to: round trip, or unmeasured
	jitter []time.Duration // from*Len()+to: mean deviation of the round trip
}

// newMatrix makes a matrix in which only the round trip of a site to itself is known.
func newMatrix(names []string) *Matrix {
	n := len(names)
	m := &Matrix{names: names, rtt: slices.Repeat([]time.Duration{unmeasured}, n*n), jitter: make([]time.Duration, n*n)}
	for i := range n {
		m.rtt[m.at(i, i)] = 0
	}
	return m
}

func (m *Matrix) at(from, to int) int { return from*len(m.names) + to }

// Len is the number of sites.
func (m *Matrix) Len() int { return len(m.names) }

// Names are the names of the sites in ascending order: site i is Names()[i]. The caller owns the slice.
func (m *Matrix) Names() []string { return slices.Clone(m.names) }

// Index is the number of the site of that name.
func (m *Matrix) Index(name string) (int, bool) { return slices.BinarySearch(m.names, name) }

// OneWay is the delay of the direct path: half of the round trip measured from one site to the other, as measured, so
// that the two directions may differ slightly. Where only the other direction was measured it is half of that. It
// reports false, with delay 0, where no path is known.
func (m *Matrix) OneWay(from, to int) (time.Duration, bool) {
	rtt := m.rtt[m.at(from, to)]
	if rtt == unmeasured {
		return 0, false
	}
	return rtt / 2, true
}

// Jitter is half of the mean deviation of the same round trip; 0 where it was not measured.
func (m *Matrix) Jitter(from, to int) time.Duration { return m.jitter[m.at(from, to)] / 2 }

// Subset is the matrix of the named sites alone. A name that is unknown or given twice is an error.
func (m *Matrix) Subset(names []string) (*Matrix, error) {
	sorted := slices.Sorted(slices.Values(names))
	sites := make([]int, len(sorted))
	for i, name := range sorted {
		site, ok := m.Index(name)
		if !ok {
			return nil, fmt.Errorf("wan: no site is named %q", name)
		}
		if i > 0 && name == sorted[i-1] {
			return nil, fmt.Errorf("wan: site %q is given twice", name)
		}
		sites[i] = site
	}
	sub := newMatrix(sorted)
	for i, from := range sites {
		for j, to := range sites {
			sub.rtt[sub.at(i, j)] = m.rtt[m.at(from, to)]
			sub.jitter[sub.at(i, j)] = m.jitter[m.at(from, to)]
		}
	}
	return sub, nil
}

// Spread picks n sites far from one another, so that a small cluster spans continents: first the two that are farthest
// apart, then each time the site whose nearest picked site is farthest (Gonzalez, Theoretical Computer Science 38,
// 1985). Distance is the round trip, the shorter of both directions; a pair without a known path counts as near, which
// leaves its sites for last. The choice is deterministic, equals going to the lesser name, and a smaller n gives a
// prefix. n is clamped to 0..Len().
func (m *Matrix) Spread(n int) []string {
	n = min(max(n, 0), m.Len())
	picked := make([]string, 0, n)
	nearest := make([]time.Duration, m.Len()) // to the nearest picked site; before there is one, to the farthest site
	for i := range nearest {
		for j := range nearest {
			nearest[i] = max(nearest[i], m.distance(i, j))
		}
	}
	for len(picked) < n {
		site := farthest(nearest)
		first := len(picked) == 0
		picked = append(picked, m.names[site])
		for i := range nearest {
			switch d := m.distance(site, i); {
			case i == site:
				nearest[i] = -1 // below any distance: never again
			case first:
				nearest[i] = d
			default:
				nearest[i] = min(nearest[i], d)
			}
		}
	}
	return picked
}

// farthest is the first index of the greatest distance.
func farthest(distances []time.Duration) int {
	best := 0
	for i, d := range distances {
		if d > distances[best] {
			best = i
		}
	}
	return best
}

// distance is the shorter round trip of both directions, 0 where no path is known.
func (m *Matrix) distance(a, b int) time.Duration {
	return max(0, min(m.rtt[m.at(a, b)], m.rtt[m.at(b, a)]))
}

// Oracle is the shortest one-way delay between every ordered pair, over any number of relays, each of which costs hop
// (0 to an hour, clamped): what a perfect overlay would reach, for judging a real one. Pairs that nothing connects are
// Unreachable. The algorithm is Floyd–Warshall (Communications of the ACM 5(6), 1962).
func (m *Matrix) Oracle(hop time.Duration) [][]time.Duration {
	hop = min(max(hop, 0), time.Hour)
	best := make([][]time.Duration, m.Len())
	for i := range best {
		best[i] = make([]time.Duration, m.Len())
		for j := range best[i] {
			best[i][j] = Unreachable
			if delay, ok := m.OneWay(i, j); ok {
				best[i][j] = delay
			}
		}
	}
	for relay, onward := range best {
		for i, row := range best {
			if i == relay || row[relay] == Unreachable {
				continue
			}
			for j, rest := range onward {
				if j != relay && rest != Unreachable {
					row[j] = min(row[j], row[relay]+hop+rest)
				}
			}
		}
	}
	return best
}
