// Package simnet is a network in memory: hosts with UDP and TCP sockets, joined by paths with delay, jitter, loss and
// faults. It is made for testing/synctest bubbles, where a virtual minute costs milliseconds and delays are exact, and
// works the same with real time. A [Host] implements the three-method network seam of package mesh, so the code of a
// node cannot tell it from package net.
//
// # Model
//
// A [Net] knows hosts by IP address. Every ordered pair of hosts has a [Path]. What one host sends to another takes
// the delay of that path, plus a random share of its jitter, plus a tick of 1 to 999 ns which keeps arrivals off round
// numbers: timers due at the same nanosecond run in random order in a bubble. A host reaches itself at once.
//
// Datagrams keep their order within an ordered pair, as on a real route whose queue is what makes the delay vary. A
// datagram that Reorder picks is held back for up to half the delay plus 1 ms, and what was sent later passes it. A
// changed path starts a new order, so the first packets on a faster route may overtake the last ones on the old.
//
// Streams carry bytes in order and lose none: loss, duplication and reordering do not apply to them. Each direction has
// a window (Config.StreamBuffer) of bytes sent and not yet read. The reader gives credit back, and credit travels the
// return path as TCP's acknowledgements do, so a stream carries at most one window per round trip. Opening takes one
// round trip, also where the answer is a refusal. Closing sends FIN, or RST if received bytes were left unread; data
// for a closed stream is answered with RST.
//
// There is no bandwidth limit, and computing takes no virtual time: simnet shows delay and faults, never saturation.
//
// # Faults
//
// A blocked path (Path.Block, [Net.Cut], [Net.Isolate]) drops datagrams and holds stream segments until it opens, as
// retransmission would; nobody is told. [Net.Kill] makes a host vanish: its own code gets net.ErrClosed, its peers get
// silence. [Net.Host] on a killed address starts a new host there, which answers what is left of old streams with RST.
// A change applies to what is sent after it; what is under way arrives.
//
// # Ownership
//
// One mutex guards the whole state of a Net, and no goroutine blocks while it holds it, since a goroutine that waits
// for a mutex is not durably blocked and would stop virtual time. Waiting is done on condition variables and, for a
// dial, on a channel. One goroutine, started by [New] and ended by [Net.Close], fires events ordered by (due time,
// sequence number). A Net belongs to the bubble that called New.
//
// # Invariants
//
//  1. What is sent at t arrives in [t + Delay, t + Delay + Jitter + 1 µs), unless it was reordered or waits for what
//     was sent before it.
//  2. Datagrams of one ordered pair arrive in the order they were sent, except those that Reorder picked.
//  3. The bytes of a stream arrive once and in order whatever the faults; a stream ends by EOF, by reset or in silence.
//  4. After Kill nothing more leaves the host: no FIN, no RST, no refusal.
//  5. All queues are bounded: a full receive queue drops the newest datagram and counts it, a full stream window blocks
//     the writer, a full backlog refuses the connection.
//  6. No call blocks past its deadline, its context, or the end of its socket, its host or the Net.
//  7. After Net.Close no goroutine of the Net is left.
//  8. The fate of the i-th packet of an ordered pair (loss, duplication, reordering, jitter, tick) is a function of
//     Config.Seed, the pair and i alone: each pair has its own generator, and every packet makes the same draws
//     whatever the settings. A whole run repeats exactly only as far as the code under test sends the same packets in
//     the same order, which needs one P, seeded randomness and no tied timers there too. Assert properties of a run,
//     never its trace.
package simnet
