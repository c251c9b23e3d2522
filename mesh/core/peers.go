package core

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// peer is another node: a member, the far end of a link, or merely the origin of records that came ahead of it.
type peer struct {
	id          wire.NodeID
	meta        wire.Meta
	spot        spot     // where it says that it is
	addrs       MemberUp // as SWIM said last
	member      bool     // SWIM says alive
	link        uint64   // number of the open link, 0 none
	linkBoot    uint64
	up          bool // probes say that the link works
	reached     bool // routes lead there, so others' links to it work
	dialing     bool
	dialAt      time.Time
	dialWait    time.Duration
	since       time.Time // when it was first heard of or stopped being a member
	opened      time.Time // the link
	needed      bool      // the link's far end was told that this node needs it, as it takes for granted
	spared      bool      // the far end said that it does not
	demanded    bool      // this node's messages go there
	relay       bool      // it may be a relay to where they go
	pinged      time.Time // when it was last measured without a link
	fails       int       // dials in a row
	failedUntil time.Time
	failures    int // times that it was given up
	place       wire.Place
	placedAt    time.Time // when the link last moved this node's place
	measured    uint32    // what a link costs, as a ping says or the link did when it was given up
	measuredAt  time.Time
	downs       int
	used        time.Time // when the link last carried a message
	twin        bool      // the link is to be doubled
	twinAt      time.Time // when that was last said
	lossy       time.Time // when the link last lost too much
	lossFree    time.Time // when it last did not
	knows       uint64    // version of this node's interest that it said it holds
	asked       uint64    // version that it was last asked for
	askedAt     time.Time
	owed        wire.Stamp // version of its interest that it is to be told of once it is held; zero: none
}

// active reports whether the node takes part in routes and interest: SWIM's word, or that of a working link, this node's or another's, where SWIM
// errs: a node that cannot answer for a second may be declared dead, and what is published meanwhile is for it as well.
func (p *peer) active() bool { return p.member || (p.up || p.reached) && p.meta.ID != 0 }

func (c *Core) peer(now time.Time, id wire.NodeID) *peer {
	p := c.peers[id]
	if p == nil {
		p = &peer{id: id, since: now}
		c.peers[id] = p
	}
	return p
}

func (c *Core) memberUp(now time.Time, e MemberUp) {
	if e.Meta.ID == c.self {
		return
	}
	p := c.peer(now, e.Meta.ID)
	if p.meta.Boot > e.Meta.Boot {
		return // late news of an earlier run, which is over
	}
	fresh := !p.member || p.meta.Boot != e.Meta.Boot
	wasActive := p.active()
	p.meta, p.addrs = e.Meta, e
	c.relocated(p)
	if !fresh {
		return
	}
	came := !p.member // else it is another run
	if came {
		c.members++
	}
	p.member = true
	p.knows, p.asked = 0, 0
	p.dialWait, p.fails, p.failedUntil, p.failures = 0, 0, time.Time{}, 0
	p.dialAt = c.dialFrom(now, p)
	if came {
		c.cameBack(now, p)
	}
	c.do(Notice{What: "member joined", Peer: p.id, Text: p.meta.Name})
	c.usableDirty, c.bootsDirty, c.readyDirty = true, true, true // the data plane is to know the run
	if !wasActive {
		c.activate(p)
	}
}

func (c *Core) memberDown(now time.Time, e MemberDown) {
	p := c.peers[e.ID]
	if p == nil || !p.member || p.meta.Boot != e.Boot {
		return
	}
	p.member = false
	c.members--
	p.since = now
	c.unchoose(now, p)
	if e.Graceful {
		p.reached = false
		c.do(Notice{What: "member left", Peer: p.id, Text: p.meta.Name})
		if p.linkBoot <= e.Boot { // else the link is to a later run
			c.do(CloseLink{p.id, p.link})
			c.dropLink(now, p)
		}
	} else {
		c.do(Notice{What: "member died", Peer: p.id, Text: p.meta.Name})
	}
	if !p.active() { // else its link says that it lives: routing believes the link
		c.deactivate(p)
	}
}

// activate enters what is known of a node into routes and interest.
func (c *Core) activate(p *peer) {
	for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
		if chain := c.store.entries[RecordKey{p.id, kind}]; chain != nil {
			c.use(chain.records)
		}
	}
	c.payOwed(p)
	c.usableDirty, c.bootsDirty, c.costsDirty, c.readyDirty = true, true, true, true
}

// deactivate takes a node out of routes and interest. Its records stay for a while: it may come back.
func (c *Core) deactivate(p *peer) {
	if c.db.Remove(p.id) {
		c.routesDirty, c.linksDirty, c.pathWorse, c.routesWorse = true, true, true, true
	}
	c.index.Remove(p.id)
	p.reached = false
	p.knows, p.asked, p.owed = 0, 0, wire.Stamp{}
	c.usableDirty, c.bootsDirty, c.costsDirty, c.readyDirty, c.urgent = true, true, true, true, true
}

