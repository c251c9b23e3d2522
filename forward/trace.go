package forward

import (
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"golang.org/x/time/rate"
)

// What a node tells of others' traced messages, in units of up to wire.MaxChoices destinations: any node may trace, and this bounds the work that it makes here.
const (
	traceRate  = 200 // a second
	traceBurst = 400
	// hopDeadline is the age in ms at which what is told is dropped: nobody waits for longer.
	hopDeadline = 2000
)

// passage is how a traced message came to this node; zero: nothing is told of the message.
type passage struct {
	came time.Time
	age  uint32 // µs, then
	link uint32 // µs of that, which the last link took
}

// departure is a traced message in a link's queue, and what is to be told of it once it has left.
type departure struct {
	came, queued time.Time
	origin       wire.NodeID
	hops         []wire.Hop // all but the times; one for each wire.MaxChoices destinations

	box  int
	left int // bytes of the box to be written until it has
}

// newReports is the budget for what is told to others.
func newReports() *rate.Limiter { return rate.NewLimiter(traceRate, traceBurst) }

// enters notes that a message came to this node, if it is traced and there is budget to tell of it.
func (f *Forwarder) enters(m *wire.Message, link uint32) passage {
	if m.Trace == 0 {
		return passage{}
	}
	now := time.Now()
	if m.Origin != f.endpoint.self && !f.reports.AllowN(now, 1+len(m.Destinations)/wire.MaxChoices) {
		f.endpoint.counters.Drop(DropTraces, 1)
		return passage{}
	}
	return passage{now, m.Age, link}
}

// departs is what to tell of a message once the share of its destinations that b takes has left; nil for messages that are not traced.
func (f *Forwarder) departs(s *split, m *wire.Message, b *branch, from *Link) *departure {
	if s.passage.came.IsZero() {
		return nil
	}
	snapshot, came := f.snapshot.Load(), wire.NodeID(0)
	if from != nil {
		came = from.Peer
	}
	d := &departure{came: s.passage.came, origin: m.Origin}
	for some := range slices.Chunk(b.destinations, wire.MaxChoices) {
		h := f.hop(m, s.passage, wire.EndSent)
		for i := range some {
			h.Choices = append(h.Choices, wire.Choice{To: some[i].ID, Candidates: f.candidates(snapshot, m, some[i].ID, came, b.link.Peer)})
		}
		d.hops = append(d.hops, h)
	}
	return d
}

// hop is what to tell of a message, but for whom it was meant and for how long it was here.
func (f *Forwarder) hop(m *wire.Message, p passage, end wire.End) wire.Hop {
	via := m.Via
	if n := len(via); n > 0 && via[n-1] == f.endpoint.self {
		via = via[:n-1]
	}
	return wire.Hop{Trace: m.Trace, End: end, Via: slices.Clone(via), Age: p.age, Link: p.link}
}

// candidates are the next hops towards a destination in the order in which pick looks at them, and why they were not taken.
func (f *Forwarder) candidates(s *Snapshot, m *wire.Message, id, came, taken wire.NodeID) []wire.Candidate {
	ways := make([]wire.Candidate, 0, wire.MaxCandidates)
	add := func(hop wire.NodeID, cost uint32) {
		if hop == 0 || len(ways) == wire.MaxCandidates || slices.ContainsFunc(ways, func(c wire.Candidate) bool { return c.Hop == hop }) {
			return
		}
		verdict := wire.VerdictDearer
		switch {
		case hop == taken:
			verdict = wire.VerdictTaken
		case hop == came || m.Visited(hop):
			verdict = wire.VerdictPassed
		case usableLink(s.Links[hop]) == nil:
			verdict = wire.VerdictNoLink
		}
		if cost == math.MaxUint32 { // a link on the way is not measured yet
			cost = 0
		}
		ways = append(ways, wire.Candidate{Hop: hop, Cost: cost, Verdict: verdict})
	}
	if len(m.Avoid) > 0 {
		if table := s.avoiding(m.Avoid); table != nil {
			r, _ := table.Lookup(id)
			add(r.NextHop, r.Cost)
		}
	}
	direct := uint32(0)
	if s.Table != nil {
		r, _ := s.Table.Lookup(id)
		direct = r.DirectCost
		add(r.NextHop, r.Cost)
		add(r.Alternate, r.AlternateCost)
	}
	add(id, direct)
	if taken != 0 {
		add(taken, 0) // where the snapshot has changed since
	}
	return judged(ways)
}

