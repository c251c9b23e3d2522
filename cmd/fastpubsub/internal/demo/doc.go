// Package demo runs a whole mesh on this computer, as if its nodes stood in cities around the world, and shows how it routes.
//
// # What is real
//
// Each metro has a node (mesh), a server for clients (wsgate) and two WebSocket clients: a publisher that sends to every other metro, and a
// subscriber. All of them talk over loopback sockets. Only the UDP sockets between nodes are wrapped: a wan.Emulator delays packets
// by what was measured between the cities, and can lose them. Nodes cannot tell, and nothing of the data reaches them but as delay.
//
//	publisher ─WebSocket─▶ node ─HTTP/3 over emulated UDP─▶ (relays) ─▶ node ─WebSocket─▶ subscriber
//
// What else is known of the data serves to choose metros before the start, and to judge what was delivered: the direct latency is half of
// the round trip measured, the oracle's is the shortest path over all relays, with 0.5 ms for each.
//
// # What is measured
//
// Every ordered pair of metros is a flow: channel "demo.<to>.<from>", numbered messages, at a constant rate. Latency counts from before the
// publisher writes to when the subscriber's handler runs. Publisher and subscriber share a process, so one monotonic clock
// times both. The path is the list of relays that the message itself has gathered (mesh.Trace).
//
// A message is delivered, or lost if it has not come after 3 s, though a late one still counts as delivered. Lost ones from before the first
// delivery of a flow count as early: nothing is stored, so what is sent before the mesh knows of a subscriber goes nowhere. What is under way from
// or to a node when that is killed is cut off. Duplicates and messages out of order are counted.
//
// # Faults
//
// A script or the user makes faults. Half a second before one, the pairs that it will hit begin to send every 50 ms; the outage of such a pair is
// the longest time without a delivery, less those 50 ms. A fault is watched for 5 s, for 30 s if some pair is silent, or until the
// next one; faults within that half second are made together. A killed node first loses its network without a goodbye, then it ends; heal starts it again with the same key and address.
//
// # Who runs what
//
// One goroutine, the conductor's, owns cluster, faults, events and view, and looks every 50 ms at what is due. A station is the node of one metro with
// its clients, for one life; it owns its goroutines. All report to the ledger, which has a lock. The screen owns the
// goroutine that reads keys.
//
// # Invariants
//
//  1. Of each flow, sent = delivered + lost + early + cut off + under way.
//  2. With the same Config the metros, the nodes' keys, who joins through whom, and the phases of the publishers are the same.
//  3. When Run returns, no socket and no changed setting of the terminal is left, and no goroutine but probes of memberlist that wait for their time-out.
//  4. Any text is a script or ErrScript; String and ParseScript are inverse.
package demo
