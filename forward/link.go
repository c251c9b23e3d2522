package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go"
)

// Errors of sending on a link.
var (
	ErrLinkFull   = errors.New("forward: link queue full")
	ErrLinkClosed = errors.New("forward: link closed")
	ErrDuplicate  = errors.New("forward: another connection to this node is kept")
)

// Application error codes that close a link's connection.
const (
	codeDone      quic.ApplicationErrorCode = 0x100 // H3_NO_ERROR
	codeDuplicate quic.ApplicationErrorCode = 0x46500001
	codeProtocol  quic.ApplicationErrorCode = 0x46500002
)

const (
	controlLane  = 0
	sliceBytes   = 16 << 10 // what a flush takes of one lane before it turns to the next
	nearFactor   = 4        // by which near links take more at once and queue more: they are fast, so it waits no longer there
	largeMessage = 16 << 10
	controlBytes = 4 << 20 // bound of control waiting on a link: two of the largest records
	nearRTT      = 2 * time.Millisecond
)

// lane is one extended CONNECT request, from either end.
type lane interface {
	io.ReadWriter
	TryWriteAll(b []byte) error // all or, with an error, nothing; without waiting
	SendDatagram(b []byte) error
	ReceiveDatagram(ctx context.Context) ([]byte, error)
}

// Link is one connection to a peer. Its methods are safe for concurrent use.
type Link struct {
	Peer       wire.NodeID
	Boot       uint64             // the peer's
	Number     uint64             // of this link in the endpoint's life, ascending in the order in which links replace each other; a twin has none
	Renews     bool               // it took the place of one that worked, so that credentials could change
	dialed     bool               // by this end
	shown      *trust.Credentials // by this end, if it dialled
	adopted    int64              // on the endpoint's clock: when it became the link to its peer
	peerNumber uint64             // the peer's Number of this link, if it takes near streams
	near       bool               // round trip below nearRTT at the start: one lane is cheaper and loss is rare, and a near stream cheaper still
	conn       *quic.Conn
	lanes      []lane
	endpoint   *Endpoint
	twins      twinning
	probes     chan uint32
	flusher    *flusher // of the lanes

	probeLog probeLog

	srtt  atomic.Int64                                                           // ns, as the control plane measures it; 0 unknown
	heard atomic.Int64                                                           // unix ns of the last frame or datagram other than an echo
	used  atomic.Int64                                                           // unix ns of the last published message sent or received, or shared one sent
	bytes struct{ in, out, messagesIn, messagesOut, busy, shared atomic.Uint64 } // busy: messagesOut but for those aside

	mu      sync.Mutex // guards what follows
	out     []outbox   // one for each lane, and one for the near stream
	stream  *nearStream
	queued  int           // bytes of messages not yet written
	moved   time.Time     // when some of them were last written, or the first came
	control int           // bytes of control not yet written
	space   chan struct{} // closed at the next write, if somebody waits
	closed  bool
	watched []*departure // traced messages that wait

	usable atomic.Bool // as the control plane says; waiting ends when it turns false or the link closes
}

// outbox is what waits for one lane or stream: new frames are appended to pending while active is written.
type outbox struct {
	pending, active []byte
	offset          int // written of active
}

func newLink(e *Endpoint, peer wire.NodeID, conn *quic.Conn, lanes []lane) *Link {
	l := &Link{
		Peer: peer, conn: conn, lanes: lanes, endpoint: e,
		probes: make(chan uint32, 4), out: make([]outbox, len(lanes)+1),
	}
	l.flusher = laneFlusher(l)
	rtt := conn.ConnectionStats().SmoothedRTT
	l.near = rtt > 0 && rtt < nearRTT
	l.srtt.Store(int64(rtt))
	l.heard.Store(time.Now().UnixNano())
	return l
}

// RemoteAddr is the peer's address as the socket sees it.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// usableLink is l if messages may take it, else nil; l may be nil.
func usableLink(l *Link) *Link {
	if l == nil || !l.usable.Load() {
		return nil
	}
	return l
}

