package alloc

import "testing"

// told is a testing.TB that notes failures.
type told struct {
	testing.TB
	failed bool
}

func (*told) Helper()                 {}
func (t *told) Errorf(string, ...any) { t.failed = true }

func TestBound(t *testing.T) {
	var kept [][]byte
	for size, fails := range map[int]bool{0: false, 1000: false, 2*slack + 20_000: true} {
		mine := &told{TB: t}
		check := Bound(mine, 10_000)
		kept = append(kept, make([]byte, size))
		if check(); mine.failed != fails {
			t.Errorf("%d bytes of 10,000: failed %v", size, mine.failed)
		}
	}
	_ = kept
}
