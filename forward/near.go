package forward

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Near streams are described in the package's comment.
const (
	nearProtocol = "fastpubsub-near-1" // ALPN; a change of the wire format changes it
	headerNear   = "Fps-Near"          // number by which the peer knows the link, if it takes a stream for it
	nearHello    = 8                   // bytes: that number, answered by nearWelcome
	nearWelcome  = 1
	nearHandling = 64 // streams that are being opened at a time; more are refused

	// A stream has nearPatience to answer a probe, and less if little went out meanwhile and nothing waits, so that the probe is behind nothing: TCP itself
	// tells only after minutes that its packets get nowhere.
	nearPatience  = time.Second
	quietPatience = 250 * time.Millisecond
	quietBytes    = 64 << 10
	// A stream that failed, or cannot be had, is tried again later, and ever later.
	nearRetryMin = time.Second
	nearRetryMax = 5 * time.Minute
	nearLasted   = 10 * time.Second // one that did so was none of these

	nearPrompt = 16 << 10 // bytes that a sender writes itself: TCP takes no more than its buffer holds
)

// nearStream is one near stream of a link. Its writing is its flusher's.
type nearStream struct {
	link    *Link
	conn    *tls.Conn
	sealed  *sealed
	flusher *flusher
	asked   atomic.Int64 // unix ns of the probe that was not answered yet; 0 none
	before  uint64       // bytes that the link had sent at that time; the prober's
	stop    context.CancelCauseFunc
}

func newNearStream(l *Link, conn *tls.Conn, sealed *sealed) *nearStream {
	s := &nearStream{link: l, conn: conn, sealed: sealed}
	s.flusher = &flusher{
		link: l, box: l.nearBox(), boxes: 1, sinkOf: func(int) sink { return s }, drain: s.sealed.flush, longest: nearPrompt,
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
	return s
}

// nearBox is the box of the near stream, after those of the lanes.
func (l *Link) nearBox() int { return len(l.lanes) }

// Write writes a slice.
func (s *nearStream) Write(b []byte) (int, error) {
	n, err := s.conn.Write(b)
	if err == nil {
		err = s.sealed.flush()
	}
	return n, err
}

// TryWriteAll takes b unless something waits already.
func (s *nearStream) TryWriteAll(b []byte) error {
	if !s.sealed.prompt() {
		return ErrLinkFull
	}
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if !s.sealed.try() {
		return errTaken
	}
	return nil
}

// run carries the link's messages until the stream or the link ends.
func (s *nearStream) run(ctx context.Context) error {
	ctx, s.stop = context.WithCancelCause(ctx)
	defer s.stop(nil)
	l := s.link
	release := context.AfterFunc(l.conn.Context(), //nolint:contextcheck // the connection has its own life
		func() { s.stop(ErrLinkClosed) })
	defer release()
	if !l.attachNear(s) {
		_ = s.sealed.Close()
		return ErrDuplicate
	}
	var parts sync.WaitGroup
	parts.Go(func() { s.stop(l.read(l.nearBox(), s.conn)) })
	parts.Go(func() { s.stop(s.flusher.run(ctx)) })
	<-ctx.Done()
	l.detachNear(s)
	_ = s.sealed.Close()
	parts.Wait()
	cause := context.Cause(ctx)
	if errors.Is(cause, errProtocol) {
		l.close(codeProtocol, "")
	}
	return cause
}

// attachNear makes s what messages take from now on, unless the link has a stream or has ended.
func (l *Link) attachNear(s *nearStream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stream != nil {
		return false
	}
	l.stream = s
	return true
}

// detachNear has messages take lane 1 again, also those that wait for the stream. What it was writing is lost, or not; its origin will know.
func (l *Link) detachNear(s *nearStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream, s.flusher.gone = nil, true
	box := &l.out[l.nearBox()]
	l.queued -= len(box.active) - box.offset
	before := len(l.out[1].pending)
	if !l.closed {
		l.out[1].pending = appendMessages(l.out[1].pending, box.pending)
	}
	l.queued += len(l.out[1].pending) - before - len(box.pending)
	l.unwatch(l.nearBox(), 0)
	*box = outbox{}
	l.announceSpace()
	l.flusher.signal()
}

// appendMessages appends the messages of a near stream's box that a lane can take: probes are for the stream alone, and acknowledgements will be repeated.
func appendMessages(dst, frames []byte) []byte {
	var m wire.Message
	for len(frames) > 0 {
		frame, rest, _, err := wire.SplitFrame(frames, wire.MaxFrame)
		if err != nil || frame == nil {
			break // our own queue always parses
		}
		if !isProbe(frame) && wire.ParseMessage(single(frame), &m) == nil && m.InMessageLanes() {
			dst = append(dst, frames[:len(frames)-len(rest)]...)
		}
		frames = rest
	}
	return dst
}

func isProbe(frame []byte) bool {
	kind := wire.Kind(frame[0])
	return kind == wire.KindProbe || kind == wire.KindEcho
}

// Near reports whether messages go by a near stream now.
func (l *Link) Near() bool { return l.nearStream() != nil }

func (l *Link) nearStream() *nearStream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream
}

