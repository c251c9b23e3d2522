package wsgate

import (
	"net"
	"slices"
)

const (
	// batchBytes is how much a batch takes before it counts as full. It bounds what a slow connection holds besides its
	// queue, and what must be written within Timing.Write.
	batchBytes = 64 << 10
	// joinBelow is the length under which frames are copied together: one long segment is written faster than many short
	// ones (256 frames of 150 B over loopback TCP: 18 µs against 32 µs), while copying a long one gains nothing.
	joinBelow = 8 << 10
	// keptSlots is how many slots an idle frameQueue keeps.
	keptSlots = 16
)

// frames are deliveries encoded for the wire, one after the other: whole frames, shared by connections and so read only.
type frames struct {
	bytes    []byte
	messages int // at least 1
}

// batch is what one write takes out of an outbox.
type batch struct {
	replies  []byte   // whole frames, put together
	frames   [][]byte // deliveries, shared with other connections: read only
	messages int      // in frames
	last     []byte   // close frame, or nil
	bytes    int      // of replies and frames

	joined []byte
	pieces net.Buffers
}

// full tells whether another frame should wait for the next batch.
func (b *batch) full() bool { return b.bytes >= batchBytes }

func (b *batch) reply(frames []byte) {
	b.replies = append(b.replies, frames...)
	b.bytes += len(frames)
}

func (b *batch) add(f frames) {
	b.frames = append(b.frames, f.bytes)
	b.messages += f.messages
	b.bytes += len(f.bytes)
}

// segments is the batch as the fewest sensible byte slices, valid until clear.
func (b *batch) segments() net.Buffers {
	if len(b.replies) == 0 && len(b.frames) == 1 {
		b.pieces = append(b.pieces, b.frames[0])
		return b.pieces
	}
	total := len(b.replies)
	for _, frame := range b.frames {
		if len(frame) < joinBelow {
			total += len(frame)
		}
	}
	b.joined = append(slices.Grow(b.joined, total), b.replies...)
	start := 0
	for _, frame := range b.frames {
		if len(frame) < joinBelow {
			b.joined = append(b.joined, frame...)
			continue
		}
		b.cut(&start)
		b.pieces = append(b.pieces, frame)
	}
	b.cut(&start)
	return b.pieces
}

// cut makes a piece of what was joined from start on.
func (b *batch) cut(start *int) {
	if end := len(b.joined); end > *start {
		b.pieces = append(b.pieces, b.joined[*start:end])
		*start = end
	}
}

// clear empties the batch and lets go of the frames.
func (b *batch) clear() {
	clear(b.frames)
	clear(b.pieces)
	*b = batch{replies: b.replies[:0], frames: b.frames[:0], joined: b.joined[:0], pieces: b.pieces[:0]}
}

// frameQueue is a ring of deliveries, first in, first out. The zero value is empty.
type frameQueue struct {
	slots    []frames // as many as a power of two
	first    int
	count    int
	messages int
	bytes    int
	popped   uint64 // so many were taken out, ever
}

// len is how many messages wait.
func (q *frameQueue) len() int { return q.messages }

func (q *frameQueue) push(f frames) {
	if q.count == len(q.slots) {
		grown := make([]frames, max(2*len(q.slots), 4))
		n := copy(grown, q.slots[q.first:])
		copy(grown[n:], q.slots[:q.first])
		q.slots, q.first = grown, 0
	}
	q.slots[(q.first+q.count)&(len(q.slots)-1)] = f
	q.count++
	q.messages += f.messages
	q.bytes += len(f.bytes)
}

// at is the i-th of those in the queue.
func (q *frameQueue) at(i int) frames { return q.slots[(q.first+i)&(len(q.slots)-1)] }

// swap puts f in the place of the delivery that was pushed after so many others, and still waits.
func (q *frameQueue) swap(place uint64, f frames) (old frames) {
	slot := &q.slots[(q.first+int(place-q.popped))&(len(q.slots)-1)]
	old, *slot = *slot, f
	q.messages += f.messages - old.messages
	q.bytes += len(f.bytes) - len(old.bytes)
	return old
}

// pop takes the oldest frames out of a queue that is not empty.
func (q *frameQueue) pop() frames {
	f := q.slots[q.first]
	q.slots[q.first] = frames{}
	q.first = (q.first + 1) & (len(q.slots) - 1)
	q.count--
	q.popped++
	q.messages -= f.messages
	q.bytes -= len(f.bytes)
	if q.count == 0 && len(q.slots) > keptSlots {
		q.slots, q.first = nil, 0
	}
	return f
}
