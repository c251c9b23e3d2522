package wsgate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxReplies bounds the replies that wait in an outbox, in bytes. A client that asks on without reading the answers
	// is not read from while they do.
	maxReplies = 16 << 10
	// keptReplies is how large a reply buffer an idle connection keeps, in bytes.
	keptReplies = 1 << 10
)

// errEnding ends a wait for room in an outbox that will not have any.
var errEnding = errors.New("wsgate: connection ending")

// outbox is what waits to be written to one connection: replies first, then deliveries in the order they came, then a
// close frame if there is to be one. Delivering never waits: when the bound is reached the oldest deliveries go.
//
// Whoever delivers owes the outbox a flush, which may write what waits itself, as far as the socket takes that without waiting: waking a writer would take longer than a
// short write. Where flushes follow each other closely the writer puts together what they would write.
//
// The goroutine that writes (drain) lives only while there is something to write, so that an idle connection costs no
// stack for it.
type outbox struct {
	conn    *frameConn
	limits  outboxLimits
	batches *sync.Pool // of *batch, shared by all connections
	counts  *counters
	room    chan struct{}  // capacity 1: signalled when replies have been taken out
	ending  atomic.Bool    // a close frame waits or nothing is taken in any more
	writers sync.WaitGroup // drain, one at most; started under mu

	delivered uint64 // messages written; of whoever writes: drain, or flush under mu while there is no drain

	mu      sync.Mutex
	replies []byte // whole frames, put together
	frames  frameQueue
	picky   *pickiness // nil: no delivery has a policy of its own
	cut     []byte     // rest of a delivery that was written in part: precedes all else
	owed    bool       // somebody will flush
	flushed time.Time  // when flush last wrote
	last    []byte     // close frame, once there is to be one
	corked  bool       // deliveries wait for a reply that must come first
	writing bool       // drain runs
	closed  bool       // nothing is taken in or out any more
	why     closing    // the first reason to end
	slow    slowness
	pace    pace
	endAt   time.Time // when the connection began to end, or zero
}

// outboxLimits are the bounds that all connections share.
type outboxLimits struct {
	bytes, frames int           // of waiting deliveries
	overflow      time.Duration // how long a queue may stay full
	stall         time.Duration // how long one batch may take to be written
	linger        time.Duration // how long the closing handshake may take
}

// push queues deliveries, all or none. It tells whether the connection took them, and whether the caller owes it a flush.
func (b *outbox) push(f frames) (taken, owes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.last != nil {
		return false, false
	}
	if len(f.bytes) > b.limits.bytes {
		b.counts.dropsTooLarge.Add(uint64(f.messages))
		return false, false
	}
	if b.crowded(len(f.bytes), f.messages) && !b.makeRoom(f, time.Now()) {
		return false, false
	}
	b.frames.push(f)
	return true, b.owe()
}

// owe tells whether who pushed owes a flush. A batch that is full gains nothing from one, and a queue that is half full may not wait for it, or
// what one read of a link brought could overflow it before anybody writes. b.mu is held.
func (b *outbox) owe() bool {
	if b.frames.bytes >= batchBytes || !b.easy() {
		b.wake()
	}
	owes := !b.writing && !b.owed
	b.owed = b.owed || owes
	return owes
}

// easy tells whether the queue is half empty at least. b.mu is held.
func (b *outbox) easy() bool {
	return b.frames.bytes <= b.limits.bytes/2 && b.frames.len() <= b.limits.frames/2
}

const (
	promptBytes = 16 << 10               // the most that flush writes itself
	promptPause = 100 * time.Microsecond // between flushes that write themselves
)

// flush sees to it that what was pushed is written: by itself if it may and can, else by the writer.
func (b *outbox) flush(now time.Time, prompt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owed = false
	if b.writing || b.closed || !b.pending() {
		return
	}
	if prompt && len(b.cut) == 0 && len(b.replies) == 0 && b.last == nil && b.frames.bytes <= promptBytes && now.Sub(b.flushed) >= promptPause && b.conn.prompt != nil {
		b.flushed = now
		b.writeNow()
	}
	b.wake()
}

// writeNow writes the deliveries that wait as far as the socket takes them at once. b.mu is held.
func (b *outbox) writeNow() {
	out := b.batches.Get().(*batch)
	defer b.batches.Put(out)
	defer out.clear()
	if b.frames.count == 1 {
		b.cut = b.attempt(b.frames.slots[b.frames.first].bytes)
	} else {
		for i := range b.frames.count {
			out.joined = append(out.joined, b.frames.at(i).bytes...)
		}
		b.cut = slices.Clone(b.attempt(out.joined))
	}
	if len(b.cut) == b.frames.bytes { // nothing went: it all stays in the queue, where it can be dropped
		b.cut = nil
		return
	}
	b.counts.bytesOut.Add(uint64(b.frames.bytes - len(b.cut)))
	b.counts.messagesOut.Add(uint64(b.frames.messages))
	b.delivered += uint64(b.frames.messages)
	for b.frames.count > 0 {
		b.frames.pop()
	}
	b.slow.since = time.Time{}
}

// attempt writes without waiting and returns what is left.
func (b *outbox) attempt(bytes []byte) (rest []byte) { return bytes[b.conn.tryWrite(bytes):] }

// roomy tells whether a delivery of n bytes would be taken and drop nothing.
func (b *outbox) roomy(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed && b.last == nil && !b.crowded(n, 1)
}

// crowded tells whether so many messages in so many bytes are over the bound, which in messages only an empty queue may pass. b.mu is held.
func (b *outbox) crowded(bytes, messages int) bool {
	waiting := b.frames.len()
	return b.frames.bytes+bytes > b.limits.bytes || waiting > 0 && waiting+messages > b.limits.frames
}

