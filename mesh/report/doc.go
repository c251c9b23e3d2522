// Package report tells on reserved channels what a node sees of the mesh, for as long as somebody anywhere reads it: a page with a map, a terminal, an
// operator's own tool.
//
//	$mesh.<id of the node>   in the tenant "~": one JSON Report a message
//
// Each node speaks for itself alone, which the node that delivers a report makes sure of. Who puts all of them together knows every link from both of its ends, and so,
// by the same shortest paths that nodes compute (package forward/route), every route.
//
// # When
//
// A node looks four times a second whether any node has subscribers for its channel, which costs a lookup of microseconds. If not, nothing is collected. If so, a report
// goes soon after the first look and every Every from then on, and at once, but no more than four times a second, when a link went down or came up, a node joined or left, or a route changed. Every is a second,
// and grows with the mesh so that a reader gets reportsMost of them a second on average; firstMost while each node tells for the first time; the second report comes half an Every to one and a half after that, which spreads them.
//
// # Bounds
//
// A report fits into one message: where a node has too many links, those that carry least are left out, and Cut says how many. No more than eventsMost events are told
// at a time; Missed says how many were not.
package report
