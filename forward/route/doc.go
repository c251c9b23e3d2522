// Package route turns the link-state database into an immutable next-hop table. It is pure: it holds no goroutine,
// lock, clock or randomness, and equal databases give equal tables.
//
// # Links
//
// Each node (an origin) advertises one vector of links: neighbor and one-way cost in microseconds. The cost already
// includes the work of one hop. A link is usable iff both of its ends advertise it, and it costs the worse, that is the
// greater, of the two claims: one end that lies can only make the link look worse or gone. The graph is therefore
// undirected.
//
// # Metric
//
// The metric of a path is the pair (cost, hops), compared in that order. Among paths equal in both, the least sequence
// of node IDs wins. This order is total, and each part of a best path is itself a best path, so all nodes that hold the
// same database agree on every path. Sums are exact inside; what a Route reports saturates at the greatest uint32,
// which is no more than a way to say "very far": such a destination is still reached, without a loop.
//
// # Alternates
//
// The alternate towards d is a loop-free alternate (RFC 5286, inequality 1): a neighbor n other than the next hop with
//
//	dist(n, d) < dist(n, self) + dist(self, d)
//
// in the metric above. Among those the one with the least metric of link(self, n) + dist(n, d) is taken, then the least
// ID. Where the best route is a relayed one, the direct link is one of the candidates, since dist(d, d) is 0. The
// guarantee is against the loss of the link to the next hop, as in the RFC; an alternate's own path may still pass
// through the next hop's node.
//
// # Algorithms
//
// Dijkstra (Numerische Mathematik 1, 1959) from self, on a 4-ary heap with lazy deletion. Alternates need the distances
// from each neighbor as well. A Planner keeps those, with the graph, from one table to the next and repairs them where
// links changed (Ramalingam and Reps, Journal of Algorithms 21(2), 1996): what hung on a link that got worse or went is
// torn off and searched for again from what is whole, and a link that got better is followed as far as it helps. One
// changed link is in the tree of few neighbors and has little behind it, so that a table costs one Dijkstra and a
// comparison of distances. Of more than 256 neighbors only the cheapest are asked for the way to others, which bounds
// what is kept; any direct link can still be the alternate towards its own node.
//
// # Cost
//
// Of n nodes with d links each, a Planner keeps 12·n·d bytes of distances (d at most 256) and 8·n·d of links beside the
// database's 16·n·d; a table is 80·n. At n = 1,000 and d = 24 that is 0.9 MB and 80 kB. BenchmarkLinkChange measures
// both and the time.
//
// # Avoiding
//
// A Table keeps the vectors that it was computed from, 24·n, so that shortest paths around relays that do not pass messages on can be had from it as well
// (Avoiding). They are rare, and so cost a whole graph and a Dijkstra; other alternates than direct links they need not have: who avoids has just left another path.
//
// # Ownership
//
// A Database belongs to one goroutine, a Planner too. A Table shares no memory with them that ever changes: any number of
// goroutines may read it.
//
// # Invariants
//
//	R1  A link counts iff both ends advertise it, at the greater of the two claims.
//	R2  Cost and Hops are those of a shortest path; a destination has a route iff a path of usable links exists.
//	R3  Where all nodes hold the same database, following next hops from self reaches dst over exactly Path(dst), at
//	    exactly the predicted cost and hops.
//	R4  A message handed to the alternate, then forwarded by next hops, never returns to self, and costs AlternateCost.
//	R5  The table depends on the content of the database only, not on the order in which it came to be, nor on what the
//	    Planner computed before. Lost is exactly what was usable before and is not now.
//	R6  No input makes Set or Compute panic: links to self, to no node, of cost zero, and repeated ones are screened.
//	R7  Avoiding has a route to every node that a path without the avoided relays leads to, the avoided themselves included, and it is the shortest such.
package route
