package route

// search is one computation of a table: the graph, the node it is for and its shortest-path tree.
type search struct {
	*graph
	tree
	root int32
	near []*source // neighbors of root, ascending
}

// routes builds the route to every node; those of root and of unreachable nodes stay zero.
func (s *search) routes() []Route {
	routes := make([]Route, len(s.ids))
	for i, first := range s.first {
		if first != none && int32(i) != s.root {
			routes[i] = Route{NextHop: s.ids[first], Cost: s.dist[i].cost(), Hops: s.dist[i].hops()}
		}
	}
	for _, a := range s.rows[s.root] {
		routes[a.to].DirectCost = a.cost
	}
	s.alternates(routes)
	return routes
}

// alternates sets the loop-free alternate of every route that has one.
func (s *search) alternates(routes []Route) {
	best := make([]metric, len(s.ids))
	by := make([]int32, len(s.ids))
	for i := range best {
		best[i], by[i] = infinity, none
	}
	near := s.near
	for _, a := range s.rows[s.root] { // in ascending order: among equals the least ID comes first
		link := linkMetric(a.cost)
		if len(near) == 0 || near[0].node != a.to { // too dear to be asked for the way to others
			if link < best[a.to] && s.first[a.to] != a.to {
				best[a.to], by[a.to] = link, a.to
			}
			continue
		}
		back := s.dist[a.to]
		for d, nd := range near[0].dist {
			// A path back through self, or the next hop itself, is no alternate; root fails by 0 + back = nd.
			if total := link + nd; total < best[d] && nd < back+s.dist[d] && s.first[d] != a.to {
				best[d], by[d] = total, a.to
			}
		}
		near = near[1:]
	}
	for d, n := range by {
		if n != none {
			routes[d].Alternate, routes[d].AlternateCost = s.ids[n], best[d].cost()
		}
	}
}
