package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	frameBytes        = 60 << 10               // where a Records frame is cut
	smallRecord       = 4 << 10                // shorter ones are bounded by the number of strangers
	strangerBytesMost = 32 << 20               // of records of nodes that are not active
	wantsMost         = 4096                   // records asked for within wantAgain
	vouchTime         = strangerKept / 4       // how long records of a node that is gone are handed out
	apartMost         = 2                      // neighbours that no path leads to, which a record is pushed to
	newsPause         = 100 * time.Millisecond // how long news for neighbours gathers: what was pushed is to be there first
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
		c.pace.heard(now, &r)
		switch c.take(now, r) {
		case applied:
			c.spread(now, r, e.From)
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
	if !p.active() && len(r.Raw) > smallRecord && c.strangerBytes()+len(r.Raw) > strangerBytesMost {
		return refused
	}
	key := RecordKey{r.Origin, r.Kind}
	_, known := c.store.entries[key]
	later := p.active() && r.Kind == wire.RecordLinks && r.Boot > c.runOf(p)
	got := c.store.accept(r)
	if got == applied {
		c.bootsDirty = c.bootsDirty || !known || later // the data plane is to have its key, and its run
		c.usableDirty = c.usableDirty || later
		delete(c.wants, key)
		if p.active() {
			c.use(c.store.entries[key].records[len(c.store.entries[key].records)-1:])
			c.payOwed(p)
		}
	}
	return got
}

// strangerBytes is what records of nodes that are not active take.
func (c *Core) strangerBytes() (sum int) {
	for key, chain := range c.store.entries {
		if p := c.peers[key.Origin]; p == nil || p.active() {
			continue
		}
		for _, r := range chain.records {
			sum += len(r.Raw)
		}
	}
	return sum
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

// spread announces a new record by gossip, pushes it to the neighbours whose shortest path from its origin leads through this node, and gathers news
// of it for those to which this node is to bring some. All nodes work that out alone, each from the link-state database: a record comes to each once,
// by the shortest path, and word of it by another.
func (c *Core) spread(now time.Time, r wire.Record, from wire.NodeID) {
	entry := wire.DigestEntry{Origin: r.Origin, Kind: r.Kind, Stamp: r.Stamp()}
	c.do(Announce{entry})
	if !c.pushOn(now, r.Origin, from, r.Raw) {
		c.early[r.Origin] = true
	}
	for _, p := range c.links {
		if p.up && p.id != from && p.id != r.Origin && !slices.ContainsFunc(c.pushes[p.id], func(raw []byte) bool { return &raw[0] == &r.Raw[0] }) && c.backs(r.Origin, p.id) {
			c.news[p.id] = append(c.news[p.id], entry)
			if c.newsAt.IsZero() {
				c.newsAt = now.Add(newsPause)
			}
		}
	}
}

// pushOn pushes records of a node on, at the end of the step; false if no path is known from there, and so nobody whom this node is to push to. Some
// neighbours that no path leads to get everything too: nobody else may reach them. All neighbours get what is this node's own: when links break, others'
// paths may not be what they seem.
func (c *Core) pushOn(now time.Time, origin, from wire.NodeID, raws ...[]byte) (reached bool) {
	c.followLinks(now)
	onward, reached := c.planner.Onward(origin)
	var apart []*peer
	for _, p := range c.links {
		if !p.up || p.id == from || p.id == origin {
			continue
		}
		if _, is := slices.BinarySearch(onward, p.id); is || origin == c.self {
			c.pushes[p.id] = append(c.pushes[p.id], raws...)
		} else if !c.planner.Reaches(p.id) {
			apart = append(apart, p)
		}
	}
	for _, p := range c.someApart(origin, apart) {
		c.pushes[p.id] = append(c.pushes[p.id], raws...)
	}
	return reached
}

// someApart are those of the neighbours that no path leads to that get an origin's records at once, for each origin others. Where a whole mesh begins,
// all are such, and would get each record from every neighbour: the others get news of it, as do those that other nodes bring it to (backs), and ask one.
func (c *Core) someApart(origin wire.NodeID, apart []*peer) []*peer {
	if len(apart) <= apartMost {
		return apart
	}
	slices.SortFunc(apart, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(newsRank(origin, a.id, c.self), newsRank(origin, b.id, c.self)), byID(a, b))
	})
	return apart[:apartMost]
}

// spreadEarly pushes what came before there was a path from its origin, once there is.
func (c *Core) spreadEarly(now time.Time) {
	if len(c.early) == 0 || !c.moved {
		return
	}
	c.moved = false
	var reached []wire.NodeID
	for origin := range c.early {
		if c.planner.Reaches(origin) {
			reached = append(reached, origin)
		}
	}
	slices.Sort(reached)
	for _, origin := range reached {
		var raws [][]byte
		for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
			raws = append(raws, c.store.since(RecordKey{origin, kind}, wire.Stamp{})...)
		}
		c.pushOn(now, origin, 0, raws...)
		delete(c.early, origin)
	}
}

// backs reports whether it is on this node to bring a neighbour news of an origin's records: it is the first of its neighbours by a hash of the three.
func (c *Core) backs(origin, to wire.NodeID) bool {
	own := newsRank(origin, to, c.self)
	for _, l := range c.db.Links(to) {
		if l.To != c.self && newsRank(origin, to, l.To) < own {
			return false
		}
	}
	return true
}

// newsRank is the finaliser of SplitMix64 over the three.
func newsRank(origin, to, by wire.NodeID) uint64 {
	h := uint64(origin) ^ uint64(to)*0x9e3779b97f4a7c15 ^ uint64(by)*0xd1342543de82ef95
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// sendPushes sends what this step is to push, in frames of bounded size, and news that have waited long enough.
func (c *Core) sendPushes(now time.Time) {
	for _, p := range c.links {
		if raws := c.pushes[p.id]; len(raws) > 0 {
			c.sendRecords(p.id, raws)
		}
	}
	clear(c.pushes)
	if c.newsAt.IsZero() || now.Before(c.newsAt) {
		return
	}
	c.newsAt = time.Time{}
	for _, p := range c.links {
		if entries := c.news[p.id]; p.up && len(entries) > 0 {
			d := wire.Digest{From: c.self, Entries: newest(entries)}
			c.do(SendControl{p.id, wire.AppendDigest(nil, wire.KindNews, &d)})
		}
	}
	clear(c.news)
}

// newest leaves out all but the last entry of each record. It may use the entries' memory.
func newest(entries []wire.DigestEntry) []wire.DigestEntry {
	slices.SortFunc(entries, func(a, b wire.DigestEntry) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Kind, b.Kind), b.Stamp.Compare(a.Stamp))
	})
	return slices.CompactFunc(entries, func(a, b wire.DigestEntry) bool { return a.Origin == b.Origin && a.Kind == b.Kind })
}

// sendRecords sends records in frames of bounded size.
func (c *Core) sendRecords(to wire.NodeID, raws [][]byte) {
	var batch [][]byte
	size := 0
	send := func() {
		if len(batch) > 0 {
			c.do(SendControl{to, wire.AppendRecords(nil, batch...)})
		}
		batch, size = nil, 0
	}
	for _, raw := range raws {
		if size+len(raw) > frameBytes {
			send()
		}
		batch = append(batch, raw)
		size += len(raw)
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
