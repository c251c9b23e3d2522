package wsgate

import (
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// tenant holds the interests of one tenant; there is none without interests.
type tenant struct {
	name      string
	interests channel.Trie[*interest]
	turns     atomic.Uint64 // changes after which a look must begin anew
}

// interest is a (tenant, pattern) with local subscribers, or whose end the overlay has yet to hear of.
type interest struct {
	tenant  *tenant
	pattern channel.Pattern
	roster  roster

	announced  bool     // what the overlay was told last; Hub.mu guards this and what follows
	announcing bool     // somebody is in settle with it
	settled    []func() // to be called when he is done
}

// subscription is one connection's share in an interest.
type subscription struct {
	to     *subscriber
	of     *interest
	at     int32         // its place in of.roster; Hub.mu guards it
	policy atomic.Uint32 // a policy, changed under Hub.mu
}

// roster is the subscriptions of an interest. Its owner changes it, one change at a time, while others read it. A subscription keeps its place, and a place that it left stays
// empty, until there is no place left at the end or half of them are empty: then all move to a new array, and the readers of the old one finish there. So coming and going cost
// the same however many there are.
type roster struct {
	places atomic.Pointer[[]atomic.Pointer[subscription]] // nil: nobody
	live   atomic.Int32                                   // places that are taken
}

// all is the places given out so far, of which some may be empty, or may come to be. It does not grow: who comes later is in later ones only.
func (r *roster) all() []atomic.Pointer[subscription] {
	if places := r.places.Load(); places != nil {
		return *places
	}
	return nil
}

func (r *roster) add(s *subscription) {
	places := r.all()
	if len(places) == cap(places) {
		places = r.moved()
	}
	longer := places[:len(places)+1]
	s.at = int32(len(places))
	longer[s.at].Store(s)
	r.places.Store(&longer)
	r.live.Add(1)
}

func (r *roster) remove(s *subscription) {
	places := r.all()
	places[s.at].Store(nil)
	switch left := int(r.live.Add(-1)); {
	case left == 0:
		r.places.Store(nil)
	case left < len(places)/2:
		fewer := r.moved()
		r.places.Store(&fewer)
	}
}

// moved is an array with what is in the roster and room for a quarter more.
func (r *roster) moved() []atomic.Pointer[subscription] {
	live := int(r.live.Load())
	fresh := make([]atomic.Pointer[subscription], live+live/4+1)
	n := 0
	for places := r.all(); n < live; places = places[1:] {
		if s := places[0].Load(); s != nil {
			s.at = int32(n)
			fresh[n].Store(s)
			n++
		}
	}
	return fresh[:live]
}

// looks is how often look looks without the lock.
const looks = 3

// look calls f to read the interests of a tenant and their subscriptions, or does nothing where there are none. f must begin afresh in each call, and the last one counts.
//
// f needs no lock: it sees each change that is made meanwhile or does not. Of two changes it might see only the later, and miss a connection that subscribes to
// one pattern before it gives up another, and so has a subscription all the time. So a removal begins with a turn of the tenant, and where there was one f looks again; the
// last time with all changes held off.
func (h *Hub) look(tenantName string, f func(t *tenant)) {
	t, found := h.tenants.Get(tenantName)
	if !found {
		return
	}
	for range looks {
		before := t.turns.Load()
		f(t)
		if t.turns.Load() == before {
			return
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f(t)
}

// remove takes a subscription out of its interest. h.mu is held.
func (h *Hub) remove(s *subscription) {
	s.of.tenant.turns.Add(1)
	s.of.roster.remove(s)
	h.held--
}