// makeRoom drops the oldest deliveries, or gives the connection up if it has been too slow for too long. b.mu is held.
func (b *outbox) makeRoom(f frames, now time.Time) bool {
	if b.slow.since.IsZero() {
		b.slow.since = now
	}
	tooLong := now.Sub(b.slow.since) >= b.limits.overflow
	before := b.frames.len()
	for b.frames.len() > 0 && (tooLong || b.crowded(len(f.bytes), f.messages)) {
		if !tooLong && b.picky.keeps(b.frames.popped) {
			tooLong = true
			break
		}
		b.frames.pop()
	}
	drops := uint64(before - b.frames.len())
	b.slow.dropped += drops
	b.counts.dropsSlow.Add(drops)
	if tooLong {
		b.end(closeSlow, now)
	}
	return !tooLong
}

// reply queues a whole control or text frame ahead of all deliveries, and waits while there is no room for it.
func (b *outbox) reply(ctx context.Context, frame []byte) error {
	for {
		switch taken, err := b.offer(frame); {
		case err != nil:
			return err
		case taken:
			return nil
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer is reply without the wait.
func (b *outbox) offer(frame []byte) (taken bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.last != nil {
		return false, errEnding
	}
	if len(b.replies)+len(frame) > maxReplies {
		return false, nil
	}
	b.replies = append(b.replies, frame...)
	b.wake()
	return true, nil
}

// cork holds deliveries back until uncork, so that a reply queued meanwhile precedes every delivery queued meanwhile.
func (b *outbox) cork() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = true
}

func (b *outbox) uncork() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = false
	b.wake()
}

// shut ends the connection with a close frame after what is queued. Only the first call counts.
func (b *outbox) shut(why closing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(why, time.Now())
}

// shutNow is shut without what is queued, but for the rest of a frame that was written in part.
func (b *outbox) shutNow(why closing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.last == nil {
		b.counts.dropsEnded.Add(uint64(b.frames.len()))
		b.frames, b.replies = frameQueue{}, nil
	}
	b.end(why, time.Now())
}

// end is shut with b.mu held.
func (b *outbox) end(why closing, now time.Time) {
	if b.closed || b.last != nil {
		return
	}
	b.last, b.why, b.endAt = why.frame(), why, now
	b.ending.Store(true)
	b.wake()
}

// drop closes the outbox without a close frame: nothing is taken in or out from here on. The first reason given counts.
func (b *outbox) drop(why closing, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discard(why, now)
}

// discard is drop with b.mu held.
func (b *outbox) discard(why closing, now time.Time) {
	if b.why == closeNone {
		b.why = why
	}
	if b.endAt.IsZero() {
		b.endAt = now
	}
	if b.closed {
		return
	}
	b.closed = true
	b.ending.Store(true)
	b.counts.dropsEnded.Add(uint64(b.frames.len()))
	b.frames, b.replies, b.cut = frameQueue{}, nil, nil
	b.signalRoom()
}

// wake sees to it that drain runs if there is something to write. b.mu is held.
func (b *outbox) wake() {
	if b.writing || b.closed || !b.pending() {
		return
	}
	b.writing = true
	b.writers.Add(1) // rather than Go, which costs two allocations more
	go b.drain()
}

// pending tells whether there is something to write now. b.mu is held.
func (b *outbox) pending() bool {
	return len(b.cut) > 0 || len(b.replies) > 0 || !b.corked && (b.frames.len() > 0 || b.last != nil)
}

// signalRoom wakes the reader if it waits in reply. It never blocks.
func (b *outbox) signalRoom() {
	select {
	case b.room <- struct{}{}:
	default:
	}
}

// drain writes until nothing is left, one write a batch.
func (b *outbox) drain() {
	defer b.writers.Done()
	out := b.batches.Get().(*batch)
	defer b.batches.Put(out)
	for b.take(out) {
		err := b.write(out)
		out.clear()
		if err != nil {
			b.fail(err)
			return
		}
	}
}

// take moves what is to be written next into an empty batch, or ends the writer's life.
func (b *outbox) take(out *batch) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.batches++
	if b.easy() {
		b.slow.since = time.Time{}
	}
	if b.closed || !b.pending() {
		b.writing = false
		return false
	}
	out.reply(b.cut)
	b.cut = nil
	out.reply(b.replies)
	if b.replies = b.replies[:0]; cap(b.replies) > keptReplies {
		b.replies = nil
	}
	b.signalRoom()
	if b.corked {
		return true
	}
	for b.frames.len() > 0 && !out.full() {
		out.add(b.frames.pop())
	}
	if b.frames.len() == 0 {
		out.last = b.last
	}
	return true
}

// write writes a batch. After a close frame it reports errCloseSent.
func (b *outbox) write(out *batch) error {
	if out.bytes > 0 {
		if err := b.conn.writeFrames(out.segments()); err != nil {
			return err
		}
		b.counts.bytesOut.Add(uint64(out.bytes))
		b.counts.messagesOut.Add(uint64(out.messages))
		b.delivered += uint64(out.messages)
	}
	if out.last == nil {
		return nil
	}
	if _, err := b.conn.Write(out.last); err != nil {
		return err
	}
	return errCloseSent
}

// fail ends the writer. After a close frame the reader sees the connection to its end, and knows why; after any other
// error it learns of it by the connection being closed.
func (b *outbox) fail(err error) {
	why := closeNone
	if !errors.Is(err, errCloseSent) {
		why = closeLost
		b.conn.abort()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discard(why, time.Now())
	b.writing = false
}
