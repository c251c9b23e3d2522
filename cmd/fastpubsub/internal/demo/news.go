package demo

import (
	"cmp"
	"strings"
	"time"
)

// newsdesk is what was told of nodes and links, so that only news is told.
type newsdesk struct {
	dead     []bool             // nodes that were killed and have not come back, by site
	complete bool               // all nodes have been up
	down     map[[2]string]bool // links told to be down
	linked   map[[2]string]bool // links that came up once
	lines    int                // told of links since the last fault
	failures int

	busy    bool          // the computer was when it was looked at last
	busyAt  time.Duration // when it is to be looked at
	packets uint64        // sent by the emulation until then
	late    time.Duration // how late all of them were
}

func newNewsdesk(sites int) newsdesk {
	return newsdesk{dead: make([]bool, sites), down: map[[2]string]bool{}, linked: map[[2]string]bool{}}
}

// linkLines is how many changes of links are told one by one after each fault.
const linkLines = 6

// unanswered is why a link is down when it is the path that fails, and not one of two connections that were opened at a time.
const unanswered = "probes unanswered"

const (
	// busyLate is how late packets are on average when the computer counts as too busy, and busyEvery how often that is looked at.
	busyLate  = 3 * time.Millisecond
	busyEvery = 5 * time.Second
)

// tellBusy tells when the computer is too busy for the emulation: then packets are late, and so are the messages in them.
func (c *conductor) tellBusy(now time.Duration) {
	if now < c.news.busyAt {
		return
	}
	stats := c.cluster.emulator.Stats()
	packets, late := stats.Delivered-c.news.packets, stats.LateTotal-c.news.late
	c.news.packets, c.news.late, c.news.busyAt = stats.Delivered, stats.LateTotal, now+busyEvery
	if packets == 0 {
		return
	}
	mean := late / time.Duration(packets)
	if mean > busyLate && !c.news.busy {
		c.tell("this computer is too busy: it delivers packets %s late, which adds to all latencies", millis(mean))
	}
	c.news.busy = mean > busyLate
}

// tellNews tells what nodes and links have done since the last time.
func (c *conductor) tellNews(now time.Duration) {
	c.tellNodes(now)
	c.tellLinks()
	c.tellBusy(now)
	if failures := c.cluster.failures(); len(failures) > c.news.failures {
		for _, err := range failures[c.news.failures:] {
			c.tell("FAILED: %v", err)
		}
		c.news.failures = len(failures)
	}
}

func (c *conductor) tellNodes(now time.Duration) {
	all := true
	for site, name := range c.cluster.names {
		up := c.cluster.up(site)
		all = all && up
		switch {
		case c.cluster.dead[site]:
			c.news.dead[site] = true
		case up && c.news.dead[site]:
			c.news.dead[site] = false
			c.tell("%s is up again", name)
		}
	}
	if all && !c.news.complete {
		c.news.complete = true
		c.tell("all nodes run after %.1f s; clients may connect too, to %s for one: %s", now.Seconds(), c.cluster.names[0], c.cluster.stations[0].url())
	}
}

// tellLinks tells of links that went down or came up once the cluster has settled; before, all come up.
func (c *conductor) tellLinks() {
	for _, change := range c.links.take() {
		link := [2]string{change.node, c.cluster.nameOf(change.peer)}
		if link[0] > link[1] {
			link[0], link[1] = link[1], link[0]
		}
		if change.up {
			c.news.linked[link] = true
		}
		if c.news.down[link] != change.up || !change.up && change.why != unanswered { // told before, or replaced by another connection
			continue
		}
		c.news.down[link] = !change.up
		if c.settled == 0 {
			continue
		}
		state := "down"
		if change.up {
			state = "up"
		}
		c.news.lines++
		if c.news.lines <= linkLines {
			c.tell("link %s: %s - %s (%s)", state, link[0], link[1], change.why)
		}
	}
}

// tellMoreLinks tells how many changes of links were passed over since the last fault.
func (c *conductor) tellMoreLinks() {
	if more := c.news.lines - linkLines; more > 0 {
		c.tell("%s more went down or up", plural(more, "link"))
	}
	c.news.lines = 0
}

// press does what a key asks for.
func (c *conductor) press(k key, now time.Duration) {
	const page = 10
	switch k {
	case keyUp:
		c.scroll--
	case keyDown:
		c.scroll++
	case keyPageUp:
		c.scroll -= page
	case keyPageDown:
		c.scroll += page
	case keyHeal:
		c.announce(step{at: now, do: heal}, now)
	case keySlow, keyBlock:
		c.pressLink(k, now)
	case keyKill:
		c.pressKill(now)
	case keyQuit:
	}
	c.scroll = max(c.scroll, 0)
}

// keyExtra is what the key for slow adds.
const keyExtra = 80 * time.Millisecond

// pressLink makes a fault on the first link without one of the path of the first pair on show that has such a link.
func (c *conductor) pressLink(k key, now time.Duration) {
	for _, r := range c.shown(now) {
		for i, from := range r.path[:len(r.path)-1] {
			to := r.path[i+1]
			if c.cluster.isFaulty(from, to) {
				continue
			}
			s := step{at: now + faultLead, do: block, metros: []string{from, to}}
			if k == keySlow {
				s.do, s.extra = slow, keyExtra
			}
			c.announce(s, now)
			return
		}
	}
}

// pressKill kills the relay that most of the pairs on show use.
func (c *conductor) pressKill(now time.Duration) {
	uses := map[string]int{}
	best := ""
	for _, r := range c.shown(now) {
		for _, relay := range r.path[1 : len(r.path)-1] {
			uses[relay]++
			if n := cmp.Compare(uses[relay], uses[best]); n > 0 || n == 0 && strings.Compare(relay, best) < 0 {
				best = relay
			}
		}
	}
	if best == "" {
		c.tell("no message passes a relay now")
		return
	}
	c.announce(step{at: now + faultLead, do: kill, metros: []string{best}}, now)
}

// shown are the pairs from the first on show.
func (c *conductor) shown(now time.Duration) []row {
	rows := c.scene(now).rows
	return rows[min(c.scroll, len(rows)):]
}
