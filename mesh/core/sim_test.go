package core

import (
	"cmp"
	"container/heap"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// sim is a whole mesh of cores in one goroutine: a queue of things to come, a network of pairs with delays, losses and cuts, and for
// each node what stands around a core in a real one: links, the loop with its timer, gossip. The same seed gives the same run,
// event by event, which the trace proves.
type sim struct {
	t     testing.TB
	seed  uint64
	rnd   *rand.Rand // of the world, not of the cores
	now   time.Time
	queue simQueue
	order uint64 // breaks ties in the queue
	trace hash.Hash64
	line  []byte // for the trace, reused
	steps int
	nodes []*simNode

	delay  [][]time.Duration // one way, by from and to
	jitter time.Duration     // most that a packet is late
	loss   float64           // of datagrams
	cuts   map[[2]int]int    // pairs, smaller first, that exchange nothing: the number of the cut
	cutNo  int
	mute   map[[2]int]bool      // the first cannot open a link to the second
	sent   map[wire.Kind]uint64 // control frames handed to links
}

// simNode is a node: its core and what the shell around it would hold. A restart makes it anew.
type simNode struct {
	*sim
	i     int
	key   ed25519.PrivateKey
	id    wire.NodeID
	boot  uint64
	alive bool
	core  *Core
	index *interest.Index

	inbox   []Event
	stepAt  time.Time // when the loop runs next
	spins   int       // steps in a row that were due at once and did nothing
	numbers uint64
	links   map[int]*simLink // the one to each peer that the endpoint keeps
	view    PublishRoutes
	rumours map[RecordKey]*rumour
	told    map[int]map[uint64]bool // runs that SWIM told this node are alive
	wanted  map[string]bool         // channels that its clients are subscribed to
	leaving bool
}

// simLink is a connection between two nodes; end 0 dialled.
type simLink struct {
	node   [2]*simNode
	boot   [2]uint64
	number [2]uint64
	open   [2]bool
	heard  [2]time.Time
	used   [2]time.Time
	last   [2]time.Time // when the last frame to this end arrives: frames keep their order
	held   [2][][]byte  // frames that wait for the cut to heal
}

// rumour is an announcement that still has to travel.
type rumour struct {
	entry wire.DigestEntry
	sent  int
}

type simItem struct {
	at    time.Time
	order uint64
	run   func()
}

type simQueue []simItem

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].order < q[j].order
	}
	return q[i].at.Before(q[j].at)
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simItem)) }
func (q *simQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

const (
	simGather   = 100 * time.Microsecond // events that come together are stepped together, as when the loop drains its queue
	simDialOut  = 2 * time.Second        // a dial to a dead address gives up
	simIdleOut  = 8 * time.Second        // a connection that hears nothing ends
	simSleep    = 5 * time.Millisecond   // bounds how often the loop wakes by itself
	simWithdraw = 300 * time.Millisecond // a node that leaves goes on for this long after it has withdrawn its links
	simLarge    = 10                     // nodes of a mesh that is tested for its size, less for troubles
)

// newSim is a mesh of n nodes, none of them started.
func newSim(t testing.TB, seed uint64, n int) *sim {
	s := &sim{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0x51)), now: epoch(), trace: fnv.New64a(),
		cuts: map[[2]int]int{}, mute: map[[2]int]bool{}, sent: map[wire.Kind]uint64{},
	}
	for i, key := range coreKeys(n) {
		s.nodes = append(s.nodes, &simNode{sim: s, i: i, key: key, id: idOf(key), wanted: map[string]bool{}})
		s.delay = append(s.delay, make([]time.Duration, n))
	}
	for i := range n {
		for j := range i {
			d := time.Millisecond + s.upTo(100*time.Millisecond)
			s.delay[i][j], s.delay[j][i] = d, d+s.upTo(d/10+1) // a path back may be another
		}
	}
	return s
}

// upTo is a random time below d, or 0.
func (s *sim) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rnd.Int64N(int64(d)))
}

func (s *sim) chance(p float64) bool { return s.rnd.Float64() < p }

