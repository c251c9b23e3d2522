package route

import (
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Since compares the table with the one before it, given the links lost in between (Planner.Lost). Of the destinations that are reachable now, broken
// are those that were not, or whose path has lost a link; left are those whose path is another though every link of it is still there.
func (t *Table) Since(before *Table, lost []Pair) (broken, left []wire.NodeID) {
	gone := make(map[Pair]bool, len(lost))
	for _, p := range lost {
		gone[p] = true
	}
	intact := before.along(func(i, parent int32) bool { return len(gone) == 0 || !gone[PairOf(before.ids[i], before.ids[parent])] })
	kept := before.along(func(i, parent int32) bool {
		now, known := t.index[before.ids[i]]
		return known && t.parent[now] != none && t.ids[t.parent[now]] == before.ids[parent]
	})
	for id := range t.All() {
		i, known := before.index[id]
		switch {
		case !known || before.routes[i].NextHop == 0 || !intact[i]:
			broken = append(broken, id)
		case !kept[i]:
			left = append(left, id)
		}
	}
	return broken, left
}

// PairOf are two nodes as a Pair.
func PairOf(a, b wire.NodeID) Pair { return Pair{min(a, b), max(a, b)} }

// Uses reports whether a path crosses one of the links.
func Uses(path []wire.NodeID, links map[Pair]bool) bool {
	for i := 1; i < len(path); i++ {
		if links[PairOf(path[i-1], path[i])] {
			return true
		}
	}
	return false
}

// along reports for each node, by index, whether ok holds of every node and its parent on the path to it.
func (t *Table) along(ok func(i, parent int32) bool) []bool {
	const unknown, yes, no = 0, 1, 2
	verdict, holds := make([]uint8, len(t.ids)), make([]bool, len(t.ids))
	var climbed []int32
	for i := range t.ids {
		at := int32(i)
		for climbed = climbed[:0]; at != none && verdict[at] == unknown; at = t.parent[at] {
			climbed = append(climbed, at)
		}
		known := uint8(yes)
		if at != none {
			known = verdict[at]
		}
		for _, v := range slices.Backward(climbed) {
			if parent := t.parent[v]; parent != none && !ok(v, parent) {
				known = no
			}
			verdict[v] = known
		}
		holds[i] = verdict[i] == yes
	}
	return holds
}
