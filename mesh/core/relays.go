package core

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// How a node in a larger mesh looks for relays: nodes to which it has no link, and a link to which would make the way shorter to where its messages go, or from where they come.
const (
	relayFlows  = 16   // goals: nodes that most messages go to or come from
	relayGain   = 20   // a way must be shorter by one part of so many
	relayLeast  = 1000 // and by so many µs
	relayPings  = 8    // nodes measured at a time
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
	if len(c.demands)+len(c.sources)+len(c.relays) == 0 {
		c.relayAt = time.Time{}
		return
	}
	goals := c.goals(now)
	measured, guessed := c.promising(now, goals)
	c.try(now, goals, measured)
	guessed = slices.DeleteFunc(guessed, func(x promise) bool { // what is on trial by now promises more
		x.weigh(goals)
		return x.share <= 0
	})
	pings := inTurn(guessed)
	pings = pings[:min(len(pings), relayPings)]
	for _, p := range pings {
		p.pinged = now
		c.do(Ping{Peer: p.id, Boot: p.meta.Boot, Addr: p.addrs.Addr})
	}
	c.relayAt = now.Add(c.jitter(relayRarely))
	if len(pings) > 0 || len(c.relays) > 0 {
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
		if p != nil && now.Before(until) && p.eligible(now) && (!p.up || !p.used.After(p.opened)) {
			continue
		}
		delete(c.relays, id)
		if p == nil {
			continue
		}
		p.relay = false
		if !p.used.After(p.opened) {
			c.spareAt = now
		}
	}
}

// goal is a node that messages go to or come from.
type goal struct {
	*peer
	rate float64
	most uint32 // a way by a relay must cost less
}

// goals are those that relays are sought for: of most messages, to and from. The far end of a flow knows what is near it, and so either end finds relays that the other does not.
func (c *Core) goals(now time.Time) []goal {
	var all []goal
	add := func(id wire.NodeID, rate float64) {
		p := c.peers[id]
		if p == nil || !p.up { // the distances from it are not kept
			return
		}
		if r, ok := c.table.Lookup(id); ok {
			all = append(all, goal{p, rate, worthwhile(r.Cost)})
		}
	}
	for id, d := range c.demands {
		rate := d.at(now)
		if s := c.sources[id]; s != nil {
			rate += s.at(now)
		}
		add(id, rate)
	}
	for id, s := range c.sources {
		if c.demands[id] == nil {
			add(id, s.at(now))
		}
	}
	slices.SortFunc(all, func(a, b goal) int { return cmp.Or(cmp.Compare(b.rate, a.rate), byID(a.peer, b.peer)) })
	return all[:min(len(all), relayFlows)]
}

// worthwhile is what a way must cost less than to be worth a link of its own, where there is one of this cost.
func worthwhile(cost uint32) uint32 { return cost - min(cost, max(relayLeast, cost/relayGain)) }

// promise is a node by which a goal is reached at less cost.
type promise struct {
	*peer
	cost  uint32             // of the link there
	rest  [relayFlows]uint32 // from there to each goal; the greatest number where it leads nowhere
	goal  int                // where it saves the greatest share
	share float64            // of what a way there must cost less than
}

// promising are the nodes without a link that seem to lead to a goal by a shorter way: those whose distance was measured, and those where it is guessed.
func (c *Core) promising(now time.Time, goals []goal) (measured, guessed []promise) {
	c.followLinks(now)
	own := c.place.Place()
	for _, p := range c.peers {
		if p.link != 0 || p.dialing || !p.eligible(now) {
			continue
		}
		x := promise{peer: p, cost: c.estimate(now, own, p)}
		known := p.known(now)
		switch {
		case known:
		case now.Sub(p.pinged) > measuredKept:
			x.cost /= relayHope
		default:
			continue
		}
		c.expect(&x, goals)
		if x.weigh(goals); x.share <= 0 {
			continue
		}
		if known {
			measured = append(measured, x)
		} else {
			guessed = append(guessed, x)
		}
	}
	return measured, guessed
}

// expect finds what it costs from there to each goal.
func (c *Core) expect(x *promise, goals []goal) {
	for k, g := range goals {
		x.rest[k] = math.MaxUint32
		if x.cost >= g.most {
			continue
		}
		if rest, ok := c.planner.Between(g.id, x.id); ok {
			x.rest[k] = rest
		}
	}
}

// saves reports whether the k-th goal is reached at less cost.
func (x *promise) saves(goals []goal, k int) bool {
	return x.cost < goals[k].most && x.rest[k] < goals[k].most-x.cost
}

// meet asks of others that they lead to the goals at less cost still.
func (x *promise) meet(goals []goal) {
	for k := range goals {
		if x.saves(goals, k) {
			goals[k].most = min(goals[k].most, worthwhile(x.cost+x.rest[k]))
		}
	}
}

// weigh finds where a promise saves most.
func (x *promise) weigh(goals []goal) {
	x.share = 0
	for k, g := range goals {
		if x.saves(goals, k) {
			if share := float64(g.most-x.cost-x.rest[k]) / float64(g.most); share > x.share {
				x.goal, x.share = k, share
			}
		}
	}
}

// try has links opened to nodes that lead to goals by shorter ways, as far as is known, each to where those before it do not.
func (c *Core) try(now time.Time, goals []goal, measured []promise) {
	for id := range c.relays {
		if p := c.peers[id]; p != nil && (p.up || p.known(now)) {
			x := promise{peer: p, cost: c.estimate(now, wire.Place{}, p)}
			c.expect(&x, goals)
			x.meet(goals)
		}
	}
	for len(c.relays) < relayLinks {
		best := -1
		for i := range measured {
			x := &measured[i]
			x.weigh(goals)
			if x.share > 0 && (best < 0 || x.share > measured[best].share || x.share == measured[best].share && x.id < measured[best].id) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		x := &measured[best]
		c.relays[x.id] = now.Add(relayTrial)
		x.relay = true
		x.dialFresh(now)
		x.meet(goals)
		measured = slices.Delete(measured, best, best+1)
	}
}

// inTurn are nodes to be measured: for each goal the one that promises most, then for each the next.
func inTurn(guessed []promise) []*peer {
	slices.SortFunc(guessed, func(a, b promise) int {
		return cmp.Or(cmp.Compare(a.goal, b.goal), cmp.Compare(b.share, a.share), byID(a.peer, b.peer))
	})
	type turn struct {
		*promise
		rank int
	}
	turns := make([]turn, len(guessed))
	for i := range guessed {
		turns[i].promise = &guessed[i]
		if i > 0 && guessed[i].goal == guessed[i-1].goal {
			turns[i].rank = turns[i-1].rank + 1
		}
	}
	slices.SortFunc(turns, func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.share, a.share), byID(a.peer, b.peer))
	})
	out := make([]*peer, len(turns))
	for i, t := range turns {
		out[i] = t.peer
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

// wanting notes that messages go to a node, or come from one, as they did not before.
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
