package interest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Index holds the filters of all nodes and finds those that want a channel. The zero value is empty and ready for use.
// Set, ApplyDelta, Remove and Len belong to one goroutine, or one at a time; Lookup may run beside them in any number.
type Index struct {
	current atomic.Pointer[snapshot]
	nodes   map[wire.NodeID]*member
}

// snapshot says which slot of which class belongs to which node; it never changes. The rows of its classes do: while it is
// current, each slot has at least the bits of its node's filter at publication.
type snapshot struct{ classes []*class }

// member is the writer's knowledge of one node.
type member struct {
	filter *Filter
	slot   int // in the class of the filter's shape
}

// Lookup appends the nodes whose filter has any of the keys, each once, in no particular order.
func (x *Index) Lookup(dst []wire.NodeID, keys []Key) []wire.NodeID {
	start := len(dst)
	for {
		s := x.current.Load()
		if s == nil {
			return dst
		}
		for _, c := range s.classes {
			dst = c.appendMatches(dst, keys)
		}
		if x.current.Load() == s {
			return dst
		}
		dst = dst[:start] // a slot or a bit may have been taken away under our eyes
	}
}

// Len is the number of nodes.
func (x *Index) Len() int { return len(x.nodes) }

// Bytes is what the index takes for its filters, in both of the ways in which it keeps them.
func (x *Index) Bytes() (sum int) {
	for _, m := range x.nodes {
		sum += 8 * len(m.filter.words)
	}
	if s := x.current.Load(); s != nil {
		for _, c := range s.classes {
			sum += 8 * len(c.rows)
		}
	}
	return sum
}

// FalsePositiveRate estimates the probability that a node is taken to want what it does not, as the mean over all nodes (see Filter.FalsePositiveRate); 0 without nodes.
func (x *Index) FalsePositiveRate() float64 {
	if len(x.nodes) == 0 {
		return 0
	}
	sum := 0.0
	for _, m := range x.nodes {
		sum += m.filter.FalsePositiveRate()
	}
	return sum / float64(len(x.nodes))
}

// Set enters a node's filter or replaces the one it had. The index owns f from then on: the caller may read it where it
// may write the index, but not Apply to it.
func (x *Index) Set(id wire.NodeID, f *Filter) {
	m, known := x.nodes[id]
	if known && m.filter.shape == f.shape {
		x.change(m, diff(m.filter, f))
		m.filter = f
		return
	}
	classes := x.classes()
	if known {
		classes = x.vacate(classes, m)
	}
	if x.nodes == nil {
		x.nodes = make(map[wire.NodeID]*member)
	}
	x.nodes[id] = &member{filter: f}
	x.current.Store(&snapshot{x.occupy(classes, id)})
}

// ApplyDelta brings a node's filter one version forward, as Filter.Apply does; ErrBase too if the node has none.
func (x *Index) ApplyDelta(id wire.NodeID, body []byte) error {
	d, err := parseDelta(body)
	if err != nil {
		return err
	}
	m, known := x.nodes[id]
	if !known {
		return fmt.Errorf("%w: node %s has none", ErrBase, id)
	}
	if err := m.filter.check(d); err != nil {
		return err
	}
	m.filter.apply(d)
	x.change(m, d)
	return nil
}

// Remove forgets a node; one that is not there is no fault.
func (x *Index) Remove(id wire.NodeID) {
	m, known := x.nodes[id]
	if !known {
		return
	}
	delete(x.nodes, id)
	x.current.Store(&snapshot{x.vacate(x.classes(), m)})
}

// classes is a copy of the current list of classes, for a change to be published.
func (x *Index) classes() []*class {
	if s := x.current.Load(); s != nil {
		return slices.Clone(s.classes)
	}
	return nil
}

// change takes a delta to a node's slot, which is in use. Bits are taken away only after a publication, so that a lookup
// sees all bits of before or all bits of after: else one that asks for a key that comes, then for one that goes, could
// miss a node which at every moment had one of them.
func (x *Index) change(m *member, d delta) {
	classes := x.current.Load().classes
	c := classes[find(classes, m.filter.shape)]
	c.set(m.slot, d.set)
	if len(d.cleared) > 0 {
		x.current.Store(&snapshot{classes})
		c.clear(m.slot, d.cleared)
	}
}

// find is the place of the class of a shape, or -1.
func find(classes []*class, s shape) int {
	return slices.IndexFunc(classes, func(c *class) bool { return c.shape == s })
}

// occupy gives a node of x.nodes a slot in the class of its filter, which is made or doubled where there is none free.
func (x *Index) occupy(classes []*class, id wire.NodeID) []*class {
	m := x.nodes[id]
	i := find(classes, m.filter.shape)
	if i < 0 {
		i = len(classes)
		classes = append(classes, newClass(m.filter.shape, 0))
	}
	c := classes[i]
	if c.used == c.slots() {
		classes[i] = x.rebuild(c, c.log2Slots+1, id)
		return classes
	}
	m.slot = c.free()
	c.overwrite(m.slot, m.filter)
	classes[i] = c.with(m.slot, id)
	return classes
}

// vacate gives up the slot of a node that left the class. The class goes with its last node, and is halved when
// three quarters of its slots are free.
func (x *Index) vacate(classes []*class, m *member) []*class {
	i := find(classes, m.filter.shape)
	c := classes[i].without(m.slot)
	switch {
	case c.used == 0:
		return slices.Delete(classes, i, i+1)
	case 4*c.used <= c.slots():
		c = x.rebuild(c, c.log2Slots-1)
	}
	classes[i] = c
	return classes
}

// rebuild makes the class anew, with another number of slots, for the nodes that it has and those that come.
func (x *Index) rebuild(c *class, log2Slots uint8, coming ...wire.NodeID) *class {
	ids := slices.Concat(c.members(), coming)
	filters := make([]*Filter, len(ids))
	for slot, id := range ids {
		m := x.nodes[id]
		m.slot = slot
		filters[slot] = m.filter
	}
	return slicedClass(c.shape, log2Slots, ids, filters)
}
