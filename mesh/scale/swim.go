package scale

import (
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Settings of memberlist, as package gossip makes them.
const (
	gossipEvery    = 200*time.Millisecond + 7*time.Microsecond
	gossipNodes    = 3
	pingOut        = 700 * time.Millisecond
	pingEvery      = time.Second + 3*time.Microsecond
	pushPullEvery  = 30 * time.Second
	pushPullEach   = 660 * time.Millisecond // for each member, if that is more
	suspicionMult  = 5
	retransmitMult = 4
	suspicionMost  = 6 // times the least time-out of a suspicion
	confirmations  = suspicionMult - 2
	packetBytes    = 1200
)

// What SWIM's messages take, in bytes: as memberlist encodes them for names and descriptions such as ours.
const (
	aliveBytes   = 254
	suspectBytes = 90
	compound     = 2 // per message on a packet that has several
	packetHead   = 8
	pingBytes    = 113
	pongBytes    = 18
	memberBytes  = 254 // one member in a push/pull
)

type status uint8

const (
	unknown status = iota
	aliveNow
	suspect
	dead
)

// belief is what a node takes a run of another to be.
type belief struct {
	status      status
	incarnation uint16
}

// news is a message about a run.
type news struct {
	run int32
	belief
	from int32 // suspect only: who says so
}

func (m *news) size() int {
	if m.status == aliveNow {
		return aliveBytes
	}
	return suspectBytes
}

// members is a node's membership: an event model of memberlist (state.go, queue.go, suspicion.go there) to the depth that matters for who knows what
// when, and how many bytes it takes.
type members struct {
	n         *node
	phase     time.Duration // of the gossip ticker
	ticking   bool
	beliefs   []belief // by run
	alive     []int32  // runs, this node's own not included
	place     []int32  // by run: in alive, plus one
	queue     newsQueue
	suspicion map[int32]*suspicion
	inc       uint16 // own incarnation
	joins     joins
}

type suspicion struct {
	since time.Duration
	from  map[int32]bool
	timer int
}

func newMembers(n *node) members {
	return members{n: n, phase: n.upTo(gossipEvery), suspicion: map[int32]*suspicion{}, joins: newJoins()}
}

// start begins to gossip, probe and exchange states, and joins through the seeds.
func (m *members) start(seeds []int) {
	n := m.n
	if len(seeds) > 0 {
		m.tell(news{run: int32(n.run), belief: belief{aliveNow, 0}})
	}
	n.later(n.upTo(pingEvery), m.ping)
	n.later(pushPullEvery*3/4+n.upTo(pushPullEvery/2), m.pushPull)
	m.joins.seeds = seeds
	m.joins.try(m)
	for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 8 * time.Second} {
		n.later(after, func() { m.compare() })
	}
}

func (m *members) belief(run int32) *belief {
	if int(run) >= len(m.beliefs) {
		grown := max(len(m.n.runs), int(run)+1)
		m.beliefs = append(m.beliefs, make([]belief, grown-len(m.beliefs))...)
		m.place = append(m.place, make([]int32, grown-len(m.place))...)
	}
	return &m.beliefs[run]
}

// count is how many members there are, this node included.
func (m *members) count() int { return len(m.alive) + 1 }

func (m *members) enlist(run int32) {
	m.alive = append(m.alive, run)
	m.place[run] = int32(len(m.alive))
}

func (m *members) strike(run int32) {
	at := m.place[run] - 1
	if at < 0 {
		return
	}
	last := m.alive[len(m.alive)-1]
	m.alive[at], m.place[last] = last, at+1
	m.alive, m.place[run] = m.alive[:len(m.alive)-1], 0
}

// hear takes a message about a run.
func (m *members) hear(msg news) {
	if int(msg.run) == m.n.run {
		if msg.status != aliveNow && msg.incarnation >= m.inc { // refute
			m.inc = msg.incarnation + 1
			m.tell(news{run: msg.run, belief: belief{aliveNow, m.inc}})
		}
		return
	}
	b := m.belief(msg.run)
	switch msg.status {
	case aliveNow:
		m.hearAlive(b, msg)
	case suspect:
		m.hearSuspect(b, msg)
	case dead:
		m.hearDead(b, msg)
	case unknown:
	}
}

