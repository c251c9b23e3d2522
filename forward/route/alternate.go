package route

// search is one computation of a table: the graph, the node it is for and its shortest-path tree.
type search struct {
	*graph
	tree
	root  int32
	queue *queue
}

// denseFactor is how many steps of Floyd–Warshall take the time of one arc scanned by Dijkstra, its share of the heap
// included.
const denseFactor = 3

// routes builds the route to every node; those of root and of unreachable nodes stay zero.
func (s *search) routes() []Route {
	routes := make([]Route, len(s.ids))
	for i, first := range s.first {
		if first != none && int32(i) != s.root {
			routes[i] = Route{NextHop: s.ids[first], Cost: s.dist[i].cost(), Hops: s.dist[i].hops()}
		}
	}
	for _, a := range s.row(s.root) {
		routes[a.to].DirectCost = a.cost
	}
	s.alternates(routes, s.dense())
	return routes
}

// dense says whether Floyd–Warshall is the cheaper source of distances: n^3/2 steps, against one scan of all arcs per
// neighbor. It takes at least n^2/6 arcs to say so, which keeps the matrix in proportion to the database.
func (s *search) dense() bool {
	n, scans := int64(len(s.ids)), int64(len(s.row(s.root)))
	return n*n*n/2 < denseFactor*scans*int64(len(s.arcs))
}

// alternates sets the loop-free alternate of every route that has one.
func (s *search) alternates(routes []Route, dense bool) {
	n := len(s.ids)
	var matrix []metric
	if dense {
		matrix = s.allPairs()
	}
	best := make([]metric, n)
	for i := range best {
		best[i] = infinity
	}
	dist := make([]metric, n)
	for _, a := range s.row(s.root) { // in ascending order: among equals the least ID comes first
		if dense {
			dist = matrix[int(a.to)*n : (int(a.to)+1)*n]
		} else {
			s.bound(a.to, dist)
			s.shorten(a.to, dist, s.queue)
		}
		back, link := s.dist[a.to], linkMetric(a.cost)
		for d, nd := range dist {
			// A path back through self, or the next hop itself, is no alternate; root fails by 0 + back = nd.
			if total := link + nd; total < best[d] && nd < back+s.dist[d] && s.first[d] != a.to {
				best[d] = total
				routes[d].Alternate, routes[d].AlternateCost = s.ids[a.to], total.cost()
			}
		}
	}
}

// bound fills dist with the lengths of the paths from neighbor n through root. An alternate has to beat them, and so
// has every node on its path, so that the search from n need not go where they are best.
func (s *search) bound(n int32, dist []metric) {
	back := s.dist[n]
	for i, d := range s.dist {
		dist[i] = min(back+d, infinity)
	}
}
