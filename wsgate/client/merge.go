package client

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"
)

// Times and bounds of a merge; doc.go tells what they mean.
const (
	holdTime  = time.Second
	pairTime  = 3 * time.Second
	maxHeld   = 8 << 20 // bytes that wait for the old connection
	maxPaired = 1 << 16 // instances whose twin may still come
)

// mergeTick is how often a merge is to be asked whether something is due.
const mergeTick = 50 * time.Millisecond

// heldOverhead is what a held message costs besides its bytes, roughly.
const heldOverhead = 256

// merge makes one stream of two that bring the same messages: that of the old connection and that of the new. It is
// pure: it knows no clock, and whoever calls it delivers what it returns. Times are from any one start.
//
// The old connection leads: what it brings is delivered at once, so the order is its order. What only the new one has
// brought so far is held, until the old one brings the same, or has ended, or has had its time.
type merge struct {
	counts *mergeCounts
	seed   maphash.Seed

	twins   map[uint64]*twins
	expiry  fifo[expiring]
	held    fifo[*heldMessage]
	waiting int // bytes in held

	heard    bool // the new connection has brought something
	oldEnded bool
	newEnded bool
	endedAt  time.Duration // when the first of both ended
}

// mergeCounts outlive a merge.
type mergeCounts struct {
	duplicates atomic.Uint64 // dropped, as the other connection had brought them
	forced     atomic.Uint64 // delivered ahead of the old connection for want of room
}

// twins are the instances of equal messages that lack their twin from the other connection.
type twins struct {
	credits  []time.Duration // when messages of the old connection were delivered, oldest first
	doubtful []doubt         // oldest first
	held     []*heldMessage  // oldest first
	debits   []time.Duration // when messages of the new connection were delivered ahead of the old one, oldest first
}

// doubt is a message of the new connection that was dropped for a credit. If a further equal one of the old connection
// comes until then, that is the better twin, being nearer in time, and the credit is free again. So messages that are
// published at intervals find their twins although one came before the new connection was subscribed.
type doubt struct{ credit, until time.Duration }

// heldMessage is a message that only the new connection has brought.
type heldMessage struct {
	Message
	key  uint64
	due  time.Duration // when it has waited long enough
	gone bool          // its twin came
}

// expiring tells when to look whether twins can be forgotten.
type expiring struct {
	key uint64
	at  time.Duration // when the credit or debit was made
}

func newMerge(counts *mergeCounts) *merge {
	return &merge{counts: counts, seed: maphash.MakeSeed(), twins: map[uint64]*twins{}}
}

// key stands for tenant, channel and payload.
func (g *merge) key(m Message) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	_, _ = h.WriteString(m.Tenant)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(m.Channel)
	_ = h.WriteByte(0)
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// fromOld takes a message of the old connection and tells whether to deliver it.
func (g *merge) fromOld(now time.Duration, m Message) bool {
	g.expire(now)
	key := g.key(m)
	t := g.of(key)
	if len(t.debits) > 0 {
		t.debits = t.debits[1:]
		g.counts.duplicates.Add(1)
		g.tidy(key, t)
		return false
	}
	if len(t.held) > 0 {
		twin := t.held[0]
		t.held = t.held[1:]
		g.drop(twin)
		g.counts.duplicates.Add(1)
		g.tidy(key, t)
		return true
	}
	for len(t.doubtful) > 0 {
		d := t.doubtful[0]
		t.doubtful = t.doubtful[1:]
		if d.until >= now {
			i, _ := slices.BinarySearch(t.credits, d.credit)
			t.credits = slices.Insert(t.credits, i, d.credit)
			return true
		}
	}
	t.credits = append(t.credits, now)
	g.remember(key, now)
	return true
}

