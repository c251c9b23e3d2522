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
// # Neighbours
//
// Up to Config.FullMesh nodes all are linked to each other. In a larger mesh each node chooses: the nearest, but for those that a neighbour chosen
// already leads to about as well (nearLinks); some others by a hash, which stay the same and keep the mesh in one piece (randomLinks); and those that most of its
// messages go to, as Traffic says, while they do (demandLinks). For these, and for those that most messages come from, it looks for relays, too: nodes that by their places, which may err by half, would make the way
// there shorter are measured, and linked to for a while if they do (relays.go); routes take them if they are as good as that, and use keeps a link.
// How far a node is tells the link to it where there is or was one, or a measurement, else the lesser of what its network coordinate and the paths known let expect.
// Coordinates (latency.Coordinate) ride in links records. Choices come every few seconds at first and ever more rarely as they settle; after some, the more rarely the larger the mesh is (choosePause): everybody gets records of each exchange. When a mesh that was in pieces becomes one again, links to the random neighbours that come back are opened at once (cameBack). A node tells the far end of a link whether it needs it (KindNeed); one that neither end needs is closed. So a node has about
// twice as many links as it chooses, besides those for traffic, and what it measures does not grow with the mesh.
//
// # How a record spreads
//
// A node pushes its own records to all its neighbours, and others' that are new to it to those neighbours whose shortest path from the record's origin leads through it; each works that out alone from the
// distances that it keeps (route.Planner.Onward). Where all hold the same links, a record comes to every node once, by the shortest path there is. Where they do
// not, because the very change is on its way, something may be missed, so a node has word of each record from one other neighbour as well, chosen by a hash, newsPause
// later, and from some SWIM packets; who lacks it asks. A record that comes before any path from its origin is known is pushed once there is one.
//
// Neighbours compare what they hold by sums over 64 classes of origins, on new links and now and then; members do in push/pull. They tell each other what
// they hold of the classes that differ alone, and send what the other lacks. A newcomer, to which nearly all differ, asks one neighbour for all.
//
// Changes of interest gather (pace.go): a burst of subscriptions at a node, or at every node, makes a bounded number of records.
//
// # Invariants
//
//  1. The core is a function of its events, the times given and its seed.
//  2. Routes are computed from advertised costs alone, this node's own included, so that all nodes compute over the same
//     numbers; damping is applied to what is advertised and nowhere else.
//  3. A later boot of a node replaces an earlier one; a later boot of this very node seen elsewhere is reported as Impostor.
//  4. Records and descriptions of at most strangersMost nodes that are not active are held.
package core
