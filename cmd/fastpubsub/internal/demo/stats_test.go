package demo

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const second = time.Second

func TestFlowCounts(t *testing.T) {
	for name, c := range map[string]struct {
		play func(f *flow)
		want tally
	}{
		"delivered": {
			func(f *flow) { f.send(0); f.receive(0, second); f.judge(20 * second) },
			tally{Sent: 1, Delivered: 1},
		},
		"lost": {
			func(f *flow) { f.send(0); f.receive(0, second); f.send(second); f.judge(20 * second) },
			tally{Sent: 2, Delivered: 1, Lost: 1},
		},
		"under way": {
			func(f *flow) { f.send(0); f.judge(lostAfter) },
			tally{Sent: 1},
		},
		"early": {
			func(f *flow) { f.send(0); f.send(second); f.receive(1, 2*second); f.judge(20 * second) },
			tally{Sent: 2, Delivered: 1, Early: 1},
		},
		"late": {
			func(f *flow) { f.send(0); f.judge(4 * second); f.receive(0, 5*second); f.judge(20 * second) },
			tally{Sent: 1, Delivered: 1, Late: 1},
		},
		"duplicate": {
			func(f *flow) { f.send(0); f.receive(0, second); f.receive(0, second) },
			tally{Sent: 1, Delivered: 1, Duplicates: 1},
		},
		"duplicate of one forgotten": {
			func(f *flow) { f.send(0); f.receive(0, second); f.judge(20 * second); f.receive(0, 20*second) },
			tally{Sent: 1, Delivered: 1, Duplicates: 1},
		},
		"out of order": {
			func(f *flow) { f.send(0); f.send(0); f.receive(1, second); f.receive(0, second) },
			tally{Sent: 2, Delivered: 2, OutOfOrder: 1},
		},
		"cut off": {
			func(f *flow) { f.send(0); f.receive(0, second); f.send(second); f.cut(); f.judge(20 * second) },
			tally{Sent: 2, Delivered: 1, CutOff: 1},
		},
		"early again after a cut": {
			func(f *flow) { f.send(0); f.receive(0, second); f.cut(); f.send(second); f.judge(20 * second) },
			tally{Sent: 2, Delivered: 1, Early: 1},
		},
		"a number never sent": {
			func(f *flow) { f.send(0); f.receive(1, second); f.receive(1<<63, second) },
			tally{Sent: 1},
		},
	} {
		var f flow
		c.play(&f)
		if f.counts != c.want {
			t.Errorf("%s: %+v, want %+v", name, f.counts, c.want)
		}
	}
}

// Invariant 1, for any course of things; and what is remembered is bounded.
func TestFlowAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f flow
		var now time.Duration
		t.Repeat(map[string]func(*rapid.T){
			"wait":    func(t *rapid.T) { now += time.Duration(rapid.Int64Range(0, int64(5*second)).Draw(t, "time")) },
			"send":    func(*rapid.T) { f.send(now) },
			"judge":   func(*rapid.T) { f.judge(now) },
			"cut":     func(*rapid.T) { f.cut() },
			"receive": func(t *rapid.T) { f.receive(rapid.Uint64Range(0, f.next+1).Draw(t, "number"), now) },
			"": func(t *rapid.T) {
				c := f.counts
				var pending uint64
				expected := false
				for i, m := range f.messages {
					if m.fate == underWay {
						pending++
						expected = expected || f.live && f.next-uint64(len(f.messages)-i) >= f.liveFrom
					}
				}
				if c.Sent != c.Delivered+c.Lost+c.Early+c.CutOff+pending || f.pending() != expected {
					t.Fatalf("%+v, %d under way", c, pending)
				}
				if uint64(len(f.samples)) != min(c.Delivered, sampleLimit) {
					t.Fatalf("%d samples of %d deliveries", len(f.samples), c.Delivered)
				}
			},
		})
		f.close()
		if c := f.counts; c.Sent != c.Delivered+c.Lost+c.Early+c.CutOff || f.pending() {
			t.Fatalf("at the end %+v", c)
		}
		f.judge(now + forgetAfter + 1)
		if len(f.messages) != 0 {
			t.Fatalf("%d messages remembered for ever", len(f.messages))
		}
	})
}

func TestFlowMedian(t *testing.T) {
	var f flow
	for i := range sampleLimit + 10 {
		at := time.Duration(i) * second
		f.receive(f.send(at), at+time.Duration(i)*time.Millisecond)
	}
	if len(f.samples) != sampleLimit {
		t.Errorf("%d samples", len(f.samples))
	}
	got, _, ok := f.median(time.Duration(sampleLimit+5)*second, nil)
	if want := time.Duration(sampleLimit+7) * time.Millisecond; !ok || got != want {
		t.Errorf("median %v, want %v", got, want)
	}
	if _, _, ok := f.median(2000*second, nil); ok {
		t.Error("a median of nothing")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []time.Duration
		want   time.Duration
	}{{[]time.Duration{3}, 3}, {[]time.Duration{9, 1}, 5}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{4, 8, 2, 1}, 3}} {
		if got, ok := median(slices.Clone(c.values)); !ok || got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
	if _, ok := median(nil); ok {
		t.Error("a median of nothing")
	}
}

// A flow that sends each 100 ms and is silent for a second has an outage of 900 ms.
func TestPause(t *testing.T) {
	const interval = 100 * time.Millisecond
	var f flow
	at := func(n int) time.Duration { return time.Duration(n) * interval }
	for n := range 10 {
		f.receive(f.send(at(n)), at(n))
	}
	if f.pauses.longest != 0 {
		t.Errorf("%v before it is armed", f.pauses.longest)
	}
	f.pauses = pause{armed: true, interval: interval}
	for n := 19; n < 30; n++ {
		f.receive(f.send(at(n)), at(n))
	}
	if f.pauses.longest != 900*time.Millisecond {
		t.Errorf("longest %v", f.pauses.longest)
	}
	if got := f.pauses.lasting(f.came, at(50)); got != 2*second {
		t.Errorf("lasting %v", got)
	}
}
