package scale

import "time"

// Traffic is what control traffic is about.
type Traffic int

// Kinds of control traffic.
const (
	Probe     Traffic = iota // probes and their echoes
	Records                  // records pushed or handed out
	Digest                   // digests compared over links
	Asking                   // records wanted, and who holds what
	SWIM                     // packets of membership, announcements on them included
	PushPull                 // whole states that members exchange
	Handshake                // of links
	traffics
)

// String names the kind of traffic.
func (t Traffic) String() string {
	return [...]string{"probes", "records", "digests", "asking", "swim", "push/pull", "handshakes"}[t]
}

// What things take on the wire, in bytes: as counted between two real nodes, and held by TestModelAgreesWithRealNodes.
const (
	udpBytes        = 28                            // IPv4 and UDP
	quicBytes       = 23                            // short header, connection ID, packet number, tag
	ackBytes        = (udpBytes + 30) * 8 / 10      // QUIC acknowledges most packets by one of its own
	probeBytes      = udpBytes + 42 + ackBytes      // the acknowledgement is of the echo
	echoBytes       = udpBytes + 42 + ackBytes      // and here of the probe
	keepBytes       = udpBytes + 27 + udpBytes + 30 // QUIC's own ping where neither end probed for long
	packetRoom      = 1180                          // of a frame in one QUIC packet
	handshakeBytes  = 5200                          // of a link, each way
	streamBytes     = 3700                          // of the connection that a push/pull has to itself, each way
	dialFailedBytes = 4 * 1280
)

// frameCost is what a frame on a link's control lane takes: packets and, the other way but charged to the same account, acknowledgements.
func frameCost(size int) int {
	packets := 1 + (size-1)/packetRoom
	return size + 4 + packets*(udpBytes+quicBytes+7+ackBytes)
}

// Cost is what a node has done, over all its runs.
type Cost struct {
	Bytes   [traffics]uint64 // sent
	Frames  [traffics]uint64
	Steps   uint64
	Records uint64 // received
	Checks  uint64 // of signatures
	Tables  uint64 // of routes, published
	Ups     uint64 // links that came up
	Downs   uint64
	CPU     time.Duration // in steps, where Config.Clock is given
	Longest time.Duration // step
}

func (c *Cost) add(t Traffic, bytes int) {
	c.Bytes[t] += uint64(bytes)
	c.Frames[t]++
}

func (c *Cost) note(what string) {
	switch what {
	case "link up":
		c.Ups++
	case "link down":
		c.Downs++
	}
}

// Total is all bytes sent.
func (c *Cost) Total() (sum uint64) {
	for _, b := range c.Bytes {
		sum += b
	}
	return sum
}

// Plus adds what another node has done.
func (c Cost) Plus(d Cost) Cost { return c.combine(d, 1) }

// Minus is what was done since an earlier time.
func (c Cost) Minus(d Cost) Cost { return c.combine(d, ^uint64(0)) }

func (c Cost) combine(d Cost, sign uint64) Cost {
	for t := range c.Bytes {
		c.Bytes[t] += sign * d.Bytes[t]
		c.Frames[t] += sign * d.Frames[t]
	}
	c.Steps += sign * d.Steps
	c.Records += sign * d.Records
	c.Checks += sign * d.Checks
	c.Tables += sign * d.Tables
	c.Ups += sign * d.Ups
	c.Downs += sign * d.Downs
	c.CPU += time.Duration(sign) * d.CPU
	c.Longest = max(c.Longest, d.Longest)
	return c
}

// Cost is what all nodes have done, and the most that one has sent.
func (w *World) Cost() (sum Cost, most uint64) {
	for _, n := range w.nodes {
		sum = sum.Plus(n.cost)
		most = max(most, n.cost.Total())
	}
	return sum, most
}
