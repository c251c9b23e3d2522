// Package core is the control plane of one node as a pure state machine: events in, effects out, time as an argument. It has no goroutine, lock, clock
// or I/O, so that a real node (package mesh) and a simulated one (package mesh/scale) run the same code. One goroutine owns a Core: it calls Step with
// what has happened, carries out the effects without waiting for them, and calls again at Next at the latest.
//
// # What a node holds of others
//
// For each node its SWIM description, and its two records: links, which enter the link-state database, and interest, which
// enters the index. Records count while their origin is active: SWIM says alive, or a probed link to it works even where SWIM errs.
// Those of nodes that are not active are kept for a while, since records may come before SWIM's news, and nodes come back.
//
// # How a record spreads
//
// Its origin pushes it to all neighbours at once. A neighbour passes it on to those that the sender does not reach itself, if it
// is one of two relays that a hash chooses; so a full mesh sends every record once per node. SWIM packets announce the
// version, and who lacks it asks. New links, push/pull and a slow round among neighbours compare whole digests.
//
// # Invariants
//
//  1. The core is a function of its events, the times given and its seed.
//  2. Routes are computed from advertised costs alone, this node's own included, so that all nodes compute over the same
//     numbers; damping is applied to what is advertised and nowhere else.
//  3. A later boot of a node replaces an earlier one; a later boot of this very node seen elsewhere is reported as Impostor.
//  4. Records and descriptions of at most strangersMost nodes that are not active are held.
package core
