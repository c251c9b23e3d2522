package wire

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// Two nodes' sums differ exactly in the classes of the records that one holds and the other does not, in whatever order they came.
func TestSumsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) DigestEntry {
			return DigestEntry{
				Origin: NodeID(rapid.Uint64Min(1).Draw(t, "origin")), Kind: rapid.SampledFrom([]RecordKind{RecordLinks, RecordInterest}).Draw(t, "kind"),
				Stamp: Stamp{Boot: rapid.Uint64Range(1, 3).Draw(t, "boot"), Version: rapid.Uint64Range(1, 300).Draw(t, "version")},
			}
		})
		both := rapid.SliceOf(entry).Draw(t, "both")
		only := rapid.SliceOfNDistinct(entry, 0, 5, func(e DigestEntry) int { return e.Origin.Class() }).Draw(t, "one alone")
		var a, b Sums
		want := uint64(0)
		for _, e := range both {
			a.Add(e)
		}
		for _, e := range only {
			a.Add(e)
			want |= 1 << e.Origin.Class()
		}
		for _, e := range rapid.Permutation(both).Draw(t, "order") {
			b.Add(e)
		}
		if got := a.Differ(&b); got != want || b.Differ(&a) != want {
			t.Fatalf("they differ in %b, want %b", got, want)
		}
	})
}

func TestPartOfOtherClasses(t *testing.T) {
	p := Part{Classes: 1, Digest: Digest{From: 1, Entries: []DigestEntry{{Origin: 1 << 63, Kind: RecordLinks, Stamp: Stamp{1, 1}}}}}
	if _, err := ParsePart(AppendPart(nil, &p)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an entry of class %d in a part of class 0: %v", NodeID(1<<63).Class(), err)
	}
}
