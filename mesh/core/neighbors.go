package core

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// DefaultFullMesh is up to how many nodes all are linked to each other.
const DefaultFullMesh = 128

// How a node chooses its neighbours in a larger mesh.
const (
	nearLinks    = 12          // to the nearest, apart from those that another neighbour leads to as well
	randomLinks  = 4           // to any, the same ones as long as they live: they keep the mesh in one piece, and show the way to what is near
	firstLinks   = 8           // of either, while nothing is known yet
	fewLinks     = 3           // that work: with less, neighbours are chosen soon
	demandLinks  = 32          // most, to where this node's messages go
	demandKept   = time.Minute // after the last message
	detourWorth  = 1.5         // a node so many times nearer to a neighbour than to this one needs no link of its own
	keptWorth    = 1.5         // one is exchanged for another that is so many times nearer
	keptCost     = 2000        // and by as many µs: where all are near it matters little who is the nearest
	changesEarly = 4           // near neighbours that are new, at a time, while it is not known well who is near
	changesLate  = 1           // and later: each costs handshakes, and everybody four records
	choicesEarly = 9           // a minute of choices
	lateWorth    = 1.5         // and so many times more is asked of a new one then
	sparedMost   = 8           // links given up at a time
	spareEvery   = 15 * time.Second
	chooseSoon   = 3 * time.Second  // between the first choices, while little is known
	chooseEarly  = 6                // of those
	chooseRarely = 5 * time.Minute  // what the time between choices grows to: by then only what has changed is to be found
	chooseEach   = time.Second      // or so much for each node, if that is more, and then at once: all nodes' exchanges are then four records a second at most
	restAfter    = 10 * time.Second // a link that carried nothing for so long, and is as old, may be given up
	measuredKept = 10 * time.Minute // how long it is known what a link cost that was given up
	failsMost    = 3                // dials in a row that fail before another neighbour is chosen
	failedKept   = 20 * time.Second // and how long the node is not chosen then; twice as long each time
	failedMost   = 10 * time.Minute // but no longer
	placeEvery   = 500 * time.Millisecond
	placePause   = 30 * time.Second // between two records that tell a new place alone; twice as long after each
	placeRarely  = 10 * time.Minute // but no longer
	placeMoved   = 20 * time.Millisecond
	returnsAgain = 4 // choices that are made again as the early ones are, where more than one part of returnsShare of the mesh has come or come back since the last
	returnsShare = 8
	sizeGrain    = 8 // the mesh is full again when it is smaller than the limit by one part of so many
)

// Sparse reports whether the mesh is too large for links between all, so that the core needs to know of Traffic.
func (c *Core) Sparse() bool { return c.sparse }

// wantsLink reports whether this node wants a link to p of its own accord.
func (c *Core) wantsLink(p *peer) bool { return !c.sparse || c.wanted[p.id] || p.demanded || p.relay }

// wantsDial reports whether this node should try to open a link to p, now or at dialAt.
func (c *Core) wantsDial(p *peer) bool {
	return p.member && p.link == 0 && !p.dialing && c.wantsLink(p)
}

// dialFresh has a link opened at once, whatever dials before it came to.
func (p *peer) dialFresh(now time.Time) { p.dialAt, p.dialWait, p.fails = now, 0, 0 }

// candidates yields the peers that may be dialled.
func (c *Core) candidates(yield func(*peer) bool) {
	if !c.sparse {
		for _, p := range c.peers {
			if !yield(p) {
				return
			}
		}
		return
	}
	for id := range c.wanted {
		if p := c.peers[id]; p != nil && !yield(p) {
			return
		}
	}
	for id := range c.demands {
		if p := c.peers[id]; p != nil && p.demanded && !c.wanted[id] && !yield(p) {
			return
		}
	}
	for id := range c.relays {
		if p := c.peers[id]; p != nil && !p.demanded && !c.wanted[id] && !yield(p) {
			return
		}
	}
}

