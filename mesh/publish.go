package mesh

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// lookup is the working memory of one publish.
type lookup struct {
	keys  []interest.Key
	nodes []wire.NodeID
	m     wire.Message
}

// lookups keeps working memory between publishes.
type lookups struct{ pool sync.Pool }

func (l *lookups) take() *lookup {
	if w, ok := l.pool.Get().(*lookup); ok {
		return w
	}
	return new(lookup)
}

// Publish delivers a message to local subscribers and sends it to every node with interest. It waits while links on
// the way are full; the error is ctx's, or about a message that is not valid. Nodes that cannot be reached are counted, not reported.
func (n *Node) Publish(ctx context.Context, m channel.Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	w := n.lookups.take()
	defer n.lookups.pool.Put(w)
	w.m = wire.Message{
		Class: wire.ClassPublish, Mode: byte(m.Mode), Batch: m.Batch, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Via: w.m.Via[:0],
		Tenant: append(w.m.Tenant[:0], m.Tenant...), Channel: append(w.m.Channel[:0], m.Channel...), Payload: m.Payload,
	}
	if m.Mode != channel.Broadcast {
		w.m.Trace = n.sampled(&m, nil)
		return n.endpoint.Forwarder().SpreadOne(ctx, &w.m)
	}
	n.cfg.Deliver(m, Trace{Origin: n.meta.ID})
	if n.cfg.Delivered != nil {
		n.cfg.Delivered()
	}
	w.find(n.index, m.Tenant, m.Channel)
	if len(w.nodes) == 0 {
		return nil
	}
	w.m.Trace = n.sampled(&m, w.nodes)
	for batch := range slices.Chunk(w.nodes, wire.MaxDestinations) {
		if err := n.endpoint.Forwarder().Spread(ctx, &w.m, batch); err != nil {
			return err
		}
	}
	return nil
}

// Wanted reports whether this node or, as far as it knows, any other has subscribers of a channel.
func (n *Node) Wanted(tenant, name string) bool {
	if n.cfg.Wants != nil && n.cfg.Wants(tenant, name) {
		return true
	}
	w := n.lookups.take()
	defer n.lookups.pool.Put(w)
	w.find(n.index, tenant, name)
	return len(w.nodes) > 0
}

// find looks the nodes up that have interest in a channel, in no particular order.
func (w *lookup) find(x *interest.Index, tenant, name string) {
	w.keys = interest.AppendQuery(w.keys[:0], tenant, name)
	w.nodes = x.Lookup(w.nodes[:0], w.keys)
}

// choose picks the node whose subscriber gets a message for one. Local subscribers are at no distance.
func (n *Node) choose(m *wire.Message, tried []wire.NodeID) wire.NodeID {
	w := n.lookups.take()
	defer n.lookups.pool.Put(w)
	tenant, name := string(m.Tenant), string(m.Channel)
	w.find(n.index, tenant, name)
	if n.cfg.Wants != nil && n.cfg.Wants(tenant, name) {
		w.nodes = append(w.nodes, n.meta.ID)
	}
	return n.endpoint.Forwarder().Pick(w.nodes, tried, channel.Mode(m.Mode) == channel.DeliverRandom)
}

// SetInterest says whether this node has subscribers of a pattern.
func (n *Node) SetInterest(tenant string, p channel.Pattern, wanted bool) {
	n.post(core.InterestChanged{Tenant: tenant, Pattern: p, Wanted: wanted})
}

// arrived takes what has this node as a destination off a link, and reports whether a local subscriber took it.
func (n *Node) arrived(m *wire.Message) (taken bool) {
	switch m.Class {
	case wire.ClassPublish:
		msg := channel.Message{Tenant: string(m.Tenant), Channel: string(m.Channel), Mode: channel.Mode(m.Mode), Batch: m.Batch, Payload: m.Payload}
		if err := msg.Validate(); err != nil {
			n.endpoint.Counters().Drop(forward.DropMalformed, 1)
			return false
		}
		if channel.IsReserved(msg.Channel) && msg.Channel != channel.MeshPrefix+m.Origin.String() { // a node speaks for itself alone
			n.endpoint.Counters().Drop(forward.DropForged, 1)
			n.endpoint.Blame(m.Origin, forward.FaultForged, 1)
			return false
		}
		t := Trace{Origin: m.Origin, Via: m.Via, Age: time.Duration(m.Age) * time.Microsecond}
		n.ages.add(t.Age)
		if taken = n.cfg.Deliver(msg, t); !taken && msg.Mode == channel.Broadcast {
			n.unwanted.Add(1)
		}
		return taken
	case wire.ClassTrace: // that it has come is all
		return true
	case wire.ClassSWIM:
		n.swimPacket(m)
	case wire.ClassShared:
		n.spreadCame(m)
	case wire.ClassAck, wire.ClassHop: // the forwarder's own
	case wire.ClassControl:
		err := wire.ErrMalformed
		if len(m.Payload) > 0 {
			err = n.control(m.Origin, m.Payload)
		}
		if err != nil {
			n.endpoint.Counters().Drop(forward.DropMalformed, 1)
			n.endpoint.Blame(m.Origin, forward.FaultOf(err), 1)
		}
	}
	return false
}

// spreadsMost bounds those who wait to hear that interest has spread.
const spreadsMost = 1 << 16

// spreads is what to call when interest has spread.
type spreads struct {
	refused atomic.Uint64 // for lack of room

	mu      sync.Mutex // guards what follows
	last    uint64
	waiting map[uint64]func()
}

// add keeps f and returns its ID; false if too many wait.
func (s *spreads) add(f func()) (id uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= spreadsMost {
		return 0, false
	}
	if s.waiting == nil {
		s.waiting = map[uint64]func(){}
	}
	s.last++
	s.waiting[s.last] = f
	return s.last, true
}

func (s *spreads) done(ids []uint64) {
	for _, id := range ids {
		s.mu.Lock()
		f := s.waiting[id]
		delete(s.waiting, id)
		s.mu.Unlock()
		f()
	}
}

// AfterSpread has f called when every node known then has said that it goes by the interest set before. It is called once, by the node's own
// goroutine, so it must not block; or never, if the node stops, or if more than 65,536 wait.
func (n *Node) AfterSpread(f func()) {
	if id, ok := n.spreads.add(f); ok {
		n.post(core.SpreadAwaited{ID: id})
	} else {
		n.spreads.refused.Add(1)
	}
}
