// Package bench measures a mesh with clients of its own, in a way that anybody can repeat: a running mesh by its addresses, or node processes that
// it starts on this computer.
//
//	publisher ──WebSocket──▶ first node ──▶ second node ──WebSocket──▶ subscribers
//	    └── schedule or window                                              └──▶ ledger, histogram ──▶ report
//
// # Scenarios
//
//   - latency: messages are due at an even rate, and a message is charged from when it was due, not from when it was sent: were the publisher held
//     up, by the node or by itself, what waits meanwhile is charged for waiting (no coordinated omission).
//   - throughput: as much as a window lets through, which bounds messages and bytes in flight. The defaults stay below what a node queues for a
//     connection, so that nothing is dropped.
//   - load: throughput, and then, on new connections, latency at a share of it.
//   - fanout: many subscribers of one channel. First at an even rate, with the time until the last subscriber has a message; then in a window.
//   - slow: many subscribers of one channel, at an even rate, with the time until each has a message: first among themselves, then beside a few who
//     are slow, see there.
//   - idle: connections with one channel each, and the memory they take. At the end every one gets a message.
//   - channels: messages to random ones of many channels, in a window.
//
// A connection with several subscribers of a channel holds as many patterns that match it, and gets one frame that lists them all.
//
// A slow subscriber reads a message a second. So that what it does not read waits in the node, its socket takes in little; and so that the node's
// queue for it is full all the while, a backlog comes first, on channels of its own, of more messages than a node queues by default. Each message from
// then on makes the node drop another. In the end it reads all that is left, and the notices of what it missed. A node may close its connection; one that is as
// patient as by default does if that takes longer than about ten seconds, as with a Duration of more than eight.
//
// Each repetition has new connections, new channels and, if the nodes are started here, new nodes. It connects, publishes probes until every
// subscriber has got one, so that all interest has spread, and lets the warm-up pass before it measures.
//
// # Payload
//
// Big-endian; the rest of Load.Sizes is filler.
//
//	u32 repetition   a random number, by which messages of others are told apart
//	u32 channel      its index
//	u64 number       counts up per channel; all ones is a probe
//	i64 due          nanoseconds since the repetition began
//
// # What counts
//
// Per connection and channel numbers must ascend by one. One that is passed over and comes later is out of order, one that comes again is a
// duplicate, and one that has not come when nothing has come for Config.Patience is lost. Any of these makes Run fail, whatever the figures.
//
// What slow subscribers of slow miss is not lost if the node tells them of as many drops, or closed the connection.
//
// # Cost
//
// The client is to be light, since it shares the processors with the nodes it measures if they are on this computer. It frames WebSocket messages
// itself, takes the time once a read, compares deliveries with the one before instead of parsing them where that suffices, and writes in one
// system call all that is due. What it takes all the same is reported beside what the nodes take.
//
// # Ownership
//
// Run owns all processes, connections and goroutines, and returns when they have ended. A connection's reader goroutine alone touches its
// listener; others do once the rig is closed.
//
// # Invariants
//
//  1. No more messages and bytes are in flight than the window says.
//  2. Message i of a schedule is due at i/rate whatever happened before it, and is sent as soon as possible from then on.
//  3. Every message sent is, for every subscriber, delivered or lost; nothing counts as delivered twice.
//  4. Nothing that a node sends makes the program panic.
//  5. No node process outlives Run.
package bench
