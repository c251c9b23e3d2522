package channel

import (
	"maps"
	"slices"
)

// entry is a stored pattern with its value; the zero entry is none. It has the pattern so that a match hands out the
// stored text, never the caller's name.
type entry[V any] struct {
	pattern Pattern
	value   V
}

func (e *entry[V]) present() bool { return e.pattern != Pattern{} }

// exactSet holds the exact patterns by name. A Go map never gives its memory back by itself, so the set moves to a
// smaller map when it has shrunk far: a cost spread over at least seven deletions for each entry moved.
type exactSet[V any] struct {
	entries map[string]entry[V]
	peak    int // most entries that this map has held
}

const (
	shrinkFactor = 8  // a set this many times smaller than its peak moves
	shrinkFloor  = 64 // a peak below is not worth a move
)

func (s *exactSet[V]) put(e entry[V]) {
	if s.entries == nil {
		s.entries = make(map[string]entry[V])
	}
	s.entries[e.pattern.text] = e
	s.peak = max(s.peak, len(s.entries))
}

func (s *exactSet[V]) delete(p Pattern) bool {
	if _, found := s.entries[p.text]; !found {
		return false
	}
	delete(s.entries, p.text)
	left := len(s.entries)
	switch {
	case left == 0:
		*s = exactSet[V]{}
	case s.peak >= shrinkFloor && left <= s.peak/shrinkFactor:
		smaller := make(map[string]entry[V], left)
		maps.Copy(smaller, s.entries)
		*s = exactSet[V]{entries: smaller, peak: left}
	}
	return true
}

// walk yields the entries in ascending order, until yield says false.
func (s *exactSet[V]) walk(yield func(Pattern, V) bool) bool {
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[name]
		if !yield(e.pattern, e.value) {
			return false
		}
	}
	return true
}
