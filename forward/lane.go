package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go/http3"
)

// errProtocol marks errors of a peer that does not keep to the protocol.
var errProtocol = errors.New("protocol error")

const (
	idleBuffer = 2 << 10  // read buffer of a quiet lane: there are very many
	busyBuffer = 64 << 10 // of a lane in a burst

	spacedRTT  = 10 * time.Millisecond // longer links are far: there packets are scarce, on near ones wake-ups are
	farWindow  = 50 * time.Millisecond
	farFlushes = 8 // in a window go at once; then they are spaced
	minSpacing = 500 * time.Microsecond
	maxSpacing = 2 * time.Millisecond
	nearWindow = 5 * time.Millisecond
	nearBurst  = 150 // messages in a window, 30,000/s, go at once; then flushes are spaced
	wokenAfter = time.Second
	burstPause = 50 * time.Microsecond

	// promptMessage is how many bytes its sender writes itself if nothing else waits, which saves waking the flusher.
	promptMessage = 1000
	// promptMost is how many such bytes go before the flusher has to write again, whose write ends only when QUIC has sent nearly all of them: a stream takes what
	// is written without waiting even where it cannot send, and what it holds is in nobody's queue and cannot be taken back.
	promptMost = 16 << 10
)

// readLane parses frames until the stream ends.
func (l *Link) readLane(index int) error {
	str := l.lanes[index]
	if client, ok := str.(*http3.RequestStream); ok && index != controlLane {
		if _, err := client.ReadResponse(); err != nil { //nolint:bodyclose // its body is the lane
			return err
		}
	}
	limit := wire.MaxFrame
	if index == controlLane {
		limit = wire.MaxControlFrame
	}
	var m wire.Message
	buf, have := make([]byte, idleBuffer), 0
	for {
		n, err := str.Read(buf[have:])
		if err != nil {
			return err
		}
		now := time.Now()
		l.heard.Store(now.UnixNano())
		l.bytes.in.Add(uint64(n))
		have += n
		full := have == len(buf)
		rest, need, err := l.frames(index, buf[:have], limit, &m)
		l.endpoint.cfg.Delivered()
		if err != nil {
			l.endpoint.counters.Drop(DropMalformed, 1)
			return fmt.Errorf("%w: lane %d: %w", errProtocol, index, err)
		}
		buf, have = refit(buf, rest, need, full)
	}
}

// frames handles each whole frame in b and returns what is left.
func (l *Link) frames(index int, b []byte, limit int, m *wire.Message) (rest []byte, need int, err error) {
	for {
		frame, rest, need, err := wire.SplitFrame(b, limit)
		if err != nil || frame == nil {
			return rest, need, err
		}
		if err := l.frame(index, frame, m); err != nil {
			return nil, 0, err
		}
		b = rest
	}
}

func (l *Link) frame(index int, frame []byte, m *wire.Message) error {
	kind := wire.Kind(frame[0])
	switch {
	case kind == wire.KindMessage && index == controlLane:
		return l.routedControl(frame, m)
	case kind == wire.KindMessage:
		return l.message(frame, m)
	case kind == wire.KindTwin && index != controlLane:
		return l.twinFrame(frame, m)
	case index == controlLane && kind.IsControl():
		return l.endpoint.cfg.Control(l.Peer, frame)
	}
	return fmt.Errorf("frame of kind %d in lane %d", kind, index)
}

// message takes a published message off a lane.
func (l *Link) message(frame []byte, m *wire.Message) error {
	if err := wire.ParseMessage(frame, m); err != nil {
		return err
	}
	if m.Class != wire.ClassPublish {
		return fmt.Errorf("%w: message of class %d in a message lane", wire.ErrMalformed, m.Class)
	}
	l.use(l.LastHeard())
	l.bytes.messagesIn.Add(1)
	l.endpoint.forwarder.receive(l, m)
	return nil
}

// routedControl takes a message of another class off the control lane.
func (l *Link) routedControl(frame []byte, m *wire.Message) error {
	if err := wire.ParseMessage(frame, m); err != nil {
		return err
	}
	if m.Class == wire.ClassPublish {
		return fmt.Errorf("%w: published message in the control lane", wire.ErrMalformed)
	}
	l.endpoint.forwarder.receive(l, m)
	return nil
}

