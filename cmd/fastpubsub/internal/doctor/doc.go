// Package doctor looks at a machine and at the ways to a mesh as a node would find them, and says what is wrong and what to do about it.
//
// It does nothing that a node does not do: it opens the ports that the node would, and closes them; it makes the handshake of nodes with each seed, from the node's
// own port where that is free; and it asks the seed how it looks from there (package forward, check). Nobody becomes a member, and nothing is written but a file in the
// data directory, which is removed at once.
//
// # What tells what
//
//	socket     the port can be had, else who has it; what buffers the kernel gives
//	seed       its name; the handshake: silence, a refusal and each kind of mistrust are told apart; where there is silence, whether the machine refuses the
//	           UDP port, whether TCP gets through where UDP does not, and whether QUIC answers at all
//	seen as    the address that the seed saw, against the one that the node would advertise: they differ behind NAT
//	inbound    a datagram from another port of the seed, which no packet from here has opened a way for
//	MTU        handshakes in datagrams of 1452 bytes and, if those do not come through, less; none may be cut on the way
//	clock      the seed's, within half of a round trip
//
// # Invariants
//
//  1. Each Finding that is not OK says what to do.
//  2. Everything ends within bounds that do not depend on what peers do.
//  3. What peers say is shown without control characters.
package doctor