// settleSize decides whether all nodes are to be linked.
func (c *Core) settleSize(now time.Time) {
	nodes, most := c.members+1, c.fullMesh
	if c.sparse {
		most = c.fullMesh * (sizeGrain - 1) / sizeGrain
	}
	sparse := nodes > most
	if sparse == c.sparse {
		return
	}
	c.sparse, c.choices = sparse, 0
	c.adverts.Patient(sparse)
	c.chooseAt = now
	if sparse {
		return
	}
	clear(c.wanted)
	clear(c.near)
	clear(c.demands)
	clear(c.sources)
	clear(c.relays)
	c.chooseAt, c.spareAt, c.retryAt, c.relayAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	for _, p := range c.peers {
		p.demanded, p.relay = false, false
		if p.member && p.link == 0 && !p.dialing {
			p.dialAt = c.dialFrom(now, p)
		}
	}
	for _, p := range c.links {
		c.tellNeed(p, true)
	}
}

// dialFrom is when a node that has no link is first to be dialled: where both ends want it, the larger ID leaves it to the smaller.
func (c *Core) dialFrom(now time.Time, p *peer) time.Time {
	if c.self > p.id && !c.sparse {
		return now.Add(politeness)
	}
	return now
}

// choose chooses this node's neighbours in a large mesh, now and then.
func (c *Core) choose(now time.Time) {
	if !c.sparse || now.Before(c.chooseAt) && (c.retryAt.IsZero() || now.Before(c.retryAt)) {
		return
	}
	c.retryAt = time.Time{}
	c.choices++
	c.chooseAt = now.Add(c.choosePause())
	wanted := map[wire.NodeID]bool{}
	ranked := c.ranked(now)
	near := c.nearest(now)
	clear(c.near)
	for _, p := range near {
		wanted[p.id], c.near[p.id] = true, true
	}
	for i, p := range ranked { // where too little is known to tell who is near, more of any
		if i >= randomLinks && len(wanted) >= firstLinks {
			break
		}
		wanted[p.id] = true
	}
	for id := range wanted {
		if p := c.peers[id]; !c.wanted[id] && p.link == 0 && !p.demanded {
			p.dialFresh(now)
		}
	}
	c.wanted = wanted
	c.spareAt = now
	c.came, c.lastRank = 0, math.MaxUint64
	if len(ranked) >= randomLinks {
		c.lastRank = pairRank(c.self, ranked[randomLinks-1].id)
	}
}

// cameBack sees to it that a mesh that was in pieces becomes one again, and a good one: those of this node's random neighbours that come back have links at
// once, and where many come, near ones are chosen as if it had just begun.
func (c *Core) cameBack(now time.Time, p *peer) {
	if !c.sparse || c.choices < choicesEarly {
		return
	}
	if c.came++; c.came > c.members/returnsShare {
		c.choices, c.came = choicesEarly-returnsAgain, 0
		c.chooseBy(now, chooseSoon)
	}
	if pairRank(c.self, p.id) <= c.lastRank {
		c.wanted[p.id] = true // besides those that took their places, until the next choice
		p.dialFresh(now)
	}
}

// choosePause is the time between the last choice and the next. Where it is as long as the mesh is large, it is spread widely: nodes that began together
// are not to exchange neighbours together ever after.
func (c *Core) choosePause() time.Duration {
	pause := min(chooseSoon<<min(max(0, c.choices-1-chooseEarly), 10), chooseRarely)
	if each := time.Duration(c.members) * chooseEach; c.choices >= choicesEarly && each > pause {
		return each/2 + time.Duration(c.rnd.Int64N(int64(each)))
	}
	return c.jitter(pause)
}

// ranked are the members by a hash of this node and them, which for each node gives another order that stays.
func (c *Core) ranked(now time.Time) []*peer {
	type ranked struct {
		*peer
		rank uint64
	}
	var all []ranked
	for _, p := range c.peers {
		if p.eligible(now) {
			all = append(all, ranked{p, pairRank(c.self, p.id)})
		}
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), byID(a.peer, b.peer)) })
	out := make([]*peer, 0, nearLinks+randomLinks)
	for _, r := range all[:min(len(all), cap(out))] {
		out = append(out, r.peer)
	}
	return out
}

