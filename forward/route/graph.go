package route

import (
	"cmp"
	"math"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// metric is the length of a path: its cost in microseconds above hopBits, its number of links below. One addition adds
// both and one comparison compares both, in that order. A simple path has fewer than MaxOrigins (2^15) links of less
// than 2^48 each, so a metric stays below 2^63 and the sum of any two fits.
type metric uint64

const (
	hopBits         = 16
	infinity metric = math.MaxInt64
)

// linkMetric is the length of one link.
func linkMetric(cost uint32) metric { return metric(cost)<<hopBits | 1 }

// cost is in microseconds and saturates.
func (m metric) cost() uint32 { return uint32(min(m>>hopBits, math.MaxUint32)) }

// hops is the number of links and saturates.
func (m metric) hops() uint8 { return uint8(min(m&(1<<hopBits-1), math.MaxUint8)) }

// arc is one direction of a link; its node is known from where it stands.
type arc struct {
	to   int32
	cost uint32
}

// graph holds the usable links. Node i is the i-th origin in ascending order of ID, so that comparing indices compares IDs.
type graph struct {
	ids  []wire.NodeID // never modified
	rows [][]arc       // the arcs of node i are rows[i], ascending by to
}

// number is which node has the ID.
func (g *graph) number(id wire.NodeID) (i int32, known bool) {
	at, known := slices.BinarySearch(g.ids, id)
	return int32(at), known
}

// numbers are those of all nodes.
func (g *graph) numbers() map[wire.NodeID]int32 {
	numbers := make(map[wire.NodeID]int32, len(g.ids))
	for i, id := range g.ids {
		numbers[id] = int32(i)
	}
	return numbers
}

// put sets the cost of the arc from a to b, 0 for none, and returns what it was.
func (g *graph) put(a, b int32, cost uint32) (old uint32) {
	row := g.rows[a]
	i, found := slices.BinarySearchFunc(row, b, func(a arc, to int32) int { return cmp.Compare(a.to, to) })
	if found {
		old = row[i].cost
	}
	switch {
	case found && cost == 0:
		g.rows[a] = slices.Delete(row, i, i+1)
	case found:
		row[i].cost = cost
	case cost != 0:
		g.rows[a] = slices.Insert(row, i, arc{b, cost})
	}
	return old
}

// seek finds the first index from at on whose ID is not less than id. It gallops, then bisects: one step where the next
// ID is the one (full mesh), a logarithm of the gap where it is far (sparse graph).
func seek(ids []wire.NodeID, at int, id wire.NodeID) int {
	step := 1
	low := at
	for at < len(ids) && ids[at] < id {
		low = at + 1
		at += step
		step *= 2
	}
	if low == at {
		return at
	}
	i, _ := slices.BinarySearch(ids[low:min(at, len(ids))], id)
	return low + i
}
