// Package rumour decides which news a node puts on its next packets: that which was sent least goes first, and what was sent often enough is forgotten,
// as in the queue of memberlist and in SWIM (Das, Gupta and Motivala, DSN 2002, section 4.1). It is pure and belongs to one goroutine at a time.
package rumour

import (
	"math"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// retransmitMult times log10(members + 1) is how often an announcement is sent, as in memberlist's own queue.
const retransmitMult = 4

// EntryBytes is the most that one entry of a digest takes; a frame has up to HeadBytes besides.
const (
	EntryBytes = 32
	HeadBytes  = 16
)

// Queue are the record versions still to be put on SWIM packets. One per (origin, kind): a newer version replaces an older. The zero Queue is empty.
type Queue struct {
	waiting map[key]*announcement
	tiers   [][]*announcement // by how often they were sent, the oldest first; those that were replaced are still there
}

type key struct {
	origin wire.NodeID
	kind   wire.RecordKind
}

type announcement struct {
	entry    wire.DigestEntry
	replaced bool
}

// Most is how often an announcement is sent in a mesh of so many members.
func Most(members int) int { return retransmitMult * int(math.Ceil(math.Log10(float64(members+1)))) }

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
	}
	a := &announcement{entry: e}
	q.waiting[k] = a
	q.push(0, a)
}

func (q *Queue) push(tier int, a *announcement) {
	for len(q.tiers) <= tier {
		q.tiers = append(q.tiers, nil)
	}
	q.tiers[tier] = append(q.tiers[tier], a)
}

// Take is what goes on one packet with room for so many bytes, in a mesh of so many members.
func (q *Queue) Take(bytes, members int) (out []wire.DigestEntry) {
	room := (bytes - HeadBytes) / EntryBytes
	if room <= 0 || len(q.waiting) == 0 {
		return nil
	}
	most := Most(members)
	var again []*announcement
	var sent []int
	for tier := range q.tiers {
		waiting := q.tiers[tier]
		for len(waiting) > 0 && len(out) < room {
			a := waiting[0]
			waiting[0], waiting = nil, waiting[1:]
			if a.replaced {
				continue
			}
			out = append(out, a.entry)
			if tier+1 >= most {
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
