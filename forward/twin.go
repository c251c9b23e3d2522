package forward

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// twinMessage is the largest message that also goes over the twin: large ones cost bandwidth, and gain little as they span many packets.
const twinMessage = 1 << 10

// twinning is a link's second connection, for paths that lose packets. What fits goes over both under one number, and the
// receiver takes the first copy: a lost packet then costs no retransmission unless its twin is lost too. It must be a connection
// of its own, since a copy on the same one shares its packets and its congestion window.
type twinning struct {
	of *Link // set in a twin: the link that it belongs to

	mu     sync.Mutex // guards what follows
	twin   *Link
	sent   uint64 // number of the last message sent twice
	newest uint64 // greatest number received
	seen   [twinWindow / 64]uint64
}

// twinWindow is how far back numbers are told apart; older ones count as seen.
const twinWindow = 4096

// first reports whether a number is new, and notes it.
func (t *twinning) first(number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.newest < number; t.newest++ {
		if number-t.newest > twinWindow { // a leap: nothing in the window was seen
			t.newest = number - twinWindow
			clear(t.seen[:])
		}
		next := (t.newest + 1) % twinWindow
		t.seen[next/64] &^= 1 << (next % 64)
	}
	if t.newest-number >= twinWindow {
		return false
	}
	word, bit := number%twinWindow/64, uint64(1)<<(number%64)
	if t.seen[word]&bit != 0 {
		return false
	}
	t.seen[word] |= bit
	return true
}

// doubled numbers a message that goes over both connections and returns the twin and the frame's head; nil if there is no twin.
func (t *twinning) doubled(head []byte) (*Link, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.twin == nil {
		return nil, nil
	}
	t.sent++
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(head))
	b = append(b, byte(wire.KindTwin))
	b = binary.AppendUvarint(b, t.sent)
	return t.twin, append(b, head...)
}

// Twin reports whether the link has a second connection now.
func (l *Link) Twin() bool {
	l.twins.mu.Lock()
	defer l.twins.mu.Unlock()
	return l.twins.twin != nil
}

// twinFrame takes a frame that was sent over both connections.
func (l *Link) twinFrame(index int, frame []byte, m *wire.Message) error {
	number, n := binary.Uvarint(frame[1:])
	if n <= 0 || number == 0 || len(frame) == 1+n || wire.Kind(frame[1+n]) != wire.KindMessage {
		return fmt.Errorf("%w: twin frame", wire.ErrMalformed)
	}
	owner := l
	if l.twins.of != nil {
		owner = l.twins.of
		owner.heard.Store(l.heard.Load())
	}
	if !owner.twins.first(number) {
		l.endpoint.counters.TwinCopies.Add(1)
		return nil
	}
	return owner.message(index, frame[1+n:], m)
}

// single is the message frame within a frame of either kind.
func single(frame []byte) []byte {
	if wire.Kind(frame[0]) == wire.KindTwin {
		if _, n := binary.Uvarint(frame[1:]); n > 0 {
			return frame[1+n:]
		}
	}
	return frame
}

// SetTwin opens the link's second connection, or closes it. Only the end that dialled the link does so; for the other, and where nothing is to be done, it does nothing.
func (l *Link) SetTwin(on bool) {
	if !l.dialed || on == l.Twin() {
		return
	}
	if !on {
		l.closeTwin()
		return
	}
	l.endpoint.background(func() {
		if err := l.endpoint.dialTwin(l); err != nil {
			l.endpoint.cfg.Log.Debug().Err(err).Stringer("peer", l.Peer).Msg("twin")
		}
	})
}

func (l *Link) closeTwin() {
	l.twins.mu.Lock()
	twin := l.twins.twin
	l.twins.twin = nil
	l.twins.mu.Unlock()
	if twin != nil {
		twin.close(codeDone, "twin not needed")
	}
}

// dialTwin opens a second connection to the link's peer.
func (e *Endpoint) dialTwin(l *Link) error {
	ctx, cancel := context.WithTimeout(e.ctx, DialTimeout)
	defer cancel()
	conn, client, err := e.connect(ctx, l.RemoteAddr())
	if err != nil {
		return err
	}
	twin, err := e.openLanes(ctx, conn, client, l.Peer, forTwin)
	if err == nil {
		err = e.attach(l, twin)
	}
	if err != nil {
		_ = conn.CloseWithError(codeDuplicate, "")
		return err
	}
	e.workTwin(twin)
	return nil
}

// attach makes twin the second connection of l: ErrDuplicate if it has one, ErrLinkClosed if it has ended.
func (e *Endpoint) attach(l, twin *Link) error {
	if l == nil || l.Boot != twin.Boot || e.Link(l.Peer) != l {
		return ErrLinkClosed
	}
	l.twins.mu.Lock()
	defer l.twins.mu.Unlock()
	if l.twins.twin != nil {
		return ErrDuplicate
	}
	twin.twins.of = l
	l.twins.twin = twin
	return nil
}

// workTwin runs an attached twin to its end.
func (e *Endpoint) workTwin(twin *Link) {
	owner := twin.twins.of
	if err := twin.run(e.ctx); err != nil {
		e.cfg.Log.Debug().Err(err).Msg("twin ended")
	}
	owner.twins.mu.Lock()
	if owner.twins.twin == twin {
		owner.twins.twin = nil
	}
	owner.twins.mu.Unlock()
}

// purpose is what a connection with lanes is for, as the header that marks its lanes; "" for a link where none was, or where the last one broke.
type purpose string

const (
	forTwin    purpose = "Fps-Twin"   // the second connection of a link
	forRenewal purpose = "Fps-Renews" // to take the place of a link that works
)

func laneHeader(e *Endpoint, lane, lanes int, want wire.NodeID, what purpose) http.Header {
	h := http.Header{
		headerBoot: {strconv.FormatUint(e.cfg.Boot, 10)}, headerLane: {strconv.Itoa(lane)},
		headerLanes: {strconv.Itoa(lanes)}, headerWant: {want.String()},
	}
	if what != "" {
		h[string(what)] = []string{"1"}
	}
	return h
}

// queueCopy puts a copy of a message on a twin's lane; there is no waiting for it.
func (l *Link) queueCopy(lane int, head, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(head) + len(payload)
	if l.closed || l.queued > 0 && l.queued+n > l.endpoint.cfg.QueueBytes {
		return
	}
	lane = min(lane, len(l.lanes)-1)
	l.queued += l.put(lane, head, payload)
	l.flusher.signal()
}
