package channel

import (
	"slices"
	"strings"
)

// wildTree is the radix tree of the patterns with wildcards.
type wildTree[V any] struct {
	root node[V] // label "", no entry: a pattern is never empty
	size int     // patterns stored
}

// node is one node of the tree. It stands for the labels from the root down to its own, put together.
type node[V any] struct {
	entry[V]            // the pattern that ends here, if any
	label    string     // bytes below the parent; a piece of a pattern's text, so it keeps at most MaxNameLen bytes alive
	firsts   byteSet    // first bytes of the children's labels
	children []*node[V] // in the order of firsts
}

// path is the way to a node: of a stored pattern the parent is never nil, and the grandparent is where the parent is
// the root.
type path[V any] struct {
	grandparent, parent, node *node[V]
}

func (t *wildTree[V]) put(e entry[V]) {
	n := &t.root
	for rest := e.pattern.text; rest != ""; {
		child := n.child(rest[0])
		if child == nil {
			child = &node[V]{label: rest}
			n.attach(child)
		}
		shared := sharedPrefix(child.label, rest)
		if shared < len(child.label) {
			child = child.split(shared)
			n.replace(child)
		}
		n, rest = child, rest[shared:]
	}
	if !n.present() {
		t.size++
	}
	n.entry = e
}

func (t *wildTree[V]) delete(p Pattern) bool {
	way, found := t.find(p)
	if !found {
		return false
	}
	way.node.entry = entry[V]{}
	t.size--
	way.parent.mend(way.node)
	if way.grandparent != nil {
		// The parent may have lost a child just now, and with it its reason to be (invariant 7).
		way.grandparent.mend(way.parent)
	}
	return true
}

// find walks to the node that holds p. Where there is none, it ends at a node without an entry.
func (t *wildTree[V]) find(p Pattern) (way path[V], found bool) {
	way.node = &t.root
	for rest := p.text; rest != ""; {
		child := way.node.child(rest[0])
		if child == nil || !strings.HasPrefix(rest, child.label) {
			return path[V]{node: &t.root}, false
		}
		way = path[V]{grandparent: way.parent, parent: way.node, node: child}
		rest = rest[len(child.label):]
	}
	return way, way.node.present()
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

// attach adds a child whose first byte no other child has.
func (n *node[V]) attach(child *node[V]) {
	first := child.label[0]
	n.children = slices.Insert(n.children, n.firsts.rank(first), child)
	n.firsts.flip(first)
}

// detach removes a child.
func (n *node[V]) detach(child *node[V]) {
	first := child.label[0]
	i := n.firsts.rank(first)
	n.firsts.flip(first)
	if n.children = slices.Delete(n.children, i, i+1); len(n.children) == 0 {
		n.children = nil
	}
}

// replace puts child in the place of the child with the same first byte.
func (n *node[V]) replace(child *node[V]) {
	n.children[n.firsts.rank(child.label[0])] = child
}

// split cuts n's label after its first k bytes and returns the new node that stands for them, with n as its only child.
func (n *node[V]) split(k int) *node[V] {
	upper := &node[V]{label: n.label[:k]}
	n.label = n.label[k:]
	upper.attach(n)
	return upper
}

// mend restores invariant 7 at child, a child of n that may have lost its pattern or one of its own children.
func (n *node[V]) mend(child *node[V]) {
	if child.present() {
		return
	}
	switch len(child.children) {
	case 0:
		n.detach(child)
	case 1:
		only := child.children[0]
		only.label = child.label + only.label
		n.replace(only)
	}
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
