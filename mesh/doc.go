// Package mesh is a node: it joins membership, links, measurement, routes and interest into one, and carries messages.
//
// # Ownership
//
// One goroutine, loop, owns all overlay state: the core, a pure state machine that takes typed events and returns effects (package core, which says what
// a node holds of others and how records spread). The loop never waits for an effect, so whoever posts an event may wait for the loop.
// The data plane never passes through the loop: publishers and link readers use the forwarder's immutable Snapshot and the interest
// index, which have one writer, the loop, and any number of readers.
//
// # What else all nodes hold
//
// Config.Shared, such as what became of tokens, goes to all nodes at once through the in-flight table, and is compared on new links and whenever
// neighbours compare sums; see Shared.
//
// # Tracing
//
// Node.Trace has a message tell the way that it takes: one made for it, which nobody reads, or one of those that clients publish here (package trace). What is told is taken only while somebody
// waits for it, and bounded for each message; how many trace at once is for who serves the requests to bound.
//
// # Who takes part
//
// Config.Trust says whom the node believes to be one of its mesh, and by which keys SWIM packets are sealed (package trust); SetTrust changes it. Peers that
// are not believed get no further than the TLS handshake; they are counted, and logged at most once per strangersEvery.
//
// # Invariants
//
//  1. A later boot of this very node seen elsewhere ends it with ErrImpostor.
//  2. Run withdraws links, leaves, and returns after every goroutine has ended.
package mesh
