package demo

import (
	"math"
	"time"
)

// report is the demo's result, as one JSON document. Times in ms are one way.
type report struct {
	Nodes    []string      `json:"nodes"`
	Seed     uint64        `json:"seed"`
	Duration float64       `json:"duration_s"`
	Settled  *float64      `json:"settled_after_s"` // when every pair had delivered; null: never
	Window   float64       `json:"window_s"`        // latencies are medians over this time before the end
	Pairs    []pairReport  `json:"pairs"`
	Summary  summary       `json:"summary"`
	Faults   []faultReport `json:"faults"`
	Emulator emulation     `json:"emulator"`
}

// pairReport is one ordered pair.
type pairReport struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Direct  float64  `json:"direct_ms"`
	Latency *float64 `json:"delivered_ms"` // null: nothing came in the window
	Oracle  float64  `json:"oracle_ms"`    // shortest path over the network without faults, with 0.5 ms for each relay
	Path    []string `json:"path"`
	tally
}

// summary is over the pairs that delivered in the window; counts are over all.
type summary struct {
	Pairs         int     `json:"pairs"`
	Delivering    int     `json:"pairs_delivering"`
	MeanDirect    float64 `json:"mean_direct_ms"`
	MeanDelivered float64 `json:"mean_delivered_ms"`
	MeanOracle    float64 `json:"mean_oracle_ms"`
	Faster        int     `json:"faster_10pct"`
	FasterShare   float64 `json:"faster_10pct_share"`
	Near          int     `json:"within_10pct_3ms_of_oracle"`
	NearShare     float64 `json:"within_10pct_3ms_of_oracle_share"`
	Slower        int     `json:"slower_than_direct_5ms"`
	tally
}

// faultReport is what one step of the script, or one key, did, or several at one time.
type faultReport struct {
	At         float64         `json:"at_s"`
	What       string          `json:"what"`
	Hit        int             `json:"pairs_hit"`      // messages went where the fault is
	Measured   int             `json:"pairs_measured"` // of those, the pairs whose outage was measured
	Longest    float64         `json:"longest_outage_ms"`
	Median     float64         `json:"median_outage_ms"`
	Silent     int             `json:"pairs_silent"` // of the measured, those still without deliveries when the watch over the fault ended
	PathBefore []string        `json:"path_before"`  // of the pair that the fault is about
	PathAfter  []string        `json:"path_after"`
	Pairs      []outcomeReport `json:"pairs"` // the pairs watched, longest outage first
}

// outcomeReport is what a fault did to one pair. The outage is the longest time without a delivery, less the interval at which it was sent.
type outcomeReport struct {
	From       string   `json:"from"`
	To         string   `json:"to"`
	Hit        bool     `json:"hit"`
	Outage     float64  `json:"outage_ms"`
	PathBefore []string `json:"path_before"`
	PathAfter  []string `json:"path_after"`
}

// emulation tells whether the computer kept up: late packets are latency that neither the data nor the nodes are to blame for.
type emulation struct {
	Packets  uint64  `json:"packets"`
	Overflow uint64  `json:"overflow"`
	MeanLate float64 `json:"mean_late_ms"`
	MaxLate  float64 `json:"max_late_ms"`
}

const (
	nearShare  = 0.10
	nearMargin = 3 * time.Millisecond
	slowMargin = 5 * time.Millisecond

	leastWindow = 10 * time.Second // of the report
	calmAfter   = 5 * time.Second  // after a fault; what came before that is left out if there is enough after
)

// window is how long before the end the latencies of the report begin to count: half of the time, without the start and the last fault
// if that leaves leastWindow.
func (c *conductor) window(now time.Duration) time.Duration {
	from := max(now/2, c.settled)
	if c.lastFault > 0 {
		from = max(from, c.lastFault+calmAfter)
	}
	return max(now-from, min(leastWindow, now))
}

// report sums everything up.
func (c *conductor) report(now time.Duration) *report {
	window := c.window(now)
	r := &report{
		Nodes: c.cluster.names, Seed: c.cluster.seed, Duration: now.Seconds(), Window: window.Seconds(), Faults: c.reports,
		Emulator: c.emulation(),
	}
	if c.settled > 0 {
		settled := c.settled.Seconds()
		r.Settled = &settled
	}
	if r.Faults == nil {
		r.Faults = []faultReport{}
	}
	var memory []time.Duration
	c.ledger.look(func(p pair, f *flow) {
		var latency time.Duration
		var ok bool
		latency, memory, ok = f.median(now-window, memory)
		from, to := c.ledger.ends(p)
		line := pairReport{
			From: c.cluster.name(from), To: c.cluster.name(to), Direct: ms(c.direct[p]), Oracle: ms(c.oracle[from][to]), tally: f.counts,
		}
		r.Summary.Pairs++
		r.Summary.add(f.counts)
		if ok {
			delivered := ms(latency)
			line.Latency, line.Path = &delivered, c.path(p, f.path)
			r.Summary.count(c.direct[p], latency, c.oracle[from][to])
		}
		r.Pairs = append(r.Pairs, line)
	})
	r.Summary.finish()
	return r
}

// count adds a pair that delivers.
func (s *summary) count(direct, latency, oracle time.Duration) {
	s.Delivering++
	s.MeanDirect += ms(direct)
	s.MeanDelivered += ms(latency)
	s.MeanOracle += ms(oracle)
	if faster(direct, latency) {
		s.Faster++
	}
	if float64(latency) <= (1+nearShare)*float64(oracle)+float64(nearMargin) {
		s.Near++
	}
	if latency > direct+slowMargin {
		s.Slower++
	}
}

// finish turns sums into means, and counts into shares of all pairs.
func (s *summary) finish() {
	if s.Delivering > 0 {
		n := float64(s.Delivering)
		s.MeanDirect, s.MeanDelivered, s.MeanOracle = round(s.MeanDirect/n), round(s.MeanDelivered/n), round(s.MeanOracle/n)
	}
	if s.Pairs > 0 {
		s.FasterShare = round(float64(s.Faster) / float64(s.Pairs))
		s.NearShare = round(float64(s.Near) / float64(s.Pairs))
	}
}

// faultReport is the present incident's.
func (c *conductor) faultReport(outcomes []outcome) faultReport {
	i := c.incident
	r := faultReport{At: round(i.at.Seconds()), What: i.what(), Hit: i.hit, Pairs: []outcomeReport{}}
	var outages []time.Duration
	for _, o := range outcomes {
		from, to := c.ledger.ends(o.pair)
		r.Pairs = append(r.Pairs, outcomeReport{
			From: c.cluster.name(from), To: c.cluster.name(to), Hit: o.hit, Outage: ms(o.outage),
			PathBefore: c.path(o.pair, o.before), PathAfter: c.path(o.pair, o.after),
		})
		if !o.hit {
			continue
		}
		outages = append(outages, o.outage)
		if o.silent {
			r.Silent++
		}
	}
	r.Measured = len(outages)
	if middle, ok := median(outages); ok {
		r.Median, r.Longest = ms(middle), ms(outages[len(outages)-1])
	}
	if main := i.main(outcomes); main != nil {
		r.PathBefore, r.PathAfter = c.path(main.pair, main.before), c.path(main.pair, main.after)
	}
	return r
}

func (c *conductor) emulation() emulation {
	s := c.cluster.emulator.Stats()
	e := emulation{Packets: s.Sent, Overflow: s.Overflow, MaxLate: ms(s.LateMax)}
	if s.Delivered > 0 {
		e.MeanLate = ms(s.LateTotal / time.Duration(s.Delivered))
	}
	return e
}

// ms is a time in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// round rounds to three decimals.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
