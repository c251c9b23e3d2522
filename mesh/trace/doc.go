// Package trace is the way of a message through the mesh as those tell it who passed it on: what is asked for, what comes in, and what it amounts to. It is pure.
//
// # What is traced
//
// Either a message made for it, which travels as published ones do and which nobody reads, to a node or to all nodes with subscribers of a channel; or the next messages that
// clients publish at this node (Request.Sample). A node on the way tells by a wire.Hop, which may get lost.
//
// # Times
//
// No clocks are compared. At an origin a message begins at 0; at every other node it is
//
//	at(node) = at(node before) + held(node before) + link
//
// where each node measures by its own clock how long it held the message, from when that came to when it had been written to the next link, and link is half of the round trip that
// it measures to the node before. Where the node before has told nothing, at is the message's age, which lacks the time in that node's queue.
// What direct would have taken is half of the round trip that the origin measures to the destination at that time.
//
// # Whom to believe
//
// The mesh tells who it is that tells something (package forward, seals); what they tell may be a lie. The path of a message is what its destination says it is, and of others counts only what
// fits in there. A Collection takes at most mostHops, and mostOfNode of one node.
//
// # Invariants
//
//  1. Whatever nodes tell, a Path begins at the origin, names no node twice, and has at most wire.MaxHops relays.
//  2. A Path is complete iff its destination has told of the message, and so has each node on the way.
//  3. Hops that come in another order make the same paths, as long as no node tells of the same message twice.
package trace
