package mesh

import (
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// The work that the control frames of one peer may make, in units of about one signature check: what is beyond is dropped and counted against the peer, whoever
// signed it. So is what is sent it, since it may have asked. Honest nodes stay far below, except that one which has just begun is told at once of all there is. What is dropped comes again by other neighbours,
// or when sums are compared.
const (
	workEach   = time.Millisecond // a peer has one unit more in so long: less than a tenth of a core
	workSaved  = 8192             // and at most so many saved up
	workPeers  = 4096             // of so many it is remembered
	workRecord = 16 << 10         // bytes of a record that are one unit more
	workList   = 256              // bytes of a list of versions that are: each is looked up, and may be answered
	workSums   = 8                // units of sums: all that is held is summed up, and may be listed

	workSWIMSums = 32 // units of sums that came by SWIM, whoever they say they are from: all that may share the budget of node zero
)

// budgets are what is left to each peer.
type budgets struct {
	mu    sync.Mutex                // guards what follows
	peers map[wire.NodeID]time.Time // when all is saved up again; who is not here has all
}

// affords takes work off a peer's budget, and blames the peer if there is not as much left.
func (n *Node) affords(peer wire.NodeID, work int) bool {
	granted := n.budgets.spend(peer, work, time.Now())
	if !granted {
		n.endpoint.Blame(peer, forward.FaultFlood, 1)
	}
	return granted
}

// spend takes work off a peer's budget; false if there is not as much left.
func (b *budgets) spend(peer wire.NodeID, work int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.peers[peer]
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(work) * workEach)
	if full.Sub(now) > workSaved*workEach {
		return false
	}
	if b.peers == nil || len(b.peers) >= workPeers {
		b.forget(now)
	}
	b.peers[peer] = full
	return true
}

// forget makes room: those who have saved up all need no entry. If that is nobody, all begin anew.
func (b *budgets) forget(now time.Time) {
	for peer, full := range b.peers {
		if !full.After(now) {
			delete(b.peers, peer)
		}
	}
	if b.peers == nil || len(b.peers) >= workPeers {
		b.peers = map[wire.NodeID]time.Time{}
	}
}

// workOf is what a control frame costs before it is looked into.
func workOf(frame []byte) int {
	switch wire.Kind(frame[0]) {
	case wire.KindRecords:
		return len(frame) / workRecord // and what its records cost, if they are new
	case wire.KindSums:
		return workSums
	case wire.KindPart:
		return workSums + len(frame)/workList
	case wire.KindCompare, wire.KindShare:
		return 1 + len(frame)/workRecord
	default:
		return 1 + len(frame)/workList
	}
}
