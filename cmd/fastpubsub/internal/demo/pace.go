package demo

import (
	"math/rand/v2"
	"sync"
	"time"
)

// pace says when one publisher sends to which site. It is safe for concurrent use.
type pace struct {
	changed chan struct{} // capacity 1: some message may be due sooner than was said

	mu      sync.Mutex // guards what follows
	streams []stream   // by destination
}

// stream is the messages to one destination: the next at due, then one an interval. Without an interval there are none.
type stream struct{ due, interval time.Duration }

func newPace(sites int) *pace {
	return &pace{changed: make(chan struct{}, 1), streams: make([]stream, sites)}
}

// set changes the interval to a destination. The first message is due at a random point of the first interval, so that publishers do not act in
// step; but no later than one due before.
func (p *pace) set(now time.Duration, to int, interval time.Duration, random *rand.Rand) {
	p.mu.Lock()
	s := &p.streams[to]
	due := now
	if interval > 0 {
		due += time.Duration(random.Int64N(int64(interval)))
	}
	if s.interval > 0 {
		due = min(due, s.due)
	}
	*s = stream{due, interval}
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// next is the destination that is due first, and when; false if there is none.
func (p *pace) next() (to int, at time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.streams {
		if s.interval > 0 && (!ok || s.due < at) {
			to, at, ok = i, s.due, true
		}
	}
	return to, at, ok
}

// sent takes note that a message was sent to a destination. A publisher that is late does not catch up: it would only send a burst.
func (p *pace) sent(now time.Duration, to int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.streams[to]
	s.due = max(s.due, now-s.interval) + s.interval
}
