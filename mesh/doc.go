// Package mesh is a node: it joins membership, links, measurement, routes and interest into one, and carries messages.
//
// # Ownership
//
// One goroutine, loop, owns all overlay state: the core, a pure state machine that takes typed events and returns effects (core*.go:
// no goroutine, lock, clock or I/O). The loop never waits for an effect, so whoever posts an event may wait for the loop.
// The data plane never passes through the loop: publishers and link readers use the forwarder's immutable Snapshot and the interest
// index, which have one writer, the loop, and any number of readers.
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
// # What else all nodes hold
//
// Config.Shared, such as what became of tokens, goes to all nodes at once through the in-flight table, and is compared on new links and in the slow
// round; see Shared.
//
// # Invariants
//
//  1. The core is a function of its events, the times given and its seed.
//  2. Routes are computed from advertised costs alone, this node's own included, so that all nodes compute over the same
//     numbers; damping is applied to what is advertised and nowhere else.
//  3. A later boot of a node replaces an earlier one; a later boot of this very node seen elsewhere ends it with ErrImpostor.
//  4. Records and descriptions of at most strangersMost nodes that are not active are held.
//  5. Run withdraws links, leaves, and returns after every goroutine has ended.
package mesh
