package wan

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// line is a network of three sites in which 0 and 2 have no path to each other, and 1 is 10 ms from 0 and 20 ms from 2.
type line struct{}

func (line) Len() int { return 3 }

func (line) OneWay(from, to int) (time.Duration, bool) {
	switch {
	case from == to:
		return 0, true
	case from+to == 1:
		return 10 * time.Millisecond, true
	case from+to == 3:
		return 20 * time.Millisecond, true
	}
	return 0, false
}

func (line) Jitter(from, to int) time.Duration { return 0 }

func TestPathFates(t *testing.T) {
	const lost, blocked = -1, -2
	for _, test := range []struct {
		name     string
		change   func(*paths)
		from, to int
		want     time.Duration
	}{
		{"delay", func(p *paths) {}, 0, 1, 10 * time.Millisecond},
		{"back", func(p *paths) {}, 1, 0, 10 * time.Millisecond},
		{"other pair", func(p *paths) {}, 2, 1, 20 * time.Millisecond},
		{"no path", func(p *paths) {}, 0, 2, blocked},
		{"slower", func(p *paths) { p.change(0, 1, func(f *fault) { f.extra = 5 * time.Millisecond }) }, 0, 1, 15 * time.Millisecond},
		{"slower back", func(p *paths) { p.change(0, 1, func(f *fault) { f.extra = 5 * time.Millisecond }) }, 1, 0, 15 * time.Millisecond},
		{"slower elsewhere", func(p *paths) { p.change(1, 2, func(f *fault) { f.extra = 5 * time.Millisecond }) }, 0, 1, 10 * time.Millisecond},
		{"blocked", func(p *paths) { p.change(0, 1, func(f *fault) { f.blocked = true }) }, 0, 1, blocked},
		{"blocked back", func(p *paths) { p.change(0, 1, func(f *fault) { f.blocked = true }) }, 1, 0, blocked},
		{"lost", func(p *paths) { p.change(1, 0, func(f *fault) { f.loss = 1 }) }, 0, 1, lost},
		{"from the dead", func(p *paths) { p.dead[0] = true }, 0, 1, blocked},
		{"to the dead", func(p *paths) { p.dead[1] = true }, 0, 1, blocked},
		{"past the dead", func(p *paths) { p.dead[0] = true }, 1, 2, 20 * time.Millisecond},
	} {
		p := newPaths(line{}, 1)
		now := time.Unix(100, 0)
		for _, healed := range []bool{false, true} {
			want := test.want
			if healed {
				if p.heal(); test.from+test.to != 2 {
					want, _ = line{}.OneWay(test.from, test.to)
				}
			} else {
				test.change(p)
			}
			due, fate := p.send(now, test.from, test.to)
			got := due.Sub(now)
			switch fate {
			case fateLost:
				got = lost
			case fateBlocked:
				got = blocked
			case fateDelayed:
			}
			if got != want {
				t.Errorf("%s, healed %v: %v, want %v", test.name, healed, got, want)
			}
		}
	}
}

// Invariants 1 and 2, over any times, jitter and extra delays: never early, never past one another.
func TestPathOrderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
		}
		delays := square{2, millis("delay", 200), millis("jitter", 50)}
		p := newPaths(delays, rapid.Uint64().Draw(t, "seed"))
		extra := millis("extra", 100)
		p.change(0, 1, func(f *fault) { f.extra = extra })
		now := time.Unix(100, 0)
		var last time.Time
		for range rapid.IntRange(1, 50).Draw(t, "packets") {
			now = now.Add(millis("pause", 20))
			due, fate := p.send(now, 0, 1)
			if fate != fateDelayed || due.Before(now.Add(leastDelay(delays.delay, delays.jitter)+extra)) || due.Before(last) {
				t.Fatalf("sent at %v: fate %d, due %v after one due %v", now, fate, due, last)
			}
			last = due
		}
	})
}

// A path that became faster is not held up by what is still under way.
func TestPathFasterOvertakes(t *testing.T) {
	p := newPaths(square{2, 10 * time.Millisecond, 0}, 1)
	now := time.Unix(100, 0)
	p.change(0, 1, func(f *fault) { f.extra = time.Second })
	slow, _ := p.send(now, 0, 1)
	p.change(0, 1, func(f *fault) { f.extra = 0 })
	if fast, _ := p.send(now, 0, 1); !fast.Before(slow) {
		t.Errorf("due %v, after %v", fast, slow)
	}
}

// Jitter has the mean deviation that was asked for, a mean e/2 times as large, and a bounded tail.
func TestPathJitter(t *testing.T) {
	const count = 50_000
	const deviation = 2 * time.Millisecond
	p := newPaths(square{2, 0, deviation}, 1)
	var draws [count]float64
	var sum float64
	for i := range draws {
		draws[i] = p.jitter(deviation).Seconds() * 1000
		if draws[i] < 0 || draws[i] > 28 {
			t.Fatalf("drew %v ms", draws[i])
		}
		sum += draws[i]
	}
	mean, deviations := sum/count, 0.0
	for _, d := range draws {
		deviations += max(d-mean, mean-d)
	}
	if mean < 2.6 || mean > 2.8 || deviations/count < 1.9 || deviations/count > 2.1 {
		t.Errorf("mean %v ms, mean deviation %v ms, want 2.72 and 2", mean, deviations/count)
	}
}

// With jitter the delay is on average what it is without.
func TestPathMeanDelay(t *testing.T) {
	const count = 20_000
	for _, delays := range []square{{2, 30 * time.Millisecond, 2 * time.Millisecond}, {2, 100 * time.Millisecond, 0}} {
		p := newPaths(delays, 1)
		var sum time.Duration
		for i := range count {
			now := time.Unix(100+int64(i), 0)
			due, _ := p.send(now, 0, 1)
			sum += due.Sub(now)
		}
		if mean := sum / count; (mean - delays.delay).Abs() > 100*time.Microsecond {
			t.Errorf("%+v: mean %v", delays, mean)
		}
	}
}

func TestPathLossShare(t *testing.T) {
	const count = 20_000
	p := newPaths(square{2, 0, 0}, 1)
	p.change(0, 1, func(f *fault) { f.loss = 0.1 })
	lost := 0
	for range count {
		if _, fate := p.send(time.Unix(100, 0), 0, 1); fate == fateLost {
			lost++
		}
	}
	if share := float64(lost) / count; share < 0.09 || share > 0.11 {
		t.Errorf("lost %v of all", share)
	}
}
