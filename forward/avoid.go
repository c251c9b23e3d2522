package forward

import (
	"slices"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/flight"
	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// avoidMost bounds the tables around relays that one snapshot makes: each costs a shortest-path computation, and any node may ask for one.
const avoidMost = 16

// avoidings are the tables around relays, made as they are needed.
type avoidings struct {
	mu     sync.Mutex // guards what follows
	tables []avoiding
}

type avoiding struct {
	relays []wire.NodeID
	table  *route.Table
}

// avoiding is the table around these relays; nil if there were too many others.
func (s *Snapshot) avoiding(relays []wire.NodeID) *route.Table {
	s.around.mu.Lock()
	defer s.around.mu.Unlock()
	for _, a := range s.around.tables {
		if slices.Equal(a.relays, relays) {
			return a.table
		}
	}
	if s.Table == nil || len(s.around.tables) >= avoidMost {
		return nil
	}
	a := avoiding{slices.Clone(relays), s.Table.Avoiding(relays)}
	s.around.tables = append(s.around.tables, a)
	return a.table
}

// way is how messages to a node go.
func (s *Snapshot) way(id wire.NodeID) flight.Way {
	return func(avoid []wire.NodeID) (relays []wire.NodeID, takes time.Duration, ok bool) {
		table := s.Table
		if len(avoid) > 0 {
			table = s.avoiding(avoid)
		}
		if table == nil {
			return nil, 0, false
		}
		r, ok := table.Lookup(id)
		if !ok {
			return nil, 0, false
		}
		if r.NextHop == id { // mostly
			return nil, time.Duration(r.Cost) * time.Microsecond, true
		}
		path := table.Path(id)
		return path[1 : len(path)-1], time.Duration(r.Cost) * time.Microsecond, true
	}
}

// detour is the share of a message's destinations that go around the same relays.
type detour struct {
	avoid        []wire.NodeID
	destinations []wire.Destination
}

// addDetour puts a destination to those that avoid the same relays.
func addDetour(detours []detour, avoid []wire.NodeID, d wire.Destination) []detour {
	for i := range detours {
		if slices.Equal(detours[i].avoid, avoid) {
			detours[i].destinations = append(detours[i].destinations, d)
			return detours
		}
	}
	return append(detours, detour{avoid, []wire.Destination{d}})
}
