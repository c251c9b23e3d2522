package simnet

import (
	"net"
	"os"
	"syscall"
	"time"
)

// segment is a part of a stream under way from one end to the other. The segments of one direction arrive in order.
type segment struct {
	kind    segmentKind
	payload []byte // of segmentData
	credit  int    // bytes, of segmentCredit
}

type segmentKind uint8

const (
	segmentSYN    segmentKind = iota // asks the far host for a stream
	segmentSYNACK                    // the stream is open
	segmentData                      // bytes
	segmentCredit                    // the sender may send that many bytes more
	segmentFIN                       // no more data
	segmentRST                       // the stream is gone
)

// send sends a segment to the far end, or keeps it while the path is blocked. The caller holds net.mu.
func (s *stream) send(seg segment) {
	path := s.net.pair(s.host.addr, s.far)
	if len(s.stalled) > 0 || s.net.blocked(path, BlockTCP) {
		s.stall(path, seg)
		return
	}
	path.counters.Segments++
	path.counters.StreamBytes += uint64(len(seg.payload))
	s.lastDue = notBefore(time.Now().Add(path.delay(path.draw())), s.lastDue.Add(1))
	s.net.schedule(s.lastDue, func() { s.arrive(path, seg) })
}

// stall keeps a segment until the path is open and the far host alive. What can wait is bounded by the window: credit
// that follows credit is joined to it.
func (s *stream) stall(path *pair, seg segment) {
	if len(s.stalled) == 0 {
		path.stalled = append(path.stalled, s)
	}
	if last := len(s.stalled) - 1; last >= 0 && seg.kind == segmentCredit && s.stalled[last].kind == segmentCredit {
		s.stalled[last].credit += seg.credit
		return
	}
	s.stalled = append(s.stalled, seg)
}

// resume sends what was kept, unless the sender is dead by now. The caller holds net.mu.
func (s *stream) resume() {
	waiting := s.stalled
	s.stalled = nil
	if s.host.dead {
		return
	}
	for _, seg := range waiting {
		s.send(seg)
	}
}

// arrive is the arrival of a segment of s at the far host. The caller holds net.mu.
func (s *stream) arrive(path *pair, seg segment) {
	far := s.net.hosts[s.far]
	switch {
	case far.dead:
		s.stall(path, seg)
	case seg.kind == segmentSYN:
		far.connect(s)
	case s.peer.host != far: // the host that had the other end was killed, this is its successor
		if seg.kind != segmentRST {
			s.refuse(far)
		}
	default:
		s.peer.receive(seg)
	}
}

// receive takes a segment from the far end. The caller holds net.mu.
func (s *stream) receive(seg segment) {
	if s.host.dead {
		return
	}
	switch seg.kind {
	case segmentSYN: // arrive has dealt with it
	case segmentSYNACK:
		s.answered(nil)
		if s.closed { // the dial was given up meanwhile
			s.send(segment{kind: segmentRST})
		}
	case segmentData:
		if s.closed {
			s.send(segment{kind: segmentRST})
			return
		}
		s.input = append(s.input, seg.payload)
		s.unread += len(seg.payload)
	case segmentCredit:
		s.inFlight -= seg.credit
	case segmentFIN:
		s.ended = true
	case segmentRST:
		s.broken = true
		s.answered(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// answered ends the dial of this stream, if there is one still waiting.
func (s *stream) answered(err error) {
	select {
	case s.dialled <- err:
	default:
	}
}

// reset ends the stream and tells the far end so with RST; what was not sent yet is dropped. The caller holds net.mu.
func (s *stream) reset() {
	if s.closed {
		return
	}
	s.stalled = nil
	if s.peer != nil && !s.broken {
		s.send(segment{kind: segmentRST})
	}
	s.end()
}

// abort gives up a dial.
func (s *stream) abort() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.reset()
}

// end closes the stream and says nothing to the far end. The caller holds net.mu.
func (s *stream) end() {
	s.closed = true
	s.input, s.unread = nil, 0
	s.read.stop()
	s.written.stop()
	s.answered(net.ErrClosed)
	s.readable.Broadcast()
	s.writable.Broadcast()
	delete(s.host.streams, s)
	if s.ownPort {
		delete(s.host.dialled, uint16(s.local.Port))
	}
}