var errNearSilent = errors.New("forward: near stream does not answer")

// probe asks the peer for an answer by the stream, and gives the stream up if the last one is overdue.
func (s *nearStream) probe(now time.Time) {
	l := s.link
	asked := s.asked.Load()
	if asked == 0 {
		s.asked.Store(now.UnixNano())
		s.before = l.bytes.out.Load()
		s.queue(wire.Probe{Kind: wire.KindProbe})
		return
	}
	patience := nearPatience
	if l.bytes.out.Load()-s.before < quietBytes && !l.waits() {
		patience = quietPatience
	}
	if now.UnixNano()-asked > int64(patience) {
		s.stop(errNearSilent)
	}
}

// waits reports whether messages wait to be written.
func (l *Link) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued > 0
}

// probed takes a probe or an answer that came by the stream.
func (s *nearStream) probed(frame []byte) error {
	p, err := wire.ParseProbe(frame)
	switch {
	case err != nil:
		return err
	case p.Kind == wire.KindEcho:
		s.asked.Store(0)
	default:
		p.Kind = wire.KindEcho
		s.queue(p)
	}
	return nil
}

// queue has a probe or an answer sent behind what waits. It may exceed the bound of messages, but not twice it: a peer that only asks gets no more answers.
func (s *nearStream) queue(p wire.Probe) {
	l := s.link
	l.mu.Lock()
	if l.stream != s || l.queued > 2*nearFactor*l.endpoint.cfg.QueueBytes {
		l.mu.Unlock()
		return
	}
	l.queued += l.put(l.nearBox(), wire.AppendProbe(nil, p), nil)
	l.mu.Unlock()
	s.flusher.signal()
}

// ackNear has an acknowledgement go by the near stream, where it costs less than on lane 0, unless messages wait there.
func (l *Link) ackNear(head, tail []byte, leave bool) bool {
	l.mu.Lock()
	s := l.stream
	if l.closed || s == nil || l.queued > 0 {
		l.mu.Unlock()
		return false
	}
	l.queued += l.put(l.nearBox(), head, tail)
	l.mu.Unlock()
	if leave || !s.flusher.now(l.nearBox()) {
		s.flusher.signal()
	}
	return true
}

// keepNear opens near streams for a link that this end dialled, as long as it lives. Number is the peer's for the link.
func (e *Endpoint) keepNear(l *Link, number uint64) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for wait := nearRetryMin; ; wait = min(2*wait, nearRetryMax) {
		select {
		case <-l.conn.Context().Done():
			return
		case <-retry.C:
		}
		began := time.Now()
		err := e.openNear(l, number)
		if time.Since(began) > nearLasted {
			wait = nearRetryMin
		}
		e.cfg.Log.Debug().Err(err).Stringer("peer", l.Peer).Dur("retry", wait).Msg("near stream")
		retry.Reset(wait)
	}
}

