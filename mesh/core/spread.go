package core

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	relays     = 2                // neighbours that pass a record on to a node which its sender does not reach
	frameBytes = 60 << 10         // where a Records frame is cut
	wantsMost  = 4096             // records asked for within wantAgain
	vouchTime  = strangerKept / 4 // how long records of a node that is gone are handed out
)

// recordsCame takes records in, uses and spreads the new ones, and asks for what is missing between.
func (c *Core) recordsCame(now time.Time, e RecordsCame) {
	for _, r := range e.Records {
		if r.Origin == c.self {
			if r.Boot > c.boot {
				c.do(Impostor{r.Boot})
			}
			continue
		}
		switch c.take(now, r) {
		case applied:
			c.spread(r, e.From)
		case gap:
			c.want(now, e.From, RecordKey{r.Origin, r.Kind})
		case stale, refused:
		}
	}
}

// take stores a record and, if its origin takes part, uses it.
func (c *Core) take(now time.Time, r wire.Record) verdict {
	p := c.peers[r.Origin]
	if p == nil {
		if c.strangers() >= strangersMost {
			return refused
		}
		p = c.peer(now, r.Origin)
	}
	key := RecordKey{r.Origin, r.Kind}
	got := c.store.accept(r)
	if got == applied {
		delete(c.wants, key)
		if p.active() {
			c.use(c.store.entries[key].records[len(c.store.entries[key].records)-1:])
			c.payOwed(p)
		}
	}
	return got
}

func (c *Core) strangers() int {
	n := 0
	for _, p := range c.peers {
		if !p.active() {
			n++
		}
	}
	return n
}

// use enters records of one chain, oldest first, into routes or interest. Bodies that do not parse are their origin's fault and change nothing.
func (c *Core) use(records []wire.Record) {
	for _, r := range records {
		switch {
		case r.Kind == wire.RecordLinks && r.Base == 0:
			if links, place, err := wire.ParseLinks(r.Body); err == nil {
				c.setLinks(r.Origin, links)
				c.peers[r.Origin].place = place
			}
		case r.Kind == wire.RecordInterest && r.Base == 0:
			if f, err := interest.ParseFull(r.Body); err == nil {
				c.index.Set(r.Origin, f)
			}
		case r.Kind == wire.RecordInterest:
			if err := c.index.ApplyDelta(r.Origin, r.Body); err != nil {
				c.do(Notice{What: "bad interest", Peer: r.Origin, Text: err.Error()})
			}
		}
	}
}

// spread announces a new record by gossip and pushes it to the neighbours that its sender does not reach.
func (c *Core) spread(r wire.Record, from wire.NodeID) {
	c.do(Announce{wire.DigestEntry{Origin: r.Origin, Kind: r.Kind, Stamp: r.Stamp()}})
	var to []wire.NodeID
	for _, p := range c.links {
		if id := p.id; p.up && id != from && id != r.Origin && (from == 0 || c.passesOn(r.Origin, from, id)) {
			to = append(to, id)
		}
	}
	frame := wire.AppendRecords(nil, r.Raw)
	for _, id := range to {
		c.do(SendControl{id, frame})
	}
}

// passesOn reports whether it is on this node to hand what came from sender on to neighbour to. If the sender reaches that
// node itself, it is not. Otherwise, of all nodes that hear the sender and reach it, the first relays by a hash of the three
// are; each node works that out alone from the link-state database (cf. the multipoint relays of OLSR, RFC 3626 §8.3).
func (c *Core) passesOn(origin, sender, to wire.NodeID) bool {
	if _, reached := c.db.Cost(sender, to); reached {
		return false
	}
	own := relayRank(origin, to, c.self)
	ahead := 0
	for _, l := range c.db.Links(sender) {
		if l.To == c.self || l.To == to {
			continue
		}
		_, hears := c.db.Cost(sender, l.To)
		_, reaches := c.db.Cost(l.To, to)
		if hears && reaches && relayRank(origin, to, l.To) < own {
			ahead++
		}
	}
	return ahead < relays
}

func relayRank(origin, to, relay wire.NodeID) uint64 {
	h := fnv.New64a()
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(origin))
	binary.BigEndian.PutUint64(b[8:], uint64(to))
	binary.BigEndian.PutUint64(b[16:], uint64(relay))
	_, _ = h.Write(b[:])
	return h.Sum64()
}