// after runs f later.
func (s *sim) after(d time.Duration, f func()) {
	s.order++
	heap.Push(&s.queue, simItem{s.now.Add(d), s.order, f})
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		item := heap.Pop(&s.queue).(simItem)
		s.now = item.at
		item.run()
	}
	s.now = end
}

// note adds to the trace.
func (s *sim) note(what string, numbers ...uint64) {
	s.line = append(s.line[:0], what...)
	for _, n := range numbers {
		s.line = binary.BigEndian.AppendUint64(s.line, n)
	}
	_, _ = s.trace.Write(s.line)
}

func (s *sim) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %v: %s", s.seed, s.now.Sub(epoch()), fmt.Sprintf(format, args...))
}

func pair(i, j int) [2]int { return [2]int{min(i, j), max(i, j)} }

func (s *sim) isCut(i, j int) bool { return s.cuts[pair(i, j)] > 0 }

// cut ends all traffic between two nodes. Connections that it outlasts end.
func (s *sim) cut(i, j int) {
	if i == j || s.isCut(i, j) {
		return
	}
	s.cutNo++
	no := s.cutNo
	s.cuts[pair(i, j)] = no
	s.after(simIdleOut, func() {
		if s.cuts[pair(i, j)] == no {
			s.nodes[i].closeTo(j, 0)
			s.nodes[j].closeTo(i, 0)
		}
	})
}

// heal restores the traffic between two nodes; what waited on their link travels on.
func (s *sim) heal(i, j int) {
	delete(s.cuts, pair(i, j))
	if l := s.nodes[i].links[j]; l != nil {
		for end := range l.held {
			waiting := l.held[end]
			l.held[end] = nil
			for _, f := range waiting {
				l.carry(end, f)
			}
		}
	}
}

// start begins a run of a node, with a later boot than the last.
func (n *simNode) start() {
	n.boot++
	n.alive, n.leaving = true, false
	n.index = new(interest.Index)
	// Probes are what costs the test time. What a cut took away fades from the costs of many links for minutes.
	timing := latency.Config{ActiveInterval: 100 * time.Millisecond, IdleInterval: 2 * time.Second, ActiveFor: 500 * time.Millisecond, Budget: 100}
	if len(n.nodes) >= simLarge {
		timing.AdvertiseMin, timing.AdvertiseShare = 10*time.Millisecond, 0.5
	}
	rnd := rand.New(rand.NewPCG(n.seed, uint64(n.i)<<32|n.boot))
	n.core = New(Config{Key: n.key, Meta: n.meta(), Index: n.index, Rand: rnd, Timing: timing}, n.now)
	n.inbox, n.view, n.spins = nil, PublishRoutes{}, 0
	n.links, n.rumours, n.told = map[int]*simLink{}, map[RecordKey]*rumour{}, map[int]map[uint64]bool{}
	for name := range n.wanted {
		delete(n.wanted, name)
	}
	n.note("start", uint64(n.i), n.boot)
	n.wake(n.now)
	n.gossip()
}

func (n *simNode) meta() wire.Meta {
	return wire.Meta{ID: n.id, Boot: n.boot, Name: fmt.Sprint("n", n.i)}
}

// crash ends the run without a word. Peers' connections to it end after a while.
func (n *simNode) crash() {
	n.alive = false
	n.note("crash", uint64(n.i))
	for _, j := range n.peers() {
		l := n.links[j]
		l.open[l.end(n)] = false
		other := n.nodes[j]
		core := other.core
		n.after(n.upTo(simIdleOut), func() {
			if other.core == core && other.links[n.i] == l {
				other.closeTo(n.i, 0)
			}
		})
	}
}

// leave is a graceful end: links are withdrawn first, and SWIM tells.
func (n *simNode) leave() {
	core := n.core
	n.leaving = true
	n.post(Leaving{})
	n.after(simWithdraw, func() {
		if n.core != core || !n.alive {
			return
		}
		for _, m := range n.nodes {
			if m.alive && m.told[n.i][n.boot] {
				boot, theirs := n.boot, m.core
				n.after(n.upTo(500*time.Millisecond), func() {
					if m.core == theirs && m.alive && m.told[n.i][boot] {
						delete(m.told[n.i], boot)
						m.post(MemberDown{n.id, boot, true})
					}
				})
			}
		}
		n.crash()
	})
}