// use notes that the link carries a message.
func (l *Link) use(at time.Time) {
	if before := l.used.Swap(at.UnixNano()); at.UnixNano()-before > int64(wokenAfter) {
		l.endpoint.cfg.Emit(Woken{l})
	}
}

// refit moves what is left to the front of a buffer that fits what is expected next. It never more than doubles, so that a
// frame's length has to be earned by its bytes.
func refit(buf, rest []byte, need int, full bool) ([]byte, int) {
	size := idleBuffer
	if full || len(buf) > idleBuffer && len(rest) > 0 {
		size = busyBuffer
	}
	size = max(size, min(need, 2*len(buf)))
	if size > len(buf) || size < len(buf) && len(rest) < size/2 {
		next := make([]byte, size)
		return next, copy(next, rest)
	}
	return buf, copy(buf, rest)
}

// flush writes what waits until the link ends.
func (l *Link) flush(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case l.turn <- struct{}{}:
		}
		if wait := l.pace.wait(time.Now(), l); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				<-l.turn
				return nil
			case <-timer.C:
			}
		}
		err := l.writeAll()
		l.pace.last = time.Now()
		<-l.turn
		if err != nil {
			return err
		}
	}
}

// flushNow writes what a lane holds if nobody writes and a flush need not wait, and never waits itself. False: the flusher has to.
func (l *Link) flushNow(lane int) bool {
	select {
	case l.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-l.turn }()
	now := time.Now()
	if l.pace.wait(now, l) > 0 {
		return false
	}
	l.pace.last = now
	slice := l.nextSlice(lane)
	if len(slice) > promptMessage+binary.MaxVarintLen64 || l.prompt+len(slice) > promptMost { // others came meanwhile, or many before
		return false
	}
	if len(slice) > 0 {
		if l.lanes[lane].TryWriteAll(slice) != nil {
			return false // no room, or an error that the flusher finds as well
		}
		l.prompt += len(slice)
		l.wrote(lane, len(slice))
	}
	return true
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
		return burstPause
	}
	return 0
}

// writeAll writes slices of all lanes in turn until nothing waits.
func (l *Link) writeAll() error {
	for {
		wrote := false
		for i := range l.out {
			slice := l.nextSlice(i)
			if slice == nil {
				continue
			}
			wrote = true
			if _, err := l.lanes[i].Write(slice); err != nil {
				return err
			}
			l.prompt = 0
			l.wrote(i, len(slice))
		}
		if !wrote {
			return nil
		}
	}
}

// nextSlice is the next piece of a lane to write; the memory stays with the flusher until wrote.
func (l *Link) nextSlice(i int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	box := &l.out[i]
	if box.offset == len(box.active) {
		if len(box.pending) == 0 {
			if cap(box.active) > busyBuffer { // a burst is over: let its memory go
				box.active, box.pending, box.offset = nil, nil, 0
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

func (l *Link) wrote(i, n int) {
	l.bytes.out.Add(uint64(n))
	if i != controlLane {
		l.use(time.Now())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[i].offset += n
	if i == controlLane {
		l.control -= n
	} else {
		l.queued -= n
		l.announceSpace()
	}
}

// sendProbes sends the probes asked for. It has a goroutine of its own since SendDatagram may block.
func (l *Link) sendProbes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case seq := <-l.probes:
			b := wire.AppendProbe(nil, wire.Probe{Kind: wire.KindProbe, Seq: seq, Sent: l.endpoint.clock()})
			if err := l.lanes[controlLane].SendDatagram(b); err != nil {
				return err
			}
		}
	}
}

// receiveDatagrams answers probes and reports echoes.
func (l *Link) receiveDatagrams(ctx context.Context) error {
	for {
		b, err := l.lanes[controlLane].ReceiveDatagram(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		now := time.Now()
		at := l.endpoint.clock()
		p, err := wire.ParseProbe(b)
		if err != nil {
			l.endpoint.counters.Drop(DropMalformed, 1)
			continue
		}
		l.heard.Store(now.UnixNano())
		if p.Kind == wire.KindEcho {
			l.endpoint.cfg.Emit(Echoed{Link: l, Seq: p.Seq, RTT: time.Duration(at-p.Sent) - p.Held, At: now})
			continue
		}
		p.Kind = wire.KindEcho
		p.Held = time.Duration(l.endpoint.clock() - at)
		if err := l.lanes[controlLane].SendDatagram(wire.AppendProbe(nil, p)); err != nil {
			return err
		}
	}
}
