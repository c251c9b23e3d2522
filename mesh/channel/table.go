package channel

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// Table is a map from names to V, for one goroutine at a time that changes it and any number that read it meanwhile, without a lock and without ever waiting. The zero
// Table is empty and ready. Clients choose the names, so where they fall is seeded at random; that shows in nothing but time.
//
// It is an array of chains. A change is one store into one link, so a reader sees all of it or nothing. An item taken out of a chain keeps its own link, and what it leads
// to is what followed it then: a reader who stands there loses nothing that was in the table throughout (the reasoning of Harris, "A pragmatic implementation of
// non-blocking linked-lists", DISC 2001, with no second writer to guard against). A larger or smaller array is built beside the old one, whose readers finish there.
type Table[V any] struct {
	chains atomic.Pointer[chains[V]] // nil: empty
	size   atomic.Int64
}

// chains are the heads of the chains of a table, in number a power of two.
type chains[V any] struct {
	seed  maphash.Seed
	heads []atomic.Pointer[item[V]]
}

// item is a name with its value. Only the link to the next of its chain changes.
type item[V any] struct {
	next  atomic.Pointer[item[V]]
	name  string
	value V
}

const (
	fewestChains = 2
	// A table has no more items than chains, and no fewer than one for so many chains. Over either bound it moves to as many chains as make it half full again: a move of two
	// items for each Put since the last one at most, or of one for each three Deletes.
	shrinkFactor = 8
	shrinkFloor  = 64 // fewer chains are not worth a move
)

// Len is the number of names.
func (t *Table[V]) Len() int { return int(t.size.Load()) }

// Get is the value under a name, and whether there is one.
func (t *Table[V]) Get(name string) (v V, found bool) {
	if i := t.find(name); i != nil {
		return i.value, true
	}
	return v, false
}

// find is the item of a name, or nil.
func (t *Table[V]) find(name string) *item[V] {
	c := t.chains.Load()
	if c == nil {
		return nil
	}
	i := c.heads[c.at(name)].Load() // each link is followed once: read again it may lead elsewhere
	for i != nil && i.name != name {
		i = i.next.Load()
	}
	return i
}

// Put stores v under a name, in place of what was there.
func (t *Table[V]) Put(name string, v V) {
	c := t.chains.Load()
	if c == nil {
		c = newChains[V](maphash.MakeSeed(), fewestChains)
		t.chains.Store(c)
	}
	link, fresh := c.link(name), &item[V]{name: name, value: v}
	if old := link.Load(); old != nil {
		fresh.next.Store(old.next.Load())
		link.Store(fresh)
		return
	}
	link.Store(fresh)
	if t.size.Add(1) > int64(len(c.heads)) {
		t.chains.Store(c.resized(2 * len(c.heads)))
	}
}

// Delete removes a name with its value, and tells whether it was there.
func (t *Table[V]) Delete(name string) bool {
	c := t.chains.Load()
	if c == nil {
		return false
	}
	link := c.link(name)
	old := link.Load()
	if old == nil {
		return false
	}
	link.Store(old.next.Load())
	switch left, count := t.size.Add(-1), len(c.heads); {
	case left == 0:
		t.chains.Store(nil)
	case count >= shrinkFloor && left <= int64(count/shrinkFactor):
		t.chains.Store(c.resized(count / 4))
	}
	return true
}

// sorted is the items in the order of their names. Of items that come or go meanwhile it may have some.
func (t *Table[V]) sorted() []*item[V] {
	var all []*item[V]
	if c := t.chains.Load(); c != nil {
		for at := range c.heads {
			for i := c.heads[at].Load(); i != nil; i = i.next.Load() {
				all = append(all, i)
			}
		}
	}
	slices.SortFunc(all, func(a, b *item[V]) int { return strings.Compare(a.name, b.name) })
	// One that went and came again while the chains were resized may be met in two of them.
	return slices.CompactFunc(all, func(a, b *item[V]) bool { return a.name == b.name })
}

func newChains[V any](seed maphash.Seed, count int) *chains[V] {
	return &chains[V]{seed: seed, heads: make([]atomic.Pointer[item[V]], count)}
}

// at is the number of the chain of a name.
func (c *chains[V]) at(name string) uint64 {
	return maphash.String(c.seed, name) & uint64(len(c.heads)-1)
}

// link is the link to the item of a name, or where there is none that at the end of its chain, which is nil. It is for the one who changes the table.
func (c *chains[V]) link(name string) *atomic.Pointer[item[V]] {
	link := &c.heads[c.at(name)]
	for i := link.Load(); i != nil && i.name != name; i = link.Load() {
		link = &i.next
	}
	return link
}

// resized is the same items in so many chains. Readers may be anywhere in the old ones, so these stay as they are.
func (c *chains[V]) resized(count int) *chains[V] {
	fresh := newChains[V](c.seed, count)
	for at := range c.heads {
		fresh.take(c.heads[at].Load())
	}
	return fresh
}

// take adds the items of a chain. The last of them, as far as they stay together, can serve in both chains, if nothing has to follow them; the others are copied.
func (c *chains[V]) take(first *item[V]) {
	var run *item[V]
	var runAt uint64
	for i := first; i != nil; i = i.next.Load() {
		if at := c.at(i.name); run == nil || at != runAt {
			run, runAt = i, at
		}
	}
	if run == nil {
		return
	}
	if c.heads[runAt].Load() == nil {
		c.heads[runAt].Store(run)
	} else {
		run = nil
	}
	for i := first; i != run; i = i.next.Load() {
		head, moved := &c.heads[c.at(i.name)], &item[V]{name: i.name, value: i.value}
		moved.next.Store(head.Load())
		head.Store(moved)
	}
}
