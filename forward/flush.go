package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

const (
	spacedRTT  = 10 * time.Millisecond // longer links are far: there packets are scarce, on near ones wake-ups are
	farWindow  = 50 * time.Millisecond
	farFlushes = 8 // in a window go at once; then they are spaced
	minSpacing = 500 * time.Microsecond
	maxSpacing = 2 * time.Millisecond
	nearWindow = 5 * time.Millisecond
	nearBurst  = 150 // messages in a window, 30,000/s, go at once; then flushes are spaced to take nearFlush each
	nearFlush  = 32
	minPause   = 50 * time.Microsecond
	maxPause   = 500 * time.Microsecond

	// promptMessage is how many bytes its sender writes itself if nothing else waits, which saves waking the flusher.
	promptMessage = 1000
	// promptMost is how many such bytes go before the flusher has to write again, whose write ends only when nearly all of them are sent: QUIC takes what
	// is written without waiting even where it cannot send, and what it holds is in nobody's queue and cannot be taken back.
	promptMost = 16 << 10
)

// sink is where a flusher writes to.
type sink interface {
	io.Writer
	// TryWriteAll takes all of b or, with an error, nothing, without waiting; errTaken if some of what it took waits for room.
	TryWriteAll(b []byte) error
}

var errTaken = errors.New("taken, not written")

// flusher writes what waits in some of a link's boxes. There is one for the lanes, and one for the near stream where there is one, so that neither waits for the other.
type flusher struct {
	link    *Link
	box     int // the first of its boxes
	boxes   int
	sinkOf  func(box int) sink
	drain   func() error  // writes what a sink has taken and not written; may be nil
	longest int           // message that its sender writes itself if nothing else waits, which saves waking the flusher; at most promptMessage but for near streams
	gone    bool          // its box is another's now; guarded by link.mu
	wake    chan struct{} // something waits to be written; capacity 1
	turn    chan struct{} // capacity 1: holds a token while somebody writes; a channel, since a write can last

	pace   pacer     // of whoever has the turn
	prompt int       // bytes that senders wrote themselves since the flusher last did; of whoever has the turn
	told   [2]uint64 // messages of the link when it was last said to be in use, those shared first; of whoever has the turn
}

// laneFlusher writes to the lanes.
func laneFlusher(l *Link) *flusher {
	return &flusher{
		link: l, boxes: len(l.lanes), sinkOf: func(box int) sink { return l.lanes[box] }, longest: promptMessage,
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
}

func (f *flusher) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until ctx ends.
func (f *flusher) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case f.turn <- struct{}{}:
		}
		if wait := f.pace.wait(time.Now(), f.link); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				<-f.turn
				return nil
			case <-timer.C:
			}
		}
		err := f.writeAll()
		f.pace.last = time.Now()
		<-f.turn
		if err != nil {
			return err
		}
	}
}

// now writes what a box holds if nobody writes and a flush need not wait, and never waits itself. False: the flusher has to.
func (f *flusher) now(box int) bool {
	select {
	case f.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-f.turn }()
	now := time.Now()
	if f.pace.wait(now, f.link) > 0 {
		return false
	}
	f.pace.last = now
	slice := f.nextSlice(box)
	if len(slice) > f.longest+binary.MaxVarintLen64 || f.prompt+len(slice) > max(promptMost, f.longest) { // others came meanwhile, or many before
		return false
	}
	if len(slice) == 0 {
		return true
	}
	err := f.sinkOf(box).TryWriteAll(slice)
	if err != nil && !errors.Is(err, errTaken) {
		return false // no room, or an error that the flusher finds as well
	}
	f.prompt += len(slice)
	f.wrote(box, len(slice))
	return err == nil
}

// writeAll writes slices of all boxes in turn until nothing waits.
func (f *flusher) writeAll() error {
	for {
		wrote := false
		for box := f.box; box < f.box+f.boxes; box++ {
			slice := f.nextSlice(box)
			if slice == nil {
				continue
			}
			wrote = true
			if _, err := f.sinkOf(box).Write(slice); err != nil {
				return err
			}
			f.prompt = 0
			f.wrote(box, len(slice))
		}
		if wrote {
			continue
		}
		if f.drain == nil {
			return nil
		}
		return f.drain()
	}
}

// pacer decides how far apart flushes are, by what the current window has seen.
type pacer struct {
	last     time.Time // flush
	start    time.Time
	flushes  int
	messages uint64 // of the link when the window began
}

// wait is how long the next flush of a link must wait.
func (p *pacer) wait(now time.Time, l *Link) time.Duration {
	return p.spacing(now, time.Duration(l.srtt.Load()), l.bytes.messagesOut.Load()) - now.Sub(p.last)
}

// spacing is the least time between the last flush and this one.
func (p *pacer) spacing(now time.Time, srtt time.Duration, messages uint64) time.Duration {
	window := nearWindow
	if srtt > spacedRTT {
		window = farWindow
	}
	if now.Sub(p.start) > window {
		*p = pacer{last: p.last, start: now, messages: messages}
	}
	p.flushes++
	switch {
	case srtt > spacedRTT && p.flushes > farFlushes:
		return min(max(srtt/20, minSpacing), maxSpacing)
	case srtt <= spacedRTT && messages-p.messages > nearBurst:
		return min(max(nearFlush*now.Sub(p.start)/time.Duration(messages-p.messages), minPause), maxPause)
	}
	return 0
}

// nextSlice is the next piece of a box to write; the memory stays with the flusher until wrote.
func (f *flusher) nextSlice(i int) []byte {
	l := f.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.gone {
		return nil
	}
	box := &l.out[i]
	if box.offset == len(box.active) {
		if len(box.pending) == 0 {
			buffers := &l.endpoint.buffers
			if buffers.giveBack(box.active) { // a burst is over
				box.active, box.offset = nil, 0
			}
			if buffers.giveBack(box.pending) {
				box.pending = nil
			}
			return nil
		}
		box.active, box.pending, box.offset = box.pending, box.active[:0], 0
	}
	size := sliceBytes
	if l.near {
		size *= nearFactor
	}
	return box.active[box.offset:min(box.offset+size, len(box.active))]
}

// wrote takes n bytes out of a box, which have been written.
func (f *flusher) wrote(i, n int) {
	l := f.link
	l.bytes.out.Add(uint64(n))
	messages := l.bytes.busy.Load()
	if i == controlLane { // of what goes there only what is shared cannot wait for an idle link's probes
		messages = l.bytes.shared.Load()
	}
	if messages != f.told[min(i, 1)] { // else it was a probe, or a report
		f.told[min(i, 1)] = messages
		l.use(time.Now())
	}
	l.endpoint.forwarder.left(f.took(i, n))
}

// took is wrote's part under the lock; it returns the traced messages that have left.
func (f *flusher) took(i, n int) []*departure {
	l := f.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.gone {
		return nil
	}
	l.out[i].offset += n
	if i == controlLane {
		l.control -= n
	} else {
		l.queued -= n
		l.moved = time.Now()
		l.announceSpace()
	}
	return l.written(i, n)
}
