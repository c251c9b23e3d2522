package forward

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"golang.org/x/time/rate"
)

// ErrNoRoute reports destinations that no usable link leads to.
var ErrNoRoute = errors.New("forward: no route")

// relayPatience is how long a relay waits for room on a link before it drops. It is bounded because relays
// that wait for each other must not wait for ever, and short because the lane that feeds it stands still meanwhile.
const relayPatience = 20 * time.Millisecond

// stuckPatience is how long an origin waits for a link whose peer takes nothing, although it answers probes: publishers are not to stand still because one member
// does not read.
const stuckPatience = 500 * time.Millisecond

// Snapshot is what the data plane knows of the mesh: immutable once published.
type Snapshot struct {
	Table *route.Table
	Links map[wire.NodeID]*Link             // usable links by neighbour
	Boots map[wire.NodeID]uint64            // runs of the nodes that take part
	Keys  map[wire.NodeID]ed25519.PublicKey // of those of which it is known

	around avoidings
}

// Forwarder sends messages towards their destinations. Its methods are safe for concurrent use.
type Forwarder struct {
	endpoint *Endpoint
	reports  *rate.Limiter // of what is told of others' traced messages
	snapshot atomic.Pointer[Snapshot]
	scratch  sync.Pool
}

func newForwarder(e *Endpoint) *Forwarder {
	f := &Forwarder{endpoint: e, reports: newReports()}
	f.scratch.New = newSplit
	f.snapshot.Store(&Snapshot{})
	return f
}

// Publish makes s what the data plane goes by. Broken are the destinations whose path has just broken: what is under way there is sent again at once.
func (f *Forwarder) Publish(s *Snapshot, broken []wire.NodeID) {
	f.snapshot.Store(s)
	f.endpoint.flights.reroute(s, broken)
}

// Reachable reports whether some usable link leads to id.
func (f *Forwarder) Reachable(id wire.NodeID) bool {
	return f.pick(f.snapshot.Load(), &wire.Message{Origin: f.endpoint.self}, id, 0) != nil
}

// Direct reports whether the link to id is usable.
func (f *Forwarder) Direct(id wire.NodeID) bool {
	return usableLink(f.snapshot.Load().Links[id]) != nil
}

// branch is the share of a message's destinations that one link takes.
type branch struct {
	link         *Link
	destinations []wire.Destination
}

// split is the working memory of one forwarding step.
type split struct {
	branches []branch
	left     []wire.Destination // still to be sent to
	head     []byte
	leave    bool // the writing is left to the links' flushers
	passage  passage
	lost     []wire.NodeID // of a traced message, the destinations that had no link

	hash    hash.Hash // for seals
	text    []byte
	content [sha256.Size]byte // of the message, once it was sealed
	sealed  bool
}

func newSplit() any { return &split{hash: sha256.New()} }

// Spread publishes a message from its origin to nodes with interest: numbered and kept until they have acknowledged it. It waits for room on
// full links until the message's deadline or ctx ends; the error is ctx's. Whatever is not sent now is sent later while its deadline lasts.
func (f *Forwarder) Spread(ctx context.Context, m *wire.Message, ids []wire.NodeID) error {
	s := f.take()
	defer f.scratch.Put(s)
	f.originate(m)
	return f.first(ctx, m, s, f.snapshot.Load(), ids, aim{})
}

// first sends a message for the first time.
func (f *Forwarder) first(ctx context.Context, m *wire.Message, s *split, snapshot *Snapshot, ids []wire.NodeID, a aim) error {
	var detours []detour
	s.passage = f.enters(m, 0)
	s.left, detours = f.endpoint.flights.enter(m, snapshot, ids, a, s.left[:0])
	err := error(nil)
	if len(s.left) > 0 {
		err = f.send(ctx, m, s, nil)
	}
	for _, d := range detours {
		if err != nil {
			break // the rest is sent later
		}
		s.left = append(s.left[:0], d.destinations...)
		m.Avoid = d.avoid
		err = f.send(ctx, m, s, nil)
	}
	m.Avoid = nil
	return err
}

