package route

// tree is the shortest-path tree from one root. Entries of unreachable nodes are infinity and none.
type tree struct {
	dist   []metric
	parent []int32 // the node before this one on the best path from the root
	first  []int32 // the node after the root on that path
}

// none is no node.
const none = -1

// shortestPaths is Dijkstra from root, with the whole tie-breaking of the package comment.
func (g *graph) shortestPaths(root int32, q *queue) tree {
	n := len(g.ids)
	t := tree{dist: make([]metric, n), parent: make([]int32, n), first: make([]int32, n)}
	for i := range n {
		t.dist[i], t.parent[i], t.first[i] = infinity, none, none
	}
	t.dist[root] = 0
	q.push(entry{0, root})
	for !q.empty() {
		e := q.pop()
		u := e.node
		if e.dist != t.dist[u] {
			continue // a longer path to u than the one already taken
		}
		t.first[u] = u
		if p := t.parent[u]; p != none && p != root {
			t.first[u] = t.first[p]
		}
		for _, a := range g.rows[u] {
			d := e.dist + linkMetric(a.cost)
			switch {
			case d < t.dist[a.to]:
				t.dist[a.to], t.parent[a.to] = d, u
				q.push(entry{d, a.to})
			case d == t.dist[a.to] && t.less(u, t.parent[a.to]):
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