// peers are the nodes that it has links to, ascending.
func (n *simNode) peers() []int {
	out := make([]int, 0, len(n.links))
	for j := range n.nodes {
		if n.links[j] != nil {
			out = append(out, j)
		}
	}
	return out
}

// post hands an event to the node's loop.
func (n *simNode) post(e Event) {
	if !n.alive {
		return
	}
	n.inbox = append(n.inbox, e)
	if at := n.now.Add(simGather); at.Before(n.stepAt) {
		n.wake(at)
	}
}

// postSoon is post after up to a millisecond: reports from several goroutines overtake each other.
func (n *simNode) postSoon(e Event) {
	core := n.core
	n.after(n.upTo(time.Millisecond), func() {
		if n.core == core {
			n.post(e)
		}
	})
}

func (n *simNode) wake(at time.Time) {
	n.stepAt = at
	core := n.core
	n.after(at.Sub(n.now), func() {
		if n.core == core && n.alive && n.stepAt.Equal(at) {
			n.step()
		}
	})
}

// step is one round of the loop.
func (n *simNode) step() {
	batch := n.inbox
	n.inbox = nil
	if len(batch) == 0 { // the timer
		for _, j := range n.peers() {
			l := n.links[j]
			end := l.end(n)
			batch = append(batch, Activity{n.nodes[j].id, l.number[end], l.heard[end], l.used[end]})
		}
		batch = append(batch, Polled{})
	}
	n.steps++
	effects := n.core.Step(n.now, batch)
	n.note("step", uint64(n.i), uint64(n.now.UnixNano()), uint64(len(batch)))
	next := n.core.Next(n.now)
	if n.spins++; len(effects) > 0 || next.After(n.now) {
		n.spins = 0
	} else if n.spins > 1000 {
		n.fatalf("node %d spins", n.i)
	}
	if at := n.now.Add(simSleep); next.Before(at) {
		next = at
	}
	n.wake(next)
	for _, e := range effects {
		n.carryOut(e)
	}
}

func (n *simNode) carryOut(e Effect) {
	switch e := e.(type) {
	case Dial:
		n.note("dial", uint64(e.Peer))
		n.dial(n.numberOf(e.Peer))
	case CloseLink:
		n.note("close", uint64(e.Peer))
		n.closeTo(n.numberOf(e.Peer), 0)
	case Probe:
		n.note("probe", uint64(e.Peer), uint64(e.Seq))
		n.probe(n.numberOf(e.Peer), e.Seq)
	case SendControl:
		n.note("send", uint64(e.To), uint64(len(e.Frame)))
		_, _ = n.trace.Write(e.Frame)
		n.sent[wire.Kind(e.Frame[0])]++
		n.send(n.numberOf(e.To), e.Frame)
	case Announce:
		n.note("announce", uint64(e.Entry.Origin), uint64(e.Entry.Kind), e.Entry.Stamp.Boot, e.Entry.Stamp.Version)
		key := RecordKey{e.Entry.Origin, e.Entry.Kind}
		n.rumours[key] = &rumour{entry: e.Entry}
	case Forgot:
		n.note("forgot", uint64(e.Origin))
	case PublishRoutes:
		n.note("routes", uint64(len(e.Usable)))
		n.view = e
	case Notice:
		n.note(e.What, uint64(e.Peer))
	case SetRTT:
		n.note("rtt", uint64(e.Peer), uint64(e.SRTT))
	case SetTwin:
		n.fatalf("node %d doubles the link to %v, which carries nothing", n.i, e.Peer)
	case Impostor:
		n.fatalf("node %d takes itself for an impostor of boot %d", n.i, e.Boot)
	}
}

// numberOf is a node's place among all, which are in order of their IDs.
func (s *sim) numberOf(id wire.NodeID) int {
	i, _ := slices.BinarySearchFunc(s.nodes, id, func(n *simNode, id wire.NodeID) int { return cmp.Compare(n.id, id) })
	return i
}

