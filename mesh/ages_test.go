package mesh

import (
	"slices"
	"testing"
	"time"
)

// An age counts in the first bucket whose bound it does not exceed, or in the last.
func TestAges(t *testing.T) {
	a := newAges()
	for _, age := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 40 * time.Millisecond, time.Hour} {
		a.add(age)
	}
	h := a.view()
	want := make([]uint64, ageBuckets)
	want[0], want[1], want[6], want[ageBuckets-1] = 2, 1, 1, 1
	if !slices.Equal(h.Counts, want) || len(h.Bounds) != len(want)-1 || !slices.IsSorted(h.Bounds) {
		t.Errorf("%v within %v, want %v", h.Counts, h.Bounds, want)
	}
	if h.Sum != 3_600_042 {
		t.Errorf("sum %v ms", h.Sum)
	}
}
