package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// batchMessages and batchBytes bound what is published in one write.
	batchMessages = 256
	batchBytes    = 64 << 10
)

// errStalled reports that a full window did not move for Config.Patience.
var errStalled = errors.New("bench: nothing is delivered any more")

// window bounds what is in flight. One publisher takes, readers give back. Nothing spins, so that the processors are the nodes'.
type window struct {
	limit int // messages in flight at most
	most  int // taken at a time
	least int // and at least: a write for each message that is given back would be dear

	patience time.Duration
	room     chan struct{} // capacity 1: at least least are free

	mu      sync.Mutex // guards what follows
	taken   uint64
	given   uint64
	waiting bool
}

// newWindow is for messages of one size, so that the bytes in flight are bounded by a number of messages too.
func newWindow(messages, bytes, size int, patience time.Duration) *window {
	limit := max(min(messages, bytes/size), 1)
	most := max(min(batchMessages, batchBytes/size, limit), 1)
	return &window{limit: limit, most: most, least: max(min(most, limit/4), 1), patience: patience, room: make(chan struct{}, 1)}
}

// take waits for room and returns how many messages may be sent now.
func (w *window) take(ctx context.Context) (int, error) {
	if n := w.tryTake(); n > 0 {
		return n, nil
	}
	timer := time.NewTimer(w.patience)
	defer timer.Stop()
	for given := w.back(); ; {
		select {
		case <-w.room:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-timer.C:
			now := w.back()
			if now == given {
				return 0, errStalled
			}
			given = now
			timer.Reset(w.patience)
		}
		if n := w.tryTake(); n > 0 {
			return n, nil
		}
	}
}

// tryTake takes what may be sent now; if that is nothing, give signals room.
func (w *window) tryTake() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	free := w.limit - int(w.taken-w.given)
	w.waiting = free < w.least
	if w.waiting {
		return 0
	}
	n := min(free, w.most)
	w.taken += uint64(n)
	return n
}

// back is how many have been given back.
func (w *window) back() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.given
}

// give says that messages have arrived. More than were taken are not taken note of.
func (w *window) give(n int) {
	w.mu.Lock()
	w.given = min(w.given+uint64(n), w.taken)
	wake := w.waiting && w.limit-int(w.taken-w.given) >= w.least
	w.waiting = w.waiting && !wake
	w.mu.Unlock()
	if !wake {
		return
	}
	select {
	case w.room <- struct{}{}:
	default:
	}
}
