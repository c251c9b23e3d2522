package chaos

import (
	"testing"
	"time"
)

// send publishes n messages of a site to channel 0 and returns their payloads.
func send(l *ledger, site, n int) (payloads [][]byte) {
	for range n {
		b := make([]byte, payloadBytes)
		l.publish(site, 0, b)
		payloads = append(payloads, b)
	}
	return payloads
}

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name   string
		order  []int // numbers as they come, of ten sent
		parted bool
		dies   int // the publisher's node dies before this arrival; 0: never
		want   Counts
	}{
		{"all come", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, false, 0, Counts{Delivered: 10}},
		{"the first ones came too early", []int{3, 4, 5, 6, 7, 8, 9}, false, 0, Counts{Delivered: 7}},
		{"one is passed over", []int{0, 1, 3, 4, 5, 6, 7, 8, 9}, false, 0, Counts{Delivered: 9, Lost: 1}},
		{"the last are missing", []int{0, 1, 2}, false, 0, Counts{Delivered: 3, Lost: 7}},
		{"one comes twice", []int{0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, false, 0, Counts{Delivered: 10, Duplicates: 1}},
		{"one comes late", []int{0, 2, 1, 3, 4, 5, 6, 7, 8, 9}, false, 0, Counts{Delivered: 9, Lost: 1, OutOfOrder: 1}},
		{"parted for long", []int{0, 1, 8, 9}, true, 0, Counts{Delivered: 4, Expired: 6}},
		{"the publisher's node dies", []int{0, 1, 2, 5}, false, 3, Counts{Delivered: 4, CutOff: 2}},
	} {
		l := newLedger(2)
		l.begin(func(int, int) bool { return c.parted })
		payloads := send(l, 0, 10)
		for i, number := range c.order {
			if c.dies == i && i > 0 {
				l.died(0)
			}
			l.receive(1, payloads[number])
		}
		if got, losses, _, samples := l.end(); got != c.want || uint64(len(samples)) != c.want.Delivered {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		} else if listed := total(losses); listed != c.want.Lost {
			t.Errorf("%s: %v list %d losses, want %d", c.name, losses, listed, c.want.Lost)
		}
		if again, _, _, _ := l.end(); again != c.want {
			t.Errorf("%s: counted twice: %+v", c.name, again)
		}
	}
}

func TestLedgerRuns(t *testing.T) {
	l := newLedger(2)
	first := send(l, 0, 3)
	l.receive(1, first[0])
	if l.behind() != 1 || !l.heardSince(0, 1, 0, 0) {
		t.Error("two are still to come")
	}
	l.died(1) // the subscriber's node: its next run starts anew
	if l.behind() != 0 || l.heardSince(0, 1, 0, 0) {
		t.Error("a run that is over is waited for")
	}
	l.receive(1, first[2])
	late := send(l, 0, 3)
	l.receive(1, late[1]) // interest of the new run may come and go while that of the old one is replaced
	if counts, _, _, _ := l.end(); counts != (Counts{Delivered: 3, CutOff: 2}) {
		t.Errorf("%+v", counts)
	}
	l.begin(func(int, int) bool { return false })
	if counts, _, gap, _ := l.end(); counts != (Counts{}) || gap != 0 || len(l.flows) != 1 {
		t.Errorf("a new drill begins with %+v, %d flows", counts, len(l.flows))
	}
	for _, bad := range [][]byte{nil, make([]byte, payloadBytes-1), append([]byte{9}, first[0][1:]...)} {
		l.receive(1, bad)
	}
	unsent := make([]byte, payloadBytes)
	l.publish(0, 0, unsent)
	unsent[19] = 200
	l.receive(1, unsent)
	if counts, _, _, _ := l.end(); counts.Delivered != 0 {
		t.Errorf("what was never sent counts: %+v", counts)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	l := newLedger(1)
	for i := range 3 * samplesMost {
		l.keep(time.Duration(i))
	}
	if n := len(l.samples); n > samplesMost || n < samplesMost/2 {
		t.Errorf("%d samples", n)
	}
	if last := l.samples[len(l.samples)-1]; last < 3*samplesMost-8 {
		t.Errorf("the last kept is %d", last)
	}
}

func total(losses []Loss) (n uint64) {
	for _, l := range losses {
		n += l.Count
	}
	return n
}
