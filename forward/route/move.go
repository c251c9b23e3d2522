package route

import (
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// move takes nodes from their numbers among some IDs to those among others, both in ascending order, so that none overtakes another.
type move struct {
	to   []int32 // by old number; none: gone
	kept []int32 // the old numbers that are not gone
	size int     // how many there are then
}

// find finds the move from one set of IDs to another.
func (m *move) find(from, to []wire.NodeID) {
	m.to, m.kept, m.size = m.to[:0], m.kept[:0], len(to)
	at := 0
	for i, id := range from {
		if at = seek(to, at, id); at < len(to) && to[at] == id {
			m.to, m.kept = append(m.to, int32(at)), append(m.kept, int32(i))
		} else {
			m.to = append(m.to, none)
		}
	}
}

// rearrange moves what is kept of nodes, in place where there is room, and gives the others what is preset.
func rearrange[T any](m *move, s []T, preset T) []T {
	for k, i := range m.kept { // close the gaps
		s[k] = s[i]
	}
	clear(s[len(m.kept):])
	s = slices.Grow(s[:len(m.kept)], m.size-len(m.kept))[:m.size]
	at := m.size
	for k, i := range slices.Backward(m.kept) { // from the end, which no other's place is before
		to, moved := int(m.to[i]), s[k]
		for at--; at > to; at-- {
			s[at] = preset
		}
		s[to] = moved
	}
	for at--; at >= 0; at-- {
		s[at] = preset
	}
	return s
}
