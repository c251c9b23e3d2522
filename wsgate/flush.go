package wsgate

import (
	"sync"
	"sync/atomic"
	"time"
)

// promptBoxes is how many outboxes a flush writes itself at most.
const promptBoxes = 8

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

// Flush has everything written that was queued before, by whomever. It does not wait for clients. Few connections are written to by the caller; many by
// their writers, which take the longer to come round the busier the node is, and then write more at once.
func (h *Hub) Flush() {
	if !h.due.any.Load() {
		return
	}
	boxes := h.due.take()
	now := time.Now()
	for _, b := range boxes {
		b.flush(now, len(boxes) <= promptBoxes)
	}
	h.due.giveBack(boxes)
}