// dial opens a link, as the endpoint would: a handshake, the fixed rule where two connections meet, and reports at both ends.
func (n *simNode) dial(j int) {
	core, to := n.core, n.nodes[j]
	ended := func(ok bool) func() {
		return func() {
			if n.core == core {
				n.post(Dialed{to.id, ok})
			}
		}
	}
	if n.isCut(n.i, j) || !to.alive || n.mute[[2]int{n.i, j}] {
		n.after(simDialOut, ended(false))
		return
	}
	there := n.delay[n.i][j]
	n.after(2*there+n.delay[j][n.i], func() {
		if n.core != core || !n.alive {
			return
		}
		if !to.alive || n.isCut(n.i, j) || !n.adopt(to) {
			ended(false)()
			return
		}
		n.after(n.upTo(time.Millisecond), ended(true))
	})
}

// adopt makes a new connection the link between two nodes unless the one that they have is kept.
func (n *simNode) adopt(to *simNode) bool {
	l := &simLink{node: [2]*simNode{n, to}, boot: [2]uint64{n.boot, to.boot}, open: [2]bool{true, true}, heard: [2]time.Time{n.now, n.now}}
	for _, old := range []*simLink{n.links[to.i], to.links[n.i]} {
		if old == nil {
			continue
		}
		if old.open[0] && old.open[1] && old.node[0] != n && n.i > to.i {
			return false // the smaller ID's connection is kept
		}
	}
	for end, m := range l.node {
		other := l.node[1-end]
		if m.links[other.i] != nil {
			m.closeTo(other.i, n.upTo(3*time.Millisecond))
		}
		m.numbers++
		l.number[end] = m.numbers
		m.links[other.i] = l
		m.postSoon(LinkOpened{Peer: other.id, Boot: other.boot, Link: l.number[end]})
	}
	return true
}

func (l *simLink) end(n *simNode) int {
	if l.node[0] == n {
		return 0
	}
	return 1
}

// works reports whether what comes to this end is taken: the run that it was opened for still goes on.
func (l *simLink) works(end int) bool {
	n := l.node[end]
	return l.open[end] && n.alive && n.boot == l.boot[end]
}

// closeTo ends the link to a node, if there is one; the other end learns of it unless nothing reaches it.
func (n *simNode) closeTo(j int, after time.Duration) {
	l := n.links[j]
	if l == nil {
		return
	}
	delete(n.links, j)
	core := n.core
	for end, m := range l.node {
		if m == n {
			l.open[end] = false
			n.after(after, func() {
				if n.core == core {
					n.post(LinkClosed{n.nodes[j].id, l.number[end]})
				}
			})
		}
	}
	to := n.nodes[j]
	theirs := to.core
	n.after(n.delay[n.i][j], func() {
		if to.links[n.i] == l && to.core == theirs && !n.isCut(n.i, j) {
			to.closeTo(n.i, 0)
		}
	})
}

// probe sends a datagram over the link; its echo comes back unless one of both is lost.
func (n *simNode) probe(j int, seq uint32) {
	l := n.links[j]
	if l == nil {
		return
	}
	sent, end := n.now, l.end(n)
	lost := func() bool { return n.isCut(n.i, j) || n.chance(n.loss) }
	if lost() {
		return
	}
	n.after(n.delay[n.i][j]+n.upTo(n.jitter), func() {
		if !l.works(1-end) || lost() {
			return
		}
		l.heard[1-end] = n.now
		n.after(n.delay[j][n.i]+n.upTo(n.jitter), func() {
			if l.works(end) {
				l.heard[end] = n.now
				n.post(Echoed{n.nodes[j].id, l.number[end], seq, n.now.Sub(sent), n.now})
			}
		})
	})
}

// send takes the link, or else the mesh.
func (n *simNode) send(j int, frame []byte) {
	if l := n.links[j]; l != nil {
		l.carry(1-l.end(n), frame)
		return
	}
	delay, ok := n.reach(j)
	if !ok {
		return
	}
	to := n.nodes[j]
	n.after(delay, func() { to.receive(n.id, frame) })
}

