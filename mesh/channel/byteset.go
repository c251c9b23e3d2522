package channel

import "math/bits"

// byteSet is a set of ASCII bytes, all that a valid pattern is made of.
type byteSet [2]uint64

// has tells whether c is in the set, for any byte c: no other method takes one that is not ASCII.
func (s *byteSet) has(c byte) bool { return c < 128 && s[c/64]>>(c%64)&1 != 0 }

// flip adds c if it is not in the set, and removes it if it is.
func (s *byteSet) flip(c byte) { s[c/64] ^= 1 << (c % 64) }

// rank is the number of bytes in the set that are smaller than c.
func (s *byteSet) rank(c byte) int {
	below := bits.OnesCount64(s[c/64] & (1<<(c%64) - 1))
	if c >= 64 {
		below += bits.OnesCount64(s[0])
	}
	return below
}

// hasWildcard tells whether the set holds any of the wildcards.
func (s *byteSet) hasWildcard() bool {
	return s[0]&(1<<oneToken|1<<someTokens|1<<anyTokens) != 0
}