// judged says of what would have been cheaper, and could have been taken, that its way was to be avoided.
func judged(ways []wire.Candidate) []wire.Candidate {
	i := slices.IndexFunc(ways, func(c wire.Candidate) bool { return c.Verdict == wire.VerdictTaken })
	if i < 0 {
		return ways
	}
	for j := range ways {
		if c := &ways[j]; c.Verdict == wire.VerdictDearer && c.Cost != 0 && c.Cost < ways[i].Cost {
			c.Verdict = wire.VerdictAvoided
		}
	}
	return ways
}

// left tells of messages that have left.
func (f *Forwarder) left(gone []*departure) {
	for _, d := range gone {
		now := time.Now()
		for i := range d.hops {
			h := &d.hops[i]
			h.Held, h.Queued = micros(now.Sub(d.came)), micros(now.Sub(d.queued))
			f.tell(d.origin, h)
		}
	}
}

// ended tells that a message went no further, for these destinations.
func (f *Forwarder) ended(m *wire.Message, p passage, end wire.End, ids []wire.NodeID) {
	if p.came.IsZero() {
		return
	}
	for some := range slices.Chunk(ids, wire.MaxChoices) {
		h := f.hop(m, p, end)
		h.Held = micros(time.Since(p.came))
		for _, id := range some {
			h.Choices = append(h.Choices, wire.Choice{To: id})
		}
		f.tell(m.Origin, &h)
	}
}

// arrivedTraced tells that a traced message has come for this node itself.
func (f *Forwarder) arrivedTraced(m *wire.Message, p passage) {
	if !p.came.IsZero() {
		h := f.hop(m, p, wire.EndDelivered)
		f.tell(m.Origin, &h)
	}
}

// tell tells the origin of a traced message. It does not wait, and the caller may hold a lock.
func (f *Forwarder) tell(origin wire.NodeID, h *wire.Hop) {
	if origin == f.endpoint.self {
		f.endpoint.cfg.Traced(origin, h)
		return
	}
	m := wire.Message{Class: wire.ClassHop, Deadline: hopDeadline, Payload: wire.AppendHop(nil, h)}
	if f.Send(&m, origin) != nil {
		f.endpoint.counters.Drop(DropTraces, 1)
	}
}

// told takes what another node tells of a message that this one has traced, or says that it has.
func (f *Forwarder) told(m *wire.Message) {
	h, err := wire.ParseHop(m.Payload)
	if err != nil {
		f.endpoint.counters.Drop(DropMalformed, 1)
		f.endpoint.Blame(m.Origin, FaultOf(err), 1)
		return
	}
	f.endpoint.cfg.Traced(m.Origin, &h)
}

// watch has a message in a box told of once it has been written. l.mu is held.
func (l *Link) watch(box int, d *departure) {
	if d != nil {
		d.queued, d.box, d.left = time.Now(), box, l.out[box].waiting()
		l.watched = append(l.watched, d)
	}
}

// written takes n bytes written off what is watched, and returns what has left. l.mu is held.
func (l *Link) written(box, n int) (gone []*departure) {
	if len(l.watched) == 0 { // mostly
		return nil
	}
	l.watched = slices.DeleteFunc(l.watched, func(d *departure) bool {
		if d.box == box {
			if d.left -= n; d.left <= 0 {
				gone = append(gone, d)
			}
		}
		return d.left <= 0
	})
	return gone
}

// unwatch forgets what is watched in a box behind its first bytes: it goes another way, and is told of there. l.mu is held.
func (l *Link) unwatch(box, first int) {
	l.watched = slices.DeleteFunc(l.watched, func(d *departure) bool { return d.box == box && d.left > first })
}

// waiting is how many bytes are to be written.
func (o *outbox) waiting() int { return len(o.active) - o.offset + len(o.pending) }

func idsOf(destinations []wire.Destination) []wire.NodeID {
	ids := make([]wire.NodeID, len(destinations))
	for i := range destinations {
		ids[i] = destinations[i].ID
	}
	return ids
}

// micros is a time in µs; it saturates.
func micros(d time.Duration) uint32 { return uint32(min(max(d/time.Microsecond, 0), 1<<32-1)) }
