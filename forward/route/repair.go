package route

// change is a link that costs something else than before; a cost of 0 is no link.
type change struct {
	a, b     int32
	old, now uint32
}

// source is a node and its distance to every other.
type source struct {
	node   int32
	dist   []metric
	parent []int32 // the node before this one on one of the best paths
	torn   []int32 // scratch of repair
}

func newSource(g *graph, node int32, q *queue) *source {
	n := len(g.ids)
	s := &source{node: node, dist: make([]metric, n), parent: make([]int32, n)}
	for i := range n {
		s.dist[i], s.parent[i] = infinity, none
	}
	s.improve(node, none, 0, q)
	s.settle(g, q)
	return s
}

// renumber gives the nodes their new numbers; nodes that are gone are on no path.
func (s *source) renumber(m *move) {
	s.node, s.dist, s.parent = m.to[s.node], rearrange(m, s.dist, infinity), rearrange(m, s.parent, none)
	for i, p := range s.parent {
		if p != none {
			s.parent[i] = m.to[p]
		}
	}
}

// repair brings the distances up to date after links changed, for the nodes that it concerns alone (after Ramalingam and Reps).
func (s *source) repair(g *graph, changes []change, q *queue) {
	s.torn = s.torn[:0]
	for _, c := range changes {
		if c.now != 0 && (c.old == 0 || c.now < c.old) {
			continue
		}
		if s.parent[c.b] == c.a {
			s.tear(g, c.b)
		} else if s.parent[c.a] == c.b {
			s.tear(g, c.a)
		}
	}
	for _, v := range s.torn { // from what is whole, or from a path found already, which is one if not the best
		for _, a := range g.rows[v] {
			if d := s.dist[a.to]; d != infinity {
				s.improve(v, a.to, d+linkMetric(a.cost), q)
			}
		}
	}
	for _, c := range changes {
		if c.now == 0 || c.old != 0 && c.now > c.old {
			continue
		}
		link := linkMetric(c.now)
		if d := s.dist[c.a]; d != infinity {
			s.improve(c.b, c.a, d+link, q)
		}
		if d := s.dist[c.b]; d != infinity {
			s.improve(c.a, c.b, d+link, q)
		}
	}
	s.settle(g, q)
}

// tear forgets the distances of a node and of all whose path leads through it. Where another link that is gone parts them, its own change does.
func (s *source) tear(g *graph, node int32) {
	s.dist[node], s.parent[node] = infinity, none
	s.torn = append(s.torn, node)
	for next := len(s.torn) - 1; next < len(s.torn); next++ {
		v := s.torn[next]
		for _, a := range g.rows[v] {
			if s.parent[a.to] == v {
				s.dist[a.to], s.parent[a.to] = infinity, none
				s.torn = append(s.torn, a.to)
			}
		}
	}
}

// improve takes a path to a node if it is the shortest yet.
func (s *source) improve(node, parent int32, d metric, q *queue) {
	if d < s.dist[node] {
		s.dist[node], s.parent[node] = d, parent
		q.push(entry{d, node})
	}
}

// settle is Dijkstra from the nodes in the queue.
func (s *source) settle(g *graph, q *queue) {
	for !q.empty() {
		e := q.pop()
		if e.dist != s.dist[e.node] {
			continue
		}
		for _, a := range g.rows[e.node] {
			s.improve(a.to, e.node, e.dist+linkMetric(a.cost), q)
		}
	}
}
