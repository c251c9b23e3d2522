package flight

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Bounds of the destination's side.
const (
	Window    = 1 << 16 // sequences above the floor that are kept apart
	HoldBytes = 8 << 20 // held for order, per origin
	AckDelay  = 20 * time.Millisecond
	ackRanges = 32

	refusedMost = wire.MaxRefused // messages for one subscriber that are remembered as refused, per origin: one acknowledgement lists all
)

// Verdict is what became of a message that arrived.
type Verdict int

// The verdicts on a message.
const (
	Accepted  Verdict = iota // new: delivered now or held
	Duplicate                // seen before
	Refused                  // no room to remember or hold it; it must come again
)

// Deliver hands a message out and reports whether anybody took it. Only of a message for one subscriber (Arrival.One) does that matter.
type Deliver[T any] func(T) (taken bool)

// Incoming is what one run of an origin has sent to this node.
type Incoming[T any] struct {
	Boot uint64 // of the origin's run

	floor  uint64   // everything up to here has been received or will not come
	above  []uint64 // bits of what was received above the floor: bit i is floor+1+i, from offset
	offset int      // bits of above already passed
	base   uint64   // nothing below comes any more
	held   map[uint64]held[T]
	after  map[uint64]uint64 // the held message that waits for a sequence
	bytes  int
	open   int       // held messages of which it is not known yet whether anybody takes them
	passed []refusal // ascending: messages for one subscriber that nobody took
	newest uint64    // newest sequence received
	came   time.Time // when
	ackAt  time.Time // when to acknowledge; zero: nothing to
}

type held[T any] struct {
	item     T
	waits    uint64 // sequence of its predecessor
	size     int
	one      bool
	deadline time.Time
}

type refusal struct {
	seq   uint64
	until time.Time // its deadline, after which its origin has no use for the news
}

// NewIncoming is the window of an origin whose first message to arrive has this base.
func NewIncoming[T any](boot, base uint64) *Incoming[T] {
	return &Incoming[T]{Boot: boot, floor: base - 1, base: base, held: map[uint64]held[T]{}, after: map[uint64]uint64{}}
}

// Arrival is a message as it arrives.
type Arrival[T any] struct {
	Seq, Back, Ahead uint64
	Item             T
	Size             int
	One              bool      // for one subscriber: refused if nobody takes it
	Deadline         time.Time // when it is let go even if its predecessor has not come
}

// Holds reports whether Receive would hold the message back, so that its owner can make the item last.
func (in *Incoming[T]) Holds(a Arrival[T]) bool {
	return a.Back > 0 && a.Back < a.Seq && a.Seq-a.Back >= a.Seq-a.Ahead && !in.delivered(a.Seq-a.Back) && !in.received(a.Seq)
}

// Receive takes a message in and calls deliver for what can be delivered now, in order.
func (in *Incoming[T]) Receive(now time.Time, a Arrival[T], deliver Deliver[T]) Verdict {
	if a.Seq == 0 || a.Ahead >= a.Seq || a.Back >= a.Seq {
		return Refused
	}
	in.Advance(a.Seq-a.Ahead, deliver)
	in.acknowledge(now)
	if in.received(a.Seq) {
		return Duplicate
	}
	waits := a.Seq - a.Back
	mustWait := a.Back > 0 && !in.delivered(waits)
	if a.Seq > in.floor+Window || mustWait && in.bytes+a.Size > HoldBytes || a.One && len(in.passed)+in.open >= refusedMost {
		return Refused
	}
	in.mark(a.Seq)
	if a.Seq > in.newest {
		in.newest, in.came = a.Seq, now
	}
	if mustWait {
		in.held[a.Seq] = held[T]{a.Item, waits, a.Size, a.One, a.Deadline}
		in.after[waits] = a.Seq
		in.bytes += a.Size
		if a.One {
			in.open++
		}
		return Accepted
	}
	if !deliver(a.Item) && a.One {
		in.pass(a.Seq, a.Deadline)
	}
	in.follow(a.Seq, deliver)
	return Accepted
}

// follow delivers what waited for seq, and what waited for that.
func (in *Incoming[T]) follow(seq uint64, deliver Deliver[T]) {
	for {
		next, ok := in.after[seq]
		if !ok {
			return
		}
		delete(in.after, seq)
		in.release(next, deliver)
		seq = next
	}
}

func (in *Incoming[T]) release(seq uint64, deliver Deliver[T]) {
	h := in.held[seq]
	delete(in.held, seq)
	if in.after[h.waits] == seq {
		delete(in.after, h.waits)
	}
	in.bytes -= h.size
	if h.one {
		in.open--
	}
	if !deliver(h.item) && h.one {
		in.pass(seq, h.deadline)
	}
}

// pass remembers that nobody took a message for one subscriber, so that acknowledgements say so until its origin knows.
func (in *Incoming[T]) pass(seq uint64, until time.Time) {
	at, _ := slices.BinarySearchFunc(in.passed, seq, func(r refusal, seq uint64) int { return cmp.Compare(r.seq, seq) })
	in.passed = slices.Insert(in.passed, at, refusal{seq, until})
}

