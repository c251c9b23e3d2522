package scale

import (
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// link is a connection between two nodes; end 0 dialled.
type link struct {
	node   [2]*node
	run    [2]int
	number [2]uint64
	open   [2]bool
	heard  [2]stamps
	used   [2]time.Duration // until when it carries messages from this end; may lie ahead
	busy   [2]time.Duration // until when messages from the other end are heard; may lie ahead
	last   [2]time.Duration // when the last frame to this end arrives: frames keep their order
	probed [2]time.Duration // when the last probe left this end
	held   [2][][]byte      // frames that wait for a cut to heal
}

// stamps are the last two times at which something arrives, of which the later may lie ahead.
type stamps struct{ past, next time.Duration }

func (s *stamps) add(now, at time.Duration) {
	if s.next <= now {
		s.past = s.next
	}
	if s.next <= now || at < s.next {
		s.next = max(at, s.past)
	}
}

// by is the last of them that is not ahead.
func (s *stamps) by(now time.Duration) time.Duration {
	if s.next <= now {
		return s.next
	}
	return s.past
}

func (l *link) end(n *node) int {
	if l.node[0] == n {
		return 0
	}
	return 1
}

func (l *link) peerOf(n *node) int { return l.node[1-l.end(n)].i }

// works reports whether what comes to this end is taken: the run that it was opened for still goes on.
func (l *link) works(end int) bool { return l.open[end] && l.node[end].run == l.run[end] }

func (l *link) activity(n *node) core.Activity {
	end := l.end(n)
	heard := l.heard[end].by(n.now)
	if l.busy[end] > heard {
		heard = min(n.now, l.busy[end])
	}
	a := core.Activity{Peer: l.node[1-end].id, Link: l.number[end], Heard: epoch().Add(heard)}
	if l.used[end] > 0 {
		a.Used = epoch().Add(min(n.now, l.used[end]))
	}
	return a
}

// dial opens a link as the endpoint would: a handshake, the fixed rule where two connections meet, and reports at both ends.
func (n *node) dial(j int) {
	to := n.nodes[j]
	ended := func(ok bool) { n.post(core.Dialed{Peer: to.id, OK: ok}) }
	if n.cut(n.i, j) || !to.alive {
		n.cost.add(Handshake, dialFailedBytes)
		n.later(dialOut, func() { ended(false) })
		return
	}
	n.cost.add(Handshake, handshakeBytes)
	to.cost.add(Handshake, handshakeBytes)
	n.later(2*(n.travel(n.i, j)+n.travel(j, n.i)), func() {
		if !to.alive || n.cut(n.i, j) || !n.adopt(to) {
			ended(false)
			return
		}
		n.later(n.upTo(time.Millisecond), func() { ended(true) })
	})
}

// adopt makes a new connection the link between two nodes unless the one that they have is kept.
func (n *node) adopt(to *node) bool {
	for _, old := range []*link{n.links[to.i], to.links[n.i]} {
		if old != nil && old.works(0) && old.works(1) && old.node[0] != n && n.i > to.i {
			return false // the smaller ID's connection is kept
		}
	}
	l := &link{node: [2]*node{n, to}, run: [2]int{n.run, to.run}, open: [2]bool{true, true}}
	for end, m := range l.node {
		other := l.node[1-end]
		if m.links[other.i] != nil {
			m.closeTo(other.i)
		}
		m.opened++
		l.number[end] = m.opened
		l.heard[end] = stamps{n.now, n.now}
		m.links[other.i] = l
		at, _ := m.place(other.i)
		m.sorted = slices.Insert(m.sorted, at, l)
		opened := core.LinkOpened{Peer: other.id, Boot: other.boot, Link: l.number[end]}
		m.later(n.upTo(time.Millisecond), func() { m.post(opened) })
	}
	return true
}

// closeTo ends the link to a node, if there is one; the other end learns of it unless nothing reaches it.
func (n *node) closeTo(j int) {
	l := n.links[j]
	if l == nil {
		return
	}
	delete(n.links, j)
	if at, found := n.place(j); found {
		n.sorted = slices.Delete(n.sorted, at, at+1)
	}
	end := l.end(n)
	l.open[end] = false
	closed := core.LinkClosed{Peer: n.nodes[j].id, Link: l.number[end]}
	n.later(n.upTo(time.Millisecond), func() { n.post(closed) })
	to := n.nodes[j]
	to.later(n.delay(n.i, j), func() {
		if to.links[n.i] == l && !n.cut(n.i, j) {
			to.closeTo(n.i)
		}
	})
}

// probe sends a datagram over the link; its echo comes back unless one of both is lost.
func (n *node) probe(j int, seq uint32) {
	l := n.links[j]
	if l == nil {
		return
	}
	n.cost.add(Probe, probeBytes)
	end := l.end(n)
	if n.now-max(l.probed[0], l.probed[1]) > keepAlive {
		n.cost.Bytes[Probe] += keepBytes
	}
	l.probed[end] = n.now
	if n.cut(n.i, j) || !l.works(1-end) || n.chance(n.cfg.Loss) {
		return
	}
	to := l.node[1-end]
	to.cost.add(Probe, echoBytes)
	there := n.travel(n.i, j)
	l.heard[1-end].add(n.now, n.now+there)
	if n.chance(n.cfg.Loss) {
		return
	}
	rtt := there + n.travel(j, n.i)
	n.later(rtt, func() {
		if l.works(end) && !n.cut(n.i, j) {
			n.post(core.Echoed{Peer: to.id, Link: l.number[end], Seq: seq, RTT: rtt, At: n.time()})
		}
	})
}

// send takes the link if it works, else the mesh, as Node.sendControl does.
func (n *node) send(j int, frame []byte) {
	kind := kindOf(frame)
	l, path := n.links[j], []int(nil)
	if l == nil || !n.uses(j) {
		path = n.path(n.i, j)
	}
	switch {
	case path != nil:
	case l != nil:
		n.cost.add(kind, frameCost(len(frame)))
		l.carry(1-l.end(n), frame)
		return
	default:
		return
	}
	var total time.Duration
	for k := 1; k < len(path); k++ {
		n.nodes[path[k-1]].cost.add(kind, frameCost(len(frame)))
		total += n.travel(path[k-1], path[k])
	}
	to := n.nodes[j]
	to.later(total, func() { to.receive(n.id, frame) })
}

// uses reports whether messages may take the link to a node.
func (n *node) uses(j int) bool {
	_, ok := slices.BinarySearch(n.usable, n.nodes[j].id)
	return ok
}

func kindOf(frame []byte) Traffic {
	switch wire.Kind(frame[0]) {
	case wire.KindRecords:
		return Records
	case wire.KindSums, wire.KindPart, wire.KindNews:
		return Digest
	default:
		return Asking
	}
}

// carry brings a frame to an end of the link, after those before it.
func (l *link) carry(end int, frame []byte) {
	to, from := l.node[end], l.node[1-end]
	if to.cut(to.i, from.i) {
		l.held[end] = append(l.held[end], frame)
		return
	}
	at := to.now + to.travel(from.i, to.i)
	if to.chance(to.cfg.Loss) {
		at += 2*to.delay(from.i, to.i) + 20*time.Millisecond // sent again
	}
	at = max(at, l.last[end])
	l.last[end] = at
	to.After(at-to.now, func() {
		if l.works(end) {
			l.heard[end].add(to.now, to.now)
			to.receive(from.id, frame)
		}
	})
}

// release sends what has waited for a cut to heal.
func (l *link) release() {
	for end := range l.held {
		waiting := l.held[end]
		l.held[end] = nil
		for _, frame := range waiting {
			l.carry(end, frame)
		}
	}
}
