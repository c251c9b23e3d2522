package channel

import (
	"slices"
	"strings"
	"sync/atomic"
)

// wildTree is the radix tree of the patterns with wildcards. A change makes new nodes from the root down to its place and then
// puts the new root in the place of the old one, so a reader has the tree as it was when he started.
type wildTree[V any] struct {
	root atomic.Pointer[node[V]] // label "", no entry: a pattern is never empty; nil for an empty tree
	size atomic.Int64            // patterns stored
}

// node is one node of the tree. It stands for the labels from the root down to its own, put together. Whoever may reach it
// finds it as it was made, children included.
type node[V any] struct {
	entry[V]            // the pattern that ends here, if any
	label    string     // bytes below the parent; a piece of a pattern's text, so it keeps at most MaxNameLen bytes alive
	firsts   byteSet    // first bytes of the children's labels
	children []*node[V] // in the order of firsts
}

// entry is a stored pattern with its value; the zero entry is none. It has the pattern so that a match hands out the
// stored text, never the caller's name.
type entry[V any] struct {
	pattern Pattern
	value   V
}

func (e *entry[V]) present() bool { return e.pattern != Pattern{} }

func (t *wildTree[V]) get(p Pattern) (v V, found bool) {
	n := t.root.Load()
	for rest := p.text; n != nil && rest != ""; {
		if n = n.child(rest[0]); n == nil || !strings.HasPrefix(rest, n.label) {
			return v, false
		}
		rest = rest[len(n.label):]
	}
	if n == nil || !n.present() {
		return v, false
	}
	return n.value, true
}

func (t *wildTree[V]) put(e entry[V]) {
	root := t.root.Load()
	if root == nil {
		root = &node[V]{}
	}
	root, added := root.with(e, e.pattern.text)
	t.root.Store(root)
	if added {
		t.size.Add(1)
	}
}

func (t *wildTree[V]) delete(p Pattern) bool {
	root := t.root.Load()
	if root == nil {
		return false
	}
	left := root.without(p.text)
	if left == nil {
		return false
	}
	if len(left.children) == 0 {
		left = nil
	}
	t.root.Store(left)
	t.size.Add(-1)
	return true
}

// with is n with an entry of whose pattern rest lies below n, and whether there was none under this pattern. n stays as it is.
func (n *node[V]) with(e entry[V], rest string) (changed *node[V], added bool) {
	made := *n
	if rest == "" {
		made.entry = e
		return &made, !n.present()
	}
	child := n.child(rest[0])
	if child == nil {
		made.attach(&node[V]{entry: e, label: rest})
		return &made, true
	}
	shared := sharedPrefix(child.label, rest)
	if shared < len(child.label) {
		child = child.split(shared)
	}
	child, added = child.with(e, rest[shared:])
	made.replace(child)
	return &made, added
}

// without is n without the entry of whose pattern rest lies below n, or nil if there is none. n stays as it is. What is left may
// be against invariant 7.
func (n *node[V]) without(rest string) *node[V] {
	made := *n
	if rest == "" {
		made.entry = entry[V]{}
		if !n.present() {
			return nil
		}
		return &made
	}
	child := n.child(rest[0])
	if child == nil || !strings.HasPrefix(rest, child.label) {
		return nil
	}
	left := child.without(rest[len(child.label):])
	if left == nil {
		return nil
	}
	if left = left.mended(); left == nil {
		made.detach(rest[0])
	} else {
		made.replace(left)
	}
	return &made
}

// mended is what there must be in the place of n, which may have lost its pattern or a child, for invariant 7: n, its only child, or nil for
// nothing.
func (n *node[V]) mended() *node[V] {
	switch {
	case n.present() || len(n.children) > 1:
		return n
	case len(n.children) == 0:
		return nil
	}
	only := *n.children[0]
	only.label = n.label + only.label
	return &only
}

// match visits the patterns at and below n that match name, the labels above n having taken its first at bytes.
func (n *node[V]) match(name string, at int, visit func(Pattern, V)) {
	for n != nil {
		var ok bool
		if at, ok = advance(n.label, name, at); !ok {
			return
		}
		if at == len(name) && n.present() {
			visit(n.pattern, n.value)
		}
		if n.firsts.hasWildcard() {
			for i := range len(wildcards) {
				if child := n.child(wildcards[i]); child != nil {
					child.match(name, at, visit)
				}
			}
		}
		n = n.literalChild(name, at)
	}
}

// literalChild is the child, if any, that may take the byte of name at offset at; past the name's end, the dot that
// advance allows there.
func (n *node[V]) literalChild(name string, at int) *node[V] {
	switch {
	case at < len(name) && !isWildcard(name[at]):
		return n.child(name[at])
	case at == len(name):
		return n.child('.')
	default:
		return nil
	}
}

// walk yields the patterns at and below n in ascending order, until yield says false.
func (n *node[V]) walk(yield func(Pattern, V) bool) bool {
	if n.present() && !yield(n.pattern, n.value) {
		return false
	}
	for _, child := range n.children {
		if !child.walk(yield) {
			return false
		}
	}
	return true
}

// child is the child whose label starts with c, or nil.
func (n *node[V]) child(c byte) *node[V] {
	if !n.firsts.has(c) {
		return nil
	}
	return n.children[n.firsts.rank(c)]
}

// attach adds a child whose first byte no other child has. n is nobody else's yet, and so below, but its children may be.
func (n *node[V]) attach(child *node[V]) {
	first := child.label[0]
	at, before := n.firsts.rank(first), n.children
	n.children = make([]*node[V], len(before)+1)
	copy(n.children, before[:at])
	n.children[at] = child
	copy(n.children[at+1:], before[at:])
	n.firsts.flip(first)
}

// detach removes the child whose label starts with first.
func (n *node[V]) detach(first byte) {
	at, before := n.firsts.rank(first), n.children
	n.firsts.flip(first)
	if n.children = nil; len(before) > 1 {
		n.children = make([]*node[V], len(before)-1)
		copy(n.children, before[:at])
		copy(n.children[at:], before[at+1:])
	}
}

// replace puts child in the place of the child with the same first byte.
func (n *node[V]) replace(child *node[V]) {
	n.children = slices.Clone(n.children)
	n.children[n.firsts.rank(child.label[0])] = child
}

// split is n cut after the first k bytes of its label: a node that stands for them, with the rest as its only child.
func (n *node[V]) split(k int) *node[V] {
	lower := *n
	lower.label = n.label[k:]
	upper := &node[V]{label: n.label[:k]}
	upper.attach(&lower)
	return upper
}

// sharedPrefix is the length of the longest common prefix of a and b.
func sharedPrefix(a, b string) int {
	limit := min(len(a), len(b))
	for i := range limit {
		if a[i] != b[i] {
			return i
		}
	}
	return limit
}