func (m *members) hearAlive(b *belief, msg news) {
	if b.status != unknown && msg.incarnation <= b.incarnation {
		return
	}
	was := b.status
	*b = msg.belief
	delete(m.suspicion, msg.run)
	if was == unknown || was == dead {
		m.enlist(msg.run)
		of := m.n.runs[msg.run]
		other := m.n.nodes[of.node]
		meta := wire.Meta{ID: other.id, Boot: of.boot, Name: other.meta().Name}
		m.n.post(core.MemberUp{Meta: meta, Addr: addrOf(of.node)})
		m.joins.found(of.node)
	}
	m.tell(msg)
}

func (m *members) hearSuspect(b *belief, msg news) {
	if b.status == unknown || b.status == dead || msg.incarnation < b.incarnation {
		return
	}
	if s := m.suspicion[msg.run]; s != nil {
		if !s.from[msg.from] && len(s.from) <= confirmations {
			s.from[msg.from] = true
			m.tell(msg)
			m.expire(msg.run, s)
		}
		return
	}
	*b = msg.belief
	s := &suspicion{since: m.n.now, from: map[int32]bool{msg.from: true}}
	m.suspicion[msg.run] = s
	m.tell(msg)
	m.expire(msg.run, s)
}

// expire sets the time at which a suspicion becomes a death, which confirmations bring nearer.
func (m *members) expire(run int32, s *suspicion) {
	least := time.Duration(suspicionMult * math.Max(1, math.Log10(float64(m.count()))) * float64(pingEvery))
	timeout := least
	if m.count()-2 >= confirmations {
		most := suspicionMost * least
		share := math.Log(float64(len(s.from))) / math.Log(confirmations+1)
		timeout = max(least, most-time.Duration(share*float64(most-least)))
	}
	s.timer++
	set := s.timer
	m.n.later(s.since+timeout-m.n.now, func() {
		if m.suspicion[run] == s && s.timer == set {
			m.hearDead(m.belief(run), news{run: run, belief: belief{dead, m.belief(run).incarnation}})
		}
	})
}

func (m *members) hearDead(b *belief, msg news) {
	if b.status == unknown || b.status == dead || msg.incarnation < b.incarnation {
		return
	}
	*b = msg.belief
	delete(m.suspicion, msg.run)
	m.strike(msg.run)
	of := m.n.runs[msg.run]
	m.n.post(core.MemberDown{ID: m.n.nodes[of.node].id, Boot: of.boot})
	m.joins.miss(m, of)
	m.tell(msg)
}

func (m *members) tell(msg news) {
	m.queue.add(msg)
	m.rouse()
}

// rouse has the gossip ticker run while there is something to tell.
func (m *members) rouse() {
	if m.ticking {
		return
	}
	m.ticking = true
	m.n.later(gossipEvery-(m.n.now-m.phase)%gossipEvery, m.tick)
}

func (m *members) tick() {
	n := m.n
	if m.queue.empty() && n.rumours.Len() == 0 {
		m.ticking = false
		return
	}
	n.later(gossipEvery, m.tick)
	for range min(gossipNodes, len(m.alive)) {
		m.packet(m.alive[n.rnd.IntN(len(m.alive))], 0)
	}
}

// retransmits is how often a message is sent in a mesh of so many members.
func retransmits(members int) int {
	return retransmitMult * int(math.Ceil(math.Log10(float64(members+1))))
}

// packet sends a member what there is to tell, besides so many bytes that are sent anyway.
func (m *members) packet(to int32, besides int) {
	n := m.n
	told := m.queue.take(packetBytes-packetHead-besides, retransmits(m.count()))
	size := packetHead
	for i := range told {
		size += compound + told[i].size()
	}
	var digest wire.Digest
	if entries := n.rumours.Take(packetBytes - size - besides - compound); len(entries) > 0 {
		digest = wire.Digest{From: n.id, Entries: entries}
		size += compound + 1 + len(wire.AppendDigest(nil, wire.KindDigest, &digest))
	}
	if len(told) == 0 && len(digest.Entries) == 0 {
		return
	}
	if besides == 0 {
		size += udpBytes
	}
	n.cost.add(SWIM, size)
	m.deliver(to, func(other *node) {
		for _, msg := range told {
			other.swim.hear(msg)
		}
		if len(digest.Entries) > 0 {
			other.post(core.DigestCame{Digest: digest, Hearsay: true})
		}
	})
}

// deliver has f called when a packet arrives at a member: directly, or over the mesh where there is no direct path.
func (m *members) deliver(to int32, f func(*node)) {
	n := m.n
	other := n.nodes[n.runs[to].node]
	took, ok := n.reach(other)
	if !ok || n.chance(n.cfg.Loss) {
		return
	}
	other.later(took, func() {
		if other.run == int(to) {
			f(other)
		}
	})
}

