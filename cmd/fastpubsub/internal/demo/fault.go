package demo

import (
	"cmp"
	"slices"
	"time"
)

const (
	// faultLead is how long before a fault the pairs that it will hit send faster, so that the silence it causes is measured well.
	faultLead = 500 * time.Millisecond
	// faultInterval is the interval at which they send.
	faultInterval = 50 * time.Millisecond
	// faultPairs bounds how many pairs do so.
	faultPairs = 32
	// faultWatch is how long a fault is watched, faultPatience how long if some pair stays silent.
	faultWatch    = 5 * time.Second
	faultPatience = 30 * time.Second
	// faultSilence is what counts as silent then.
	faultSilence = time.Second
)

// incident is a fault, from shortly before it is made until its consequences are over.
type incident struct {
	step    step
	sites   []int
	due     time.Duration // when the fault is to be made
	made    bool
	at      time.Duration // when it was
	watched []pair        // those that send faster, the pair that the fault is about first
	hit     int           // pairs whose messages went where the fault is
	before  map[pair][]int
	told    bool // the re-route of the first pair was reported
}

// outcome is what a fault did to one pair.
type outcome struct {
	pair          pair
	hit           bool
	outage        time.Duration
	silent        bool // nothing has come for a while
	before, after []int
}

// crosses tells whether a path from one site to another leads over what the fault hits.
func (i *incident) crosses(from, to int, relays []int) bool {
	if i.step.do == kill {
		return slices.Contains(relays, i.sites[0])
	}
	if len(i.sites) != 2 {
		return false
	}
	here := from
	for _, next := range append(slices.Clone(relays), to) {
		if here == i.sites[0] && next == i.sites[1] || here == i.sites[1] && next == i.sites[0] {
			return true
		}
		here = next
	}
	return false
}

// ends tells whether a site that the fault kills is an end of the pair.
func (i *incident) ends(from, to int) bool {
	return i.step.do == kill && (from == i.sites[0] || to == i.sites[0])
}

// announce prepares a fault: it picks the pairs to watch and lets them send faster.
func (c *conductor) announce(s step, now time.Duration) {
	c.conclude(now)
	i := &incident{step: s, due: max(s.at, now+s.lead()), before: map[pair][]int{}}
	for _, name := range s.metros {
		i.sites = append(i.sites, slices.Index(c.cluster.names, name))
	}
	if len(i.sites) == 2 {
		i.watched = []pair{c.ledger.pair(i.sites[0], i.sites[1]), c.ledger.pair(i.sites[1], i.sites[0])}
	} else if s.do == heal {
		i.watched = slices.Clone(c.subjects)
	}
	c.ledger.look(func(p pair, f *flow) {
		from, to := c.ledger.ends(p)
		if f.live && len(i.watched) < faultPairs && !slices.Contains(i.watched, p) && i.crosses(from, to, f.path) {
			i.watched = append(i.watched, p)
		}
	})
	c.cluster.hasten(i.watched, faultInterval)
	c.incident = i
}

// make makes the fault that was announced.
func (c *conductor) makeFault(now time.Duration) {
	i := c.incident
	c.ledger.look(func(p pair, f *flow) {
		from, to := c.ledger.ends(p)
		if f.live && !i.ends(from, to) && i.crosses(from, to, f.path) {
			i.hit++
		}
		if slices.Contains(i.watched, p) {
			i.before[p] = slices.Clone(f.path)
		}
	})
	c.ledger.arm(i.watched, min(faultInterval, c.cluster.interval))
	i.made, i.at, c.lastFault = true, now, now
	c.tellMoreLinks()
	switch i.step.do {
	case slow:
		c.cluster.slow(i.sites[0], i.sites[1], i.step.extra)
	case block:
		c.cluster.block(i.sites[0], i.sites[1])
	case kill:
		c.cluster.kill(i.sites[0])
	case heal:
		c.cluster.heal()
		c.subjects = nil
	}
	if i.step.do != heal && len(i.watched) > 0 {
		c.subjects = append(c.subjects, i.watched[0])
	}
	if i.step.do == heal {
		c.tell("heal")
	} else {
		c.tell("%s: on the path of %s", i.step.what(), plural(i.hit, "pair"))
	}
}

// outcomes is what the fault has done so far to the pairs watched, worst first.
func (c *conductor) outcomes(now time.Duration) []outcome {
	i := c.incident
	var all []outcome
	c.ledger.look(func(p pair, f *flow) {
		from, to := c.ledger.ends(p)
		if !slices.Contains(i.watched, p) || i.ends(from, to) {
			return
		}
		all = append(all, outcome{
			pair: p, hit: i.crosses(from, to, i.before[p]),
			outage: max(f.pauses.longest, f.pauses.lasting(f.came, now)), silent: now-f.came > faultSilence,
			before: i.before[p], after: slices.Clone(f.path),
		})
	})
	slices.SortStableFunc(all, func(a, b outcome) int { return cmp.Compare(b.outage, a.outage) })
	return all
}

// watch follows the fault that was made, if any, and makes the one announced when it is due.
func (c *conductor) watch(now time.Duration) {
	i := c.incident
	switch {
	case i == nil:
	case !i.made:
		if now >= i.due {
			c.makeFault(now)
		}
	default:
		outcomes := c.outcomes(now)
		c.tellReroute(outcomes, now)
		silent := slices.ContainsFunc(outcomes, func(o outcome) bool { return o.silent })
		if now-i.at >= faultPatience || now-i.at >= faultWatch && !silent {
			c.conclude(now)
		}
	}
}

// tellReroute reports the first time that the pair which the fault is about takes another path.
func (c *conductor) tellReroute(outcomes []outcome, now time.Duration) {
	i := c.incident
	main := mainOutcome(i, outcomes)
	if i.told || main == nil || slices.Equal(main.before, main.after) {
		return
	}
	i.told = true
	c.tell("re-routed after %s: %s (before: %s)", millis(now-i.at), c.pathOf(main.pair, main.after), c.pathOf(main.pair, main.before))
}

// mainOutcome is that of the pair which a fault is about: for a link the pair of its ends if the fault hit it; else the worst hit; else
// the pair of its ends.
func mainOutcome(i *incident, outcomes []outcome) *outcome {
	var ends, worst *outcome
	for k := range outcomes {
		o := &outcomes[k]
		if len(i.watched) > 0 && o.pair == i.watched[0] && i.step.do != kill {
			ends = o
		}
		if o.hit && worst == nil {
			worst = o
		}
	}
	if worst == nil || ends != nil && ends.hit {
		return ends
	}
	return worst
}

// conclude ends the watch over a fault and reports what it did.
func (c *conductor) conclude(now time.Duration) {
	i := c.incident
	if i == nil {
		return
	}
	if !i.made {
		c.makeFault(now)
	}
	outcomes := c.outcomes(now)
	c.tellReroute(outcomes, now)
	c.cluster.relax(i.watched)
	report := c.faultReport(outcomes)
	c.reports = append(c.reports, report)
	if report.Hit > 0 {
		c.tell("%s: %s hit, outage at most %.0f ms, median %.0f ms", i.step.what(), plural(report.Hit, "pair"), report.Longest, report.Median)
	}
	c.tellMoreLinks()
	c.incident = nil
}
