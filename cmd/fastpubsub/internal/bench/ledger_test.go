package bench

import (
	"testing"

	"pgregory.net/rapid"
)

func TestFlow(t *testing.T) {
	for _, test := range []struct {
		name string
		sent uint64
		came []uint64
		want Counts
	}{
		{"all in order", 3, []uint64{0, 1, 2}, Counts{Sent: 3, Delivered: 3}},
		{"nothing", 3, nil, Counts{Sent: 3, Lost: 3}},
		{"first lost", 3, []uint64{1, 2}, Counts{Sent: 3, Delivered: 2, Lost: 1}},
		{"last lost", 3, []uint64{0, 1}, Counts{Sent: 3, Delivered: 2, Lost: 1}},
		{"twice at once", 2, []uint64{0, 0, 1}, Counts{Sent: 2, Delivered: 2, Duplicates: 1}},
		{"twice, late", 3, []uint64{0, 1, 2, 0}, Counts{Sent: 3, Delivered: 3, Duplicates: 1}},
		{"swapped", 3, []uint64{1, 0, 2}, Counts{Sent: 3, Delivered: 3, OutOfOrder: 1}},
		{"late, and then again", 5, []uint64{0, 4, 2, 2, 3, 1}, Counts{Sent: 5, Delivered: 5, OutOfOrder: 3, Duplicates: 1}},
	} {
		var f flow
		for _, number := range test.came {
			f.receive(number)
		}
		if got := f.end(test.sent); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// Invariant 3, against a set: whatever comes in whatever order, each message is delivered or lost.
func TestFlowIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.Uint64Range(1, 50).Draw(t, "sent")
		came := rapid.SliceOfN(rapid.Uint64Range(0, sent-1), 0, 200).Draw(t, "came")
		var f flow
		want, next := Counts{Sent: sent}, uint64(0)
		seen := map[uint64]bool{}
		for _, number := range came {
			if first := f.receive(number); first == seen[number] {
				t.Fatalf("%d: first time %v", number, first)
			}
			switch {
			case seen[number]:
				want.Duplicates++
			case number < next:
				want.OutOfOrder++
			}
			seen[number] = true
			next = max(next, number+1)
		}
		want.Delivered = uint64(len(seen))
		want.Lost = sent - want.Delivered
		if got := f.end(sent); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		for i, g := range f.gaps {
			if g.from >= g.to || i > 0 && f.gaps[i-1].to > g.from || g.to > f.next {
				t.Fatalf("gaps %v below %d", f.gaps, f.next)
			}
		}
	})
}

// A flow's memory is bounded, and what it forgot it does not count as delivered.
func TestFlowForgets(t *testing.T) {
	var f flow
	const sent = 10 * maxGaps
	for number := uint64(1); number < sent; number += 2 {
		f.receive(number)
	}
	if len(f.gaps) != maxGaps {
		t.Errorf("%d gaps", len(f.gaps))
	}
	for number := uint64(0); number < sent; number += 2 {
		f.receive(number)
	}
	if c := f.end(sent); c.Lost+c.Delivered != sent || c.Lost == 0 || c.OutOfOrder != maxGaps {
		t.Errorf("%+v", c)
	}
}

func TestCountsBroken(t *testing.T) {
	var sum Counts
	sum.add(Counts{Sent: 2, Delivered: 2}, 3)
	if sum.broken() || sum.Delivered != 6 {
		t.Errorf("%+v", sum)
	}
	for _, c := range []Counts{{}, {Sent: 1, Lost: 1}, {Sent: 1, Duplicates: 1}, {Sent: 1, OutOfOrder: 1}} {
		if !c.broken() {
			t.Errorf("%+v passes", c)
		}
	}
}

func TestRollCall(t *testing.T) {
	c := newRollCall(4, 3)
	for number := range uint64(100) {
		for who := range 3 {
			if got := c.complete(number); got != (who == 2) {
				t.Fatalf("message %d, listener %d: %v", number, who, got)
			}
		}
	}
}
