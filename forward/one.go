package forward

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// cutOffPatience is how long no route may lead to a node before what it has not acknowledged, and was for one subscriber, goes to another. The node
// may live and have delivered it, so a short outage is waited for rather than risk a second delivery.
const cutOffPatience = 500 * time.Millisecond

// SpreadOne publishes a message for one subscriber from its origin: to the node that Config.Choose picks, then to the next one as long as nodes refuse
// it, restart, or cannot be reached. It waits like Spread, and only for the first of them. With nobody to take it, the message is
// dropped and counted.
func (f *Forwarder) SpreadOne(ctx context.Context, m *wire.Message) error {
	s := f.take()
	defer f.scratch.Put(s)
	f.originate(m)
	snapshot := f.snapshot.Load()
	to, tried := f.choose(snapshot, m, nil)
	if to == 0 {
		return nil
	}
	return f.first(ctx, m, s, snapshot, []wire.NodeID{to}, aim{tried: tried})
}

// aim is what distinguishes a message that is not simply for all subscribers in their channel's order, which the zero value is.
type aim struct {
	tried []wire.NodeID // where it was sent, the present destination last
	// unordered: it has no place among others. What was sent elsewhere before has lost it, as it expires before its neighbours.
	unordered bool
}

// choose is the node to send to, and the nodes tried with that as the last; or 0 where this node's subscribers took the message, or nobody can.
func (f *Forwarder) choose(s *Snapshot, m *wire.Message, tried []wire.NodeID) (to wire.NodeID, triedNow []wire.NodeID) {
	for {
		to = f.endpoint.cfg.Choose(m, tried)
		tried = append(slices.Clip(tried), to)
		if to == 0 {
			f.endpoint.counters.Drop(DropNoTaker, 1)
			return 0, nil
		}
		if to == f.endpoint.self {
			if f.endpoint.cfg.Deliver(m) {
				f.endpoint.cfg.Delivered()
				return 0, nil
			}
		} else if _, known := s.Boots[to]; known {
			return to, tried
		}
	}
}

// isForOne reports whether a message is for one subscriber.
func isForOne(c *cargo) bool { return c.tried != nil }

// takeBack takes messages out of a table. o.mu is held.
func (f *flights) takeBack(o *outgoing, wanted func(*cargo) bool) []*cargo {
	before := o.table.Bytes()
	taken := o.table.Take(wanted)
	f.bytes.Add(int64(o.table.Bytes() - before))
	return taken
}

// sendElsewhere sends messages for one subscriber on to another node than the last they were sent to. It does not wait: what finds no room is due in
// the table. No lock is held.
func (f *flights) sendElsewhere(orphans []*cargo) {
	forwarder := f.endpoint.forwarder
	for _, c := range orphans {
		if !isForOne(c) {
			continue // a destination that refuses what is for all has no claim to more
		}
		m := c.message
		m.AddAge(max(time.Since(c.born), time.Microsecond))
		if m.Expired() {
			f.endpoint.counters.Drop(DropExpired, 1)
			continue
		}
		snapshot := forwarder.snapshot.Load()
		to, tried := forwarder.choose(snapshot, &m, c.tried)
		if to == 0 {
			continue
		}
		f.endpoint.counters.Reaimed.Add(1)
		ds, detours := f.enter(&m, snapshot, []wire.NodeID{to}, aim{tried, true}, nil)
		for _, d := range detours { // one at most
			m.Avoid, ds = d.avoid, d.destinations
		}
		for _, d := range ds {
			if forwarder.offer(&m, d) != nil {
				f.makeDue(d)
			}
		}
	}
}

// makeDue has the worker send a message that could not be sent.
func (f *flights) makeDue(d wire.Destination) {
	f.mu.Lock()
	o := f.out[d.ID]
	f.mu.Unlock()
	if o == nil {
		return
	}
	o.mu.Lock()
	o.table.Undo(time.Now(), d.Seq)
	at := f.rest(o)
	o.mu.Unlock()
	f.wake(at)
}

// isCutOff reports whether no route has led to a destination for too long.
func (o *outgoing) isCutOff(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.cutOff.IsZero() && now.Sub(o.cutOff) >= cutOffPatience
}

// leave sends what is for one subscriber, and waits for a destination that no route leads to, to nodes that can be reached, if there are any.
func (f *flights) leave(now time.Time, o *outgoing) {
	reachable := f.endpoint.forwarder.Reachable
	var ones []*cargo
	o.mu.Lock()
	if reachable(o.id) {
		o.cutOff = time.Time{}
	} else {
		o.cutOff = now // it is looked at again, as others may come
		o.table.Take(func(c *cargo) bool {
			if isForOne(c) {
				ones = append(ones, c)
			}
			return false
		})
	}
	o.mu.Unlock()
	movable := make(map[*cargo]bool, len(ones))
	for _, c := range ones {
		to := f.endpoint.cfg.Choose(&c.message, c.tried)
		movable[c] = to == f.endpoint.self || to != 0 && reachable(to)
	}
	o.mu.Lock()
	taken := f.takeBack(o, func(c *cargo) bool { return movable[c] })
	o.mu.Unlock()
	f.sendElsewhere(taken)
}

// Pick chooses among nodes, of those not tried: the nearest by route cost, this node before all others, or a random one. Nodes that no route leads to
// come last. It is 0 if there is none; nodes is used as working memory.
func (f *Forwarder) Pick(nodes, tried []wire.NodeID, random bool) wire.NodeID {
	s := f.snapshot.Load()
	nodes = slices.DeleteFunc(nodes, func(id wire.NodeID) bool { return slices.Contains(tried, id) })
	best, least, equal := wire.NodeID(0), uint64(math.MaxUint64), 0
	for _, id := range nodes {
		cost := s.distance(f.endpoint.self, id)
		if random && cost < unreachable {
			cost = 0
		}
		if cost < least {
			best, least, equal = id, cost, 0
		}
		if cost == least { // each of those equally far with the same chance: reservoir sampling
			if equal++; rand.IntN(equal) == 0 {
				best = id
			}
		}
	}
	return best
}

// unreachable is farther than any route.
const unreachable = math.MaxUint32 + 1

// distance is the cost of the route to a node.
func (s *Snapshot) distance(self, id wire.NodeID) uint64 {
	if id == self {
		return 0
	}
	if s.Table != nil {
		if r, ok := s.Table.Lookup(id); ok {
			return uint64(r.Cost)
		}
	}
	return unreachable
}