// fromNew takes a message of the new connection and returns what to deliver now, in order. m.Payload may be part of it.
func (g *merge) fromNew(now time.Duration, m Message) []Message {
	g.expire(now)
	g.heard = true
	key := g.key(m)
	t := g.of(key)
	if n := len(t.credits); n > 0 && now-t.credits[n-1] <= pairTime {
		credit := t.credits[n-1]
		t.credits = t.credits[:n-1]
		if !g.oldEnded {
			t.doubtful = append(t.doubtful, doubt{credit, now + min(now-credit, holdTime)})
		}
		g.counts.duplicates.Add(1)
		g.tidy(key, t)
		return nil
	}
	if g.oldEnded {
		g.tidy(key, t)
		return []Message{m}
	}
	m.Payload = bytes.Clone(m.Payload)
	h := &heldMessage{Message: m, key: key, due: now + holdTime}
	t.held = append(t.held, h)
	g.held.push(h)
	g.waiting += h.size()
	var out []Message
	for g.waiting > maxHeld || g.held.len() > maxPaired {
		before := len(out)
		out = g.release(now, out)
		g.counts.forced.Add(uint64(len(out) - before))
	}
	return out
}

// due returns what has been held long enough.
func (g *merge) due(now time.Duration) []Message {
	var out []Message
	for g.held.len() > 0 && (g.held.front().gone || g.held.front().due <= now) {
		out = g.release(now, out)
	}
	return out
}

// endOld tells that the old connection has brought its last, and returns what was held.
func (g *merge) endOld(now time.Duration) []Message {
	if g.oldEnded {
		return nil
	}
	var out []Message
	for g.held.len() > 0 {
		out = g.release(now, out)
	}
	if g.oldEnded = true; !g.newEnded {
		g.endedAt = now
	}
	return out
}

// endNew tells that the new connection has brought its last.
func (g *merge) endNew(now time.Duration) {
	if g.newEnded = true; !g.oldEnded {
		g.endedAt = now
	}
}

// over tells whether nothing is left to merge.
func (g *merge) over(now time.Duration) bool {
	switch {
	case g.oldEnded && g.newEnded:
		return true
	case g.newEnded && !g.heard:
		return true
	default:
		return (g.oldEnded || g.newEnded) && g.waiting == 0 && now-g.endedAt > pairTime
	}
}

// release takes the oldest held message out, and appends it to out unless its twin came.
func (g *merge) release(now time.Duration, out []Message) []Message {
	h := g.held.pop()
	if h.gone {
		return out
	}
	m := h.Message
	t := g.of(h.key)
	t.held = t.held[1:] // both are ordered by arrival
	g.drop(h)
	t.debits = append(t.debits, now)
	g.remember(h.key, now)
	return append(out, m)
}

// drop lets a held message go; its place in g.held is left to release.
func (g *merge) drop(h *heldMessage) {
	g.waiting -= h.size()
	h.gone, h.Message = true, Message{}
}

func (h *heldMessage) size() int {
	return heldOverhead + len(h.Tenant) + len(h.Channel) + len(h.Payload)
}

// of is the twins of a key, made if need be.
func (g *merge) of(key uint64) *twins {
	t := g.twins[key]
	if t == nil {
		t = &twins{}
		g.twins[key] = t
	}
	return t
}

// tidy forgets twins of which nothing is left.
func (g *merge) tidy(key uint64, t *twins) {
	if len(t.credits)+len(t.doubtful)+len(t.held)+len(t.debits) == 0 {
		delete(g.twins, key)
	}
}

// remember bounds how long, and among how many, a credit or debit is known.
func (g *merge) remember(key uint64, now time.Duration) {
	g.expiry.push(expiring{key, now})
	if g.expiry.len() > maxPaired {
		g.forget(g.expiry.pop(), now)
	}
}

// expire forgets the credits and debits whose time is over.
func (g *merge) expire(now time.Duration) {
	for g.expiry.len() > 0 && now-g.expiry.front().at > pairTime {
		g.forget(g.expiry.pop(), now)
	}
}

// forget forgets the credits and debits of a key that were made by e.at, and the doubts that are settled.
func (g *merge) forget(e expiring, now time.Duration) {
	t := g.twins[e.key]
	if t == nil {
		return
	}
	t.credits = after(t.credits, e.at)
	t.debits = after(t.debits, e.at)
	for len(t.doubtful) > 0 && (t.doubtful[0].until < now || g.expiry.len() >= maxPaired) {
		t.doubtful = t.doubtful[1:]
	}
	if len(t.doubtful) > 0 {
		g.expiry.push(expiring{e.key, now})
	}
	g.tidy(e.key, t)
}

// after is the rest of ascending times that are after at.
func after(times []time.Duration, at time.Duration) []time.Duration {
	i, _ := slices.BinarySearch(times, at+1)
	return times[i:]
}
