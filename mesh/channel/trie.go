package channel

import "iter"

// Trie is a map from Pattern to V that finds all patterns matching a channel. The zero Trie is empty and ready. It is not
// safe for concurrent use: its owner locks.
type Trie[V any] struct {
	exact exactSet[V]
	wild  wildTree[V]
}

// Len is the number of patterns stored.
func (t *Trie[V]) Len() int { return len(t.exact.entries) + t.wild.size }

// Get is the value stored under precisely p, and whether there is one.
func (t *Trie[V]) Get(p Pattern) (V, bool) {
	if p.isExact() {
		e, found := t.exact.entries[p.text]
		return e.value, found
	}
	way, found := t.wild.find(p)
	return way.node.value, found
}

// Put stores v under p, in place of what was there. It panics on the zero Pattern, which only a caller that ignored an
// error of ParsePattern can hold.
func (t *Trie[V]) Put(p Pattern, v V) {
	if p == (Pattern{}) {
		panic("channel: Put of the zero Pattern")
	}
	e := entry[V]{pattern: p, value: v}
	if p.isExact() {
		t.exact.put(e)
	} else {
		t.wild.put(e)
	}
}

// Delete removes p with its value and whatever only p needed, and tells whether p was stored.
func (t *Trie[V]) Delete(p Pattern) bool {
	if p.isExact() {
		return t.exact.delete(p)
	}
	return t.wild.delete(p)
}

// Match calls visit once for each stored pattern that matches the channel name, in no stated order. visit must not
// change the trie. For a name that ValidateChannel refuses the result means nothing.
func (t *Trie[V]) Match(name string, visit func(p Pattern, v V)) {
	if e, found := t.exact.entries[name]; found {
		visit(e.pattern, e.value)
	}
	t.wild.root.match(name, 0, visit)
}

// All yields the exact patterns in ascending order, then the others in ascending order. The trie must not change
// meanwhile.
func (t *Trie[V]) All() iter.Seq2[Pattern, V] {
	return func(yield func(Pattern, V) bool) {
		if t.exact.walk(yield) {
			t.wild.root.walk(yield)
		}
	}
}
