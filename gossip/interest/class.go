package interest

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// blockWords is how much of a row one pass over the keys takes: 256 nodes, as many words as stay in registers.
const blockWords = 4

// class holds the filters of one shape, bit-sliced. Bit slot of row p is bit p of the filter in that slot, the last rows being the forms; it stands at bit
// p·slots + slot of rows, which therefore packs several rows in a word below 64 slots. A class is immutable but for
// its rows, which its successors share.
type class struct {
	shape     shape
	log2Slots uint8
	used      int             // slots in use
	rows      []atomic.Uint64 // written by the owner of the index only
	ids       []wire.NodeID   // by slot
	live      []uint64        // the slots in use, as a bitset like a row
}

func newClass(s shape, log2Slots uint8) *class {
	slots := 1 << log2Slots
	return &class{
		shape:     s,
		log2Slots: log2Slots,
		rows:      make([]atomic.Uint64, s.rows()*slots/64),
		ids:       make([]wire.NodeID, slots),
		live:      make([]uint64, (slots+63)/64),
	}
}

// slicedClass is a class with the given nodes in its first slots.
func slicedClass(s shape, log2Slots uint8, ids []wire.NodeID, filters []*Filter) *class {
	c := newClass(s, log2Slots)
	c.used = copy(c.ids, ids)
	for first := 0; first < c.used; first += 64 {
		group := filters[first:min(first+64, c.used)]
		c.live[first/64] = 1<<len(group) - 1
		c.fill(first, group)
	}
	return c
}

// fill writes up to 64 filters into the slots from first on, 64 rows at a time.
func (c *class) fill(first int, group []*Filter) {
	for i := range group[0].words {
		var square [64]uint64
		for j, f := range group {
			square[j] = f.words[i]
		}
		transpose(&square)
		for j, row := range square {
			if row != 0 {
				at := c.bit(uint64(i*64+j), first)
				c.rows[at/64].Or(row << (at % 64))
			}
		}
	}
}

// transpose mirrors a square of bits: bit j of word i becomes bit i of word j (Warren, Hacker's Delight, 7-3).
func transpose(square *[64]uint64) {
	mask := uint64(1)<<32 - 1
	for half := 32; half != 0; half >>= 1 {
		for i := 0; i < 64; i = (i + half + 1) &^ half {
			swap := (square[i]>>half ^ square[i+half]) & mask
			square[i] ^= swap << half
			square[i+half] ^= swap
		}
		mask ^= mask << (half / 2)
	}
}

func (c *class) slots() int { return 1 << c.log2Slots }

// bit is where rows holds the bit of a position and slot.
func (c *class) bit(position uint64, slot int) uint64 { return position<<c.log2Slots + uint64(slot) }

// free is the first slot not in use; there must be one.
func (c *class) free() int {
	i := slices.IndexFunc(c.live, func(word uint64) bool { return ^word != 0 })
	return i*64 + bits.TrailingZeros64(^c.live[i])
}

// members lists the nodes of the class by slot.
func (c *class) members() []wire.NodeID {
	ids := make([]wire.NodeID, 0, c.used)
	for i, word := range c.live {
		ids = c.appendIDs(ids, i, word)
	}
	return ids
}

// with is the class with one more slot in use.
func (c *class) with(slot int, id wire.NodeID) *class {
	next := c.successor()
	next.ids[slot] = id
	next.live[slot/64] |= 1 << (slot % 64)
	next.used++
	return next
}

// without is the class with one slot less in use. The bits of the slot stay, for readers of this class.
func (c *class) without(slot int) *class {
	next := c.successor()
	next.live[slot/64] &^= 1 << (slot % 64)
	next.used--
	return next
}

func (c *class) successor() *class {
	next := *c
	next.ids = slices.Clone(c.ids)
	next.live = slices.Clone(c.live)
	return &next
}

