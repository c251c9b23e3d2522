package core

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// How nodes compare what they hold.
const (
	digestPause  = 7 * time.Second  // between sums sent to one neighbour, taken in turn, while they differ at most
	digestMost   = 14 * time.Second // what that grows to while they do not
	classesFew   = 8                // classes that differ without much being lacking
	syncPatience = 3 * time.Second  // how long a node that lacks much waits for the one it has asked
)

// sums are those of all that this node hands out.
func (c *Core) sums(now time.Time) *wire.Sums {
	s := &wire.Sums{From: c.self}
	for key, chain := range c.store.entries {
		if c.vouches(now, key.Origin) {
			s.Add(wire.DigestEntry{Origin: key.Origin, Kind: key.Kind, Stamp: chain.stamp()})
		}
	}
	return s
}

// Sums is a frame with the sums of all that this node hands out.
func (c *Core) Sums(now time.Time) []byte { return wire.AppendSums(nil, c.sums(now)) }

// exchange sends one neighbour, in turn, the sums: links repair what pushes missed without waiting for push/pull.
func (c *Core) exchange(now time.Time) {
	if now.Before(c.digestAt) {
		return
	}
	c.digestAt = now.Add(c.jitter(c.digestPause))
	c.digestPause = min(2*c.digestPause, digestMost)
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
	c.sendSums(now, to)
	c.do(CompareShared{to})
}

func (c *Core) sendSums(now time.Time, to wire.NodeID) { c.do(SendControl{to, c.Sums(now)}) }

// sumsCame compares sums. Where few classes differ the node is told what this one holds of these, and answers with what is newer or lacking on either
// side. Where most do, one of both has just begun: it asks one neighbour at a time for all.
func (c *Core) sumsCame(now time.Time, e SumsCame) {
	own := c.sums(now)
	classes := own.Differ(&e.Sums)
	p := c.peers[e.Sums.From]
	if classes == 0 || p == nil {
		return
	}
	c.digestPause = digestPause
	if bits.OnesCount64(classes) > classesFew {
		switch {
		case e.Sums.Records*2 < own.Records: // it is to ask, if it has nobody to ask yet
			c.do(SendControl{e.Sums.From, wire.AppendSums(nil, own)})
			return
		case !p.up || now.Before(c.syncUntil):
			return
		}
		c.syncUntil = now.Add(syncPatience)
	}
	c.sendPart(now, e.Sums.From, classes, false)
}

func (c *Core) sendPart(now time.Time, to wire.NodeID, classes uint64, reply bool) {
	p := wire.Part{Reply: reply, Classes: classes, Digest: wire.Digest{From: c.self}}
	for _, entry := range c.store.digest() {
		if classes>>entry.Origin.Class()&1 != 0 && c.vouches(now, entry.Origin) {
			p.Digest.Entries = append(p.Digest.Entries, entry)
		}
	}
	c.do(SendControl{to, wire.AppendPart(nil, &p)})
}

// digestCame sends the node what it lacks. What it holds and this node lacks it will send by itself once it is told what this node holds of
// the same classes; of a mere announcement this node asks for it, and does no more where it cannot know who made it. A digest is not signed: that a later run of this very node
// is alive elsewhere must be proved by a record.
func (c *Core) digestCame(now time.Time, e DigestCame) {
	from := e.Digest.From
	listed := make(map[RecordKey]bool, len(e.Digest.Entries))
	lacking := false
	var older []wire.DigestEntry
	for _, entry := range e.Digest.Entries {
		key := RecordKey{entry.Origin, entry.Kind}
		listed[key] = true
		switch held := c.store.stamp(key); {
		case entry.Origin == c.self && entry.Stamp.Boot > c.boot:
			c.want(now, from, key)
		case entry.Stamp.Compare(held) < 0:
			older = append(older, entry)
		case entry.Stamp.Compare(held) > 0 && entry.Origin != c.self:
			lacking = true
			if e.Classes == 0 {
				c.want(now, from, key)
			}
		}
	}
	if e.Classes != 0 {
		for key := range c.store.entries {
			if e.Classes>>key.Origin.Class()&1 != 0 && !listed[key] && c.vouches(now, key.Origin) {
				older = append(older, wire.DigestEntry{Origin: key.Origin, Kind: key.Kind})
			}
		}
	}
	if !e.Hearsay { // else a few bytes to each node would have all of them send the one named all that they hold
		c.answer(from, older)
	}
	if lacking && e.Classes != 0 && !e.Reply && c.peers[from] != nil {
		c.sendPart(now, from, e.Classes, true)
	}
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
	var raws [][]byte
	for _, entry := range held {
		raws = append(raws, c.store.since(RecordKey{entry.Origin, entry.Kind}, entry.Stamp)...)
	}
	c.sendRecords(to, raws)
}