// digestCame sends the node what it lacks. What it holds and this node lacks it will send by itself where the digests
// were exchanged whole; of a mere announcement this node asks for it. A digest is not signed: that a later run of this very node
// is alive elsewhere must be proved by a record.
func (c *Core) digestCame(now time.Time, e DigestCame) {
	from := e.Digest.From
	listed := make(map[RecordKey]bool, len(e.Digest.Entries))
	var older []wire.DigestEntry
	for _, entry := range e.Digest.Entries {
		key := RecordKey{entry.Origin, entry.Kind}
		listed[key] = true
		switch held := c.store.stamp(key); {
		case entry.Origin == c.self && entry.Stamp.Boot > c.boot:
			c.want(now, from, key)
		case entry.Stamp.Compare(held) < 0:
			older = append(older, entry)
		case entry.Stamp.Compare(held) > 0 && entry.Origin != c.self && !e.Whole:
			c.want(now, from, key)
		}
	}
	if e.Whole {
		for key := range c.store.entries {
			if !listed[key] && c.vouches(now, key.Origin) {
				older = append(older, wire.DigestEntry{Origin: key.Origin, Kind: key.Kind})
			}
		}
	}
	c.answer(from, older)
}

// vouches reports whether records of a node are handed out to those who hold none. Soon after it is gone they no longer are, else
// nodes would give each other back for ever what they have forgotten.
func (c *Core) vouches(now time.Time, origin wire.NodeID) bool {
	p := c.peers[origin]
	return origin == c.self || p != nil && (p.active() || now.Sub(p.since) < vouchTime)
}

// answer sends a node all that is newer than the versions listed, in frames of bounded size and nothing twice.
func (c *Core) answer(to wire.NodeID, held []wire.DigestEntry) {
	if to == c.self || c.peers[to] == nil {
		return
	}
	slices.SortFunc(held, func(a, b wire.DigestEntry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Origin, b.Origin), a.Stamp.Compare(b.Stamp))
	})
	held = slices.CompactFunc(held, func(a, b wire.DigestEntry) bool { return a.Kind == b.Kind && a.Origin == b.Origin })
	var batch [][]byte
	size := 0
	send := func() {
		if len(batch) > 0 {
			c.do(SendControl{to, wire.AppendRecords(nil, batch...)})
		}
		batch, size = nil, 0
	}
	for _, entry := range held {
		for _, raw := range c.store.since(RecordKey{entry.Origin, entry.Kind}, entry.Stamp) {
			if size+len(raw) > frameBytes {
				send()
			}
			batch = append(batch, raw)
			size += len(raw)
		}
	}
	send()
}

// want asks a node, at the end of the step, for the newest version of a record, unless that was done just now.
func (c *Core) want(now time.Time, from wire.NodeID, key RecordKey) {
	if at, asked := c.wants[key]; asked && now.Sub(at) < wantAgain || from == 0 || from == c.self {
		return
	}
	if len(c.wants) >= wantsMost && !now.Before(c.wantsFree) {
		maps.DeleteFunc(c.wants, func(_ RecordKey, at time.Time) bool { return now.Sub(at) >= wantAgain })
		c.wantsFree = now.Add(wantAgain) // looking for old ones is not to cost more than the asking
	}
	if len(c.wants) >= wantsMost {
		return // digests will repair it
	}
	c.wants[key] = now
	c.asking[from] = append(c.asking[from], wire.DigestEntry{Origin: key.Origin, Kind: key.Kind, Stamp: c.store.stamp(key)})
}

// sendWants asks for what is wanted: one frame a node.
func (c *Core) sendWants() {
	for _, to := range slices.Sorted(maps.Keys(c.asking)) {
		d := wire.Digest{From: c.self, Entries: c.asking[to]}
		c.do(SendControl{to, wire.AppendDigest(nil, wire.KindWant, &d)})
	}
	clear(c.asking)
}

// exchange sends one neighbour, in turn, the whole digest: links repair what pushes missed without waiting for push/pull.
func (c *Core) exchange(now time.Time) {
	if now.Before(c.digestAt) {
		return
	}
	c.digestAt = now.Add(c.jitter(digestPause))
	var up []wire.NodeID
	for _, p := range c.links {
		if p.up {
			up = append(up, p.id)
		}
	}
	if len(up) == 0 {
		return
	}
	to := up[c.rnd.IntN(len(up))]
	c.sendDigest(to)
	c.do(CompareShared{to})
}

// sendDigest tells a node all that is held, so that it sends what is lacking.
func (c *Core) sendDigest(to wire.NodeID) {
	c.do(SendControl{to, c.Digest()})
}

// Digest is a frame that tells all that is held.
func (c *Core) Digest() []byte {
	return wire.AppendDigest(nil, wire.KindDigest, &wire.Digest{From: c.self, Entries: c.store.digest()})
}
