package demo

import (
	"fmt"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

const (
	// relayCost is what a relay's own work counts when paths are compared, as in a link's cost by default.
	relayCost = 500 * time.Microsecond
	// fasterShare is by how much of the direct latency a pair must win to count as faster.
	fasterShare = 0.10
)

// continent is a part of the world, coarse enough to be told from coordinates.
type continent int

const (
	asia continent = iota
	africa
	europe
	northAmerica
	southAmerica
	oceania
)

// continentOf tells the continent of a city that is not too near a border.
func continentOf(p wan.Place) continent {
	switch {
	case p.Lon < -30 && p.Lat > 13:
		return northAmerica
	case p.Lon < -30:
		return southAmerica
	case p.Lon > 100 && p.Lat < -10:
		return oceania
	case p.Lon < 50 && p.Lat > 36:
		return europe
	case p.Lon < 34 || p.Lon < 52 && p.Lat < 12:
		return africa
	default:
		return asia
	}
}

// choose picks n metros that show what the mesh is for: every continent among them if n allows, and as many pairs as
// possible that a relay among them makes more than fasterShare faster. It goes by the matrix alone and is
// deterministic: it grows a set by the metro that gains most, then swaps single metros while that gains. Such a local search need
// not find the best set of all, but n out of 36 are too many to try.
func choose(m *wan.Matrix, places map[string]wan.Place, n int) ([]string, error) {
	names := m.Names()
	if n >= len(names) {
		return names, nil
	}
	c := &chooser{matrix: m, names: names, n: n}
	for _, name := range names {
		place, ok := places[name]
		if !ok {
			return nil, fmt.Errorf("demo: the place of %s is not known", name)
		}
		c.continents = append(c.continents, continentOf(place))
	}
	for len(c.picked) < n {
		if !c.grow() {
			return nil, fmt.Errorf("demo: no choice of %d metros", n)
		}
	}
	for c.swap() {
	}
	slices.Sort(c.picked)
	out := make([]string, 0, n)
	for _, site := range c.picked {
		out = append(out, names[site])
	}
	return out, nil
}

// chooser is a choice in the making.
type chooser struct {
	matrix     *wan.Matrix
	names      []string
	continents []continent // by site
	n          int
	picked     []int // sites
}

// merit says how good a choice is: first the pairs made faster, then the latency won over all pairs.
type merit struct {
	faster int
	won    time.Duration
}

func (m merit) above(other merit) bool {
	return m.faster > other.faster || m.faster == other.faster && m.won > other.won
}

// grow adds the metro that gains most, from a continent not yet seen as long as there are no more places left than such continents.
func (c *chooser) grow() bool {
	best, found := merit{}, -1
	for site := range c.names {
		candidate := append(slices.Clone(c.picked), site)
		if slices.Contains(c.picked, site) || !c.spans(candidate) {
			continue
		}
		if got := c.merit(candidate); found < 0 || got.above(best) {
			best, found = got, site
		}
	}
	if found >= 0 {
		c.picked = append(c.picked, found)
	}
	return found >= 0
}

// swap exchanges the one metro for another that gains most, if any does.
func (c *chooser) swap() bool {
	best := c.merit(c.picked)
	var better []int
	for i := range c.picked {
		for site := range c.names {
			candidate := slices.Clone(c.picked)
			candidate[i] = site
			if slices.Contains(c.picked, site) || !c.spans(candidate) {
				continue
			}
			if got := c.merit(candidate); got.above(best) {
				best, better = got, candidate
			}
		}
	}
	if better != nil {
		c.picked = better
	}
	return better != nil
}

// spans tells whether the places that are left suffice for the continents that are missing, as far as n places can.
func (c *chooser) spans(sites []int) bool {
	all, seen := map[continent]bool{}, map[continent]bool{}
	for _, at := range c.continents {
		all[at] = true
	}
	for _, site := range sites {
		seen[c.continents[site]] = true
	}
	return len(seen)+c.n-len(sites) >= min(len(all), c.n)
}

// merit compares the direct latencies among the sites with those over the best relays among them.
func (c *chooser) merit(sites []int) merit {
	names := make([]string, 0, len(sites))
	for _, site := range sites {
		names = append(names, c.names[site])
	}
	sub, err := c.matrix.Subset(names)
	if err != nil {
		return merit{} // cannot be: the names are the matrix's own, each once
	}
	var sum merit
	oracle := sub.Oracle(relayCost)
	for from := range sub.Len() {
		for to := range sub.Len() {
			direct, ok := sub.OneWay(from, to)
			if !ok || from == to {
				continue
			}
			sum.won += direct - oracle[from][to]
			if faster(direct, oracle[from][to]) {
				sum.faster++
			}
		}
	}
	return sum
}

// faster tells whether a latency beats the direct one by more than fasterShare of it.
func faster(direct, latency time.Duration) bool {
	return float64(latency) < (1-fasterShare)*float64(direct)
}
