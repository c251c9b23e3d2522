package core

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// How a node in a larger mesh looks for relays: nodes to which it has no link, and a link to which would make the way to where its messages go shorter.
const (
	relayFlows  = 16   // destinations looked at, those of most messages
	relayGain   = 20   // a way must be shorter by one part of so many
	relayLeast  = 1000 // and by so many µs
	relayPings  = 4    // nodes measured at a time
	relayHope   = 2    // of what is expected, a link may cost one part of so many: places err by as much where it is worth looking
	relayLinks  = 8    // links on trial at a time
	relayTrial  = 20 * time.Second
	relaySoon   = 2 * time.Second // until the next look, where the last one found something or demand is new
	relayRarely = time.Minute
	pingKept    = 3 * time.Second // a ping that has no answer by then will have none
)

// seekRelays measures nodes that promise a shorter way, and has links opened to those that keep the promise. A link over which messages then go is kept
// while they do, as any; one that routes do not take is given up after its trial.
func (c *Core) seekRelays(now time.Time) {
	if !c.sparse || c.relayAt.IsZero() || now.Before(c.relayAt) {
		return
	}
	c.endTrials(now)
	if len(c.demands)+len(c.relays) == 0 {
		c.relayAt = time.Time{}
		return
	}
	pings, trials := 0, len(c.relays)
	for _, p := range c.promising(now) {
		switch {
		case p.known(now):
			if trials < relayLinks {
				trials++
				c.relays[p.id] = now.Add(relayTrial)
				p.relay, p.dialAt, p.dialWait, p.fails = true, now, 0, 0
			}
		case pings < relayPings && now.Sub(p.pinged) > measuredKept:
			pings++
			p.pinged = now
			c.do(Ping{Peer: p.id, Boot: p.meta.Boot, Addr: p.addrs.Addr})
		}
	}
	c.relayAt = now.Add(c.jitter(relayRarely))
	if pings > 0 || len(c.relays) > 0 {
		c.relayAt = now.Add(c.jitter(relaySoon))
	}
}

// known reports whether it is known by measurement what a link to the node costs that is not there.
func (p *peer) known(now time.Time) bool {
	return !p.measuredAt.IsZero() && now.Sub(p.measuredAt) < measuredKept
}

// endTrials ends those that have lasted; where a link is in use by now, that keeps it.
func (c *Core) endTrials(now time.Time) {
	for id, until := range c.relays {
		p := c.peers[id]
		if p != nil && now.Before(until) && p.eligible(now) {
			continue
		}
		delete(c.relays, id)
		if p != nil {
			p.relay = false
		}
		c.spareAt = now
	}
}

// promising are the nodes without a link that seem to lead to a destination in demand by a shorter way, those that gain most first.
func (c *Core) promising(now time.Time) []*peer {
	type destination struct {
		*peer
		rate float64
		most uint32 // a way by a relay must cost less
	}
	var to []destination
	for id, d := range c.demands {
		p := c.peers[id]
		if p == nil || !p.up { // the distances from it are not kept
			continue
		}
		if r, ok := c.table.Lookup(id); ok {
			to = append(to, destination{p, d.rate, r.Cost - min(r.Cost, max(relayLeast, r.Cost/relayGain))})
		}
	}
	slices.SortFunc(to, func(a, b destination) int { return cmp.Or(cmp.Compare(b.rate, a.rate), byID(a.peer, b.peer)) })
	to = to[:min(len(to), relayFlows)]
	c.followLinks(now)
	own := c.place.Place()
	var found []distance // by what they leave to pay, so that the greatest gain comes first
	for _, p := range c.peers {
		if p.link != 0 || p.dialing || !p.eligible(now) {
			continue
		}
		cost := c.estimate(now, own, p)
		if !p.known(now) {
			cost /= relayHope
		}
		gain := uint32(0)
		for _, d := range to {
			if cost >= d.most {
				continue
			}
			if rest, ok := c.planner.Between(d.id, p.id); ok && rest < d.most-cost {
				gain = max(gain, d.most-cost-rest)
			}
		}
		if gain > 0 {
			found = append(found, distance{p, math.MaxUint32 - gain})
		}
	}
	slices.SortFunc(found, byCost)
	out := make([]*peer, len(found))
	for i, f := range found {
		out[i] = f.peer
	}
	return out
}

// pinged takes the answer to a ping.
func (c *Core) pinged(now time.Time, e Pinged) {
	p := c.peers[e.Peer]
	if p == nil || p.link != 0 || p.pinged.IsZero() || now.Sub(p.pinged) > pingKept || e.RTT <= 0 {
		return
	}
	p.measured, p.measuredAt = uint32((e.RTT/2+c.hop)/time.Microsecond), now
}

// wanting notes that messages go to a node to which they did not before.
func (c *Core) wanting(now time.Time) {
	if soon := now.Add(c.jitter(relaySoon)); c.relayAt.IsZero() || soon.Before(c.relayAt) {
		c.relayAt = soon
	}
}

// forgetRelay ends the trial of a node that is given up.
func (c *Core) forgetRelay(id wire.NodeID) {
	delete(c.relays, id)
	if p := c.peers[id]; p != nil {
		p.relay = false
	}
}
