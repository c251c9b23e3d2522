// Package rumour decides which news a node puts on its next packets: that which was sent least goes first, and what was sent four times is forgotten,
// however large the mesh: news of records are for those whom pushes have missed, and where nearly all nodes pass them on so often, they come to
// 98 of 100 (see the queue of memberlist, and SWIM: Das, Gupta and Motivala, DSN 2002, section 4.1). It is pure and belongs to one goroutine at a time.
package rumour

import (
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// times is how often an announcement is sent.
const times = 4

// EntryBytes is the most that one entry of a digest takes; a frame has up to HeadBytes besides.
const (
	EntryBytes = 32
	HeadBytes  = 16
)

// Queue are the record versions still to be put on SWIM packets. One per (origin, kind): a newer version replaces an older. The zero Queue is empty.
type Queue struct {
	waiting map[key]*announcement
	tiers   [][]*announcement // by how often they were sent, the oldest first; those that were replaced are still there
	stale   int               // replaced ones in them: no more than wait
}

type key struct {
	origin wire.NodeID
	kind   wire.RecordKind
}

type announcement struct {
	entry    wire.DigestEntry
	replaced bool
}

// Len is how many versions wait.
func (q *Queue) Len() int { return len(q.waiting) }

// Add queues a version unless a newer one waits.
func (q *Queue) Add(e wire.DigestEntry) {
	if q.waiting == nil {
		q.waiting = map[key]*announcement{}
	}
	k := key{e.Origin, e.Kind}
	if old := q.waiting[k]; old != nil {
		if old.entry.Stamp.Compare(e.Stamp) >= 0 {
			return
		}
		old.replaced = true
		q.stale++
	}
	a := &announcement{entry: e}
	q.waiting[k] = a
	q.push(0, a)
	if q.stale > len(q.waiting) {
		q.dropStale()
	}
}

// dropStale forgets what was replaced: a node that has nobody to send packets to tells itself news all the same.
func (q *Queue) dropStale() {
	for tier, waiting := range q.tiers {
		q.tiers[tier] = slices.DeleteFunc(waiting, func(a *announcement) bool { return a.replaced })
	}
	q.stale = 0
}

func (q *Queue) push(tier int, a *announcement) {
	for len(q.tiers) <= tier {
		q.tiers = append(q.tiers, nil)
	}
	q.tiers[tier] = append(q.tiers[tier], a)
}

// Take is what goes on one packet with room for so many bytes.
func (q *Queue) Take(bytes int) (out []wire.DigestEntry) {
	room := (bytes - HeadBytes) / EntryBytes
	if room <= 0 || len(q.waiting) == 0 {
		return nil
	}
	var again []*announcement
	var sent []int
	for tier := range q.tiers {
		waiting := q.tiers[tier]
		for len(waiting) > 0 && len(out) < room {
			a := waiting[0]
			waiting[0], waiting = nil, waiting[1:]
			if a.replaced {
				q.stale--
				continue
			}
			out = append(out, a.entry)
			if tier+1 >= times {
				delete(q.waiting, key{a.entry.Origin, a.entry.Kind})
			} else {
				again, sent = append(again, a), append(sent, tier+1)
			}
		}
		q.tiers[tier] = waiting
	}
	for i, a := range again { // only now: nothing goes twice on one packet
		q.push(sent[i], a)
	}
	return out
}
