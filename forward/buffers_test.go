package forward

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestLentMemoryIsNobodyElses: what is lent is as long as asked for, and no two borrowers have the same; growing keeps what was there.
func TestLentMemoryIsNobodyElses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p bufferPool
		var lent [][]byte
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			mark := byte(i + 1)
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				n := rapid.IntRange(0, 700<<10).Draw(t, "bytes")
				b := p.lend(n)
				if len(b) != n {
					t.Fatalf("%d bytes lent of %d", len(b), n)
				}
				for j := range b {
					b[j] = mark
				}
				lent = append(lent, b)
			case 1:
				if k := len(lent); k > 0 {
					p.giveBack(lent[k-1])
					lent = lent[:k-1]
				}
			case 2:
				if k := len(lent); k > 0 {
					before := bytes.Clone(lent[k-1])
					n := rapid.IntRange(0, 200<<10).Draw(t, "more")
					b := p.grow(lent[k-1], n)
					if !bytes.Equal(b, before) || cap(b)-len(b) < n {
						t.Fatalf("grown by %d of %d: room for %d", n, len(before), cap(b)-len(b))
					}
					lent[k-1] = b
				}
			}
		}
		for _, b := range lent {
			if len(b) > 0 && bytes.Count(b, b[:1]) != len(b) {
				t.Fatal("written to by two")
			}
		}
	})
}
