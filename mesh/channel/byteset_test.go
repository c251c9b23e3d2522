package channel

import (
	"strings"
	"testing"
)

func TestByteSet(t *testing.T) {
	var set byteSet
	const members = "#*>-.09@AZ_az~"
	for i := range len(members) {
		set.flip(members[i])
	}
	rank := 0
	for c := range 256 {
		member := strings.IndexByte(members, byte(c)) >= 0
		if set.has(byte(c)) != member {
			t.Errorf("has(%#x) = %v", c, !member)
		}
		if c < 128 && set.rank(byte(c)) != rank {
			t.Errorf("rank(%#x) = %d, want %d", c, set.rank(byte(c)), rank)
		}
		if member {
			rank++
		}
	}
	for i := range len(members) {
		set.flip(members[i])
	}
	if set != (byteSet{}) {
		t.Errorf("flipped twice: %x", set)
	}
}

func TestByteSetHasWildcard(t *testing.T) {
	for c := range byte(128) {
		var set byteSet
		set.flip(c)
		if set.hasWildcard() != isWildcard(c) {
			t.Errorf("hasWildcard of {%q} = %v", c, set.hasWildcard())
		}
	}
}
