package wsgate

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// policy is what a subscription wants done where its connection does not keep up. Of several that match a message the greatest counts.
type policy uint8

const (
	dropOldest policy = iota // as all others of the connection
	// latestOnly: a message takes the place of the one of the same channel that still waits.
	latestOnly
	// dropOldestToo is dropOldest for a connection that has subscriptions with another policy: its messages may be of the same channels as theirs.
	dropOldestToo
	// closeInstead: the connection is closed before a message is dropped.
	closeInstead
)

// parsePolicy reads a policy as in a JSON message; "" is the default.
func parsePolicy(text string) (policy, error) {
	switch text {
	case "", "drop_oldest":
		return dropOldest, nil
	case "latest":
		return latestOnly, nil
	case "close":
		return closeInstead, nil
	}
	return 0, fault{codeBadJSON, "policy must be drop_oldest, latest or close"}
}

// setPolicy makes p the policy of a subscription.
func (h *Hub) setPolicy(s *subscription, p policy) {
	if p == dropOldest && !s.to.picky {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.to.picky {
		s.to.picky = true
		for _, other := range s.to.held {
			other.policy.Store(uint32(dropOldestToo))
		}
		// Who sees the policy of s but not yet those of the others has to look again: they go before it (see Hub.look).
		s.of.tenant.turns.Add(1)
	}
	if p == dropOldest {
		p = dropOldestToo
	}
	s.policy.Store(uint32(p))
}

// channelName names a channel of a tenant.
type channelName struct{ tenant, name string }

// pickiness is what an outbox knows of deliveries with a policy of their own, by their places in the queue: the n-th that was ever pushed has place n.
type pickiness struct {
	latest  map[channelName]uint64 // places of deliveries that may be replaced; some are gone
	closing []uint64               // places, ascending, of those that must not be dropped; the first may be gone
}

// pushPicky is push for a delivery of a channel to a connection that has subscriptions with a policy.
func (b *outbox) pushPicky(f frames, p policy, of channelName) (taken, owes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.last != nil {
		return false, false
	}
	now := time.Now()
	if len(f.bytes) > b.limits.bytes {
		b.counts.dropsTooLarge.Add(uint64(f.messages))
		if p == closeInstead {
			b.end(closeSlow, now)
		}
		return false, false
	}
	if b.picky == nil {
		b.picky = &pickiness{latest: map[channelName]uint64{}}
	}
	if p == latestOnly && b.replace(f, of) {
		if b.crowded(0, 0) && !b.makeRoom(frames{}, now) {
			return false, false
		}
	} else {
		if b.crowded(len(f.bytes), f.messages) && !b.makeRoom(f, now) {
			return false, false
		}
		b.picky.note(&b.frames, p, of)
		b.frames.push(f)
	}
	return true, b.owe()
}

// replace puts a delivery in the place of the one of the same channel that waits, if there is one. b.mu is held.
func (b *outbox) replace(f frames, of channelName) bool {
	place, known := b.picky.latest[of]
	if !known || place < b.frames.popped {
		return false
	}
	b.counts.replaced.Add(uint64(b.frames.swap(place, f).messages))
	return true
}

// note takes note of a delivery that is about to be pushed.
func (k *pickiness) note(q *frameQueue, p policy, of channelName) {
	place := q.popped + uint64(q.count)
	if p == latestOnly {
		k.latest[of] = place
	} else {
		delete(k.latest, of) // what comes next must not go ahead of this one
	}
	if len(k.latest) > 2*q.count+64 {
		for name, at := range k.latest {
			if at < q.popped {
				delete(k.latest, name)
			}
		}
	}
	for len(k.closing) > 0 && k.closing[0] < q.popped {
		k.closing = k.closing[1:]
	}
	if p == closeInstead {
		k.closing = append(k.closing, place)
	}
}

// keeps tells whether the delivery at a place must not be dropped.
func (k *pickiness) keeps(place uint64) bool {
	if k == nil {
		return false
	}
	for len(k.closing) > 0 && k.closing[0] < place {
		k.closing = k.closing[1:]
	}
	return len(k.closing) > 0 && k.closing[0] == place
}

// pushPicky puts a message into the outbox of a target whose subscriptions have a policy.
func (f *fanout) pushPicky(t target, m channel.Message) (taken, owes bool) {
	asJSON, of := t.to.json.Load(), channelName{m.Tenant, m.Channel}
	if t.policy != latestOnly || m.Mode != channel.Broadcast { // a message for one subscriber is not outdated by the next
		return t.to.box.pushPicky(f.frame(t.set, asJSON, m), max(t.policy, dropOldestToo), of)
	}
	return t.to.box.pushPicky(f.last(t.set, asJSON, m), latestOnly, of)
}

// last is frame for the last message of a batch.
func (f *fanout) last(set int, asJSON bool, m channel.Message) frames {
	if !m.Batch {
		return f.frame(set, asJSON, m)
	}
	single := channel.Message{Tenant: m.Tenant, Channel: m.Channel}
	for payload := range m.Payloads {
		single.Payload = payload
	}
	if f.tail == nil {
		f.tail = newFanout()
	}
	for len(f.tail.sets) < len(f.sets) { // the same sets, encoded for another message
		s := f.sets[len(f.tail.sets)]
		f.tail.sets = append(f.tail.sets, patternSet{step: s.step, bytes: s.bytes})
	}
	return f.tail.frame(set, asJSON, single)
}