func (c *Core) linkOpened(now time.Time, e LinkOpened) {
	if c.peers[e.Peer] == nil && c.strangers() >= strangersMost {
		c.do(CloseLink{e.Peer, e.Link})
		return
	}
	p := c.peer(now, e.Peer)
	if p.link > e.Link {
		return // the report of the link that replaced this one came first
	}
	c.probeStale = true
	switch {
	case p.link != 0 && e.Renews && p.linkBoot == e.Boot:
		c.prober.Link(p.id).Renewed(now) // the path is the same, and so what is known of it holds
		c.usableDirty = true
	case p.link != 0:
		c.prober.Link(p.id).Failed(now)
		c.dropLink(now, p)
		fallthrough
	default:
		c.prober.Add(p.id, now)
	}
	if p.link == 0 {
		at, _ := c.linkAt(p)
		c.links = slices.Insert(c.links, at, p)
	}
	if p.active() && e.Boot > c.runOf(p) {
		c.bootsDirty, c.usableDirty = true, true
	}
	p.link, p.linkBoot = e.Link, e.Boot
	p.opened, p.needed, p.spared, p.fails = now, true, false, 0
	p.twin, p.lossFree = false, now
	p.dialWait = 0
	c.sendSums(now, p.id)
	c.do(CompareShared{p.id})
}

func (c *Core) linkClosed(now time.Time, e LinkClosed) {
	p := c.peers[e.Peer]
	if p == nil || p.link != e.Link {
		return // it was replaced
	}
	if !p.needed { // the other end, which has been told so, gives it up, most likely
		c.dropSpared(now, p)
	} else {
		c.prober.Link(p.id).Failed(now)
		c.dropLink(now, p)
	}
	p.dialAt = c.dialFrom(now, p)
	if p.dialAt.Equal(now) {
		p.dialAt = now.Add(c.jitter(dialFirst / 4))
	}
}

// linkAt is where p is, or would be, among those that have a link.
func (c *Core) linkAt(p *peer) (int, bool) { return slices.BinarySearchFunc(c.links, p, byID) }

// dropLink forgets the link to p; the caller knows why.
func (c *Core) dropLink(now time.Time, p *peer) {
	if p.link == 0 {
		return
	}
	c.probeStale = true
	c.prober.Remove(p.id)
	p.link = 0
	if at, found := c.linkAt(p); found {
		c.links = slices.Delete(c.links, at, at+1)
	}
	if p.up {
		c.linkDown(now, p, "connection lost")
	}
}

func (c *Core) linkDown(now time.Time, p *peer, why string) {
	wasActive := p.active()
	p.up = false
	c.ups--
	p.downs++
	if c.sparse && c.ups < fewLinks {
		c.chooseBy(now, chooseSoon)
	}
	p.since = now
	c.urgent, c.usableDirty, c.costsDirty = true, true, true
	for to, r := range c.table.All() {
		if r.NextHop == p.id {
			c.broken[to] = true
		}
	}
	c.do(Notice{What: "link down", Peer: p.id, Text: why})
	if wasActive && !p.active() {
		c.deactivate(p)
	}
}

func (c *Core) linkUp(now time.Time, p *peer) {
	wasActive := p.active()
	p.up = true
	p.failures = 0
	c.ups++
	if c.demands[p.id] != nil || c.sources[p.id] != nil {
		c.wanting(now)
	}
	c.usableDirty, c.costsDirty = true, true
	// Urgent only where it ends that two nodes are cut off: one that joins brings up many links in a second, and each advertisement costs every node a signature check.
	if _, reached := c.table.Lookup(p.id); !reached && p.downs > 0 {
		c.urgent = true
	}
	stats := c.prober.Link(p.id).Stats()
	c.do(Notice{What: "link up", Peer: p.id, Text: fmt.Sprintf("srtt %.1f ms", float64(stats.SRTT)/1e6)})
	c.sendSums(now, p.id) // what was new while it was down was not pushed over it
	if !wasActive && p.active() {
		c.activate(p)
	}
}

func (c *Core) dialEnded(now time.Time, e Dialed) {
	p := c.peers[e.Peer]
	if p == nil {
		return
	}
	if p.dialing {
		p.dialing = false
		c.dialing--
	}
	if e.OK {
		p.dialAt = now.Add(dialFirst) // linkOpened may be on its way still
		return
	}
	p.dialWait = min(max(p.dialWait*3/2, dialFirst), dialMost)
	p.dialAt = now.Add(c.jitter(p.dialWait))
	if p.fails++; p.fails >= failsMost && c.sparse && c.ups > 0 { // else it is this node that nobody reaches
		c.giveUp(now, p)
	}
}

// jitter is d, give or take a quarter.
func (c *Core) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(c.rnd.Int64N(int64(d)/2+1))
}

// nextDial is when the next dial is due, or zero: none is, or as many as may be are under way.
func (c *Core) nextDial() (at time.Time) {
	if c.leaving || c.dialing >= dialsAtOnce {
		return time.Time{}
	}
	for p := range c.candidates {
		if c.wantsDial(p) && (at.IsZero() || p.dialAt.Before(at)) {
			at = p.dialAt
		}
	}
	return at
}

