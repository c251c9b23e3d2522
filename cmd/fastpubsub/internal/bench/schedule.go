package bench

import (
	"context"
	"time"
)

// schedule says when messages are due: the first at start, then rate a second. It knows nothing of what became of the ones before, so that none
// is due later because others took long.
type schedule struct {
	start time.Duration
	rate  float64
	count int
}

// due is when message i is.
func (s schedule) due(i int) time.Duration {
	return s.start + time.Duration(float64(i)/s.rate*float64(time.Second))
}

// dueBy is the first message after i, which is due, that is not due by now.
func (s schedule) dueBy(i int, now time.Duration) int {
	for i++; i < s.count && s.due(i) <= now; i++ {
	}
	return i
}

// play has the messages sent: as soon as some are due, all that are, from the first number up to the second. wait waits for a time or less, and
// fails when ctx ends.
func (s schedule) play(now func() time.Duration, wait func(time.Duration) error, send func(from, to int) error) error {
	for i := 0; i < s.count; {
		if early := s.due(i) - now(); early > 0 {
			if err := wait(early); err != nil {
				return err
			}
			continue
		}
		next := s.dueBy(i, now())
		if err := send(i, next); err != nil {
			return err
		}
		i = next
	}
	return nil
}

// sleep waits for a time.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait is sleep, but exact where the system lets it.
func wait(ctx context.Context, d time.Duration) error {
	if d > coarse {
		return sleep(ctx, d-coarse)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	doze(d)
	return nil
}
