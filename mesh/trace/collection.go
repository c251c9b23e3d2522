package trace

import (
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// What one Collection holds at most: a hostile node gets no further than that.
const (
	mostHops   = 8192
	mostOfNode = 160 // a message for wire.MaxDestinations makes 128, if all go the same way
)

// Collection is what nodes told of one message.
type Collection struct {
	origin   wire.NodeID
	to       []wire.NodeID // destinations known, in the order in which they became so
	known    map[wire.NodeID]bool
	complete int // of these, the first ones that are known to be
	told     map[wire.NodeID][]*wire.Hop
	hops     int
}

// NewCollection is empty, of a message from a node to others, as far as these are known.
func NewCollection(origin wire.NodeID, to []wire.NodeID) *Collection {
	c := &Collection{origin: origin, known: map[wire.NodeID]bool{}, told: map[wire.NodeID][]*wire.Hop{}}
	for _, id := range to {
		c.expect(id)
	}
	return c
}

func (c *Collection) expect(to wire.NodeID) {
	if !c.known[to] && to != c.origin {
		c.known[to] = true
		c.to = append(c.to, to)
	}
}

// Add takes what a node tells, and keeps it; false if that is too much. The origin knows the destinations.
func (c *Collection) Add(by wire.NodeID, h *wire.Hop) bool {
	if c.hops >= mostHops || len(c.told[by]) >= mostOfNode {
		return false
	}
	c.hops++
	c.told[by] = append(c.told[by], h)
	if by == c.origin {
		for _, choice := range h.Choices {
			c.expect(choice.To)
		}
	}
	return true
}

// Complete reports whether there are destinations and nothing more is to come of the way to any.
func (c *Collection) Complete() bool {
	for ; c.complete < len(c.to); c.complete++ {
		if w := c.way(c.to[c.complete]); !w.complete() {
			return false
		}
	}
	return len(c.to) > 0
}

// way is the way of the message to one destination: its nodes, and what they told; nil where they have not. The last node may be one short of the destination.
type way struct {
	nodes   []wire.NodeID
	hops    []*wire.Hop
	arrived bool
}

func (w *way) complete() bool { return w.arrived && !slices.Contains(w.hops, nil) }

// way puts together what there is.
func (c *Collection) way(to wire.NodeID) way {
	if last := c.arrival(to); last != nil {
		w := way{nodes: append(append([]wire.NodeID{c.origin}, last.Via...), to), arrived: true}
		for i, node := range w.nodes[:len(w.nodes)-1] {
			w.hops = append(w.hops, c.passing(node, w.nodes[1:max(i, 1)], to, w.nodes[i+1], last.Age))
		}
		w.hops = append(w.hops, last)
		return w
	}
	w := way{nodes: []wire.NodeID{c.origin}}
	for i := 0; ; i++ { // as far as it went
		node := w.nodes[i]
		h := c.passing(node, w.nodes[1:max(i, 1)], to, 0, 1<<32-1)
		w.hops = append(w.hops, h)
		next := takenBy(h, to)
		if next == 0 || slices.Contains(w.nodes, next) || len(w.nodes) > wire.MaxHops {
			return w
		}
		w.nodes = append(w.nodes, next)
	}
}

// arrival is what the destination told first, of those that can be.
func (c *Collection) arrival(to wire.NodeID) (first *wire.Hop) {
	for _, h := range c.told[to] {
		if h.End == wire.EndDelivered && c.sound(h.Via, to) && (first == nil || h.Age < first.Age) {
			first = h
		}
	}
	return first
}

// sound reports whether relays can be those on a way to a node.
func (c *Collection) sound(via []wire.NodeID, to wire.NodeID) bool {
	for i, id := range via {
		if id == to || id == c.origin || slices.Contains(via[:i], id) {
			return false
		}
	}
	return true
}

// passing is what a node told of the message, with these relays behind it, for a destination: by way of the next node, unless that is 0, and of what it
// sent again the last that was no older than the message at its end.
func (c *Collection) passing(node wire.NodeID, via []wire.NodeID, to, next wire.NodeID, age uint32) (last *wire.Hop) {
	for _, h := range c.told[node] {
		if h.End == wire.EndDelivered || h.Age > age || !slices.Equal(h.Via, via) || choiceOf(h, to).To != to {
			continue
		}
		if next != 0 && takenBy(h, to) != next {
			continue
		}
		if last == nil || h.Age >= last.Age {
			last = h
		}
	}
	return last
}

// choiceOf is what a node chose for a destination; h may be nil.
func choiceOf(h *wire.Hop, to wire.NodeID) (c wire.Choice) {
	if h == nil {
		return c
	}
	if i := slices.IndexFunc(h.Choices, func(c wire.Choice) bool { return c.To == to }); i >= 0 {
		return h.Choices[i]
	}
	return c
}

// takenBy is the next hop that a node took towards a destination; 0 for none.
func takenBy(h *wire.Hop, to wire.NodeID) wire.NodeID {
	for _, way := range choiceOf(h, to).Candidates {
		if way.Verdict == wire.VerdictTaken && h.End == wire.EndSent {
			return way.Hop
		}
	}
	return 0
}
