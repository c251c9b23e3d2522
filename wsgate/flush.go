package wsgate

import (
	"sync"
	"sync/atomic"
	"time"
)

// flushChunk is how many outboxes one goroutine flushes: a write takes some microseconds, and another core may help.
const flushChunk = 32

// dueList is the outboxes that are owed a flush. Whoever flushes does so for all.
type dueList struct {
	any atomic.Bool

	mu    sync.Mutex // guards what follows
	boxes []*outbox
	spare []*outbox // memory for the next list
}

func (d *dueList) add(boxes []*outbox) {
	if len(boxes) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes = append(d.boxes, boxes...)
	d.any.Store(true)
}

// take takes the list over; its memory is to be given back.
func (d *dueList) take() []*outbox {
	if !d.any.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	boxes := d.boxes
	d.boxes, d.spare = d.spare, nil
	d.any.Store(false)
	return boxes
}

func (d *dueList) giveBack(boxes []*outbox) {
	clear(boxes)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spare == nil {
		d.spare = boxes[:0]
	}
}

// Flush has everything written that was queued before, by whomever. It does not wait for clients.
func (h *Hub) Flush() {
	boxes := h.due.take()
	if len(boxes) == 0 {
		return
	}
	now := time.Now()
	if len(boxes) <= flushChunk {
		flushAll(boxes, now)
		h.due.giveBack(boxes)
		return
	}
	var group sync.WaitGroup
	rest := boxes
	for ; len(rest) > flushChunk; rest = rest[flushChunk:] {
		chunk := rest[:flushChunk]
		group.Go(func() { flushAll(chunk, now) })
	}
	flushAll(rest, now)
	group.Wait()
	h.due.giveBack(boxes)
}

func flushAll(boxes []*outbox, now time.Time) {
	for _, b := range boxes {
		b.flush(now)
	}
}
