package demo

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	// faultLead is how long before a fault the pairs that it will hit send faster, so that the silence it causes is measured well.
	faultLead = 500 * time.Millisecond
	// faultInterval is the interval at which they send.
	faultInterval = 50 * time.Millisecond
	// faultPairs bounds how many pairs do so.
	faultPairs = 20
	// faultWatch is how long a fault is watched, and faultPatience how long if some pair stays silent.
	faultWatch    = 5 * time.Second
	faultPatience = 30 * time.Second
	// faultSilence is what counts as silent then.
	faultSilence = time.Second
)

// incident is faults made at one time, from shortly before until their consequences are over.
type incident struct {
	faults  []fault
	due     time.Duration // when they are to be made
	made    bool
	at      time.Duration // when they were
	watched []pair        // those that send faster; first the ends of the links in question
	hit     int           // pairs whose messages went where the faults are
	before  map[pair][]int
	told    bool // the re-route of the main pair was reported
}

// fault is one step with the sites that it names.
type fault struct {
	step
	sites []int
}

// link tells whether the fault is about a link, and not about a node or everything.
func (f *fault) link() bool { return len(f.sites) == 2 }

// outcome is what an incident did to one pair.
type outcome struct {
	pair          pair
	hit           bool
	outage        time.Duration
	silent        bool // nothing has come for a while
	before, after []int
}

// what is the faults in words.
func (i *incident) what() string {
	words := make([]string, 0, len(i.faults))
	for _, f := range i.faults {
		words = append(words, f.what())
	}
	return strings.Join(words, "; ")
}

// crosses tells whether a path from one site to another leads over what the faults hit.
func (i *incident) crosses(from, to int, relays []int) bool {
	path := append(append([]int{from}, relays...), to)
	return slices.ContainsFunc(i.faults, func(f fault) bool {
		if f.do == kill {
			return slices.Contains(relays, f.sites[0])
		}
		for k := range len(path) - 1 {
			a, b := path[k], path[k+1]
			if f.link() && (a == f.sites[0] && b == f.sites[1] || a == f.sites[1] && b == f.sites[0]) {
				return true
			}
		}
		return false
	})
}

// ends tells whether an end of the pair is killed.
func (i *incident) ends(from, to int) bool {
	return slices.ContainsFunc(i.faults, func(f fault) bool { return f.do == kill && (f.sites[0] == from || f.sites[0] == to) })
}

// announce prepares a fault: it picks the pairs to watch and lets them send faster. A fault that comes while another is prepared is made
// together with it; one that has been made is watched no longer.
func (c *conductor) announce(s step, now time.Duration) {
	f := fault{step: s}
	for _, name := range s.metros {
		f.sites = append(f.sites, slices.Index(c.cluster.names, name))
	}
	if c.incident != nil && (c.incident.made || s.do == heal) {
		c.conclude(now)
	}
	if c.incident == nil {
		c.incident = &incident{due: max(s.at, now+s.lead()), before: map[pair][]int{}}
	}
	i := c.incident
	i.faults = append(i.faults, f)
	switch {
	case f.link():
		i.watched = append(i.watched, c.ledger.pair(f.sites[0], f.sites[1]), c.ledger.pair(f.sites[1], f.sites[0]))
	case s.do == heal:
		i.watched = slices.Clone(c.subjects)
	}
	c.ledger.look(func(p pair, f *flow) {
		from, to := c.ledger.ends(p)
		if f.live && len(i.watched) < faultPairs && !slices.Contains(i.watched, p) && i.crosses(from, to, f.path) {
			i.watched = append(i.watched, p)
		}
	})
	c.cluster.hasten(i.watched, faultInterval)
}

// makeFaults makes what was announced.
func (c *conductor) makeFaults(now time.Duration) {
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
	for _, f := range i.faults {
		switch f.do {
		case slow:
			c.cluster.slow(f.sites[0], f.sites[1], f.extra)
		case block:
			c.cluster.block(f.sites[0], f.sites[1])
		case kill:
			if !c.cluster.kill(f.sites[0]) {
				c.tell("%s does not run", f.metros[0])
			}
		case heal:
			c.cluster.heal()
			c.subjects = nil
			c.tell("heal")
			return
		}
	}
	if len(i.watched) > 0 {
		c.subjects = append(c.subjects, i.watched[0])
	}
	c.tell("%s: on the path of %s", i.what(), plural(i.hit, "pair"))
}

// outcomes is what the incident has done so far to the pairs watched, worst first.
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

// watch makes the faults that were announced when they are due, and follows what they do.
func (c *conductor) watch(now time.Duration) {
	i := c.incident
	switch {
	case i == nil:
	case !i.made:
		if now >= i.due {
			c.makeFaults(now)
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

// tellReroute reports the first time that the main pair takes another path.
func (c *conductor) tellReroute(outcomes []outcome, now time.Duration) {
	i := c.incident
	main := i.main(outcomes)
	if i.told || main == nil || slices.Equal(main.before, main.after) {
		return
	}
	i.told = true
	c.tell("re-routed after %s: %s (before: %s)", millis(now-i.at), c.pathOf(main.pair, main.after), c.pathOf(main.pair, main.before))
}

// main is the outcome of the pair that the incident is about: the ends of the first link, if its faults hit them; else the pair hit worst; else
// the ends of the link.
func (i *incident) main(outcomes []outcome) *outcome {
	var ends, worst *outcome
	for k := range outcomes {
		o := &outcomes[k]
		if len(i.watched) > 0 && o.pair == i.watched[0] && i.faults[0].do != kill {
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

// conclude ends the watch over the incident and reports what it did.
func (c *conductor) conclude(now time.Duration) {
	i := c.incident
	if i == nil {
		return
	}
	if !i.made {
		c.makeFaults(now)
	}
	outcomes := c.outcomes(now)
	c.tellReroute(outcomes, now)
	c.cluster.relax(i.watched)
	report := c.faultReport(outcomes)
	c.reports = append(c.reports, report)
	if report.Hit > 0 {
		c.tell("%s: %s hit, outage at most %.0f ms, median %.0f ms", i.what(), plural(report.Hit, "pair"), report.Longest, report.Median)
	}
	c.tellMoreLinks()
	c.incident = nil
}
