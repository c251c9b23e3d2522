package core

import (
	"crypto/ed25519"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// spfDue is when routes may be computed again: computing is to take a small share of the time, however many nodes there are. What makes this node's own
// paths worse waits least (compare RFC 8405, where the first changes after a calm do).
func (c *Core) spfDue() time.Time {
	each := spfCalm
	if c.routesWorse {
		each = spfEach
	}
	return c.spfAt.Add(max(spfPause, time.Duration(c.db.Len())*each))
}

// computeRoutes recomputes the table at the first change, and then no earlier than spfDue.
func (c *Core) computeRoutes(now time.Time) {
	if c.routesDirty {
		c.followLinks(now) // shows whether some are lost
	}
	if c.routesDirty && !now.Before(c.spfDue()) {
		before := c.table
		c.followed(now)
		c.table = c.planner.Compute(c.db)
		c.routesDirty, c.routesWorse = false, false
		if c.table != before {
			c.spfAt, c.usableDirty = now, true
			c.computations++
			c.noteBroken(now, before)
			c.noteReached(now)
		}
	}
	if !c.usableDirty {
		return
	}
	c.usableDirty = false
	var usable []wire.NodeID
	for _, p := range c.links {
		if p.up && p.active() {
			usable = append(usable, p.id)
		}
	}
	if c.bootsDirty {
		c.bootsDirty = false
		c.boots = make(map[wire.NodeID]uint64, len(c.peers)) // anew: readers have the old one
		c.keys = make(map[wire.NodeID]ed25519.PublicKey, len(c.peers))
		for id, p := range c.peers {
			if !p.active() {
				continue
			}
			c.boots[id] = c.runOf(p)
			if chain := c.store.entries[RecordKey{id, wire.RecordLinks}]; chain != nil {
				c.keys[id] = chain.records[0].Key
			}
		}
	}
	c.do(PublishRoutes{Table: c.table, Usable: usable, Boots: c.boots, Keys: c.keys, Broken: slices.Sorted(maps.Keys(c.broken))})
	clear(c.broken)
}

// runOf is the latest run of a node that SWIM, its link or its records have told of. What SWIM says may be late: where a node was cut off while another restarted,
// by half a minute.
func (c *Core) runOf(p *peer) uint64 {
	return max(p.meta.Boot, p.linkBoot, c.store.stamp(RecordKey{p.id, wire.RecordLinks}).Boot)
}

// formerPath is a path that was left for a better one.
type formerPath struct {
	to    wire.NodeID
	path  []wire.NodeID
	until time.Time
}

// noteBroken gathers the destinations whose path has lost a link, and those that have become reachable: what is under way there is to be sent again. A
// path that was merely left for a better one still delivers, unless it breaks before it has: routes often leave a dying node, since its links look
// worse, just before it is found dead.
func (c *Core) noteBroken(now time.Time, before *route.Table) {
	broken, left := c.table.Since(before, c.planner.Lost())
	for _, to := range broken {
		c.broken[to] = true
	}
	until := now.Add(formerKept)
	for _, to := range left {
		f := formerPath{to, before.Path(to), until}
		c.former = append(c.former, f)
		for i := range f.path[1:] {
			c.formerLinks[route.PairOf(f.path[i], f.path[i+1])] = until
		}
	}
	maps.DeleteFunc(c.formerLinks, func(_ route.Pair, until time.Time) bool { return !now.Before(until) })
	lost := map[route.Pair]bool{}
	for _, p := range c.planner.Lost() {
		lost[p] = true
	}
	c.former = slices.DeleteFunc(c.former, func(f formerPath) bool {
		over := !now.Before(f.until)
		breaks := !over && len(lost) > 0 && route.Uses(f.path, lost)
		if breaks {
			c.broken[f.to] = true
		}
		return over || breaks
	})
	c.former = c.former[max(0, len(c.former)-formerMost):]
}

// noteReached sees which nodes routes lead to, and lets go those that only that kept.
func (c *Core) noteReached(now time.Time) {
	var gone []*peer
	for id, p := range c.peers {
		_, reached := c.table.Lookup(id)
		wasActive := p.active()
		p.reached = reached && (p.member || now.Sub(p.since) < reachedKept)
		if wasActive && !p.active() {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, byID)
	for _, p := range gone {
		c.deactivate(p)
	}
}

// setLinks puts a node's links into the database that routes are computed from. What claims to be faster than light counts as that fast.
func (c *Core) setLinks(origin wire.NodeID, links []wire.Link) {
	out := make([]route.Link, 0, len(links))
	tooFast := 0
	for _, l := range links {
		least := c.least(origin, l.To)
		if l.Cost < least {
			tooFast++
		}
		out = append(out, route.Link{To: l.To, Cost: max(l.Cost, least)})
	}
	if tooFast > 0 && origin != c.self {
		c.do(TooFast{origin, tooFast})
	}
	before := c.db.Links(origin)
	if c.db.Set(origin, out) {
		c.routesDirty, c.linksDirty = true, true
		for to := range worsened(before, c.db.Links(origin)) {
			if c.needs(route.PairOf(origin, to)) {
				c.pathWorse, c.routesWorse = true, true
				break
			}
		}
	}
}

// followEach is how long for each node the planner may lack what has changed, unless a link of this node's paths got worse: in a large mesh some cost always
// changes, some link is always given up, and each is cheaper to follow with others. Records find their way by costs that were right a little before.
const followEach = 50 * time.Microsecond

// followDue is when the planner is to follow what has changed.
func (c *Core) followDue() time.Time {
	if c.pathWorse {
		return c.followedAt
	}
	return c.followedAt.Add(time.Duration(c.db.Len()) * followEach)
}

// followLinks brings the distances up to date, where links have changed and that is due.
func (c *Core) followLinks(now time.Time) {
	if c.linksDirty && !now.Before(c.followDue()) {
		c.planner.Follow(c.db)
		c.followed(now)
	}
}

// followed takes note that the planner follows now.
func (c *Core) followed(now time.Time) {
	c.linksDirty, c.pathWorse, c.followedAt, c.moved = false, false, now, true
}

// worsened yields the neighbours to which a vector has no link any more, or a dearer one.
func worsened(before, now []route.Link) iter.Seq[wire.NodeID] {
	return func(yield func(wire.NodeID) bool) {
		for _, l := range before {
			for len(now) > 0 && now[0].To < l.To {
				now = now[1:]
			}
			if worse := len(now) == 0 || now[0].To != l.To || now[0].Cost > l.Cost; worse && !yield(l.To) {
				return
			}
		}
	}
}

// needs reports whether a link is on a path of the routes published, or on one that was left for a better one just now.
func (c *Core) needs(link route.Pair) bool {
	_, former := c.formerLinks[link] // or longer ago, if routes have not changed since
	return former || c.table.Crosses(link.A, link.B)
}
