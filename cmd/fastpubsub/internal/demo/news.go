package demo

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// newsdesk is what was told of nodes and links, so that only news is told.
type newsdesk struct {
	up       []bool
	complete bool               // all nodes have been up
	down     map[[2]string]bool // links told to be down
	linked   map[[2]string]bool // links that came up once
	failures int
}

// linkLines is how many links are told one by one; if more change at once, only their number is.
const linkLines = 3

// unanswered is why a link is down when it is the path that fails, and not one of two connections that were opened at a time.
const unanswered = "probes unanswered"

// tellNews tells what nodes and links have done since the last time.
func (c *conductor) tellNews(now time.Duration) {
	c.tellNodes(now)
	c.tellLinks()
	if failures := c.cluster.failures(); len(failures) > c.news.failures {
		for _, err := range failures[c.news.failures:] {
			c.tell("FAILED: %v", err)
		}
		c.news.failures = len(failures)
	}
}

func (c *conductor) tellNodes(now time.Duration) {
	if c.news.up == nil {
		c.news.up = make([]bool, len(c.cluster.names))
	}
	all := true
	for site, name := range c.cluster.names {
		up := c.cluster.up(site)
		if c.news.complete && up && !c.news.up[site] {
			c.tell("%s is up again", name)
		}
		c.news.up[site] = up
		all = all && up
	}
	if all && !c.news.complete {
		c.news.complete = true
		c.tell("all nodes run after %.1f s; clients may connect too, to %s for one: %s", now.Seconds(), c.cluster.names[0], c.cluster.stations[0].url())
	}
}

// tellLinks tells of links that went down or came up once the cluster has settled; before, all come up.
func (c *conductor) tellLinks() {
	if c.news.down == nil {
		c.news.down, c.news.linked = map[[2]string]bool{}, map[[2]string]bool{}
	}
	var lines []string
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
		state := "down"
		if change.up {
			state = "up"
		}
		lines = append(lines, fmt.Sprintf("link %s: %s - %s (%s)", state, link[0], link[1], change.why))
	}
	if c.settled == 0 {
		return
	}
	for _, l := range lines[:min(len(lines), linkLines)] {
		c.tell("%s", l)
	}
	if more := len(lines) - linkLines; more > 0 {
		c.tell("and %s more went down or up", plural(more, "link"))
	}
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
			c.tell("%s, on the path of %s to %s", s.what(), r.from, r.to)
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
