package wsgate

import "time"

// slowness is what an outbox knows of a client that does not keep up.
type slowness struct {
	since   time.Time // of the first drop since the queue was last half empty, or zero
	dropped uint64    // deliveries, in the life of the connection
	told    uint64    // how many of them the client has been told of
	toldAt  time.Time // when
}

// pace is what an outbox knows of its writer's progress.
type pace struct {
	batches uint64    // written so far
	seen    uint64    // batches at the last look
	since   time.Time // of the first look that saw this many, with the writer at work; or zero
}

// stalled tells whether the batch under way has been so for the limit.
func (p *pace) stalled(writing bool, now time.Time, limit time.Duration) bool {
	if !writing || p.batches != p.seen {
		p.seen, p.since = p.batches, time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = now
	}
	return now.Sub(p.since) >= limit
}

// overdue tells whether the connection should be cut now, and why.
func (b *outbox) overdue(now time.Time) (closing, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pace.stalled(b.writing, now, b.limits.stall) {
		return closeStalled, true
	}
	if b.endAt.IsZero() || now.Sub(b.endAt) < b.limits.linger {
		return b.why, false
	}
	if b.why == closeSlow && !b.closed && b.frames.len() > 0 { // who is too slow for the queue is for the rest of it as well, but is to know why it ends
		b.counts.dropsEnded.Add(uint64(b.frames.len()))
		b.frames, b.endAt = frameQueue{}, now
		return b.why, false
	}
	return b.why, true
}

// noticeInterval is the shortest time between two notices of drops.
const noticeInterval = time.Second

// untold is the number of deliveries dropped so far, if the client should hear of it now.
func (b *outbox) untold(now time.Time) (dropped uint64, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow.dropped, b.slow.dropped != b.slow.told && now.Sub(b.slow.toldAt) >= noticeInterval
}

// told notes how many drops the client knows of.
func (b *outbox) told(dropped uint64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow.told, b.slow.toldAt = dropped, now
}

// account is why the connection ended, and what became of its deliveries; for when no writer is left.
func (b *outbox) account() (why closing, delivered, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why, b.delivered, b.slow.dropped
}

// reason is why the connection ended.
func (b *outbox) reason() closing {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}
