package bench

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// stall is a time in which the publisher is held up.
type stall struct {
	at    int // by the message with this number, or the first after it that is sent on its own
	lasts time.Duration
}

// played is what became of a schedule: when each message was due and when it went out.
type played struct{ due, sent []time.Duration }

// playIn plays a schedule in a bubble whose publisher is held up as told, and whose clock is as late as told.
func playIn(t *testing.T, s schedule, stalls []stall, lateness time.Duration) (p played) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() time.Duration { return time.Since(began) }
		pause := func(d time.Duration) error { return sleep(t.Context(), d+lateness) }
		err := s.play(now, pause, func(from, to int) error {
			if from != len(p.due) || to <= from || to > s.count {
				t.Fatalf("from %d to %d after %d messages", from, to, len(p.due))
			}
			for _, stall := range stalls {
				if from <= stall.at && stall.at < to {
					time.Sleep(stall.lasts)
				}
			}
			for i := from; i < to; i++ {
				p.due, p.sent = append(p.due, s.due(i)), append(p.sent, now())
			}
			return nil
		})
		if err != nil || len(p.due) != s.count {
			t.Fatalf("%d of %d, %v", len(p.due), s.count, err)
		}
	})
	return p
}

// Invariant 2: no coordinated omission. Whatever holds the publisher up, all messages are sent, none is due later for it, and none waits longer
// than those hold-ups that it overlaps with.
func TestScheduleOmitsNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := schedule{
			start: time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "start")), rate: rapid.Float64Range(1, 100_000).Draw(rt, "rate"),
			count: rapid.IntRange(1, 300).Draw(rt, "count"),
		}
		lateness := time.Duration(rapid.IntRange(0, 1e6).Draw(rt, "lateness"))
		stalls := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) stall {
			return stall{rapid.IntRange(0, s.count-1).Draw(t, "at"), time.Duration(rapid.IntRange(1, 3e9).Draw(t, "for"))}
		}), 0, 3).Draw(rt, "stalls")
		p := playIn(t, s, stalls, lateness)
		held := lateness
		for _, stall := range stalls {
			held += stall.lasts
		}
		for i := range p.due {
			if want := s.start + time.Duration(float64(i)*1e9/s.rate); p.due[i] < want-1 || p.due[i] > want+1 {
				rt.Fatalf("message %d due at %v, want %v", i, p.due[i], want)
			}
			if late := p.sent[i] - p.due[i]; late < 0 || late > held {
				rt.Fatalf("message %d is %v late; held up for %v", i, late, held)
			}
		}
	})
}

// One hold-up of a second at 1000 messages/s: a thousand messages show it, as evenly as they were due, and the rest do not. Charged from when they
// were sent, all but one would look well.
func TestScheduleChargesAllThatWait(t *testing.T) {
	s := schedule{rate: 1000, count: 3000}
	p := playIn(t, s, []stall{{at: 500, lasts: time.Second}}, 0)
	slow, sum := 0, time.Duration(0)
	for i := range p.due {
		if late := p.sent[i] - p.due[i]; late > 0 {
			slow++
			sum += late
		}
	}
	if mean := sum / time.Duration(slow); slow != 1000 || mean < 499*time.Millisecond || mean > 502*time.Millisecond {
		t.Errorf("%d messages late, by %v in the mean", slow, mean)
	}
}

func TestScheduleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(cause) })
		began, sent := time.Now(), 0
		s := schedule{rate: 1, count: 100}
		err := s.play(func() time.Duration { return time.Since(began) }, func(d time.Duration) error { return sleep(ctx, d) }, func(from, to int) error {
			sent += to - from
			return nil
		})
		if !errors.Is(err, cause) || sent != 10 && sent != 11 {
			t.Errorf("%d sent, %v", sent, err)
		}
		want := errors.New("broken pipe")
		if err := s.play(func() time.Duration { return time.Hour }, nil, func(int, int) error { return want }); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	})
}
