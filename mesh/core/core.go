package core

import (
	"cmp"
	"crypto/ed25519"
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Periods of the core.
const (
	spfPause      = 50 * time.Millisecond   // least time between two route computations
	spfEach       = 20 * time.Microsecond   // or so much for each node, if that is more: ten times what one takes (route.BenchmarkLinkChange)
	spfCalm       = 200 * time.Microsecond  // or so much, where nothing made its own paths worse: in a large mesh some cost always changes
	politeness    = 2500 * time.Millisecond // how long the larger ID leaves the dialling to the smaller: a dial and its answer on the longest paths
	dialFirst     = 500 * time.Millisecond  // pause after a first failed dial
	dialMost      = 8 * time.Second
	dialsAtOnce   = 8                      // handshakes cost more than all else; a burst of them spoils what is measured meanwhile
	introEvery    = 2 * time.Second        // between looks for peers with a working link that SWIM does not know
	wantAgain     = 500 * time.Millisecond // before the same record is asked for again
	reachedKept   = time.Minute            // how long others' links keep a node that SWIM and this node's own link have given up
	strangerKept  = 2 * time.Minute        // how long records of a node that is no member are kept
	formerKept    = 2 * time.Second        // how long what is under way on a path that was left may need it: the longest time-out (flight)
	formerMost    = 4096                   // paths left that are remembered
	strangersMost = 1024                   // origins that are no members whose records are kept
)

// Core is the control plane of one node as a pure state machine: events in, effects out, time as an argument. One goroutine owns it.
type Core struct {
	self       wire.NodeID
	meta       wire.Meta // of this node
	spot       spot      // where it says that it is
	boot       uint64
	key        ed25519.PrivateKey
	rnd        *rand.Rand
	peers      map[wire.NodeID]*peer
	store      *recordStore
	db         *route.Database
	planner    *route.Planner
	table      *route.Table
	index      *interest.Index
	local      *interest.Local
	pace       pace // of telling changes of it
	prober     *latency.Prober
	probeAt    time.Time // when it is to be called next
	probeStale bool      // some link of it has changed since that was asked
	adverts    *latency.Advertiser
	links      []*peer                            // that have a link, working or not, by ID
	wants      map[RecordKey]time.Time            // when a record was last asked for
	asking     map[wire.NodeID][]wire.DigestEntry // what to ask nodes for at the end of the step
	pushes     map[wire.NodeID][][]byte           // records to push to neighbours at the end of the step
	news       map[wire.NodeID][]wire.DigestEntry // versions to tell neighbours of
	newsAt     time.Time                          // when; zero: there are none
	early      map[wire.NodeID]bool               // origins of records that came before there was a path from there

	fullMesh         int                     // up to how many nodes all are linked
	sparse           bool                    // they are not
	members          int                     // other nodes that SWIM says are alive
	dialing          int                     // dials under way
	ups              int                     // links that work
	wanted           map[wire.NodeID]bool    // chosen neighbours, where not all are
	near             map[wire.NodeID]bool    // those of them that were chosen for being near
	demands, sources map[wire.NodeID]*demand // the nodes that most messages go to, and those that they come from
	choices          int                     // made so far
	came             int                     // nodes that came, or came back, since the last
	lastRank         uint64                  // of the random neighbours, the greatest
	chooseAt         time.Time
	relays           map[wire.NodeID]time.Time // links on trial, to nodes that may be relays to there, and until when
	relayAt          time.Time
	spareAt          time.Time
	retryAt          time.Time // when one that could not be reached may be chosen again
	hop              time.Duration
	place            latency.Coordinate
	told             wire.Place // as others know it
	toldAt           time.Time
	strays           int // times that a place alone was told

	version      map[wire.RecordKind]uint64 // of this node's own records
	vector       []wire.Link                // links as last advertised
	routesDirty  bool
	linksDirty   bool // the planner does not know yet of some change of the database
	pathWorse    bool // nor of one that is gone or dearer, and was on this node's paths
	routesWorse  bool // the routes published do not take that into account yet
	followedAt   time.Time
	moved        bool // it has learnt of one since records that came early were looked at
	usableDirty  bool
	boots        map[wire.NodeID]uint64            // runs of the nodes that take part, as last published
	keys         map[wire.NodeID]ed25519.PublicKey // theirs, where known, as last published
	bootsDirty   bool                              // either is to be published anew
	broken       map[wire.NodeID]bool              // destinations whose path has broken since routes were last published
	former       []formerPath                      // left of late; what is under way there may still need them
	formerLinks  map[route.Pair]time.Time          // theirs, and until when
	urgent       bool                              // a link went down: advertise at once
	costsDirty   bool
	spfAt        time.Time // of the last computation
	digestAt     time.Time // of the next sums to a neighbour
	digestPause  time.Duration
	syncUntil    time.Time // until when another node is expected to send all that this one lacks
	wantsFree    time.Time // when old wants, if there are too many, are next looked for
	sweepAt      time.Time
	introAt      time.Time
	awaiting     []awaited // in the order of their versions
	readyDirty   bool      // who waits may have waited long enough
	askAt        time.Time // when nodes are next asked what they hold; zero: nobody needs to be
	leaving      bool
	computations uint64
	effects      []Effect
}

// Config is what a core needs. All but Timing and FullMesh must be set.
type Config struct {
	Key    ed25519.PrivateKey
	Meta   wire.Meta       // of this node: its Boot is this run
	Index  *interest.Index // which the core writes and the data plane reads
	Rand   *rand.Rand      // its own from here on
	Timing latency.Config
	// FullMesh is up to how many nodes all are linked to each other; default DefaultFullMesh.
	FullMesh int
}

// New is a core at rest.
func New(cfg Config, now time.Time) *Core {
	c := &Core{
		self: wire.IDOf(cfg.Key.Public().(ed25519.PublicKey)), meta: cfg.Meta, spot: spotOf(cfg.Meta), boot: cfg.Meta.Boot, key: cfg.Key, rnd: cfg.Rand,
		peers: map[wire.NodeID]*peer{}, store: newRecordStore(), db: route.NewDatabase(), index: cfg.Index,
		local: interest.NewLocal(), wants: map[RecordKey]time.Time{}, asking: map[wire.NodeID][]wire.DigestEntry{}, pushes: map[wire.NodeID][][]byte{}, news: map[wire.NodeID][]wire.DigestEntry{}, early: map[wire.NodeID]bool{}, broken: map[wire.NodeID]bool{}, formerLinks: map[route.Pair]time.Time{}, version: map[wire.RecordKind]uint64{},
		prober: latency.NewProber(cfg.Timing, cfg.Rand), adverts: latency.NewAdvertiser(cfg.Timing), bootsDirty: true,
		fullMesh: cmp.Or(cfg.FullMesh, DefaultFullMesh), wanted: map[wire.NodeID]bool{}, near: map[wire.NodeID]bool{}, demands: map[wire.NodeID]*demand{}, sources: map[wire.NodeID]*demand{}, relays: map[wire.NodeID]time.Time{}, hop: cmp.Or(cfg.Timing.HopCost, 500*time.Microsecond),
		digestAt: now.Add(digestPause), digestPause: digestPause, sweepAt: now.Add(strangerKept), introAt: now.Add(introEvery), pace: pace{due: now, strain: 1, since: now},
	}
	c.planner = route.NewPlanner(c.self)
	c.table = c.planner.Compute(c.db)
	c.originateLinks(now, nil)
	return c
}

// Step takes what happened up to now and returns what to do. It is also to be called, without events, at next.
func (c *Core) Step(now time.Time, events []Event) []Effect {
	c.effects = nil
	ticked := len(events) == 0
	for _, e := range events {
		_, is := e.(Polled)
		ticked = ticked || is
		c.handle(now, e)
	}
	if ticked { // else it is not known what links have heard of late
		c.measure(now)
	}
	c.settleSize(now)
	c.choose(now)
	c.spare(now)
	c.seekRelays(now)
	c.dialDue(now)
	c.flushInterest(now)
	c.advertise(now)
	c.computeRoutes(now)
	c.exchange(now)
	c.confirmSpread(now)
	c.spreadEarly(now)
	c.sendPushes(now)
	c.sendWants()
	c.introduceStrangers(now)
	c.sweep(now)
	return c.effects
}

func (c *Core) do(e Effect) { c.effects = append(c.effects, e) }

func (c *Core) handle(now time.Time, e Event) {
	switch e := e.(type) {
	case MemberUp:
		c.memberUp(now, e)
	case MemberDown:
		c.memberDown(now, e)
	case LinkOpened:
		c.linkOpened(now, e)
	case LinkClosed:
		c.linkClosed(now, e)
	case Dialed:
		c.dialEnded(now, e)
	case Echoed:
		if p := c.peers[e.Peer]; p != nil && p.link == e.Link {
			c.probeStale = true
			c.prober.Link(e.Peer).Echo(e.At, e.Seq, e.RTT)
			c.costsDirty = true
			c.do(SetRTT{e.Peer, c.prober.Link(e.Peer).Stats().SRTT})
			c.watchLoss(now, p)
			c.observePlace(now, p)
		}
	case Activity:
		c.noteActivity(e)
	case Polled: // step sees to it
	case RecordsCame:
		c.recordsCame(now, e)
	case DigestCame:
		c.digestCame(now, e)
	case SumsCame:
		c.sumsCame(now, e)
	case WantCame:
		c.answer(e.Digest.From, e.Digest.Entries)
	case AskCame:
		c.askCame(now, e)
	case HaveCame:
		c.haveCame(e)
	case SpreadAwaited:
		c.awaitSpread(e.ID)
	case InterestChanged:
		c.interestChanged(now, e)
	case NeedCame:
		c.needCame(now, e)
	case Pinged:
		c.pinged(now, e)
	case Traffic:
		c.trafficCame(now, e)
	case Leaving:
		c.leaving, c.urgent, c.costsDirty = true, true, true
	}
}

// Next is when step must be called again even if nothing happens.
func (c *Core) Next(now time.Time) time.Time {
	at := c.digestAt
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	earlier(c.sweepAt)
	earlier(c.introAt)
	if c.probeStale {
		c.probeAt, c.probeStale = c.prober.Next(), false
	}
	earlier(c.probeAt)
	if t, ok := c.adverts.Next(); ok {
		earlier(t)
	}
	earlier(c.pace.due)
	earlier(c.askAt)
	earlier(c.newsAt)
	if c.routesDirty {
		earlier(c.spfDue())
	}
	if c.linksDirty {
		earlier(c.followDue())
	}
	earlier(c.nextDial())
	earlier(c.chooseAt)
	earlier(c.spareAt)
	earlier(c.retryAt)
	earlier(c.relayAt)
	if at.Before(now) {
		return now
	}
	return at
}

// Computations is how often routes have been computed.
func (c *Core) Computations() uint64 { return c.computations }

// Known is how many other nodes have been heard of.
func (c *Core) Known() int { return len(c.peers) }

// Advertised are this node's links as last told to the mesh, to be read only.
func (c *Core) Advertised() []wire.Link { return c.vector }

// Held is the newest version held of a record, zero if none is.
func (c *Core) Held(key RecordKey) wire.Stamp { return c.store.stamp(key) }

// Current reports whether the routes published follow from all that is held.
func (c *Core) Current() bool { return !c.routesDirty && !c.usableDirty }

// Settled reports whether routes lead to all nodes that take part, and it is known what they have subscribers for.
func (c *Core) Settled() bool {
	for id, p := range c.peers {
		if !p.active() {
			continue
		}
		if _, reachable := c.table.Lookup(id); !reachable || c.store.stamp(RecordKey{id, wire.RecordInterest}).Boot != p.meta.Boot {
			return false
		}
	}
	return true
}

// advertise tells the mesh what this node's links cost, when the damping lets it.
func (c *Core) advertise(now time.Time) {
	if next, ok := c.adverts.Next(); !c.costsDirty && !c.urgent && (!ok || now.Before(next)) {
		return
	}
	costs := make([]latency.Cost, 0, len(c.links))
	if !c.leaving {
		for _, p := range c.links {
			if p.up && p.active() { // what this node routes over: others would send it what it cannot pass on
				costs = append(costs, latency.Cost{To: p.id, Cost: c.measured(p.id)})
			}
		}
	}
	c.adverts.Strain(c.Strain())
	vector, due := c.adverts.Offer(now, costs, c.urgent)
	c.costsDirty = false
	if !due {
		if _, held := c.adverts.Next(); !held {
			c.urgent = false // all is as it was told; what comes next is judged by itself
		}
		if c.strayed(now) {
			c.strays++
			c.originateLinks(now, c.vector)
		}
		return
	}
	c.urgent = false
	links := make([]wire.Link, 0, len(vector))
	for _, v := range vector {
		links = append(links, wire.Link{To: v.To, Cost: v.Cost})
	}
	c.originateLinks(now, links)
}

func (c *Core) originateLinks(now time.Time, links []wire.Link) {
	c.vector = links
	c.setLinks(c.self, links)
	body := wire.AppendLinks(nil, links)
	if own := c.place.Place(); c.sparse && own.Error != 0 {
		body = wire.AppendPlace(body, own)
		c.told = own
	}
	c.toldAt = now
	c.originate(now, wire.RecordLinks, body, true)
}

// originate signs and spreads the next version of one of this node's own records.
func (c *Core) originate(now time.Time, kind wire.RecordKind, body []byte, whole bool) {
	r := wire.Record{Boot: c.boot, Kind: kind, Body: body}
	if !whole {
		r.Base = c.version[kind]
	}
	c.version[kind]++
	r.Version = c.version[kind]
	wire.SignRecord(&r, c.key)
	c.store.accept(r)
	c.spread(now, r, 0)
}

func (c *Core) interestChanged(now time.Time, e InterestChanged) {
	if e.Wanted {
		c.local.Add(e.Tenant, e.Pattern)
	} else {
		c.local.Remove(e.Tenant, e.Pattern)
	}
	c.pace.changed(now, c.members)
}

func (c *Core) flushInterest(now time.Time) {
	if !c.pace.flush(now) {
		return
	}
	c.readyDirty = true
	c.local.Expect(c.members + 1)
	if body, whole, changed := c.local.Flush(); changed {
		c.originate(now, wire.RecordInterest, body, whole)
	}
}
