package route

import (
	"iter"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Route is how to reach one destination. Costs are one way, in microseconds, and saturate at the greatest uint32.
type Route struct {
	NextHop       wire.NodeID // the neighbor to send to
	Alternate     wire.NodeID // the neighbor to send to while the link to NextHop is down; zero: there is none
	Cost          uint32      // of the best path
	AlternateCost uint32      // of the path by way of Alternate; 0 without one
	DirectCost    uint32      // of the direct link, best or not; 0: no usable direct link
	Hops          uint8       // links on the best path; saturates
}

// Table is one node's routes to all others. It is immutable and safe for any number of concurrent readers.
type Table struct {
	self      wire.NodeID
	ids       []wire.NodeID         // ascending: self and every other origin, reachable or not
	index     map[wire.NodeID]int32 // of ids; as ids it is shared between tables, and never modified
	routes    []Route               // by index in ids; without a NextHop for self and the unreachable
	parent    []int32               // by index in ids: the node before this one on the path from self
	reachable int
	vectors   [][]Link // what it was computed from, by index in ids
}

// Lookup is the route to dst. It reports false for self and for a node that no path of usable links reaches.
func (t *Table) Lookup(dst wire.NodeID) (Route, bool) {
	i, ok := t.index[dst]
	if !ok || t.routes[i].NextHop == 0 {
		return Route{}, false
	}
	return t.routes[i], true
}

// Avoiding is the table over the same links where the given nodes are destinations, but relays of nobody. Its only alternates are direct links. Where all
// nodes avoid the same ones, R3 holds for it too.
func (t *Table) Avoiding(relays []wire.NodeID) *Table {
	p := NewPlanner(t.self)
	p.know(t.ids, t.vectors)
	for i, id := range t.ids {
		if id != t.self && slices.Contains(relays, id) {
			p.graph.rows[i] = nil // no path leads on from there
		}
	}
	return p.table()
}

// Self is the node whose table this is.
func (t *Table) Self() wire.NodeID { return t.self }

// Len is the number of reachable destinations.
func (t *Table) Len() int { return t.reachable }

// All yields every reachable destination and its route in ascending order of ID.
func (t *Table) All() iter.Seq2[wire.NodeID, Route] {
	return func(yield func(wire.NodeID, Route) bool) {
		for i, r := range t.routes {
			if r.NextHop != 0 && !yield(t.ids[i], r) {
				return
			}
		}
	}
}

// Crosses reports whether the path to one of two nodes leads over the link between them, and so whether any path does.
func (t *Table) Crosses(a, b wire.NodeID) bool {
	i, ok := t.index[a]
	j, there := t.index[b]
	return ok && there && (t.parent[i] == j || t.parent[j] == i)
}

// Path is the path that a message to dst is predicted to take, from self to dst, both included: exact where all nodes
// hold the same database. It is nil for an unreachable dst.
func (t *Table) Path(dst wire.NodeID) []wire.NodeID {
	if dst == t.self {
		return []wire.NodeID{dst}
	}
	i, ok := t.index[dst]
	if !ok || t.routes[i].NextHop == 0 {
		return nil
	}
	var path []wire.NodeID
	for ; i != none; i = t.parent[i] {
		path = append(path, t.ids[i])
	}
	slices.Reverse(path)
	return path
}
