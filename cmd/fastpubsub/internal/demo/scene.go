package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// scene is what there is to see at one moment, ready to be drawn.
type scene struct {
	elapsed       time.Duration
	nodes, up     int
	pairs         int // of nodes that are up
	delivering    int // of them, with deliveries lately
	faster        int // of those, by more than fasterShare
	meanDirect    time.Duration
	meanDelivered time.Duration
	counts        tally
	settled       time.Duration // when every pair had delivered; 0: not yet
	faults        []string      // standing
	rows          []row         // the pairs that deliver, those that faults are about first, then by gain
	events        []event       // oldest first
}

// row is one pair.
type row struct {
	from, to          string
	direct, delivered time.Duration
	path              []string
	marked            bool // a standing fault is about it
}

// gain is how much faster than the direct path messages come.
func (r row) gain() time.Duration { return r.direct - r.delivered }

// event is something that happened.
type event struct {
	at   time.Duration
	text string
}

// sceneWindow is over what time the latencies shown are medians.
const sceneWindow = 5 * time.Second

// scene looks at everything.
func (c *conductor) scene(now time.Duration) scene {
	s := scene{elapsed: now, nodes: len(c.cluster.names), settled: c.settled, events: c.events, faults: c.cluster.faults()}
	for site := range c.cluster.names {
		if c.cluster.up(site) {
			s.up++
		}
	}
	s.pairs = s.up * (s.up - 1)
	window := max(sceneWindow, 3*c.cluster.interval)
	var memory []time.Duration
	c.ledger.look(func(p pair, f *flow) {
		s.counts.add(f.counts)
		from, to := c.ledger.ends(p)
		if !c.cluster.up(from) || !c.cluster.up(to) || !f.live {
			return
		}
		var latency time.Duration
		var ok bool
		if latency, memory, ok = f.median(max(now-window, f.since), memory); !ok {
			return
		}
		r := row{
			from: c.cluster.name(from), to: c.cluster.name(to), direct: c.direct[p], delivered: latency,
			path: c.path(p, f.path), marked: slices.Contains(c.subjects, p),
		}
		s.add(r)
	})
	if s.delivering > 0 {
		s.meanDirect /= time.Duration(s.delivering)
		s.meanDelivered /= time.Duration(s.delivering)
	}
	// Whole milliseconds, so that noise does not shuffle the table.
	slices.SortFunc(s.rows, func(a, b row) int {
		if a.marked != b.marked {
			return cmp.Compare(truth(b.marked), truth(a.marked))
		}
		return cmp.Or(cmp.Compare(b.gain().Milliseconds(), a.gain().Milliseconds()), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return s
}

func (s *scene) add(r row) {
	s.rows = append(s.rows, r)
	s.delivering++
	s.meanDirect += r.direct
	s.meanDelivered += r.delivered
	if faster(r.direct, r.delivered) {
		s.faster++
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// path is the names of the sites from a pair's first to its second.
func (c *conductor) path(p pair, relays []int) []string {
	from, to := c.ledger.ends(p)
	path := []string{c.cluster.name(from)}
	for _, site := range relays {
		path = append(path, c.cluster.name(site))
	}
	return append(path, c.cluster.name(to))
}

// pathOf is a path in one line.
func (c *conductor) pathOf(p pair, relays []int) string { return joinPath(c.path(p, relays)) }

func joinPath(path []string) string { return strings.Join(path, " > ") }

// summary is the scene in one line.
func (s *scene) summary() string {
	return fmt.Sprintf("%s  nodes %d/%d  pairs %d/%d  direct %s  delivered %s  >%.0f%% faster %d  lost %d",
		clock(s.elapsed), s.up, s.nodes, s.delivering, s.pairs, millis(s.meanDirect), millis(s.meanDelivered), 100*fasterShare, s.faster, s.counts.Lost)
}

// clock is a time in the form m:ss.
func clock(d time.Duration) string {
	seconds := int(d / time.Second)
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// millis is a time in milliseconds with one decimal.
func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}
