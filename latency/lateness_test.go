package latency

import (
	"testing"
	"time"
)

// TestLateOwner: who gets to work late probes less and gives echoes more time, and as before once it is in time again.
func TestLateOwner(t *testing.T) {
	w := newWorld(Config{}, 1)
	var link *Link
	for i := range 40 {
		link = w.add(wireID(i), &path{rtt: steady(40 * ms), used: always})
	}
	w.run(10*time.Second, nil)
	rate := func() float64 {
		w.sent = nil
		w.run(w.now+10*time.Second, nil)
		return float64(len(w.sent)) / 10
	}
	full := rate()
	late := func(by time.Duration) {
		for range 100 {
			w.prober.Late(by)
		}
	}
	for _, c := range []struct {
		by          time.Duration
		least, most float64 // of the full rate
		patience    time.Duration
	}{
		{4 * ms, 0.99, 1.01, 0},
		{20 * ms, 0.2, 0.3, 38 * ms},
		{time.Hour, 0.1, 0.16, 1990 * ms},
		{0, 0.99, 1.01, 0},
	} {
		late(c.by)
		got := rate()
		verdict(t, got >= c.least*full && got <= c.most*full, "%v late: %.1f probes/s of %.1f", c.by, got, full)
		verdict(t, link.patience >= c.patience && link.patience <= c.patience+10*ms, "%v late: echoes are given %v more", c.by, link.patience)
	}
	w.prober.Late(time.Hour) // a process that stood still once is not short of processor time
	for range 30 {
		w.prober.Late(0)
	}
	verdict(t, w.prober.Strain() == 1, "strained by %.1f after one stall", w.prober.Strain())
}

// TestLateEchoes: echoes that come late because all on a computer is late take no link down.
func TestLateEchoes(t *testing.T) {
	for _, c := range []struct {
		by    time.Duration
		downs uint64
	}{{0, 1}, {100 * ms, 0}} {
		w := newWorld(Config{}, 1)
		rtt := 40 * ms
		link := w.add(1, &path{rtt: func(time.Duration) time.Duration { return rtt }, used: always})
		w.run(20*time.Second, nil)
		for range 100 {
			w.prober.Late(c.by)
		}
		w.run(w.now+200*ms, nil) // the next probes know
		rtt = 230 * ms
		w.run(w.now+5*time.Second, nil)
		verdict(t, link.Stats().Downs == c.downs, "%v late: %d downs", c.by, link.Stats().Downs)
	}
}

// TestStrainedAdvertiser: who is late tells the mesh only of what it cannot be itself.
func TestStrainedAdvertiser(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		strain float64
		fallen uint32 // from 100 ms
		due    bool
	}{{1, 95_000, false}, {1, 80_000, true}, {4, 80_000, false}, {4, 70_000, true}, {8, 1, true}} {
		a := NewAdvertiser(Config{})
		a.Offer(now, []Cost{{1, 100_000}}, false)
		a.Strain(c.strain)
		if _, due := a.Offer(now.Add(time.Minute), []Cost{{1, c.fallen}}, false); due != c.due {
			t.Errorf("strained by %v, a fall to %d is told: %v", c.strain, c.fallen, due)
		}
		a.Strain(1)
		if _, due := a.Offer(now.Add(2*time.Minute), nil, true); !due {
			t.Errorf("strained by %v, a lost link is not told", c.strain)
		}
	}
}
