package simnet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is one end of a TCP connection.
type stream struct {
	net           *Net
	host          *Host
	local, remote *net.TCPAddr
	far           netip.Addr // the host of remote
	id            uint64
	ownPort       bool       // dialled: the local port is its own, not a listener's
	dialled       chan error // the outcome of the dial; holds one

	// All below is guarded by net.mu.
	peer               *stream // the other end; nil until the dial has reached it
	closed             bool    // here
	broken             bool    // RST came
	readable, writable *sync.Cond
	read, written      deadline

	input      [][]byte // data not yet read, bounded by the window
	unread     int      // bytes in input
	uncredited int      // bytes read that no credit was sent for
	ended      bool     // FIN came

	writing  bool      // a Write is between its first and its last byte
	inFlight int       // bytes sent and not credited, at most the window
	finished bool      // FIN was sent
	stalled  []segment // waiting for the path to open
	lastDue  time.Time // arrival of the last segment
}

// newStream makes one end of a stream. The caller holds net.mu.
func newStream(h *Host, port uint16, remote netip.AddrPort) *stream {
	h.net.sequence++
	far := remote.Addr().Unmap()
	s := &stream{
		net:      h.net,
		host:     h,
		local:    net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.addr, port)),
		remote:   net.TCPAddrFromAddrPort(netip.AddrPortFrom(far, remote.Port())),
		far:      far,
		id:       h.net.sequence,
		dialled:  make(chan error, 1),
		readable: sync.NewCond(&h.net.mu),
		writable: sync.NewCond(&h.net.mu),
	}
	h.streams[s] = true
	return s
}

// Read waits for data. After RST it gives what came before, then ECONNRESET.
func (s *stream) Read(p []byte) (int, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.failed("read", net.ErrClosed)
		case s.read.expired():
			return 0, s.failed("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case s.unread > 0:
			return s.take(p), nil
		case s.broken:
			return 0, s.failed("read", os.NewSyscallError("read", syscall.ECONNRESET))
		case s.ended:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

// take moves received bytes into p. Credit goes back a quarter window at a time: often enough that a writer whose
// window is full always has some under way once all is read, seldom enough to be cheap.
func (s *stream) take(p []byte) (n int) {
	for n < len(p) && len(s.input) > 0 {
		k := copy(p[n:], s.input[0])
		n += k
		if s.input[0] = s.input[0][k:]; len(s.input[0]) == 0 {
			s.input[0] = nil
			s.input = s.input[1:]
		}
	}
	s.unread -= n
	s.uncredited += n
	if s.uncredited > s.net.cfg.StreamBuffer/4 && !s.ended && !s.broken {
		s.send(segment{kind: segmentCredit, credit: s.uncredited})
		s.uncredited = 0
	}
	return n
}

// Write sends a copy of p, waiting while the window is full. Bytes of concurrent calls do not mix.
func (s *stream) Write(p []byte) (n int, err error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	full := func() bool { return s.writing }
	if err := s.wait(full); err != nil {
		return 0, err
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.writable.Broadcast()
	}()
	window := s.net.cfg.StreamBuffer
	full = func() bool { return s.inFlight >= window }
	for n < len(p) {
		if err := s.wait(full); err != nil {
			return n, err
		}
		part := p[n:min(len(p), n+window-s.inFlight)]
		s.inFlight += len(part)
		n += len(part)
		s.send(segment{kind: segmentData, payload: bytes.Clone(part)})
	}
	return n, nil
}

// wait waits while a condition of the sending side holds, and fails once writing is impossible.
func (s *stream) wait(while func() bool) error {
	for {
		switch {
		case s.closed:
			return s.failed("write", net.ErrClosed)
		case s.written.expired():
			return s.failed("write", os.ErrDeadlineExceeded)
		case s.broken, s.finished:
			return s.failed("write", os.NewSyscallError("write", syscall.EPIPE))
		case !while():
			return nil
		}
		s.writable.Wait()
	}
}

// CloseWrite sends FIN: the far end reads EOF after what was written. Reading goes on.
func (s *stream) CloseWrite() error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return s.failed("close", net.ErrClosed)
	}
	s.finish()
	s.writable.Broadcast()
	return nil
}

// finish sends FIN, once. The caller holds net.mu.
func (s *stream) finish() {
	if !s.finished && !s.broken {
		s.finished = true
		s.send(segment{kind: segmentFIN})
	}
}

// Close ends the stream at once; what was written still arrives. The far end reads EOF after it, or is reset if
// received bytes were left unread here.
func (s *stream) Close() error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return s.failed("close", net.ErrClosed)
	}
	if s.unread > 0 {
		s.reset()
		return nil
	}
	s.finish()
	s.end()
	return nil
}

// LocalAddr is a *net.TCPAddr.
func (s *stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr is a *net.TCPAddr.
func (s *stream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines.
func (s *stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline sets when Read gives up, also for readers that wait already; the zero time means never.
func (s *stream) SetReadDeadline(t time.Time) error { return s.setDeadline(t, &s.read, s.readable) }

// SetWriteDeadline sets when Write gives up, as SetReadDeadline.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, &s.written, s.writable) }

func (s *stream) setDeadline(t time.Time, d *deadline, cond *sync.Cond) error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return s.failed("set", net.ErrClosed)
	}
	d.set(t, cond)
	return nil
}

func (s *stream) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}
