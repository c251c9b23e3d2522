package gossip

import (
	"sync"

	"github.com/fastpubsub/fastpubsub/gossip/rumour"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// announcements are the record versions still to be put on SWIM packets.
type announcements struct {
	self wire.NodeID

	mu    sync.Mutex // guards what follows
	queue rumour.Queue
}

func newAnnouncements(self wire.NodeID) *announcements { return &announcements{self: self} }

// add queues a version unless a newer one waits.
func (a *announcements) add(e wire.DigestEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.Add(e)
}

// take makes one Digest frame of at most limit bytes, or nil.
func (a *announcements) take(limit int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	entries := a.queue.Take(limit)
	if len(entries) == 0 {
		return nil
	}
	return wire.AppendDigest(nil, wire.KindDigest, &wire.Digest{From: a.self, Entries: entries})
}
