package forward

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// ErrNoRoute reports destinations that no usable link leads to.
var ErrNoRoute = errors.New("forward: no route")

// relayPatience is how long a relay waits for room on a link before it drops. It is bounded because relays
// that wait for each other must not wait for ever, and short because the lane that feeds it stands still meanwhile.
const relayPatience = 20 * time.Millisecond

// Snapshot is what the data plane knows of the mesh: immutable once published.
type Snapshot struct {
	Table *route.Table
	Links map[wire.NodeID]*Link // usable links by neighbour
}

// Forwarder sends messages towards their destinations. Its methods are safe for concurrent use.
type Forwarder struct {
	endpoint *Endpoint
	snapshot atomic.Pointer[Snapshot]
	scratch  sync.Pool
}

func newForwarder(e *Endpoint) *Forwarder {
	f := &Forwarder{endpoint: e}
	f.scratch.New = func() any { return new(split) }
	f.snapshot.Store(&Snapshot{})
	return f
}

// Publish makes s what the data plane goes by.
func (f *Forwarder) Publish(s *Snapshot) { f.snapshot.Store(s) }

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
	destinations []wire.NodeID
}

// split is the working memory of one forwarding step.
type split struct {
	branches []branch
	left     []wire.NodeID // destinations still to be sent to
	head     []byte
}

// Send sends a message from its origin. A published message waits for room on full links until its deadline or ctx ends;
// other classes drop at once. The error is ErrNoRoute, ctx's, or nil; destinations without a route do not keep the others from theirs.
func (f *Forwarder) Send(ctx context.Context, m *wire.Message, destinations []wire.NodeID) error {
	m.Origin, m.Boot, m.HopsLeft = f.endpoint.self, f.endpoint.cfg.Boot, wire.MaxHops
	m.Via = m.Via[:0]
	return f.send(ctx, m, destinations, nil)
}

func (f *Forwarder) send(ctx context.Context, m *wire.Message, destinations []wire.NodeID, from *Link) error {
	s := f.scratch.Get().(*split)
	defer f.scratch.Put(s)
	s.left = append(s.left[:0], destinations...)
	began := time.Now()
	patience := time.Duration(m.Deadline)*time.Millisecond - time.Duration(m.Age)*time.Microsecond
	if from != nil {
		patience = min(patience, relayPatience)
	}
	var timer *time.Timer
	for {
		full, err := f.step(s, m, from)
		if len(s.left) == 0 || m.Class != wire.ClassPublish {
			return err
		}
		left := patience - time.Since(began)
		if left <= 0 {
			f.endpoint.counters.Drop(DropQueueFull, len(s.left))
			return err
		}
		if timer == nil {
			timer = time.NewTimer(left)
			defer timer.Stop()
		} else {
			timer.Reset(left)
		}
		waited := time.Now()
		select {
		case <-full.Space():
		case <-timer.C:
		case <-ctx.Done():
			f.endpoint.counters.Drop(DropQueueFull, len(s.left))
			return ctx.Err()
		}
		m.AddAge(time.Since(waited))
	}
}

// step sends to every destination whose link has room and leaves the others in s.left; full is one of their links.
func (f *Forwarder) step(s *split, m *wire.Message, from *Link) (full *Link, err error) {
	counters := f.endpoint.counters
	if missing := f.divide(s, m, from); missing > 0 {
		counters.Drop(DropNoRoute, missing)
		err = ErrNoRoute
	}
	s.left = s.left[:0]
	for i := range s.branches {
		b := &s.branches[i]
		s.head = wire.AppendMessageHead(s.head[:0], m, b.destinations)
		switch sendErr := b.link.sendMessage(m, s.head); {
		case sendErr == nil && from == nil:
			counters.Originated.Add(1)
		case sendErr == nil:
			counters.Relayed.Add(1)
		case m.Class == wire.ClassPublish: // full, or closed since the snapshot: look again
			s.left = append(s.left, b.destinations...)
			full = b.link
		}
	}
	return full, err
}

// divide groups s.left by the link to take and says how many destinations have none.
func (f *Forwarder) divide(s *split, m *wire.Message, from *Link) (missing int) {
	snapshot := f.snapshot.Load()
	came := wire.NodeID(0)
	if from != nil {
		came = from.Peer
	}
	s.branches = s.branches[:0]
	for _, id := range s.left {
		link := f.pick(snapshot, m, id, came)
		if link == nil {
			missing++
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
		s.branches[i].destinations = append(s.branches[i].destinations, id)
	}
	return missing
}

// pick is the link to take to id: next hop, loop-free alternate, direct link, whichever is usable and not behind us.
func (f *Forwarder) pick(s *Snapshot, m *wire.Message, id, came wire.NodeID) *Link {
	if s.Table != nil {
		if r, ok := s.Table.Lookup(id); ok {
			for _, hop := range [...]wire.NodeID{r.NextHop, r.Alternate} {
				if link := usableLink(s.Links[hop]); link != nil && hop != came && !m.Visited(hop) {
					return link
				}
			}
		}
	}
	if id == came || m.Visited(id) {
		return nil
	}
	return usableLink(s.Links[id])
}

// receive takes a message off a link: delivers it here, sends it on, or both.
func (f *Forwarder) receive(from *Link, m *wire.Message) {
	counters := f.endpoint.counters
	self := f.endpoint.self
	m.AddAge(time.Duration(from.srtt.Load()) / 2)
	switch {
	case m.Visited(self):
		counters.Drop(DropLoop, len(m.Destinations))
		return
	case m.Expired():
		counters.Drop(DropExpired, len(m.Destinations))
		return
	}
	if i := slices.Index(m.Destinations, self); i >= 0 {
		m.Destinations = slices.DeleteFunc(m.Destinations, func(id wire.NodeID) bool { return id == self })
		counters.Delivered.Add(1)
		f.endpoint.cfg.Deliver(m)
	}
	if len(m.Destinations) == 0 {
		return
	}
	if m.HopsLeft <= 1 || len(m.Via) >= wire.MaxHops {
		counters.Drop(DropHopLimit, len(m.Destinations))
		return
	}
	m.HopsLeft--
	m.Via = append(m.Via, self)
	_ = f.send(f.endpoint.ctx, m, m.Destinations, from)
}
