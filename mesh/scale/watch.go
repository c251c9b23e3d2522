package scale

import (
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Watch follows how nodes come to go by something that changed, as told by a record of any of some origins.
type Watch struct {
	Began time.Duration
	// Told is when each origin told the mesh, 0 if it has not; Took is by node what passed since Began until it went by what one of them told: negative if it has not.
	Told []time.Duration
	Took []time.Duration

	w       *World
	origins []int
	keys    []core.RecordKey
	after   []wire.Stamp // what the origins had told before
	routes  bool
	left    int
}

// watch begins to follow a change of these origins' records that happens now.
func (w *World) watchFor(kind wire.RecordKind, origins ...int) *Watch {
	watch := &Watch{Began: w.now, w: w, origins: origins, Told: make([]time.Duration, len(origins)), Took: make([]time.Duration, len(w.nodes)), routes: kind == wire.RecordLinks}
	for _, o := range origins {
		key := core.RecordKey{Origin: w.nodes[o].id, Kind: kind}
		watch.keys = append(watch.keys, key)
		watch.after = append(watch.after, w.nodes[o].core.Held(key))
	}
	for i, n := range w.nodes {
		watch.Took[i] = -1
		if n.alive {
			watch.left++
		}
	}
	w.watch = append(w.watch, watch)
	return watch
}

// WatchLinks follows what both ends of a link, or any nodes, tell next of their links, until routes are computed with the first of it: a link counts at the worse of
// what its ends say.
func (w *World) WatchLinks(origins ...int) *Watch { return w.watchFor(wire.RecordLinks, origins...) }

// WatchInterest follows the next version of a node's interest.
func (w *World) WatchInterest(origin int) *Watch { return w.watchFor(wire.RecordInterest, origin) }

// Done reports whether all nodes that lived at its beginning go by it.
func (x *Watch) Done() bool { return x.left == 0 }

// Since is how long after the beginning the first of the origins told it; 0 if none has.
func (x *Watch) Since() (since time.Duration) {
	for _, at := range x.Told {
		if told := at - x.Began; at != 0 && (since == 0 || told < since) {
			since = told
		}
	}
	return since
}

// End no longer follows it.
func (x *Watch) End() {
	for i, other := range x.w.watch {
		if other == x {
			x.w.watch = append(x.w.watch[:i], x.w.watch[i+1:]...)
			return
		}
	}
}

// observe looks whether a node that was just stepped goes by what is followed.
func (n *node) observe() {
	for _, x := range n.watch {
		if x.Took[n.i] >= 0 {
			continue
		}
		some := false
		for k, key := range x.keys {
			newer := n.core.Held(key).Compare(x.after[k]) > 0
			if newer && x.origins[k] == n.i && x.Told[k] == 0 {
				x.Told[k] = n.now
			}
			some = some || newer
		}
		if some && (!x.routes || n.core.Current()) {
			x.Took[n.i] = n.now - x.Began
			x.left--
		}
	}
}

// Subscribe enters or withdraws interest of a node in a channel of tenant t.
func (w *World) Subscribe(i int, name string, wanted bool) {
	n := w.nodes[i]
	if !n.alive || n.wanted[name] == wanted {
		return
	}
	pattern, err := channel.ParsePattern(name)
	if err != nil {
		panic(fmt.Sprintf("scale: %v", err))
	}
	if n.wanted[name] = wanted; !wanted {
		delete(n.wanted, name)
	}
	n.post(core.InterestChanged{Tenant: "t", Pattern: pattern, Wanted: wanted})
}

// AfterSpread has f called when a node has heard from all that they go by the interest it was told of before.
func (w *World) AfterSpread(i int, f func()) {
	n := w.nodes[i]
	n.awaited++
	if n.spread == nil {
		n.spread = map[uint64]func(){}
	}
	n.spread[n.awaited] = f
	n.post(core.SpreadAwaited{ID: n.awaited})
}

// Routed reports whether each of the nodes that live has routes to so many others less one.
func (w *World) Routed(count int) bool {
	for _, n := range w.nodes {
		if n.alive && (n.table == nil || n.table.Len() < count-1) {
			return false
		}
	}
	return true
}

// Uses reports whether the route of any node to any other takes the link between two.
func (w *World) Uses(a, b int) bool {
	x, y := w.nodes[a].id, w.nodes[b].id
	for _, n := range w.nodes {
		if !n.alive || n.table == nil {
			continue
		}
		for to := range n.table.All() {
			path := n.table.Path(to)
			for k := 1; k < len(path); k++ {
				if path[k-1] == x && path[k] == y || path[k-1] == y && path[k] == x {
					return true
				}
			}
		}
	}
	return false
}
