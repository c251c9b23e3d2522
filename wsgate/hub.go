package wsgate

import (
	"sync"
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// HubConfig configures a Hub.
type HubConfig struct {
	// MaxFrame bounds a delivery frame, in bytes; 0 means 1 MiB. Only a connection with thousands of overlapping patterns
	// gets near it. A larger delivery is dropped for that connection and counted.
	MaxFrame int
}

// Hub holds the subscriptions of this node's connections and hands messages to them. It is safe for concurrent use.
type Hub struct {
	maxFrame int
	tenants  channel.Table[*tenant] // changed under mu
	fanouts  sync.Pool              // of *fanout

	_ [64]byte // what every publisher reads keeps off the cache lines that others write to

	tooLarge atomic.Uint64
	due      dueList

	mu   sync.Mutex // for changes; who only reads the tenants and what they hold goes without (see look)
	held int        // subscriptions
}

// subscriber is a connection as the Hub sees it.
type subscriber struct {
	box  *outbox
	json atomic.Bool // deliver in JSON

	picky bool                        // a subscription has or had a policy other than the default; only the connection's reader changes it
	held  map[*interest]*subscription // belongs to the connection's reader, which makes all calls that change it
}

// NewHub returns an empty Hub.
func NewHub(cfg HubConfig) *Hub {
	h := &Hub{maxFrame: cfg.MaxFrame}
	if h.maxFrame <= 0 {
		h.maxFrame = 1 << 20
	}
	h.fanouts.New = func() any { return newFanout() }
	return h
}

// subscribe adds a subscription, unless the subscriber has it already. The caller owes a settle of the interest.
// At limit subscriptions, it adds nothing and returns nil.
func (h *Hub) subscribe(to *subscriber, tenantName string, p channel.Pattern, limit int) *interest {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := h.find(tenantName, p)
	if in != nil && to.held[in] != nil {
		return in
	}
	if len(to.held) >= limit {
		return nil
	}
	if in == nil {
		in = h.add(tenantName, p)
	}
	s := &subscription{to: to, of: in}
	in.roster.add(s)
	if to.held == nil {
		to.held = map[*interest]*subscription{}
	}
	to.held[in] = s
	h.held++
	return in
}

// holds tells whether the subscriber has such a subscription.
func (h *Hub) holds(to *subscriber, tenantName string, p channel.Pattern) bool {
	in := h.find(tenantName, p)
	return in != nil && to.held[in] != nil
}

// unsubscribe removes a subscription and returns its interest, which the caller owes a settle; or nil if there was none.
func (h *Hub) unsubscribe(to *subscriber, tenantName string, p channel.Pattern) *interest {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := h.find(tenantName, p)
	if in == nil || to.held[in] == nil {
		return nil
	}
	h.remove(to.held[in])
	delete(to.held, in)
	return in
}

// leave removes all subscriptions of a connection that ends.
func (h *Hub) leave(to *subscriber, announce announcer) {
	for in, s := range to.held {
		h.mu.Lock()
		h.remove(s)
		h.mu.Unlock()
		h.settle(in, announce, nil)
	}
	to.held = nil
}

// subscriptions is the number of subscriptions held.
func (h *Hub) subscriptions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// find is the interest in p, or nil.
func (h *Hub) find(tenantName string, p channel.Pattern) *interest {
	t, found := h.tenants.Get(tenantName)
	if !found {
		return nil
	}
	in, _ := t.interests.Get(p)
	return in
}

// add makes an interest in p, without subscriptions. h.mu is held.
func (h *Hub) add(tenantName string, p channel.Pattern) *interest {
	t, found := h.tenants.Get(tenantName)
	if !found {
		t = &tenant{name: tenantName}
		h.tenants.Put(tenantName, t)
	}
	in := &interest{tenant: t, pattern: p}
	t.interests.Put(p, in)
	return in
}

// announcer tells the overlay that an interest came or went; Broker.SetInterest is one.
type announcer func(tenant string, p channel.Pattern, wanted bool)

// settle tells the overlay of the interest what it was not yet told, and forgets an interest that nobody has any more. Then, if it is
// not nil, is called once the overlay has been told how things are, by whoever told it.
// Whoever comes while another announces the same interest leaves it to him: he looks again when he is done. So calls
// for one interest never overlap, alternate between on and off, and the last one says how things are (invariant 6),
// while no lock is held during a call.
func (h *Hub) settle(in *interest, announce announcer, then func()) {
	for _, settled := range h.announceAll(in, announce, then) {
		settled()
	}
}

// announceAll is settle but for the calls, which it returns.
func (h *Hub) announceAll(in *interest, announce announcer, then func()) (settled []func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if then != nil {
		in.settled = append(in.settled, then)
	}
	if in.announcing {
		return nil
	}
	in.announcing = true
	for in.announced != (in.roster.live.Load() > 0) {
		in.announced = !in.announced
		wanted := in.announced
		h.mu.Unlock()
		announce(in.tenant.name, in.pattern, wanted)
		h.mu.Lock()
	}
	in.announcing = false
	settled, in.settled = in.settled, nil
	if in.roster.live.Load() == 0 {
		h.forget(in)
	}
	return settled
}

// forget removes an interest, unless that was done already. h.mu is held.
func (h *Hub) forget(in *interest) {
	t := in.tenant
	if current, _ := t.interests.Get(in.pattern); current != in {
		return
	}
	t.interests.Delete(in.pattern)
	if t.interests.Len() == 0 {
		h.tenants.Delete(t.name)
	}
}
