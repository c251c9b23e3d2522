package core

import (
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// How nodes are asked which version of this node's interest they hold: all of them about every askPause at most, and a millisecond more for each, so
// that subscriptions by the thousand cost a bounded number of frames; from askMany on more yet, since every node may ask every other, and while bursts come
// from everywhere, more again. One that does not answer is asked again after askAgain.
const (
	askPause = 30 * time.Millisecond
	askEach  = time.Millisecond
	askMany  = 250
	askAgain = time.Second
)

// awaited is somebody who waits for all nodes to hold a version of this node's interest.
type awaited struct{ id, version uint64 }

// awaitSpread notes somebody who waits for all that was told before, what is still gathered included.
func (c *Core) awaitSpread(id uint64) {
	version := c.version[wire.RecordInterest]
	if !c.pace.due.IsZero() {
		version++ // if the flush finds nothing new, confirmSpread sees to it
	}
	c.awaiting = append(c.awaiting, awaited{id, version})
	c.readyDirty = true
}

// confirmSpread tells those whose version is everywhere, and asks the nodes of which that is not known.
func (c *Core) confirmSpread(now time.Time) {
	if len(c.awaiting) > 0 && !c.readyDirty && now.Before(c.askAt) {
		return
	}
	c.askAt, c.readyDirty = time.Time{}, false
	if len(c.awaiting) == 0 {
		return
	}
	newest := c.version[wire.RecordInterest]
	least, active := newest, 0
	for _, p := range c.peers {
		if p.active() {
			active++
			least = min(least, p.knows)
		}
	}
	end := 0
	for end < len(c.awaiting) && (c.awaiting[end].version <= least || least == newest && c.pace.due.IsZero()) {
		end++
	}
	if end > 0 {
		var ids []uint64
		for _, a := range c.awaiting[:end] {
			ids = append(ids, a.id)
		}
		c.do(SpreadDone{ids})
		c.awaiting = slices.Delete(c.awaiting, 0, end)
	}
	if len(c.awaiting) > 0 && least < newest {
		pause := time.Duration(active) * askEach * time.Duration(max(active, askMany)) / askMany
		c.ask(now, newest, askPause+time.Duration(float64(pause)*c.pace.strain))
	}
}

// ask asks each node that may lack a version of this node's interest, at most so often.
func (c *Core) ask(now time.Time, version uint64, pause time.Duration) {
	question := wire.AppendDigest(nil, wire.KindAsk, c.ownInterest(version))
	for _, id := range slices.Sorted(maps.Keys(c.peers)) {
		p := c.peers[id]
		if !p.active() || p.knows >= version {
			continue
		}
		at := p.askedAt.Add(askAgain)
		if p.asked < version {
			at = p.askedAt.Add(pause)
		}
		if now.Before(at) {
			if c.askAt.IsZero() || at.Before(c.askAt) {
				c.askAt = at
			}
			continue
		}
		p.asked, p.askedAt = version, now
		c.do(SendControl{id, question})
	}
	if c.askAt.IsZero() {
		c.askAt = now.Add(askAgain)
	}
}

// ownInterest is a digest of a version of this node's interest.
func (c *Core) ownInterest(version uint64) *wire.Digest {
	entry := wire.DigestEntry{Origin: c.self, Kind: wire.RecordInterest, Stamp: wire.Stamp{Boot: c.boot, Version: version}}
	return &wire.Digest{From: c.self, Entries: []wire.DigestEntry{entry}}
}

// askCame notes what a node wants to be told of; only of its own interest.
func (c *Core) askCame(now time.Time, e AskCame) {
	p := c.peers[e.Digest.From]
	for _, entry := range e.Digest.Entries {
		if p == nil || entry.Origin != p.id || entry.Kind != wire.RecordInterest {
			continue
		}
		p.owed = entry.Stamp
		if key := (RecordKey{p.id, wire.RecordInterest}); c.store.stamp(key).Compare(p.owed) < 0 {
			c.want(now, p.id, key)
		}
		c.payOwed(p)
		return // nobody has two
	}
}

// payOwed tells a node, if it asked, that what it asked for is in use here.
func (c *Core) payOwed(p *peer) {
	held := c.store.stamp(RecordKey{p.id, wire.RecordInterest})
	if p.owed == (wire.Stamp{}) || held.Compare(p.owed) < 0 || !p.active() {
		return
	}
	p.owed = wire.Stamp{}
	entry := wire.DigestEntry{Origin: p.id, Kind: wire.RecordInterest, Stamp: held}
	c.do(SendControl{p.id, wire.AppendDigest(nil, wire.KindHave, &wire.Digest{From: c.self, Entries: []wire.DigestEntry{entry}})})
}

// haveCame takes a node's word for what it holds of this node's interest.
func (c *Core) haveCame(e HaveCame) {
	p := c.peers[e.Digest.From]
	for _, entry := range e.Digest.Entries {
		if p != nil && entry.Origin == c.self && entry.Kind == wire.RecordInterest && entry.Stamp.Boot == c.boot {
			c.readyDirty = true
			p.knows = max(p.knows, min(entry.Stamp.Version, c.version[wire.RecordInterest]))
		}
	}
}
