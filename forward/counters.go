package forward

import "sync/atomic"

// Reason says why a message or packet was dropped.
type Reason int

// The reasons for drops.
const (
	DropNoRoute     Reason = iota // no usable link leads to the destination
	DropExpired                   // older than its deadline
	DropHopLimit                  // crossed as many links as it may
	DropLoop                      // came back to a node that it had passed
	DropQueueFull                 // a relay's link queue stayed full
	DropControlFull               // a link's control queue was full
	DropMalformed                 // a peer sent a frame that does not parse; its link is closed, unless it is what a frame carries that does not
	DropGarbage                   // a datagram on the node port that is neither QUIC nor SWIM
	DropUndelivered               // SWIM packets and control for others than known nodes
	DropEvicted                   // the in-flight table was full; it was the oldest
	DropRestarted                 // meant for, or from, an earlier run of a node
	DropRefused                   // a destination had no room to hold it for order; it will come again
	DropNoTaker                   // for one subscriber, and there is none
	DropTooOften                  // a node asked for more comparisons of shared state than it is granted
	DropStreams                   // connections on the TCP port of nodes, while too many were in their handshakes
	DropForged                    // not by its origin, or not from where it says it came
	DropHandshakes                // QUIC connections: too many handshakes, or connections from one address
	DropIdle                      // QUIC connections on which nothing was opened, or for which there was no room among such
	DropTraces                    // what was to be told of traced messages: beyond the rate, without a way, or to a node that has not asked
	reasons                       // how many there are
)

// String is the reason as metrics and JSON name it.
func (r Reason) String() string {
	return [reasons]string{
		"no_route", "expired", "hop_limit", "loop", "queue_full", "control_full",
		"malformed", "garbage", "undelivered", "evicted", "restarted", "refused", "no_taker", "too_often", "streams", "forged", "handshakes", "idle", "traces",
	}[r]
}

// Counters count what the forwarder and its links did. All fields only grow.
type Counters struct {
	Originated atomic.Uint64 // copies of messages sent as their origin, one per next hop
	Relayed    atomic.Uint64 // copies sent on for others
	Delivered  atomic.Uint64 // messages that reached this node as a destination
	Resent     atomic.Uint64 // copies sent again as their origin
	Reaimed    atomic.Uint64 // messages for one subscriber sent on to another node, or another run of one
	Duplicates atomic.Uint64 // copies that had been delivered before
	Acks       atomic.Uint64 // acknowledgements sent
	Detours    atomic.Uint64 // times that messages to a destination left a path on which they were not acknowledged
	TwinCopies atomic.Uint64 // copies that came second over a link's two connections
	Handshakes atomic.Uint64 // handshakes that others began; those that fail never become connections
	Accepted   atomic.Uint64 // of these, completed
	Strangers  atomic.Uint64 // handshakes, of either end, that failed since one end is not of the other's mesh
	Proofs     atomic.Uint64 // callers that were asked to prove their address before a handshake
	dropped    [reasons]atomic.Uint64
}

// Drop counts n drops.
func (c *Counters) Drop(r Reason, n int) { c.dropped[r].Add(uint64(n)) }

// Dropped is the number of drops for a reason.
func (c *Counters) Dropped(r Reason) uint64 { return c.dropped[r].Load() }

// Drops is every reason with its count, those at zero too.
func (c *Counters) Drops() map[string]uint64 {
	out := make(map[string]uint64, reasons)
	for r := range reasons {
		out[r.String()] = c.dropped[r].Load()
	}
	return out
}