// carry brings a frame to an end of the link, after those before it.
func (l *simLink) carry(end int, frame []byte) {
	to, from := l.node[end], l.node[1-end]
	if to.isCut(to.i, from.i) {
		l.held[end] = append(l.held[end], frame)
		return
	}
	at := to.now.Add(to.delay[from.i][to.i] + to.upTo(to.jitter))
	if to.chance(to.loss) {
		at = at.Add(2*to.delay[from.i][to.i] + 20*time.Millisecond) // sent again
	}
	if at.Before(l.last[end]) {
		at = l.last[end]
	}
	l.last[end] = at
	to.after(at.Sub(to.now), func() {
		if l.works(end) {
			l.heard[end] = to.now
			to.receive(from.id, frame)
		}
	})
}

// reach is how long a message across the mesh takes, hop by hop over published routes; false if it does not arrive.
func (n *simNode) reach(j int) (time.Duration, bool) {
	var total time.Duration
	at, seen := n, map[int]bool{}
	for at.i != j {
		seen[at.i] = true
		hop := at.hop(n.nodes[j].id, seen)
		if hop < 0 || at.isCut(at.i, hop) || !n.nodes[hop].alive {
			return 0, false
		}
		total += n.delay[at.i][hop]
		at = n.nodes[hop]
	}
	return total, true
}

// hop is the link to take to a node, as the forwarder picks it: next hop, alternate, direct.
func (n *simNode) hop(to wire.NodeID, seen map[int]bool) int {
	r, _ := n.route(to)
	for _, id := range []wire.NodeID{r.NextHop, r.Alternate, to} {
		if slices.Contains(n.view.Usable, id) {
			if j := n.numberOf(id); n.links[j] != nil && !seen[j] {
				return j
			}
		}
	}
	return -1
}

// route is what the data plane of the node goes by.
func (n *simNode) route(to wire.NodeID) (r route.Route, ok bool) {
	if n.view.Table == nil {
		return r, false
	}
	return n.view.Table.Lookup(to)
}

// receive takes a control frame, as Node.control does.
func (n *simNode) receive(from wire.NodeID, frame []byte) {
	if !n.alive {
		return
	}
	switch wire.Kind(frame[0]) {
	case wire.KindRecords:
		records, err := wire.ParseRecords(frame)
		if err != nil {
			n.fatalf("node %d: %v", n.i, err)
		}
		n.post(RecordsCame{from, records})
	case wire.KindSums:
		sums, err := wire.ParseSums(frame)
		if err != nil {
			n.fatalf("node %d: %v", n.i, err)
		}
		n.post(SumsCame{sums})
	case wire.KindPart:
		p, err := wire.ParsePart(frame)
		if err != nil {
			n.fatalf("node %d: %v", n.i, err)
		}
		n.post(DigestCame{Digest: p.Digest, Classes: p.Classes, Reply: p.Reply})
	case wire.KindNeed:
		needed, err := wire.ParseNeed(frame)
		if err != nil {
			n.fatalf("node %d: %v", n.i, err)
		}
		n.post(NeedCame{from, needed})
	case wire.KindNews, wire.KindWant:
		kind, d, err := wire.ParseDigest(frame)
		if err != nil {
			n.fatalf("node %d: %v", n.i, err)
		}
		d.From = from
		if kind == wire.KindWant {
			n.post(WantCame{d})
		} else {
			n.post(DigestCame{Digest: d})
		}
	default:
		n.fatalf("a frame of kind %d", frame[0])
	}
}

// subscribe enters or withdraws interest in a channel.
func (n *simNode) subscribe(name string, wanted bool) {
	if !n.alive || n.wanted[name] == wanted {
		return
	}
	n.wanted[name] = wanted
	n.post(InterestChanged{"t", pattern(n.t, name), wanted})
}

// traceSum is a fingerprint of all that happened.
func (s *sim) traceSum() uint64 {
	return binary.BigEndian.Uint64(s.trace.Sum(nil))
}
