package route

import (
	"cmp"
	"slices"
)

// tree is the shortest-path tree from one root. Entries of unreachable nodes are infinity and none.
type tree struct {
	dist   []metric
	parent []int32 // the node before this one on the best path from the root
	first  []int32 // the node after the root on that path
}

// none is no node.
const none = -1

// treeOf is the tree from a root to which all distances are known, with the whole tie-breaking of the package comment: what Dijkstra's algorithm finds, without
// its queue. Nodes are taken in the order of their distances, so that a node's parents, which are nearer, come before it. The order is brought up to date
// from what it was for the tree before: then it is nearly right.
func (g *graph) treeOf(root int32, dist []metric, order []int32) tree {
	n := len(g.ids)
	t := tree{dist: dist, parent: make([]int32, n), first: make([]int32, n)}
	for i := range n {
		t.parent[i], t.first[i] = none, none
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(dist[a], dist[b]) })
	for _, u := range order {
		if dist[u] == infinity {
			break
		}
		t.first[u] = u
		if p := t.parent[u]; p != none && p != root {
			t.first[u] = t.first[p]
		}
		for _, a := range g.rows[u] {
			if dist[u]+linkMetric(a.cost) == dist[a.to] && (t.parent[a.to] == none || t.less(u, t.parent[a.to])) {
				t.parent[a.to] = u
			}
		}
	}
	return t
}

// less says whether the best path to a has a lesser sequence of IDs than the one to b. Both are as many hops from the
// root and differ, so climbing in step leads to the last node they share; what follows it decides. Rare in practice: it
// takes an exact tie in cost and hops.
func (t *tree) less(a, b int32) bool {
	for t.parent[a] != t.parent[b] {
		a, b = t.parent[a], t.parent[b]
	}
	return a < b
}
