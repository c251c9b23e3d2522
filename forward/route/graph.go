package route

import (
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

// graph holds the usable links in compressed sparse rows. Node i is the i-th origin in ascending order of ID, so that
// comparing indices compares IDs.
type graph struct {
	ids   []wire.NodeID
	start []int32 // len(ids)+1 entries: the arcs of node i are arcs[start[i]:start[i+1]]
	arcs  []arc   // ascending by to within a node
}

// newGraph keeps of the database what is usable (R1). It shares no memory with it.
func newGraph(db *Database) *graph {
	claims := indexClaims(db)
	n := len(claims.ids)
	start, arcs := make([]int32, 1, n+1), make([]arc, 0, len(claims.arcs))
	// As i rises, the search for i among the claims of a neighbor only moves forward: one cursor each makes it linear.
	cursor := slices.Clone(claims.start[:n])
	for i := range int32(n) {
		for _, a := range claims.row(i) {
			c, end := cursor[a.to], claims.start[a.to+1]
			for c < end && claims.arcs[c].to < i {
				c++
			}
			cursor[a.to] = c
			if c < end && claims.arcs[c].to == i {
				arcs = append(arcs, arc{to: a.to, cost: max(a.cost, claims.arcs[c].cost)})
			}
		}
		start = append(start, int32(len(arcs)))
	}
	return &graph{ids: claims.ids, start: start, arcs: arcs}
}

// indexClaims is the database as a directed graph: every claim whose neighbor is an origin too.
func indexClaims(db *Database) *graph {
	total := 0
	for _, vector := range db.vectors {
		total += len(vector)
	}
	ids := slices.Clone(db.origins)
	start, arcs := make([]int32, 1, len(ids)+1), make([]arc, 0, total)
	for _, vector := range db.vectors {
		at := 0
		for _, l := range vector {
			at = seek(ids, at, l.To)
			if at < len(ids) && ids[at] == l.To {
				arcs = append(arcs, arc{to: int32(at), cost: l.Cost})
			}
		}
		start = append(start, int32(len(arcs)))
	}
	return &graph{ids: ids, start: start, arcs: arcs}
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

// row is the arcs of node i.
func (g *graph) row(i int32) []arc { return g.arcs[g.start[i]:g.start[i+1]] }
