package route

import "slices"

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
		for _, a := range g.row(u) {
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

// shorten is Dijkstra from root for distances alone. dist holds for each node a length that the path has to beat; the
// search goes on only from nodes where it does.
func (g *graph) shorten(root int32, dist []metric, q *queue) {
	dist[root] = 0
	q.push(entry{0, root})
	for !q.empty() {
		e := q.pop()
		if e.dist != dist[e.node] {
			continue
		}
		for _, a := range g.row(e.node) {
			if d := e.dist + linkMetric(a.cost); d < dist[a.to] {
				dist[a.to] = d
				q.push(entry{d, a.to})
			}
		}
	}
}

// allPairs is Floyd–Warshall: the distance from node i to node j is at i*n+j. The matrix is symmetric, so the cubic
// part works on j < i alone.
func (g *graph) allPairs() []metric {
	n := len(g.ids)
	dist := g.lengths()
	via := make([]metric, n) // the distances to k, contiguous
	for k := range n {
		copy(via, dist[k*n:k*n+k])
		for i := k; i < n; i++ {
			via[i] = dist[i*n+k]
		}
		for i, ik := range via {
			row := dist[i*n : i*n+i]
			for j, jk := range via[:len(row)] {
				row[j] = min(row[j], ik+jk)
			}
		}
	}
	for i := range n {
		for j := range i {
			dist[j*n+i] = dist[i*n+j]
		}
	}
	return dist
}

// lengths is the matrix of link lengths, from node i to node j at i*n+j.
func (g *graph) lengths() []metric {
	n := len(g.ids)
	m := slices.Repeat([]metric{infinity}, n*n)
	for i := range n {
		m[i*n+i] = 0
		for _, a := range g.row(int32(i)) {
			m[i*n+int(a.to)] = linkMetric(a.cost)
		}
	}
	return m
}