// Advance says that nothing below base will come any more: what waits for something there waits in vain.
func (in *Incoming[T]) Advance(base uint64, deliver Deliver[T]) {
	if base <= in.base {
		return
	}
	in.base = base
	if base-1 > in.floor {
		in.skip(base - 1)
	}
	in.letGo(deliver, func(h held[T]) bool { return h.waits < base })
	in.passed = slices.DeleteFunc(in.passed, func(r refusal) bool { return r.seq < base })
}

// Expire lets go what has waited to its deadline. Whatever the origin sent before what that waited for is older still and no longer
// wanted: delivered now, it might come after a later message of its channel.
func (in *Incoming[T]) Expire(now time.Time, deliver Deliver[T]) {
	in.passed = slices.DeleteFunc(in.passed, func(r refusal) bool { return !now.Before(r.until) })
	base := in.base
	for _, h := range in.held {
		if !now.Before(h.deadline) {
			base = max(base, h.waits+1)
		}
	}
	in.Advance(base, deliver)
}

// Flush lets everything go, in order: the origin is gone.
func (in *Incoming[T]) Flush(deliver Deliver[T]) {
	in.letGo(deliver, func(held[T]) bool { return true })
}

func (in *Incoming[T]) letGo(deliver Deliver[T], vain func(held[T]) bool) {
	var free []uint64
	for seq, h := range in.held {
		if vain(h) {
			free = append(free, seq)
		}
	}
	slices.Sort(free)
	for _, seq := range free {
		if _, still := in.held[seq]; still { // else it followed another
			in.release(seq, deliver)
			in.follow(seq, deliver)
		}
	}
}

// delivered reports whether a sequence needs no waiting for.
func (in *Incoming[T]) delivered(seq uint64) bool {
	if _, waiting := in.held[seq]; waiting {
		return false
	}
	return seq < in.base || in.received(seq)
}

func (in *Incoming[T]) received(seq uint64) bool {
	if seq <= in.floor {
		return true
	}
	i := seq - in.floor - 1 + uint64(in.offset)
	return i/64 < uint64(len(in.above)) && in.above[i/64]&(1<<(i%64)) != 0
}

// mark notes a sequence above the floor as received and moves the floor past all that is.
func (in *Incoming[T]) mark(seq uint64) {
	i := seq - in.floor - 1 + uint64(in.offset)
	for i/64 >= uint64(len(in.above)) {
		in.above = append(in.above, 0)
	}
	in.above[i/64] |= 1 << (i % 64)
	for in.received(in.floor + 1) {
		in.step()
	}
}

// skip moves the floor to seq whether or not all was received, and past what was received above.
func (in *Incoming[T]) skip(seq uint64) {
	if seq-in.floor >= uint64(64*len(in.above)) {
		in.above, in.offset, in.floor = in.above[:0], 0, seq
		return
	}
	for in.floor < seq || in.received(in.floor+1) {
		in.step()
	}
}

// step moves the floor by one.
func (in *Incoming[T]) step() {
	in.floor++
	in.offset++
	if in.offset == 64 {
		copy(in.above, in.above[1:])
		in.above = in.above[:len(in.above)-1]
		in.offset = 0
	}
}

func (in *Incoming[T]) acknowledge(now time.Time) {
	if in.ackAt.IsZero() {
		in.ackAt = now.Add(AckDelay)
	}
}

// Ack is the acknowledgement to send if one is due; it then counts as sent. A message for one subscriber is acknowledged only when it is known
// whether anybody took it: its origin keeps it until then.
func (in *Incoming[T]) Ack(now time.Time, a *wire.Ack) bool {
	if in.ackAt.IsZero() || now.Before(in.ackAt) {
		return false
	}
	in.ackAt = time.Time{}
	a.OriginBoot, a.Floor, a.Newest, a.Held = in.Boot, in.floor, in.newest, now.Sub(in.came)
	a.Ranges, a.Refused = a.Ranges[:0], a.Refused[:0]
	for _, r := range in.passed {
		a.Refused = append(a.Refused, r.seq)
	}
	if end := in.unsettled(); end <= a.Floor {
		a.Floor = end - 1
	}
	for seq, end := a.Floor+1, in.newest; seq <= end && len(a.Ranges) < ackRanges; {
		for seq <= end && !in.settled(seq) {
			seq++
		}
		first := seq
		for seq <= end && in.settled(seq) {
			seq++
		}
		if first < seq {
			a.Ranges = append(a.Ranges, wire.Range{First: first, Last: seq - 1})
		}
	}
	return true
}

// unsettled is the least sequence that was received and must not be acknowledged yet; the greatest of all if there is none.
func (in *Incoming[T]) unsettled() uint64 {
	least := uint64(math.MaxUint64)
	if in.open > 0 {
		for seq, h := range in.held {
			if h.one {
				least = min(least, seq)
			}
		}
	}
	return least
}

// settled reports whether a sequence can be acknowledged.
func (in *Incoming[T]) settled(seq uint64) bool {
	return in.received(seq) && (in.open == 0 || !in.held[seq].one)
}

// Held is how many messages wait for their predecessor, and their bytes.
func (in *Incoming[T]) Held() (messages, bytes int) { return len(in.held), in.bytes }

// Next is when Ack or Expire has something to do; zero for never.
func (in *Incoming[T]) Next() (at time.Time) {
	at = in.ackAt
	for _, h := range in.held {
		if at.IsZero() || h.deadline.Before(at) {
			at = h.deadline
		}
	}
	return at
}
