package interest

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Bounds of a filter that comes from another node.
const (
	MaxKeys = 1 << 24 // keys a body may claim; a Local with more tells this number

	minLog2Bits = 6  // one word
	maxLog2Bits = 24 // 2 MiB
	maxHashes   = 16
)

// ownHashes is the k of our own filters; see "Size" in the package comment.
const ownHashes = 7

// density is how many bits a key has in a filter that is full: what its rate of false positives is chosen by.
type density float64

// densities are those of 1, 0.3, 0.1 and 0.03 % of false positives, and of how many nodes the mesh must be for each.
func densities() []struct {
	nodes int
	density
} {
	return []struct {
		nodes int
		density
	}{{0, usual}, {129, 12.22}, {513, 15.01}, {2049, 18.59}}
}

// usual is 1 %.
const usual density = 9.585

// ErrBase reports a delta for another filter than the one at hand: ask its node for a full body.
var ErrBase = errors.New("interest: delta does not fit the filter")

// shape is what two filters must share so that one key has the same positions in both.
type shape struct {
	log2Bits uint8 // m = 1 << log2Bits
	hashes   uint8 // k
}

// rows is the number of bits: the filter's m, and one for each form.
func (s shape) rows() int { return 1<<s.log2Bits + forms }

// formRow is where the bit of a key's form is.
func (s shape) formRow(key Key) uint64 { return 1<<s.log2Bits + key.form() }

func (s shape) probe(key Key) probe { return probe{hash: uint64(key) | 1, shift: 64 - s.log2Bits} }

// ownShape is the shape of a filter that a Local makes.
func ownShape(log2Bits uint8) shape { return shape{log2Bits: log2Bits, hashes: ownHashes} }

// capacity is the number of keys up to which a filter of our own keeps its rate of false positives.
func (d density) capacity(log2Bits uint8) int {
	return int(float64(uint(1)<<log2Bits) / float64(d))
}

// fit is the size that a filter of the given size should have for n keys: the same one, unless n has left the range
// that it serves.
func (d density) fit(log2Bits uint8, n int) uint8 {
	switch {
	case n > d.capacity(log2Bits):
		return d.leastFor(n)
	case 4*n < d.capacity(log2Bits):
		return d.leastFor(2 * n)
	}
	return log2Bits
}

// leastFor is the smallest size with a capacity of n, or the largest there is.
func (d density) leastFor(n int) uint8 {
	size := uint8(minLog2Bits)
	for size < maxLog2Bits && d.capacity(size) < n {
		size++
	}
	return size
}

// Filter is the interest of one node as a Bloom filter. It is not safe for concurrent use.
type Filter struct {
	shape shape
	keys  int      // as its node says
	ones  int      // bits set in words
	words []uint64 // position p is bit p%64 of word p/64; the last word is the forms
}

func newFilter(s shape) *Filter {
	return &Filter{shape: s, words: make([]uint64, s.rows()/64)}
}

// Has reports whether the node may have the key: always if it has, rarely if not (see FalsePositiveRate).
func (f *Filter) Has(key Key) bool {
	if !f.test(f.shape.formRow(key)) {
		return false
	}
	p := f.shape.probe(key)
	for range f.shape.hashes {
		if !f.test(p.next()) {
			return false
		}
	}
	return true
}

// Len is the number of distinct keys in the filter, as its node counts them.
func (f *Filter) Len() int { return f.keys }

// Bits is the size m of the filter in bits.
func (f *Filter) Bits() int { return 1 << f.shape.log2Bits }

// FalsePositiveRate estimates the probability, 0..1, that the filter has a key which was never entered, of a form that was. It is taken from
// the bits that are set, not from what the node says of itself. A query of t tokens asks t+2 keys, each of another form.
func (f *Filter) FalsePositiveRate() float64 {
	ones := f.ones - bits.OnesCount64(f.words[len(f.words)-1])
	return math.Pow(float64(ones)/float64(f.Bits()), float64(f.shape.hashes))
}

// Apply brings the filter one version forward by a delta body. The error is ErrMalformed for a bad body, or ErrBase
// for one that was made for another filter; the filter is then as it was.
func (f *Filter) Apply(body []byte) error {
	d, err := parseDelta(body)
	if err != nil {
		return err
	}
	if err := f.check(d); err != nil {
		return err
	}
	f.apply(d)
	return nil
}

// check reports whether d is a step from exactly this filter to a possible one.
func (f *Filter) check(d delta) error {
	if d.log2Bits != f.shape.log2Bits {
		return fmt.Errorf("%w: it has 2^%d bits, the delta 2^%d", ErrBase, f.shape.log2Bits, d.log2Bits)
	}
	for _, p := range d.set {
		if f.test(uint64(p)) {
			return fmt.Errorf("%w: bit %d is set already", ErrBase, p)
		}
	}
	for _, p := range d.cleared {
		if !f.test(uint64(p)) {
			return fmt.Errorf("%w: bit %d is clear already", ErrBase, p)
		}
	}
	if ones := f.ones + len(d.set) - len(d.cleared); !plausible(ones, d.keys, f.shape.hashes) {
		return fmt.Errorf("%w: %d bits for %d keys", ErrBase, ones, d.keys)
	}
	return nil
}

// apply takes a delta that check has passed.
func (f *Filter) apply(d delta) {
	for _, p := range d.set {
		f.words[p/64] |= 1 << (p % 64)
	}
	for _, p := range d.cleared {
		f.words[p/64] &^= 1 << (p % 64)
	}
	f.ones += len(d.set) - len(d.cleared)
	f.keys = d.keys
}

func (f *Filter) test(position uint64) bool { return f.words[position/64]>>(position%64)&1 != 0 }

// plausible reports whether so many keys can have set so many bits: each sets its form's and at least one and at most k others.
func plausible(ones, keys int, hashes uint8) bool {
	return ones <= keys*(int(hashes)+1) && (ones > 1 || ones == 0 && keys == 0)
}

// positions lists the bits set, ascending.
func (f *Filter) positions() []uint32 {
	list := make([]uint32, 0, f.ones)
	for i, word := range f.words {
		list = appendOnes(list, i, word)
	}
	return list
}

// appendOnes appends the positions of the bits set in the i-th word of a filter, ascending.
func appendOnes(dst []uint32, i int, word uint64) []uint32 {
	for ; word != 0; word &= word - 1 {
		dst = append(dst, uint32(i*64+bits.TrailingZeros64(word)))
	}
	return dst
}

// countOnes is the number of bits set in words.
func countOnes(words []uint64) int {
	n := 0
	for _, word := range words {
		n += bits.OnesCount64(word)
	}
	return n
}
