package forward

import (
	"errors"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Fault is what a peer did wrong.
type Fault int

// The faults of peers.
const (
	FaultMalformed Fault = iota // a frame or datagram that does not parse
	FaultOversized              // a frame, or a part of one, over its limit
	FaultForged                 // a message that its origin has not sent, or not by way of the peer; the peer may have passed it on in good faith
	FaultEcho                   // an echo of a probe that was not sent, or of one twice
	FaultSignature              // a record whose signature is not its origin's
	FaultBody                   // a record whose body does not parse
	FaultFuture                 // a record of a run that is to begin far in the future
	FaultLight                  // a link shorter than light can cross, between the places that its ends declare
	FaultFlood                  // a control frame, or a record, beyond what work a peer may make
	FaultStale                  // a record that is not newer than what is held: common, as records come by several ways, but a replay looks the same
	faults                      // how many there are
)

// String is the fault as JSON and logs name it.
func (f Fault) String() string {
	return [faults]string{
		"malformed", "oversized", "forged", "echo", "signature", "body", "future", "faster_than_light", "flood", "stale",
	}[f]
}

// FaultOf is the fault that a parser's error stands for.
func FaultOf(err error) Fault {
	switch {
	case errors.Is(err, wire.ErrLimit):
		return FaultOversized
	case errors.Is(err, wire.ErrSignature):
		return FaultSignature
	}
	return FaultMalformed
}

const (
	blamedMost  = 1024        // peers of whose faults a count is kept; those of all others go under node zero
	blameEvery  = time.Minute // between log lines about one peer
	blameForget = 24 * time.Hour
)

// blames are the faults of peers.
type blames struct {
	mu     sync.Mutex // guards what follows
	peers  map[wire.NodeID]*blame
	totals [faults]uint64 // of all peers, those forgotten too
}

type blame struct {
	counts [faults]uint64
	last   time.Time
	logged time.Time
	since  uint64 // faults since the log line
}

// Blame counts n faults of a peer, and says so in the log once in a while.
func (e *Endpoint) Blame(peer wire.NodeID, what Fault, n int) {
	now := time.Now()
	e.blames.mu.Lock()
	b := e.blames.of(peer, now)
	b.counts[what] += uint64(n)
	e.blames.totals[what] += uint64(n)
	b.last = now
	tell := false
	if what != FaultStale {
		b.since += uint64(n)
		tell = b.logged.IsZero() || now.Sub(b.logged) >= blameEvery
	}
	since := b.since
	if tell {
		b.logged, b.since = now, 0
	}
	e.blames.mu.Unlock()
	if tell {
		e.cfg.Log.Warn().Stringer("peer", peer).Stringer("fault", what).Uint64("faults", since).Msg("a peer does what no sound node does")
	}
}

// of is the account of a peer.
func (b *blames) of(peer wire.NodeID, now time.Time) *blame {
	if known := b.peers[peer]; known != nil {
		return known
	}
	if len(b.peers) >= blamedMost {
		for id, old := range b.peers {
			if now.Sub(old.last) > blameForget {
				delete(b.peers, id)
			}
		}
		if len(b.peers) >= blamedMost {
			peer = 0
		}
	}
	if b.peers[peer] == nil {
		b.peers[peer] = new(blame)
	}
	return b.peers[peer]
}

// Faults are the faults of each peer that has any, by name.
func (e *Endpoint) Faults() map[wire.NodeID]map[string]uint64 {
	e.blames.mu.Lock()
	defer e.blames.mu.Unlock()
	out := make(map[wire.NodeID]map[string]uint64, len(e.blames.peers))
	for id, b := range e.blames.peers {
		counts := map[string]uint64{}
		for what, n := range b.counts {
			if n > 0 {
				counts[Fault(what).String()] = n
			}
		}
		out[id] = counts
	}
	return out
}

// FaultTotals is every fault with how often all peers had it, those at zero too.
func (e *Endpoint) FaultTotals() map[string]uint64 {
	e.blames.mu.Lock()
	defer e.blames.mu.Unlock()
	out := make(map[string]uint64, faults)
	for what, n := range e.blames.totals {
		out[Fault(what).String()] = n
	}
	return out
}