// Dialed reports whether this end opened the connection.
func (l *Link) Dialed() bool { return l.dialed }

// SetRTT tells the link its smoothed round trip, by which it spaces flushes and ages messages.
func (l *Link) SetRTT(srtt time.Duration) { l.srtt.Store(int64(srtt)) }

// RTT is the link's smoothed round trip, as SetRTT or the handshake said; 0: not known.
func (l *Link) RTT() time.Duration { return time.Duration(l.srtt.Load()) }

// Usable reports whether messages may take the link, as SetUsable said.
func (l *Link) Usable() bool { return l.usable.Load() }

// SetUsable says whether the control plane routes over the link. When it no longer does, those who wait for space look elsewhere.
func (l *Link) SetUsable(usable bool) {
	l.usable.Store(usable)
	if !usable {
		l.abandon(func() {})
	}
}

// abandon tells those who wait for room to look elsewhere, and takes back what no flush has begun to write, to be sent another way.
func (l *Link) abandon(mark func()) {
	l.mu.Lock()
	mark()
	l.announceSpace()
	var streams [][]byte
	for i := range l.out {
		if box := &l.out[i]; i != controlLane && len(box.pending) > 0 {
			streams = append(streams, box.pending)
			l.queued -= len(box.pending)
			l.unwatch(i, len(box.active)-box.offset)
			box.pending = nil
		}
	}
	l.mu.Unlock()
	for _, stream := range streams {
		l.endpoint.background(func() { l.endpoint.forwarder.requeue(l, stream) })
	}
}

// LastHeard is when the last frame or datagram came, echoes left out.
func (l *Link) LastHeard() time.Time { return time.Unix(0, l.heard.Load()) }

// LastUsed is when the last published message passed, either way; the zero Unix time if none did.
func (l *Link) LastUsed() time.Time { return time.Unix(0, l.used.Load()) }

// Traffic is the link's totals since it opened: bytes of frames and published messages.
type Traffic struct {
	BytesIn, BytesOut, MessagesIn, MessagesOut uint64
}

// Traffic reads the totals.
func (l *Link) Traffic() Traffic {
	return Traffic{l.bytes.in.Load(), l.bytes.out.Load(), l.bytes.messagesIn.Load(), l.bytes.messagesOut.Load()}
}

// Queued is how many bytes of messages wait to be written.
func (l *Link) Queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued
}

// Probe sends a probe with this number soon; one that cannot be sent at once counts as lost.
func (l *Link) Probe(seq uint32) {
	select {
	case l.probes <- seq:
	default:
	}
}

// laneSeed makes the choice of lane differ between processes, so that nobody can aim at one lane.
type laneSeed struct{ seed maphash.Seed }

func (s laneSeed) of(m *wire.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.Write(m.Tenant)
	_ = h.WriteByte(0)
	_, _ = h.Write(m.Channel)
	return h.Sum64()
}

func (l *Link) laneOf(m *wire.Message) int {
	switch {
	case !m.InMessageLanes():
		return controlLane
	case l.near || len(l.lanes) == 2:
		return 1
	}
	return 1 + int(l.endpoint.seed.of(m)%uint64(len(l.lanes)-1))
}

// sendMessage queues head and payload as one frame, and may write it itself, unless that is left to the flusher: whoever holds a lock must not tell the
// control plane that the link is in use. What is to be told of a traced message is told once that has been written. ErrLinkFull means: try after Space.
func (l *Link) sendMessage(m *wire.Message, head []byte, leave bool, d *departure) error {
	lane := l.laneOf(m)
	if lane == controlLane {
		switch m.Class {
		case wire.ClassShared:
			l.bytes.shared.Add(1)
		case wire.ClassAck:
			if l.ackNear(head, m.Payload, leave) {
				return nil
			}
		default:
		}
		return l.sendControl(head, m.Payload)
	}
	by, box, alone, err := l.enqueue(lane, m, head, d)
	switch {
	case err != nil:
		return err
	case !alone || leave || !by.now(box):
		by.signal()
	}
	return nil
}