func pairRank(a, b wire.NodeID) uint64 {
	h := fnv.New64a()
	var buf [16]byte
	binary.BigEndian.PutUint64(buf[:], uint64(a))
	binary.BigEndian.PutUint64(buf[8:], uint64(b))
	_, _ = h.Write(buf[:])
	return h.Sum64()
}

// eligible reports whether a link to the node may be chosen.
func (p *peer) eligible(now time.Time) bool { return p.member && !now.Before(p.failedUntil) }

// distance is a node and what a link to it costs, or would.
type distance struct {
	*peer
	cost uint32
}

// nearest are the nearest nodes, but for those to which one of them is so much nearer that a link would add little: a node then has neighbours in all
// directions (the pruning of Malkov and Yashunin's HNSW, and of spanners before). Those that it has stay unless others are much better, and few are
// exchanged at a time: each exchange costs two handshakes and everybody two records.
func (c *Core) nearest(now time.Time) []*peer {
	all := c.distances(now)
	var chosen []distance
	led := func(d distance, worth float64) bool { // whether one that is chosen leads there about as well
		return len(chosen) >= 2 && slices.ContainsFunc(chosen, func(k distance) bool { return worth*float64(c.between(k.peer, d.peer)) < float64(d.cost) })
	}
	for _, d := range all {
		if c.near[d.id] && len(chosen) < nearLinks && !led(d, detourWorth*keptWorth) {
			chosen = append(chosen, d)
		}
	}
	changes, most, margin := 0, changesLate, lateWorth
	if c.choices <= choicesEarly {
		most, margin = changesEarly, 1
	}
	for _, d := range all {
		if changes == most {
			break
		}
		if c.near[d.id] || led(d, detourWorth/margin) {
			continue
		}
		if len(chosen) == nearLinks {
			last := len(chosen) - 1 // they are in the order of their costs
			if far := chosen[last].cost; !c.near[chosen[last].id] || float64(d.cost)*keptWorth*margin > float64(far) || d.cost+keptCost > far {
				break
			}
			chosen = chosen[:last]
		}
		at, _ := slices.BinarySearchFunc(chosen, d, byCost)
		chosen = slices.Insert(chosen, at, d)
		changes++
	}
	out := make([]*peer, len(chosen))
	for i, d := range chosen {
		out[i] = d.peer
	}
	return out
}

// distances are what links to all nodes cost, as far as it is known, the cheapest first.
func (c *Core) distances(now time.Time) []distance {
	var all []distance
	own := c.place.Place()
	for _, p := range c.peers {
		if !p.eligible(now) {
			continue
		}
		if cost := c.estimate(now, own, p); cost != math.MaxUint32 {
			all = append(all, distance{p, cost})
		}
	}
	slices.SortFunc(all, byCost)
	return all
}

func byCost(a, b distance) int { return cmp.Or(cmp.Compare(a.cost, b.cost), byID(a.peer, b.peer)) }

// estimate is what a link to p costs: as measured, else as the places of both and the paths known let expect, whichever is less.
func (c *Core) estimate(now time.Time, own wire.Place, p *peer) uint32 {
	if p.up {
		return c.prober.Link(p.id).Cost()
	}
	if p.known(now) {
		return p.measured
	}
	cost := uint32(math.MaxUint32)
	if r, ok := c.table.Lookup(p.id); ok {
		cost = r.Cost
	}
	return min(cost, c.placeCost(own, p.place))
}

// placeCost is what a link between two places costs, the greatest number if one is not known.
func (c *Core) placeCost(a, b wire.Place) uint32 {
	rtt := latency.RoundTrip(a, b)
	if rtt == 0 {
		return math.MaxUint32
	}
	return uint32((rtt/2 + c.hop) / time.Microsecond)
}

// between is what the way between two other nodes costs.
func (c *Core) between(a, b *peer) uint32 {
	cost := c.placeCost(a.place, b.place)
	if known, ok := c.planner.Between(a.id, b.id); ok {
		cost = min(cost, known)
	}
	return cost
}