func (c *Core) dialDue(now time.Time) {
	if c.leaving || c.dialing >= dialsAtOnce {
		return
	}
	var due []*peer
	for p := range c.candidates {
		if c.wantsDial(p) && !now.Before(p.dialAt) {
			due = append(due, p)
		}
	}
	if len(due) == 0 {
		return
	}
	slices.SortFunc(due, func(a, b *peer) int { return cmp.Or(a.dialAt.Compare(b.dialAt), byID(a, b)) })
	for _, p := range due[:min(len(due), dialsAtOnce-c.dialing)] {
		p.dialing = true
		c.dialing++
		c.do(Dial{Peer: p.id, Addr: p.addrs.Addr})
	}
}

// byID orders what was gathered from the map of peers, whose own order is another each time (invariant 1).
func byID(a, b *peer) int { return cmp.Compare(a.id, b.id) }

// Where a path of more than twinRTT loses more than twinLoss for twinAfter while it is in use, messages go over two connections,
// until it has lost less than twinLoss/3, or rested, for twinKept.
const (
	twinLoss  = 0.003
	twinRTT   = 5 * time.Millisecond
	twinAfter = 5 * time.Second
	twinKept  = time.Minute
	twinAgain = 5 * time.Second // it is asked for again in case it was lost or not to be had
)

// watchLoss decides whether the link to p is to be doubled.
func (c *Core) watchLoss(now time.Time, p *peer) {
	stats := c.prober.Link(p.id).Stats()
	busy := now.Sub(p.used) < twinAfter
	lossy := busy && stats.Loss > twinLoss && stats.SRTT > twinRTT || busy && stats.Loss > twinLoss/3 && p.twin
	if lossy {
		p.lossy = now
	}
	switch {
	case !lossy && !p.twin:
		p.lossFree = now
	case lossy && now.Sub(p.lossFree) > twinAfter && now.Sub(p.twinAt) > twinAgain:
		p.twin, p.twinAt = true, now
		c.do(SetTwin{p.id, true})
	case p.twin && now.Sub(p.lossy) > twinKept:
		p.twin, p.lossFree = false, now
		c.do(SetTwin{p.id, false})
	}
}

func (c *Core) noteActivity(e Activity) {
	p := c.peers[e.Peer]
	if p == nil || p.link != e.Link {
		return
	}
	c.probeStale = true
	link := c.prober.Link(e.Peer)
	link.Heard(e.Heard)
	if !e.Used.IsZero() {
		link.Used(e.Used)
		p.used = e.Used
	}
}

// measure sends the probes that are due and takes note of links that went down or came up. A link that works again and is held down for having
// broken often comes up all the same where no route leads to its node: after a stall or an outage of all its links a node would be cut off for
// longer than messages live.
func (c *Core) measure(now time.Time) {
	c.probeStale = true
	for _, p := range c.links {
		if !p.up {
			if _, reachable := c.table.Lookup(p.id); !reachable {
				c.prober.Link(p.id).Release()
			}
		}
	}
	for _, change := range c.prober.Advance(now) {
		p := c.peers[change.ID]
		if p == nil || p.link == 0 {
			continue
		}
		switch {
		case change.State == latency.Up && !p.up:
			c.linkUp(now, p)
		case change.State == latency.Down && p.up:
			c.linkDown(now, p, "probes unanswered")
		}
	}
	for _, due := range c.prober.Due(now) {
		c.do(Probe{due.ID, due.Seq})
	}
}

// Late takes note of how much later than it was to be the core is stepped.
func (c *Core) Late(by time.Duration) { c.prober.Late(by) }

// Strain is how many times less links are probed than they should be, since this node is called late: 1 where it has the processor time that it needs.
func (c *Core) Strain() float64 { return c.prober.Strain() }

// introduceStrangers has SWIM meet peers that have a working link but are no members here, or an earlier run of theirs is: news of them was missed, or of a death that was none.
func (c *Core) introduceStrangers(now time.Time) {
	if now.Before(c.introAt) {
		return
	}
	c.introAt = now.Add(introEvery)
	if c.leaving {
		return
	}
	for _, p := range c.links {
		if known := p.member && p.meta.Boot >= p.linkBoot; p.up && !known && now.Sub(p.since) > introEvery {
			c.do(Introduce{p.id})
		}
	}
}

// sweep forgets nodes that are neither members nor linked, and what they said, after a while.
func (c *Core) sweep(now time.Time) {
	if now.Before(c.sweepAt) {
		return
	}
	c.sweepAt = now.Add(strangerKept / 4)
	c.noteReached(now) // without a change of routes for long, too
	var gone []*peer
	for _, p := range c.peers {
		if !p.active() && p.link == 0 && now.Sub(p.since) > strangerKept {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, byID)
	for _, p := range gone {
		if p.dialing {
			c.dialing--
		}
		delete(c.peers, p.id)
		c.store.forget(p.id)
		c.do(Forgot{p.id})
	}
	for key, at := range c.wants {
		if now.Sub(at) > wantAgain {
			delete(c.wants, key)
		}
	}
}