// enqueue puts a message into the box of its lane, or of the near stream, and says who writes it; alone, if it is all that waits, and short.
func (l *Link) enqueue(lane int, m *wire.Message, head []byte, d *departure) (by *flusher, box int, alone bool, err error) {
	n := len(head) + len(m.Payload)
	bound := l.endpoint.cfg.QueueBytes
	if n > largeMessage {
		bound *= 2
	}
	if l.near {
		bound *= nearFactor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, 0, false, ErrLinkClosed
	}
	if l.queued > 0 && l.queued+n > bound {
		return nil, 0, false, ErrLinkFull
	}
	if n <= twinMessage {
		if twin, doubled := l.twins.doubled(head); twin != nil {
			head = doubled
			twin.queueCopy(lane, head, m.Payload)
		}
	}
	by, box = l.flusher, lane
	if l.stream != nil {
		by, box = l.stream.flusher, l.nearBox()
	}
	if l.queued == 0 {
		l.moved = time.Now()
	}
	alone = l.queued == 0 && n <= by.longest
	l.queued += l.put(box, head, m.Payload)
	l.watch(box, d)
	l.bytes.messagesOut.Add(1)
	if !m.Aside() {
		l.bytes.busy.Add(1)
	}
	return by, box, alone, nil
}

// put appends a frame to a box and says how long it is there. l.mu is held.
func (l *Link) put(box int, head, tail []byte) int {
	pending := l.out[box].pending
	before := len(pending)
	pending = l.endpoint.buffers.grow(pending, binary.MaxVarintLen32+len(head)+len(tail))
	l.out[box].pending = wire.AppendFrame(pending, head, tail)
	return len(l.out[box].pending) - before
}

// SendControl queues a Records or digest frame on the control lane.
func (l *Link) SendControl(frame []byte) error { return l.sendControl(frame, nil) }

func (l *Link) sendControl(head, tail []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrLinkClosed
	case l.control > 0 && l.control+len(head)+len(tail) > controlBytes:
		l.endpoint.counters.Drop(DropControlFull, 1)
		return ErrLinkFull
	}
	l.control += l.put(controlLane, head, tail)
	l.flusher.signal()
	return nil
}

// Space returns a channel that is closed once there may be room, or once waiting for this link makes no more sense.
func (l *Link) Space() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.space == nil {
		l.space = make(chan struct{})
	}
	if !l.usable.Load() || l.queued == 0 {
		l.announceSpace()
		done := make(chan struct{})
		close(done)
		return done
	}
	return l.space
}

// stuck is for how long the link has written nothing of the messages that wait: the peer takes none.
func (l *Link) stuck() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queued == 0 {
		return 0
	}
	return time.Since(l.moved)
}

func (l *Link) announceSpace() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}

// Close ends the link.
func (l *Link) Close() { l.close(codeDone, "closed") }

// close ends the connection; the link's goroutines notice.
func (l *Link) close(code quic.ApplicationErrorCode, why string) {
	l.usable.Store(false)
	l.abandon(func() { l.closed = true })
	l.closeTwin()
	_ = l.conn.CloseWithError(code, why)
}

// run works the link until its connection ends and says why it did.
func (l *Link) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	part := func(work func(context.Context) error) {
		group.Go(func() {
			if err := work(ctx); err != nil {
				stop(err)
			}
		})
	}
	for i := range l.lanes {
		part(func(context.Context) error { return l.readLane(i) })
	}
	part(l.flusher.run)
	part(l.sendProbes)
	part(l.receiveDatagrams)
	select {
	case <-ctx.Done():
	case <-l.conn.Context().Done():
		stop(context.Cause(l.conn.Context())) //nolint:contextcheck // the connection has its own life
	}
	cause := context.Cause(ctx)
	code := codeDone
	if errors.Is(cause, errProtocol) {
		code = codeProtocol
	}
	l.close(code, "")
	group.Wait()
	return fmt.Errorf("forward: link to %v: %w", l.Peer, cause)
}
