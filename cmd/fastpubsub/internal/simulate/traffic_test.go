package simulate

import (
	"testing"
	"time"
)

// What does not come, comes twice or in another order is counted as such, and what comes is compared with the direct paths.
func TestTally(t *testing.T) {
	const direct = 40 * time.Millisecond
	all := newTally(2, func(int, int) time.Duration { return direct })
	var sent [2][3][]byte
	for from := range sent {
		for number := range sent[from] {
			sent[from][number] = all.message(from, number)
		}
	}
	came := func(to, from int, numbers ...int) {
		for _, n := range numbers {
			all.came(to, sent[from][n])
		}
	}
	came(0, 0, 0, 1, 2)
	came(1, 1, 0, 1, 2)
	came(0, 1, 0, 0, 2)
	came(1, 0, 1, 0)
	if missing := all.missing(3); missing != 1 {
		t.Errorf("%d missing, want that of the last", missing)
	}
	all.came(0, []byte("short"))
	got := all.end(3)
	got.Delay = 0
	if want := (traffic{Sent: 6, Delivered: 9, Lost: 3, Twice: 1, Disorder: 2, Direct: 40}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
