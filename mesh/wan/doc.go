// Package wan knows the wide area network: measured latencies between real sites (Matrix, with its parser, and what a
// perfect overlay could make of them), and an Emulator that gives them to nodes on one computer.
//
// # Matrix
//
// A [Matrix] holds the round trips between every ordered pair of sites, numbered in the order of their names; a
// direction's delay is half of the round trip. A [Place] tells where a site is. Both are pure and never change.
//
// # Emulator
//
// An [Emulator] lets nodes in one process, on real loopback sockets, live as far apart as the sites of a Matrix (or any
// other [Delays]). A [Site] implements the three-method network seam of package mesh; the code of a node cannot tell it
// from package net. TCP is plain loopback, for clients sit beside their node; nodes have to do without it (mesh.Config.NoTCP). UDP between sockets that were opened
// through sites of one Emulator is delayed:
//
//	WriteTo ─▶ paths.send: fate and due time ─▶ queue, by (due time, sequence) ─▶ scheduler ─▶ the sender's real socket
//
// The address a packet is sent to names the site it is for; what is sent to or comes from an address that no site has
// opened passes without delay, and so does what a site sends to itself. The real socket of the sender does the sending
// at the due time, so that source addresses are right. Reading goes straight to the real socket.
//
// A packet takes the least delay of its pair, the extra delay set by a fault, and jitter: an exponential draw with the
// given mean deviation. The least delay is such that the mean is the one-way delay given, which was measured with
// jitter in it. The order of packets within an ordered pair is kept.
//
// The socket hides that it is a *net.UDPConn: no SyscallConn, no ReadMsgUDP or WriteMsgUDP, because quic-go would use
// them to send past the emulation. The price is that quic-go goes without segmentation offload, ECN and path MTU
// discovery, and so with packets of 1,280 bytes.
//
// # Faults
//
// [Emulator.SetExtra], [Emulator.SetLoss], [Emulator.Block] and [Emulator.Kill] change the network while it runs, each in
// both directions; [Emulator.Heal] undoes all. A fault applies to packets when they are sent; Block and Kill also drop
// those under way. Nobody is told. A killed site's process goes on, and so do its TCP connections: Kill cuts its UDP.
//
// # Relay
//
// A [Relay] does the same for nodes of separate processes, which cannot be given a socket: they advertise an address of the Relay.
//
// # Precision
//
// No packet is early. On Linux the emulation itself adds 0.1 ms on average (BenchmarkEmulator shows it, [Stats] counts
// it in every run); a scheduler that has more to do wakes at most every 0.1 ms.
//
// # Ownership
//
// One mutex guards the paths and the queue; no system call that can block happens under it. One goroutine, started by
// NewEmulator and ended by Close, sends the packets of all sites.
//
// # Invariants of the Emulator
//
//  1. A packet arrives no earlier than its pair's least delay and the extra delay after it was sent.
//  2. Packets of one ordered pair are sent on in the order they were written, unless a fault changed the path meanwhile.
//  3. No packet between two different sites goes past the emulation.
//  4. The queue is bounded in bytes: a full one drops the newest packet and counts it.
//  5. A closed socket sends what it had accepted, at its due time, and its port can be used again at once, which ends that.
//  6. After Close no goroutine and no socket of the Emulator is left, listeners and TCP connections aside.
package wan
