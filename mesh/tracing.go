package mesh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/trace"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// errStopped reports that the node has stopped.
var errStopped = errors.New("mesh: the node has stopped")

// tracing is what this node traces. How many requests there are at once is bounded by who serves them.
type tracing struct {
	samplers atomic.Pointer[[]*sampler] // nil: no client's message is looked at; replaced whole under mu

	mu      sync.Mutex // guards what follows, and what hangs on it
	running map[uint64]*traced
}

// traced is a message under way, or one that what is told of is still waited for.
type traced struct {
	at         time.Time
	tenant     string
	channel    string
	sampled    bool
	local      bool
	directs    trace.Directs
	collection *trace.Collection
	changed    chan struct{} // capacity 1: something was told; shared by the messages of a request
}

// sampler picks messages of clients to trace.
type sampler struct {
	request trace.Request
	pattern channel.Pattern
	changed chan struct{}

	mu   sync.Mutex // guards what follows
	seen int        // messages that match
	left int        // to pick
	ids  []uint64   // of those picked
	done bool       // nothing more is picked
}

// Trace traces as the request says and returns what has been told once it is all, the request's time is over, or ctx ends. Requests that cannot be carried out are
// fs.ErrInvalid.
func (n *Node) Trace(ctx context.Context, r trace.Request) (trace.Answer, error) {
	names := n.names()
	if names == nil {
		return trace.Answer{}, errStopped
	}
	ctx, cancel := context.WithTimeout(ctx, r.Wait())
	defer cancel()
	var ids []uint64
	var err error
	if r.Sample > 0 {
		ids, err = n.traceSamples(ctx, r)
	} else {
		ids, err = n.traceOne(ctx, r, names)
	}
	defer n.tracing.forget(ids)
	if err != nil {
		return trace.Answer{}, err
	}
	name := func(id wire.NodeID) string {
		if known := names[id]; known != "" {
			return known
		}
		return id.Short()
	}
	a := trace.Answer{Node: trace.Node{ID: n.meta.ID, Name: n.meta.Name}, Messages: []trace.Message{}}
	for _, id := range ids {
		a.Messages = append(a.Messages, n.tracing.message(id, name))
	}
	return a, nil
}

// ServeTrace is Trace for POST /v1/trace: of a trace.Request as JSON.
func (n *Node) ServeTrace(ctx context.Context, request []byte) (any, error) {
	r, err := trace.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	return n.Trace(ctx, r)
}

// names are the nodes of the mesh by ID; nil once this one has stopped.
func (n *Node) names() map[wire.NodeID]string {
	v, ok := n.View()
	if !ok {
		return nil
	}
	names := map[wire.NodeID]string{n.meta.ID: n.meta.Name}
	for _, m := range v.Members {
		names[m.ID] = m.Name
	}
	return names
}

// traceOne sends a message made for it and waits for what is told.
func (n *Node) traceOne(ctx context.Context, r trace.Request, names map[wire.NodeID]string) (ids []uint64, err error) {
	w := n.lookups.take()
	defer n.lookups.pool.Put(w)
	t := &traced{tenant: r.Tenant, channel: r.Channel, changed: make(chan struct{}, 1)}
	if r.To != "" {
		id, err := n.named(r.To, names)
		if err != nil {
			return nil, err
		}
		w.nodes = append(w.nodes[:0], id)
	} else {
		w.find(n.index, r.Tenant, r.Channel)
		t.local = n.cfg.Wants != nil && n.cfg.Wants(r.Tenant, r.Channel)
	}
	m := wire.Message{
		Class: wire.ClassTrace, Trace: n.tracing.begin(n, t, w.nodes), Deadline: uint32(n.cfg.Deadline.Milliseconds()),
		Tenant: []byte(r.Tenant), Channel: []byte(r.Channel),
	}
	ids = []uint64{m.Trace}
	if len(w.nodes) == 0 {
		return ids, nil
	}
	for batch := range slices.Chunk(w.nodes, wire.MaxDestinations) {
		if n.endpoint.Forwarder().Spread(ctx, &m, batch) != nil {
			return ids, nil // its time is over: what was told so far is the answer
		}
	}
	await(ctx, t.changed, func() bool { return n.tracing.complete(ids) })
	return ids, nil
}

