package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go/http3"
)

// errProtocol marks errors of a peer that does not keep to the protocol.
var errProtocol = errors.New("protocol error")

const (
	idleBuffer = 2 << 10  // read buffer of a quiet lane: there are very many
	busyBuffer = 64 << 10 // of a lane in a burst

	wokenAfter = time.Second

	// heldBack is how long clients wait at most for what a near stream has brought while it brings ever more: with that, it goes to them in fewer writes.
	heldBack = 5 * time.Millisecond
)

// readLane parses frames until the stream ends.
func (l *Link) readLane(index int) error {
	str := l.lanes[index]
	if client, ok := str.(*http3.RequestStream); ok && index != controlLane {
		if _, err := client.ReadResponse(); err != nil { //nolint:bodyclose // its body is the lane
			return err
		}
	}
	return l.read(index, str)
}

// read parses the frames that come in a lane, or by the near stream.
func (l *Link) read(index int, from io.Reader) error {
	limit := wire.MaxFrame
	if index == controlLane {
		limit = wire.MaxControlFrame
	}
	var m wire.Message
	buf, have := make([]byte, idleBuffer), 0
	var delivered time.Time
	defer l.endpoint.cfg.Delivered()
	for {
		n, err := from.Read(buf[have:])
		if err != nil {
			return err
		}
		now := time.Now()
		l.heard.Store(now.UnixNano())
		l.bytes.in.Add(uint64(n))
		have += n
		full := have == len(buf)
		rest, need, err := l.frames(index, buf[:have], limit, &m)
		if index != l.nearBox() || now.Sub(delivered) > heldBack { // else it is the stream's to know when no more is there
			l.endpoint.cfg.Delivered()
			delivered = now
		}
		if err != nil {
			l.endpoint.counters.Drop(DropMalformed, 1)
			l.endpoint.Blame(l.Peer, FaultOf(err), 1)
			return fmt.Errorf("%w: lane %d: %w", errProtocol, index, err)
		}
		buf, have = l.endpoint.buffers.refit(buf, rest, need, full)
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
		return l.message(index, frame, m)
	case kind == wire.KindTwin && index != controlLane:
		return l.twinFrame(index, frame, m)
	case index == l.nearBox() && isProbe(frame):
		if s := l.nearStream(); s != nil {
			return s.probed(frame)
		}
		return nil
	case index == controlLane && kind.IsControl():
		return l.endpoint.cfg.Control(l.Peer, frame)
	}
	return fmt.Errorf("frame of kind %d in lane %d", kind, index)
}

// message takes a published message off a lane.
func (l *Link) message(index int, frame []byte, m *wire.Message) error {
	if err := wire.ParseMessage(frame, m); err != nil {
		return err
	}
	if m.Class == wire.ClassAck && index == l.nearBox() {
		l.endpoint.forwarder.receive(l, m)
		return nil
	}
	if !m.InMessageLanes() {
		return fmt.Errorf("%w: message of class %d in a message lane", wire.ErrMalformed, m.Class)
	}
	if !m.Aside() {
		l.use(l.LastHeard())
	}
	l.bytes.messagesIn.Add(1)
	l.endpoint.forwarder.receive(l, m)
	return nil
}

// routedControl takes a message of another class off the control lane.
func (l *Link) routedControl(frame []byte, m *wire.Message) error {
	if err := wire.ParseMessage(frame, m); err != nil {
		return err
	}
	if m.InMessageLanes() {
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

// refit moves what is left to the front of a buffer that fits what is expected next. Beyond what a burst takes it is at most twice as long as what has come of a
// frame, so that its length has to be earned by its bytes.
func (p *bufferPool) refit(buf, rest []byte, need int, full bool) ([]byte, int) {
	size := idleBuffer
	if full || len(buf) > idleBuffer && len(rest) > 0 {
		size = busyBuffer
	}
	earned := 2 * len(rest)
	if size == busyBuffer {
		earned = max(earned, 2*busyBuffer) // the largest message, without another copy
	}
	size = max(size, min(need, earned))
	if size > len(buf) || size < len(buf) && len(rest) < size/2 {
		next := p.lend(size)
		have := copy(next, rest)
		p.giveBack(buf)
		return next, have
	}
	return buf, copy(buf, rest)
}

// sendProbes sends the probes asked for. It has a goroutine of its own since SendDatagram may block.
func (l *Link) sendProbes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case seq := <-l.probes:
			b := wire.AppendProbe(nil, wire.Probe{Kind: wire.KindProbe, Seq: seq, Token: l.probeLog.add(seq, l.endpoint.clock())})
			if err := l.lanes[controlLane].SendDatagram(b); err != nil {
				return err
			}
			if s := l.nearStream(); s != nil {
				s.probe(time.Now())
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
			l.endpoint.Blame(l.Peer, FaultMalformed, 1)
			continue
		}
		if p.Kind == wire.KindEcho { // says itself that the link works
			rtt, known, honest := l.probeLog.echoed(p, at)
			if known {
				l.endpoint.cfg.Emit(Echoed{Link: l, Seq: p.Seq, RTT: rtt, At: now})
			} else if !honest {
				l.endpoint.Blame(l.Peer, FaultEcho, 1)
			}
			continue
		}
		l.heard.Store(now.UnixNano())
		p.Kind = wire.KindEcho
		p.Held = time.Duration(l.endpoint.clock() - at)
		if err := l.lanes[controlLane].SendDatagram(wire.AppendProbe(nil, p)); err != nil {
			return err
		}
	}
}