// openNear opens a near stream and runs it to its end.
func (e *Endpoint) openNear(l *Link, number uint64) error {
	ctx, cancel := context.WithTimeout(e.ctx, DialTimeout)
	defer cancel()
	raw, err := e.cfg.Connect(ctx, "tcp", l.RemoteAddr().String())
	if err != nil {
		return fmt.Errorf("forward: near stream: %w", err)
	}
	sealed := newSealed(raw, e.cfg.Delivered)
	conn := tls.Client(sealed, nearTLS(e.cfg.Trust.Client(nearProtocol)))
	if err := e.greetNear(ctx, conn, l, number); err != nil {
		_ = raw.Close()
		return fmt.Errorf("forward: near stream: %w", err)
	}
	sealed.gather()
	return newNearStream(l, conn, sealed).run(e.ctx)
}

// nearTLS is the configuration of a near stream: whatever it writes is large enough for full records.
func nearTLS(c *tls.Config) *tls.Config {
	c.DynamicRecordSizingDisabled = true
	return c
}

// greetNear makes sure of the peer, tells it which link the stream is for, and waits until it agrees.
func (e *Endpoint) greetNear(ctx context.Context, conn *tls.Conn, l *Link, number uint64) error {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	state := conn.ConnectionState()
	if peer, err := e.cfg.Trust.Peer(&state); err != nil || peer != l.Peer {
		return fmt.Errorf("%w: it is %v, want %v", ErrIdentity, peer, l.Peer)
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, number)); err != nil {
		return err
	}
	if err := welcome(conn); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

func welcome(conn io.Reader) error {
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != nearWelcome {
		return fmt.Errorf("%w: answer %d", errProtocol, answer[0])
	}
	return nil
}

// acceptNear takes near streams until the listener closes. What an outsider can have of it is nearHandling handshakes at a time, each of which soon ends.
func (e *Endpoint) acceptNear() {
	slots := make(chan struct{}, nearHandling)
	for {
		raw, err := e.cfg.Streams.Accept()
		if err != nil {
			if e.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		e.counters.Handshakes.Add(1)
		select {
		case slots <- struct{}{}:
		default:
			e.counters.Drop(DropStreams, 1)
			_ = raw.Close()
			continue
		}
		e.group.Go(func() {
			s, err := e.serveNear(raw)
			<-slots
			if err != nil {
				_ = raw.Close()
				e.noteStranger(raw.RemoteAddr(), err)
				e.cfg.Log.Debug().Err(err).Stringer("remote", raw.RemoteAddr()).Msg("near stream refused")
				return
			}
			e.counters.Accepted.Add(1)
			err = s.run(e.ctx)
			e.cfg.Log.Debug().Err(err).Stringer("peer", s.link.Peer).Msg("near stream")
		})
	}
}

// serveNear makes sure of who opened a stream, and for which link.
func (e *Endpoint) serveNear(raw net.Conn) (*nearStream, error) {
	ctx, cancel := context.WithTimeout(e.ctx, DialTimeout)
	defer cancel()
	_ = raw.SetDeadline(time.Now().Add(DialTimeout))
	sealed := newSealed(raw, e.cfg.Delivered)
	conn := tls.Server(sealed, nearTLS(e.cfg.Trust.Server(nearProtocol)))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	peer, err := e.cfg.Trust.Peer(&state)
	if err != nil {
		return nil, err
	}
	var hello [nearHello]byte
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return nil, err
	}
	l := e.Link(peer)
	if number := binary.BigEndian.Uint64(hello[:]); l == nil || l.dialed || l.Number != number {
		return nil, fmt.Errorf("%w: no link %d of %v", errProtocol, number, peer)
	}
	if _, err := conn.Write([]byte{nearWelcome}); err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	sealed.gather()
	return newNearStream(l, conn, sealed), nil
}