// reach is how long a packet takes to another node; false if there is no way now.
func (n *node) reach(other *node) (took time.Duration, ok bool) {
	if !other.alive {
		return 0, false
	}
	if !n.cut(n.i, other.i) {
		return n.travel(n.i, other.i), true
	}
	path := n.path(n.i, other.i)
	for k := 1; k < len(path); k++ {
		took += n.travel(path[k-1], path[k])
	}
	return took, path != nil
}

// ping checks one member; what there is to tell goes along both ways.
func (m *members) ping() {
	n := m.n
	n.later(pingEvery, m.ping)
	if len(m.alive) == 0 {
		return
	}
	to := m.alive[n.rnd.IntN(len(m.alive))]
	n.cost.add(SWIM, udpBytes+pingBytes)
	m.packet(to, pingBytes)
	other := n.nodes[n.runs[to].node]
	if _, ok := n.reach(other); ok && other.run == int(to) {
		other.cost.add(SWIM, udpBytes+pongBytes)
		other.swim.packet(int32(n.run), pongBytes)
		return
	}
	n.later(pingEvery, func() {
		if b := m.belief(to); b.status == aliveNow || b.status == suspect {
			m.hear(news{run: to, belief: belief{suspect, b.incarnation}, from: int32(n.run)})
		}
	})
}

// measure measures the round trip to a node without a link.
func (n *node) measure(j int) {
	to := n.nodes[j]
	n.cost.add(SWIM, udpBytes+pingBytes)
	there, ok := n.reach(to)
	if !ok || n.chance(n.cfg.Loss) {
		n.later(pingOut, func() { n.post(core.Pinged{Peer: to.id}) })
		return
	}
	to.cost.add(SWIM, udpBytes+pongBytes)
	rtt := there + n.travel(j, n.i)
	n.later(rtt, func() { n.post(core.Pinged{Peer: to.id, RTT: rtt}) })
}

// pushPull exchanges states with one member, the more seldom the more there are.
func (m *members) pushPull() {
	every := max(pushPullEvery, time.Duration(m.count())*pushPullEach)
	m.n.later(every*3/4+m.n.upTo(every/2), m.pushPull)
	m.compare()
}

// compare exchanges states with one member.
func (m *members) compare() {
	if len(m.alive) > 0 {
		m.exchange(m.n.nodes[m.n.runs[m.alive[m.n.rnd.IntN(len(m.alive))]].node], func(bool) {})
	}
}

// exchange merges two nodes' states and has them compare their digests. Done is told whether it worked.
func (m *members) exchange(other *node, done func(ok bool)) {
	n := m.n
	there, ok := n.reach(other)
	if !ok {
		n.cost.add(PushPull, udpBytes+packetBytes)
		n.later(dialOut, func() { done(false) })
		return
	}
	run := other.run
	n.later(6*there, func() { // a connection, a stream on it, and what goes over it: a round trip each
		if _, ok := n.reach(other); !ok || other.run != run {
			done(false)
			return
		}
		mine, theirs := n.state(), other.state()
		n.post(core.SumsCame{Sums: theirs.sums})
		other.post(core.SumsCame{Sums: mine.sums})
		n.merge(other, theirs.beliefs)
		other.merge(n, mine.beliefs)
		done(true)
	})
}

// state is a node's part of a push/pull.
type state struct {
	beliefs []belief
	sums    wire.Sums
}

func (n *node) state() state {
	began := n.clock()
	frame := n.core.Sums(n.time())
	sums, err := wire.ParseSums(frame)
	if err != nil {
		panic("scale: " + err.Error())
	}
	n.cost.CPU += n.clock() - began
	size := len(frame)
	for _, b := range n.swim.beliefs {
		if b.status != unknown {
			size += memberBytes
		}
	}
	n.cost.add(PushPull, streamBytes+frameCost(size+memberBytes))
	return state{slices.Clone(n.swim.beliefs), sums}
}

// merge takes in what another node believes, itself included.
func (n *node) merge(other *node, beliefs []belief) {
	for run, b := range beliefs {
		switch b.status {
		case aliveNow:
			n.swim.hear(news{run: int32(run), belief: b})
		case suspect, dead: // as memberlist does: who is not dead can say so
			n.swim.hear(news{run: int32(run), belief: belief{suspect, b.incarnation}, from: int32(other.run)})
		case unknown:
		}
	}
	n.swim.hear(news{run: int32(other.run), belief: belief{aliveNow, other.swim.inc}})
}