// Send sends an unnumbered message from its origin to one node, if there is a route with room: ErrNoRoute, ErrLinkFull or nil.
func (f *Forwarder) Send(m *wire.Message, to wire.NodeID) error {
	f.originate(m)
	return f.offer(m, wire.Destination{ID: to})
}

// SpreadAll sends a message that is not for subscribers to every node that takes part: numbered and kept like those of Spread, but outside of
// any order, and without waiting. What finds no room now is sent later while its deadline lasts.
func (f *Forwarder) SpreadAll(m *wire.Message) {
	s := f.take()
	defer f.scratch.Put(s)
	f.originate(m)
	snapshot := f.snapshot.Load()
	others := slices.DeleteFunc(slices.Collect(maps.Keys(snapshot.Boots)), func(id wire.NodeID) bool { return id == f.endpoint.self })
	for ids := range slices.Chunk(others, wire.MaxDestinations) {
		var detours []detour
		s.left, detours = f.endpoint.flights.enter(m, snapshot, ids, aim{unordered: true}, s.left[:0])
		f.tryAll(s, m)
		for _, d := range detours {
			s.left = append(s.left[:0], d.destinations...)
			m.Avoid = d.avoid
			f.tryAll(s, m)
		}
		m.Avoid = nil
	}
}

// tryAll sends to all of s.left; what finds no room is due.
func (f *Forwarder) tryAll(s *split, m *wire.Message) {
	_, _ = f.step(s, m, nil)
	for _, d := range s.left {
		f.endpoint.flights.makeDue(d)
	}
}

// take is working memory for one message.
func (f *Forwarder) take() *split {
	s := f.scratch.Get().(*split)
	s.sealed, s.passage = false, passage{}
	return s
}

func (f *Forwarder) originate(m *wire.Message) {
	m.Origin, m.Boot, m.HopsLeft = f.endpoint.self, f.endpoint.cfg.Boot, wire.MaxHops
	m.Via, m.Avoid = m.Via[:0], nil
}

// offer sends to one destination if there is a route with room. The caller may hold a lock.
func (f *Forwarder) offer(m *wire.Message, d wire.Destination) error {
	s := f.take()
	defer f.scratch.Put(s)
	s.left, s.leave, s.passage = append(s.left[:0], d), true, f.enters(m, 0)
	full, missing := f.step(s, m, nil)
	s.leave = false
	switch {
	case missing > 0:
		return ErrNoRoute
	case full != nil:
		return ErrLinkFull
	}
	return nil
}