// traceSamples has messages of clients traced and waits for what is told.
func (n *Node) traceSamples(ctx context.Context, r trace.Request) ([]uint64, error) {
	pattern, err := channel.ParsePattern(r.Channel)
	if err != nil {
		return nil, err
	}
	s := &sampler{request: r, pattern: pattern, left: r.Sample, changed: make(chan struct{}, 1)}
	n.tracing.sample(s, true)
	defer n.tracing.sample(s, false)
	picked := func() []uint64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ids
	}
	await(ctx, s.changed, func() bool {
		ids := picked()
		return len(ids) == r.Sample && n.tracing.complete(ids)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	return s.ids, nil
}

// named is the node of a name or ID.
func (n *Node) named(text string, names map[wire.NodeID]string) (wire.NodeID, error) {
	var found []wire.NodeID
	for id, name := range names {
		if id.String() == strings.ToLower(text) {
			found = []wire.NodeID{id}
			break
		}
		if strings.EqualFold(name, text) {
			found = append(found, id)
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("%w request: no node %.70q is known to %s; fastpubsub status lists those that are", fs.ErrInvalid, text, n.meta.Name)
	case len(found) > 1:
		slices.Sort(found)
		return 0, fmt.Errorf("%w request: %d nodes are named %q; give the ID of one: %v", fs.ErrInvalid, len(found), text, found[:min(len(found), 4)])
	case found[0] == n.meta.ID:
		return 0, fmt.Errorf("%w request: %s is the node that traces; ask another, or for another", fs.ErrInvalid, n.meta.Name)
	}
	return found[0], nil
}

// sampled is the trace of a message that a client has published for these nodes; 0 for nearly all.
func (n *Node) sampled(m *channel.Message, to []wire.NodeID) uint64 {
	samplers := n.tracing.samplers.Load()
	if samplers == nil {
		return 0
	}
	for _, s := range *samplers {
		if s.request.Tenant != m.Tenant || !s.pattern.Matches(m.Channel) {
			continue
		}
		if id := s.pick(n, m, to); id != 0 {
			return id
		}
	}
	return 0
}

func (s *sampler) pick(n *Node, m *channel.Message, to []wire.NodeID) uint64 {
	if !s.wants() {
		return 0
	}
	t := &traced{tenant: m.Tenant, channel: m.Channel, sampled: true, changed: s.changed}
	t.local = n.cfg.Wants != nil && n.cfg.Wants(m.Tenant, m.Channel)
	id := n.tracing.begin(n, t, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		n.tracing.forget([]uint64{id})
		return 0
	}
	s.ids = append(s.ids, id)
	return id
}

// wants counts a message, and reports whether it is one to pick.
func (s *sampler) wants() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if s.done || s.left == 0 || (s.seen-1)%s.request.Every != 0 {
		return false
	}
	s.left--
	return true
}

// begin keeps what is told of a message from now on, until it is forgotten, and returns its trace.
func (t *tracing) begin(n *Node, m *traced, to []wire.NodeID) uint64 {
	m.at, m.directs, m.collection = time.Now(), n.directs(), trace.NewCollection(n.meta.ID, to)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running = map[uint64]*traced{}
	}
	id := rand.Uint64()
	for id == 0 || t.running[id] != nil {
		id = rand.Uint64()
	}
	t.running[id] = m
	return id
}

// directs are the links that messages could take, and how long they take.
func (n *Node) directs() trace.Directs {
	directs := trace.Directs{}
	for _, l := range n.endpoint.Links() {
		if l.Usable() {
			directs[l.Peer] = l.RTT() / 2
		}
	}
	return directs
}

// sample begins to sample, or ends it.
func (t *tracing) sample(s *sampler, begin bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next []*sampler
	if now := t.samplers.Load(); now != nil {
		next = slices.DeleteFunc(slices.Clone(*now), func(other *sampler) bool { return other == s })
	}
	if begin {
		next = append(next, s)
	}
	if len(next) == 0 {
		t.samplers.Store(nil)
		return
	}
	t.samplers.Store(&next)
}

// await waits until enough has been told, or ctx ends.
func await(ctx context.Context, changed <-chan struct{}, enough func() bool) {
	for !enough() {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// complete reports whether nothing more is to come of these messages.
func (t *tracing) complete(ids []uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id uint64) bool { return !t.running[id].collection.Complete() })
}

// message is what was told of one.
func (t *tracing) message(id uint64, name func(wire.NodeID) string) trace.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.running[id]
	return trace.Message{
		Trace: fmt.Sprintf("%016x", id), At: m.at, Tenant: m.tenant, Channel: m.channel, Sampled: m.sampled, Local: m.local,
		Paths: m.collection.Paths(m.directs, name),
	}
}

func (t *tracing) forget(ids []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.running, id)
	}
}

// hopTold takes what a node tells of a message. What nobody here has asked for, as what comes late or is made up, is dropped.
func (n *Node) hopTold(from wire.NodeID, h *wire.Hop) {
	t := &n.tracing
	t.mu.Lock()
	m := t.running[h.Trace]
	taken := m != nil && m.collection.Add(from, h)
	t.mu.Unlock()
	if !taken {
		n.endpoint.Counters().Drop(forward.DropTraces, 1)
		return
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
