package gossip

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// retransmitMult times log10(members + 1) is how often an announcement is sent, as in memberlist's own queue.
const retransmitMult = 4

const announcementBytes = 32 // most that one entry of a digest takes

// announcements are the record versions still to be put on SWIM packets, the least sent first. One per (origin, kind): a newer version replaces an older.
type announcements struct {
	self wire.NodeID

	mu      sync.Mutex // guards what follows
	waiting map[announcementKey]*announcement
}

type announcementKey struct {
	origin wire.NodeID
	kind   wire.RecordKind
}

type announcement struct {
	entry wire.DigestEntry
	sent  int
}

func newAnnouncements(self wire.NodeID) *announcements {
	return &announcements{self: self, waiting: map[announcementKey]*announcement{}}
}

// add queues a version unless a newer one waits.
func (a *announcements) add(e wire.DigestEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := announcementKey{e.Origin, e.Kind}
	if old := a.waiting[key]; old != nil && old.entry.Stamp.Compare(e.Stamp) >= 0 {
		return
	}
	a.waiting[key] = &announcement{entry: e}
}

// take makes one Digest frame of at most limit bytes for a mesh of so many members, or nil.
func (a *announcements) take(limit, members int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	room := (limit - 16) / announcementBytes
	if room <= 0 || len(a.waiting) == 0 {
		return nil
	}
	order := make([]*announcement, 0, len(a.waiting))
	for _, w := range a.waiting {
		order = append(order, w)
	}
	slices.SortFunc(order, func(x, y *announcement) int {
		return cmp.Or(cmp.Compare(x.sent, y.sent), cmp.Compare(x.entry.Origin, y.entry.Origin), cmp.Compare(x.entry.Kind, y.entry.Kind))
	})
	most := retransmitMult * int(math.Ceil(math.Log10(float64(members+1))))
	d := wire.Digest{From: a.self}
	for _, w := range order[:min(room, len(order))] {
		d.Entries = append(d.Entries, w.entry)
		if w.sent++; w.sent >= most {
			delete(a.waiting, announcementKey{w.entry.Origin, w.entry.Kind})
		}
	}
	return wire.AppendDigest(nil, wire.KindDigest, &d)
}
