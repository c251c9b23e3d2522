package core

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// demand is how much this node sends to another, or gets from it.
type demand struct {
	rate float64 // messages, of which half are forgotten every ten seconds
	last time.Time
}

// at is the rate by now.
func (d *demand) at(now time.Time) float64 { return d.rate * math.Exp2(-now.Sub(d.last).Seconds()/10) }

// trafficCame notes where this node's messages go, and where those that it gets come from; links to where they go are opened at once and kept while they are used.
func (c *Core) trafficCame(now time.Time, e Traffic) {
	if !c.sparse {
		return
	}
	c.noteFlows(now, c.demands, e.Sent)
	c.noteFlows(now, c.sources, e.Came)
	c.meetDemands(now)
}

// noteFlows adds to what is known of the nodes that messages go to or come from.
func (c *Core) noteFlows(now time.Time, known map[wire.NodeID]*demand, flows []Flow) {
	for _, f := range flows {
		p := c.peers[f.Peer]
		if p == nil || !p.member {
			continue
		}
		d := known[f.Peer]
		if d == nil {
			d = &demand{last: now}
			known[f.Peer] = d
			if p.up { // else once it is
				c.wanting(now)
			}
		}
		d.rate, d.last = d.at(now)+float64(f.Messages), now
	}
}

func (c *Core) forgetDemands(now time.Time) {
	for id, d := range c.demands {
		if now.Sub(d.last) > demandKept {
			delete(c.demands, id)
			if p := c.peers[id]; p != nil {
				p.demanded = false
			}
		}
	}
	maps.DeleteFunc(c.sources, func(_ wire.NodeID, d *demand) bool { return now.Sub(d.last) > demandKept })
	c.meetDemands(now)
}

// meetDemands wants links to where most messages go.
func (c *Core) meetDemands(now time.Time) {
	type flow struct {
		*peer
		rate float64
	}
	flows := make([]flow, 0, len(c.demands))
	for id, d := range c.demands {
		p := c.peers[id]
		if p == nil || !p.member {
			continue
		}
		rate := d.at(now)
		if p.demanded {
			rate *= 2 // a link in use is not given up for one that is used little more
		}
		flows = append(flows, flow{p, rate})
	}
	slices.SortFunc(flows, func(a, b flow) int { return cmp.Or(cmp.Compare(b.rate, a.rate), byID(a.peer, b.peer)) })
	for i, f := range flows {
		demanded := i < demandLinks && now.Compare(f.failedUntil) >= 0
		if demanded && !f.demanded && f.link == 0 {
			f.dialFresh(now)
		}
		f.demanded = demanded
		if demanded && f.link != 0 {
			c.tellNeed(f.peer, true)
		}
	}
}