// spare tells the far ends of links whether this node needs them, and closes those that neither end does.
func (c *Core) spare(now time.Time) {
	if !c.sparse || now.Before(c.spareAt) {
		return
	}
	c.spareAt = now.Add(c.jitter(spareEvery))
	c.forgetDemands(now)
	spared := 0
	for _, p := range slices.Clone(c.links) {
		needed := c.wantsLink(p) || now.Sub(p.opened) < restAfter || now.Sub(p.used) < restAfter
		if !needed && p.needed {
			if spared++; spared > sparedMost {
				continue
			}
		}
		c.tellNeed(p, needed)
		c.closeSpared(now, p)
	}
}

func (c *Core) tellNeed(p *peer, needed bool) {
	if p.needed != needed {
		p.needed = needed
		c.do(SendControl{p.id, wire.AppendNeed(nil, needed)})
	}
}

// needCame takes a neighbour's word whether it needs the link.
func (c *Core) needCame(now time.Time, e NeedCame) {
	if p := c.peers[e.From]; p != nil && p.link != 0 {
		p.spared = !e.Needed
		c.closeSpared(now, p)
	}
}

// closeSpared closes a link that neither end needs.
func (c *Core) closeSpared(now time.Time, p *peer) {
	if p.needed || !p.spared || !c.sparse {
		return
	}
	if now.Sub(p.used) < restAfter { // it has come into use since
		c.tellNeed(p, true)
		return
	}
	if p.up {
		p.measured, p.measuredAt = c.prober.Link(p.id).Cost(), now
	}
	c.do(CloseLink{p.id, p.link})
	c.dropSpared(now, p)
}

// dropSpared forgets a link that this node does not need; nobody needs to know at once.
func (c *Core) dropSpared(now time.Time, p *peer) {
	urgent := c.urgent
	c.dropLink(now, p)
	c.urgent = urgent
}

// unchoose gives up a node as a neighbour of choice; another is chosen soon.
func (c *Core) unchoose(now time.Time, p *peer) {
	if c.wanted[p.id] {
		c.chooseBy(now, chooseSoon)
	}
	delete(c.wanted, p.id)
	delete(c.near, p.id)
	delete(c.demands, p.id)
	delete(c.sources, p.id)
	p.demanded = false
	c.forgetRelay(p.id)
}

// giveUp takes a neighbour of choice for one that cannot be reached, for a while.
func (c *Core) giveUp(now time.Time, p *peer) {
	wanted := c.wanted[p.id]
	kept := c.jitter(min(failedKept<<min(p.failures, 10), failedMost))
	p.failures++
	p.failedUntil = now.Add(kept)
	c.unchoose(now, p)
	if wanted && (c.retryAt.IsZero() || p.failedUntil.Before(c.retryAt)) {
		c.retryAt = p.failedUntil
	}
}

// chooseBy has neighbours chosen after so long, if they would be later.
func (c *Core) chooseBy(now time.Time, d time.Duration) {
	if now.Add(d).Before(c.chooseAt) {
		c.chooseAt = now.Add(c.jitter(d))
	}
}

// observePlace moves this node's place by what the link to p has measured.
func (c *Core) observePlace(now time.Time, p *peer) {
	if now.Sub(p.placedAt) < placeEvery {
		return
	}
	p.placedAt = now
	c.place.Observe(p.place, c.prober.Link(p.id).Stats().SRTT, c.rnd)
}

// strayed reports whether this node's place has moved so far from where others take it to be that they are to be told.
func (c *Core) strayed(now time.Time) bool {
	if !c.sparse || now.Sub(c.toldAt) < min(placePause<<min(c.strays, 8), placeRarely) {
		return false
	}
	own, told := c.place.Place(), c.told
	if own.Error == 0 || told.Error == 0 {
		return own.Error != told.Error
	}
	own.Height, told.Height = 0, 0
	return latency.RoundTrip(own, told) > placeMoved
}
