package channel

import "iter"

// Trie is a map from Pattern to V that finds all patterns matching a channel, for one goroutine at a time that changes it and any number that read it
// meanwhile, without a lock. The zero Trie is empty and ready.
type Trie[V any] struct {
	exact Table[V] // by the text
	wild  wildTree[V]
}

// Len is the number of patterns stored.
func (t *Trie[V]) Len() int { return t.exact.Len() + int(t.wild.size.Load()) }

// Get is the value stored under precisely p, and whether there is one.
func (t *Trie[V]) Get(p Pattern) (V, bool) {
	if p.isExact() {
		return t.exact.Get(p.text)
	}
	return t.wild.get(p)
}

// Put stores v under p, in place of what was there. It panics on the zero Pattern, which only a caller that ignored an
// error of ParsePattern can hold.
func (t *Trie[V]) Put(p Pattern, v V) {
	if p == (Pattern{}) {
		panic("channel: Put of the zero Pattern")
	}
	if p.isExact() {
		t.exact.Put(p.text, v)
	} else {
		t.wild.put(entry[V]{pattern: p, value: v})
	}
}

// Delete removes p with its value and whatever only p needed, and tells whether p was stored.
func (t *Trie[V]) Delete(p Pattern) bool {
	if p.isExact() {
		return t.exact.Delete(p.text)
	}
	return t.wild.delete(p)
}

// Match calls visit once for each stored pattern that matches the channel name, in no stated order. Of patterns that come
// or go meanwhile it visits some. For a name that ValidateChannel refuses the result means nothing.
func (t *Trie[V]) Match(name string, visit func(p Pattern, v V)) {
	if i := t.exact.find(name); i != nil {
		visit(Pattern{i.name}, i.value) // the stored text, not the caller's name
	}
	t.wild.root.Load().match(name, 0, visit)
}

// All yields the exact patterns in ascending order, then the others in ascending order. Of patterns that come or go meanwhile
// it may yield some.
func (t *Trie[V]) All() iter.Seq2[Pattern, V] {
	return func(yield func(Pattern, V) bool) {
		for _, i := range t.exact.sorted() {
			if !yield(Pattern{i.name}, i.value) {
				return
			}
		}
		if root := t.wild.root.Load(); root != nil {
			root.walk(yield)
		}
	}
}
