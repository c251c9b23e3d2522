package demo

import (
	"slices"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	s := summary{Pairs: 6}
	for _, pair := range [][3]float64{ // direct, delivered, oracle
		{100, 89, 80},    // faster by more than a tenth; 91 would be near the oracle
		{100, 90, 90},    // not faster by more
		{100, 105, 100},  // as slow as may be
		{100, 105.1, 98}, // slower
		{1, 4.2, 1},      // beyond 10 % and 3 ms
	} {
		s.count(ms64(pair[0]), ms64(pair[1]), ms64(pair[2]))
	}
	s.finish()
	if s.Delivering != 5 || s.Faster != 1 || s.Near != 4 || s.Slower != 1 || s.FasterShare != 0.167 || s.NearShare != 0.667 {
		t.Errorf("%+v", s)
	}
	if s.MeanDirect != 80.2 || s.MeanDelivered != 78.66 || s.MeanOracle != 73.8 {
		t.Errorf("means %+v", s)
	}
}

func TestWindow(t *testing.T) {
	for name, c := range map[string]struct{ now, settled, fault, want time.Duration }{
		"half":                      {60 * second, 5 * second, 0, 30 * second},
		"settled late":              {60 * second, 45 * second, 0, 15 * second},
		"settled at the end":        {60 * second, 59 * second, 0, leastWindow},
		"without the fault":         {60 * second, 5 * second, 40 * second, 15 * second},
		"the fault was before half": {60 * second, 5 * second, 10 * second, 30 * second},
		"with the fault":            {60 * second, 5 * second, 55 * second, leastWindow},
		"short":                     {4 * second, 2 * second, 0, 4 * second},
	} {
		conductor := conductor{settled: c.settled, lastFault: c.fault}
		if got := conductor.window(c.now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCrosses(t *testing.T) {
	link := &incident{faults: []fault{{step{do: block}, []int{1, 3}}}}
	node := &incident{faults: []fault{{step{do: kill}, []int{2}}}}
	both := &incident{faults: append(slices.Clone(link.faults), node.faults...)}
	healed := &incident{faults: []fault{{step: step{do: heal}}}}
	for _, c := range []struct {
		from, to   int
		relays     []int
		link, node bool
	}{
		{1, 3, nil, true, false},
		{3, 1, nil, true, false},
		{0, 3, []int{1}, true, false},
		{3, 0, []int{2, 4, 1}, false, true},
		{0, 4, []int{2, 3, 1}, true, true},
		{2, 3, nil, false, false}, // an end is no relay
		{1, 3, []int{2}, false, true},
		{1, 3, []int{-1}, false, false},
	} {
		if got := link.crosses(c.from, c.to, c.relays); got != c.link {
			t.Errorf("link: %+v: %v", c, got)
		}
		if got := node.crosses(c.from, c.to, c.relays); got != c.node {
			t.Errorf("node: %+v: %v", c, got)
		}
		if got := both.crosses(c.from, c.to, c.relays); got != (c.link || c.node) {
			t.Errorf("both: %+v: %v", c, got)
		}
		if healed.crosses(c.from, c.to, c.relays) {
			t.Errorf("heal: %+v", c)
		}
	}
	if !node.ends(2, 1) || !both.ends(0, 2) || node.ends(0, 1) || link.ends(1, 3) {
		t.Error("ends")
	}
}

func TestMainPair(t *testing.T) {
	about := &incident{faults: []fault{{step: step{do: block}}}, watched: []pair{7, 8}}
	killed := &incident{faults: []fault{{step: step{do: kill}}}, watched: []pair{7, 8}}
	worst, ends := outcome{pair: 9, hit: true, outage: 2}, outcome{pair: 7, hit: true, outage: 1}
	calm := outcome{pair: 7}
	for name, c := range map[string]struct {
		i    *incident
		all  []outcome
		want pair
	}{
		"the pair of the link's ends":                 {about, []outcome{worst, ends}, 7},
		"the worst, if that was not hit":              {about, []outcome{worst, calm}, 9},
		"the pair of the ends, if none was hit":       {about, []outcome{{pair: 8}, calm}, 7},
		"the worst of those that used the dead relay": {killed, []outcome{worst, ends}, 9},
	} {
		if got := c.i.main(c.all); got == nil || got.pair != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := killed.main([]outcome{calm}); got != nil {
		t.Errorf("none was hit: %+v", got)
	}
}