// send sends to all of s.left, waiting for room where it must.
func (f *Forwarder) send(ctx context.Context, m *wire.Message, s *split, from *Link) error {
	counters := f.endpoint.counters
	began := time.Now()
	patience := time.Duration(m.Deadline)*time.Millisecond - time.Duration(m.Age)*time.Microsecond
	if from != nil {
		patience = min(patience, relayPatience)
	}
	var timer *time.Timer
	for {
		full, missing := f.step(s, m, from)
		if from != nil {
			counters.Drop(DropNoRoute, missing)
		}
		if full == nil {
			return nil
		}
		left := min(patience-time.Since(began), stuckPatience-full.stuck())
		if left <= 0 {
			if from != nil { // an origin keeps it and tries again
				counters.Drop(DropQueueFull, len(s.left))
				f.ended(m, s.passage, wire.EndFull, idsOf(s.left))
			}
			return nil
		}
		if timer == nil {
			timer = time.NewTimer(left)
			defer timer.Stop()
		} else {
			timer.Reset(left)
		}
		if from != nil { // what the link brought before
			f.endpoint.cfg.Delivered()
		}
		waited := time.Now()
		select {
		case <-full.Space():
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		m.AddAge(time.Since(waited))
	}
}

// step sends to every destination whose link has room and leaves in s.left those whose link has none; full is one of these links. Missing is how many have no route.
func (f *Forwarder) step(s *split, m *wire.Message, from *Link) (full *Link, missing int) {
	counters := f.endpoint.counters
	missing = f.divide(s, m, from)
	f.ended(m, s.passage, wire.EndNoRoute, s.lost)
	s.left = s.left[:0]
	for i := range s.branches {
		b := &s.branches[i]
		if from == nil {
			missing += f.seal(s, m, b)
			if len(b.destinations) == 0 {
				continue
			}
		}
		s.head = wire.AppendMessageHead(s.head[:0], m, b.destinations)
		switch err := b.link.sendMessage(m, s.head, s.leave, f.departs(s, m, b, from)); {
		case err == nil && m.Class != wire.ClassPublish:
		case err == nil && from == nil:
			counters.Originated.Add(1)
		case err == nil:
			counters.Relayed.Add(1)
		default: // full, or closed since the snapshot: look again
			s.left = append(s.left, b.destinations...)
			full = b.link
		}
	}
	return full, missing
}

// seal tags what a relay is to pass on, and leaves out destinations whose keys are not known: the number of those.
func (f *Forwarder) seal(s *split, m *wire.Message, b *branch) (missing int) {
	m.Sealed = len(b.destinations) > 1 || b.destinations[0].ID != b.link.Peer
	if !m.Sealed {
		return 0 // the link itself says who sends
	}
	if !s.sealed {
		s.content, s.text = contentOf(m, s.hash, s.text)
		s.sealed = true
	}
	keys := f.snapshot.Load().Keys
	kept := b.destinations[:0]
	for _, d := range b.destinations {
		k, err := f.endpoint.seals.with(d.ID, keys[d.ID])
		if err != nil {
			missing++
			continue
		}
		d.Tag = k.tag(m, &s.content, &d)
		kept = append(kept, d)
	}
	b.destinations = kept
	return missing
}

// authentic reports whether the origin of a message that relays have passed on has sent it to this node.
func (f *Forwarder) authentic(m *wire.Message, d *wire.Destination) bool {
	if !m.Sealed {
		return false
	}
	k, err := f.endpoint.seals.with(m.Origin, f.snapshot.Load().Keys[m.Origin])
	if err != nil {
		return false
	}
	s := f.take()
	defer f.scratch.Put(s)
	s.content, s.text = contentOf(m, s.hash, s.text)
	tag := k.tag(m, &s.content, d)
	return hmac.Equal(tag[:], d.Tag[:])
}

// divide groups s.left by the link to take and says how many destinations have none.
func (f *Forwarder) divide(s *split, m *wire.Message, from *Link) (missing int) {
	snapshot := f.snapshot.Load()
	came := wire.NodeID(0)
	if from != nil {
		came = from.Peer
	}
	s.branches, s.lost = s.branches[:0], s.lost[:0]
	for _, d := range s.left {
		link := f.pick(snapshot, m, d.ID, came)
		if link == nil {
			missing++
			if m.Trace != 0 {
				s.lost = append(s.lost, d.ID)
			}
			continue
		}
		i := slices.IndexFunc(s.branches, func(b branch) bool { return b.link == link })
		if i < 0 {
			i = len(s.branches)
			if i < cap(s.branches) { // reuse the branch's memory
				s.branches = s.branches[:i+1]
			} else {
				s.branches = append(s.branches, branch{})
			}
			s.branches[i].link, s.branches[i].destinations = link, s.branches[i].destinations[:0]
		}
		s.branches[i].destinations = append(s.branches[i].destinations, d)
	}
	return missing
}

// pick is the link to take to id: next hop, loop-free alternate, direct link, whichever is usable and not behind us; before these, the next hop around
// relays to avoid.
func (f *Forwarder) pick(s *Snapshot, m *wire.Message, id, came wire.NodeID) *Link {
	if m.Visited(id) {
		return nil
	}
	if len(m.Avoid) > 0 {
		if table := s.avoiding(m.Avoid); table != nil {
			r, _ := table.Lookup(id)
			if link := usableLink(s.Links[r.NextHop]); link != nil && r.NextHop != came && !m.Visited(r.NextHop) {
				return link
			}
		}
	}
	if s.Table != nil {
		if r, ok := s.Table.Lookup(id); ok {
			for _, hop := range [...]wire.NodeID{r.NextHop, r.Alternate} {
				if link := usableLink(s.Links[hop]); link != nil && hop != came && !m.Visited(hop) {
					return link
				}
			}
		}
	}
	if id == came { // what waited for a link that has broken
		return nil
	}
	return usableLink(s.Links[id])
}

// receive takes a message off a link: delivers it here, sends it on, or both.
func (f *Forwarder) receive(from *Link, m *wire.Message) {
	counters := f.endpoint.counters
	self := f.endpoint.self
	crossed := time.Duration(from.srtt.Load()) / 2
	m.AddAge(crossed)
	sender := m.Origin
	if n := len(m.Via); n > 0 {
		sender = m.Via[n-1]
	}
	switch {
	case sender != from.Peer:
		counters.Drop(DropForged, len(m.Destinations))
		f.endpoint.Blame(from.Peer, FaultForged, len(m.Destinations))
		return
	case m.Visited(self):
		counters.Drop(DropLoop, len(m.Destinations))
		return
	}
	p := f.enters(m, micros(crossed))
	if m.Expired() {
		counters.Drop(DropExpired, len(m.Destinations))
		f.ended(m, p, wire.EndExpired, idsOf(m.Destinations))
		return
	}
	if i := slices.IndexFunc(m.Destinations, func(d wire.Destination) bool { return d.ID == self }); i >= 0 {
		d := m.Destinations[i]
		m.Destinations = slices.DeleteFunc(m.Destinations, func(d wire.Destination) bool { return d.ID == self })
		if len(m.Via) > 0 && !f.authentic(m, &d) {
			counters.Drop(DropForged, 1)
			f.endpoint.Blame(from.Peer, FaultForged, 1)
		} else {
			f.arrivedTraced(m, p)
			f.accept(m, d)
		}
	}
	if len(m.Destinations) == 0 {
		return
	}
	if m.HopsLeft <= 1 || len(m.Via) >= wire.MaxHops {
		counters.Drop(DropHopLimit, len(m.Destinations))
		f.ended(m, p, wire.EndHopLimit, idsOf(m.Destinations))
		return
	}
	m.HopsLeft--
	m.Via = append(m.Via, self)
	f.relay(from, m, p)
}

// relay sends a message on that came from a link, to all of its destinations.
func (f *Forwarder) relay(from *Link, m *wire.Message, p passage) {
	s := f.take()
	defer f.scratch.Put(s)
	s.left, s.passage = append(s.left[:0], m.Destinations...), p
	if m.InMessageLanes() {
		_ = f.send(f.endpoint.ctx, m, s, from)
		return
	}
	full, missing := f.step(s, m, from)
	f.endpoint.counters.Drop(DropNoRoute, missing)
	if full != nil {
		f.endpoint.counters.Drop(DropQueueFull, len(s.left))
	}
}

// accept deals with a message that has this node as destination.
func (f *Forwarder) accept(m *wire.Message, d wire.Destination) {
	switch {
	case m.Class == wire.ClassAck:
		var a wire.Ack
		if err := wire.ParseAck(m.Payload, &a); err != nil {
			f.endpoint.counters.Drop(DropMalformed, 1)
			return
		}
		f.endpoint.flights.acknowledged(m.Origin, &a)
	case m.Class == wire.ClassHop:
		f.told(m)
	case d.Seq != 0:
		f.endpoint.flights.arrived(m, d)
	default:
		_ = f.endpoint.cfg.Deliver(m)
	}
}

// requeue sends on what waited for a link that no longer works. What this node is the origin of is sent again by its in-flight table.
func (f *Forwarder) requeue(from *Link, stream []byte) {
	var m wire.Message
	for len(stream) > 0 {
		frame, rest, _, err := wire.SplitFrame(stream, wire.MaxFrame)
		if err == nil && frame != nil && isProbe(frame) {
			stream = rest
			continue
		}
		if err == nil && frame != nil {
			err = wire.ParseMessage(single(frame), &m)
		}
		if err != nil || frame == nil {
			return // our own queue always parses
		}
		if m.Origin != f.endpoint.self {
			f.relay(from, &m, f.enters(&m, 0))
		}
		stream = rest
	}
}