// overwrite writes a filter into a slot that is not in use.
func (c *class) overwrite(slot int, f *Filter) {
	for i, word := range f.words {
		for j := range 64 {
			at := c.bit(uint64(i*64+j), slot)
			row, mask := &c.rows[at/64], uint64(1)<<(at%64)
			switch has, want := row.Load()&mask != 0, word>>j&1 != 0; {
			case want && !has:
				row.Or(mask)
			case has && !want:
				row.And(^mask)
			}
		}
	}
}

// set adds bits to a slot.
func (c *class) set(slot int, positions []uint32) {
	for _, p := range positions {
		at := c.bit(uint64(p), slot)
		c.rows[at/64].Or(1 << (at % 64))
	}
}

// clear takes bits from a slot.
func (c *class) clear(slot int, positions []uint32) {
	for _, p := range positions {
		at := c.bit(uint64(p), slot)
		c.rows[at/64].And(^(uint64(1) << (at % 64)))
	}
}

// appendMatches appends the nodes of the class that have any of the keys.
func (c *class) appendMatches(dst []wire.NodeID, keys []Key) []wire.NodeID {
	if len(c.live) < blockWords {
		for i := range c.live {
			dst = c.appendIDs(dst, i, c.matchWord(i, keys))
		}
		return dst
	}
	for first := 0; first < len(c.live); first += blockWords {
		hits := c.matchBlock(first, keys)
		for i, word := range hits {
			dst = c.appendIDs(dst, first+i, word)
		}
	}
	return dst
}

// matchWord is the slots of the i-th word that have any of the keys.
func (c *class) matchWord(i int, keys []Key) (hits uint64) {
	// After so many positions, each of which about half of the slots have, most keys are out: the others are not fetched for nothing.
	early := min(c.log2Slots+2, c.shape.hashes)
	for _, key := range keys {
		at := c.bit(c.shape.formRow(key), i*64)
		all := c.live[i] & (c.rows[at/64].Load() >> (at % 64))
		if all == 0 {
			continue
		}
		p := c.shape.probe(key)
		for range early {
			at := c.bit(p.next(), i*64)
			all &= c.rows[at/64].Load() >> (at % 64)
		}
		if all == 0 {
			continue
		}
		for range c.shape.hashes - early {
			at := c.bit(p.next(), i*64)
			all &= c.rows[at/64].Load() >> (at % 64)
		}
		hits |= all
	}
	return hits
}

// matchBlock is the slots of blockWords words from the given one on that have any of the keys.
func (c *class) matchBlock(first int, keys []Key) (hits [blockWords]uint64) {
	for _, key := range keys {
		row := c.block(c.shape.formRow(key), first) // most forms are rare: few nodes use wildcards, and at few depths
		live := (*[blockWords]uint64)(c.live[first:])
		a0, a1, a2, a3 := live[0]&row[0].Load(), live[1]&row[1].Load(), live[2]&row[2].Load(), live[3]&row[3].Load()
		if a0|a1|a2|a3 == 0 {
			continue
		}
		p := c.shape.probe(key)
		for range c.shape.hashes {
			row := c.block(p.next(), first)
			a0 &= row[0].Load()
			a1 &= row[1].Load()
			a2 &= row[2].Load()
			a3 &= row[3].Load()
		}
		hits[0] |= a0
		hits[1] |= a1
		hits[2] |= a2
		hits[3] |= a3
	}
	return hits
}

// block is blockWords words of a row.
func (c *class) block(position uint64, first int) *[blockWords]atomic.Uint64 {
	return (*[blockWords]atomic.Uint64)(c.rows[c.bit(position, first*64)/64:])
}

// appendIDs appends the nodes of the slots set in the i-th word of a bitset.
func (c *class) appendIDs(dst []wire.NodeID, i int, word uint64) []wire.NodeID {
	for ; word != 0; word &= word - 1 {
		dst = append(dst, c.ids[i*64+bits.TrailingZeros64(word)])
	}
	return dst
}
