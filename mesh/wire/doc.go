// Package wire is every message that nodes exchange, as bytes: AppendX writes, ParseX reads.
//
// # Where each message travels
//
//	lane streams     length-prefixed frames: Message, Records, News, Want, Ask, Have, Sums, Part, Need, Compare, Share (AppendFrame, SplitFrame)
//	link datagrams   Probe and Echo, one each
//	SWIM user data   Digest, one each, as piggyback; Sums in push/pull
//	SWIM metadata    Meta
//
// A frame on a lane is a uvarint length and that many bytes, at least one; the first byte is the Kind. Versions are agreed
// once a link (the token in the CONNECT request), so frames carry none. Integers are big-endian where fixed and LEB128
// (encoding/binary uvarint, in the fewest bytes) elsewhere, both without sign where nothing else is said. Node IDs are 8 bytes
// and never zero. A text is a uvarint length and that many bytes.
//
// # Message
//
//	kind 1 | class 1 | mode 1 | hops left 1 | origin 8 | boot uvarint | age 4 (µs) | deadline uvarint (ms) |
//	counts 1 (low 5 bits: via, high 3: avoid) | via 8 each | avoid 8 each | if traced: trace 8, not zero |
//	tenant length 1, bytes | channel text |
//	destination count uvarint, at least 1 | per destination:
//	    id 8 | sequence uvarint | if not 0: back uvarint | ahead uvarint | boot 2 | if sealed: tag 16
//	payload: the rest
//
// The high bit of the mode says that the payload is a batch: several messages of the channel (channel.Batch), which travel as one. The high bit of
// the class says that the message is sealed: each destination has a tag by which it knows that the origin sent it this (package forward), whatever
// relays it has passed. The next bit of the class says that the message is traced: each node that it meets tells the origin so by a Hop. Avoid lists relays which the origin has found not to pass messages on: nodes go around them where they can.
//
// Sequence, back and ahead number what the origin sends to that run of the destination (package forward/flight); sequence 0 is
// outside of any order and never acknowledged. Boot is the low 16 bits of the destination's boot as the origin knows it.
//
// Destinations are split at every node; Via lists the relays passed so far, which is how a node meets its own transit and
// how a destination knows the path taken. The payload comes last so that a relay writes a new head and passes the payload by reference.
//
// # Ack
//
//	kind 1 | boot uvarint | origin boot uvarint | floor uvarint | newest uvarint | held uvarint (µs) |
//	range count uvarint | per range: gap since what stands before uvarint, length less one uvarint |
//	refused count uvarint | per refused: gap since the one before uvarint
//
// It travels as the payload of a Message of class ack, from a destination to an origin.
//
// # Hop
//
//	kind 1 | trace 8 | end 1 | via count 1, at most 16 | via 8 each | age 4 (µs) | link 4 (µs) | held uvarint (µs) | queued uvarint (µs) |
//	choice count uvarint, at most 32 | per choice: to 8 | candidate count 1, at most 4 | per candidate: next hop 8, cost uvarint (µs), verdict 1
//
// It travels as the payload of a Message of class hop, from each node on a traced message's way to its origin: one for each link that the message took
// from there, one where the node was a destination, one where it was dropped. It is not acknowledged and may be lost.
//
// # Record
//
// A record is what its origin says of itself: its links or its interest. It is self-contained: it carries the
// origin's public key, from which the NodeID follows, and an Ed25519 signature (RFC 8032) over the 21 bytes
// "fastpubsub record v1\x00" and all that stands before it.
//
//	public key 32 | boot uvarint | kind 1 | version uvarint | base uvarint | body text | signature 64
//
// Records of one (origin, kind) are ordered by (boot, version), so the boots of a node may only grow; both are at least 1.
// Base is 0 for a whole body; otherwise the body is a delta against version base of the same boot. The body of a links
// record is
//
//	link count uvarint | for each link: to 8, cost uvarint (µs, one way, 1 to 2^32-1)
//
// with the links ascending by to; then the place of its origin, where that is of use:
//
//	axes 2 each (0.1 ms, signed), 5 of them | height 2 (0.1 ms) | error 1 (percent, at least 1)
//
// The body of an interest record is specified by package interest.
//
// # Records, Digest, News, Want, Ask, Have
//
//	kind 1 | record, record ...
//	kind 1 | from 8 | entry count uvarint | for each entry: origin 8, record kind 1, boot uvarint, version uvarint
//
// Digest, News, Want, Ask and Have differ in kind alone.
//
// # Sums, Part, Need
//
//	kind 1 | from 8 | record count uvarint | sum 4, for each of 64 classes
//	kind 1 | reply 1 (0 or 1) | classes 8 (bit i: class i) | from 8 | entry count uvarint | entries as of a Digest
//	kind 1 | needed 1 (0 or 1)
//
// A record's class is the first 6 bits of its origin. The sum of a class is that of its records' sums, modulo 2^32; a record's is the upper half of a
// hash of its origin, kind, boot and version (Sums.Add).
//
// # Compare, Share
//
//	kind 1 | flag 1 (0 or 1) | body text
//
// What all nodes are to hold alike, such as what became of tokens: Compare carries a digest of it, Share a part. Either goes to one node;
// a Share is also the payload of a Message of class shared, for all. The bodies are specified by who holds them.
//
// # Probe, Echo
//
//	kind 1 | seq 4 | token 8 (opaque to the peer) | held 4 (µs)
//
// # Meta
//
//	version 1 | public key 32 | boot uvarint | edition uvarint (below 2^32) | name text | region text | client address text |
//	flags 1 (bit 0: located, bit 1: leaving, no others) | only if located: lat 4, lon 4 (0.0001°, signed) | signature 64
//
// The signature is over the 19 bytes "fastpubsub meta v1\x00", the IP address at which SWIM has the node (16 bytes, IPv4 mapped into IPv6), its port (2) and all
// that stands before the signature. So only a node itself can say that a run of it is alive, and where. Descriptions of one run are ordered by edition.
//
// # Invariants
//
//  1. No parser panics, reads past its input, or allocates more than a small multiple of it.
//  2. A parser takes exactly what the appender writes; trailing bytes are an error, except before the signature of a Meta, which may grow.
//  3. Everything over the limits of this package is refused with an error that wraps ErrLimit.
//  4. A frame and the byte slices of a Message point into the input, without capacity beyond their bytes; who keeps them
//     copies them. All else that parsers return owns its memory.
package wire

// Limits of what nodes exchange. Sizes are in bytes.
const (
	MaxFrame        = 320 << 10      // one frame on a message lane
	MaxControlFrame = 2<<20 + 64<<10 // one frame on the control lane: room for the largest interest filter
	MaxDestinations = 4096           // destinations of one Message
	MaxHops         = 16             // links that a Message may cross
	MaxAvoid        = 7              // nodes that a Message goes around
	MaxTenant       = 128            // tenant of a Message
	MaxChannel      = 256            // channel of a Message
	MaxPayload      = 65535          // payload of a Message
	MaxRecordBody   = 2<<20 + 1024   // body of a Record
	MaxLinks        = 4096           // links in one link-state body
	MaxDigest       = 64 << 10       // entries of one Digest
	MaxShared       = 65_000         // body of a Compare or Share
	MaxChoices      = 32             // destinations that one Hop tells of
	MaxCandidates   = 4              // next hops that a Hop tells of for one destination
	MaxMeta         = 512            // SWIM metadata, which memberlist caps
	MaxName         = 64             // name and region in Meta
	maxClient       = 256            // client address in Meta
)
