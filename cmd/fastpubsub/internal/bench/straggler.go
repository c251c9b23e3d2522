package bench

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

const (
	// sipEvery is how often a slow subscriber reads a message.
	sipEvery = time.Second
	// narrowBuffer is its socket's receive buffer, and narrowSegment what a segment to it may carry, in bytes.
	narrowBuffer  = 4 << 10
	narrowSegment = 1400
	// frameHead is what comes before a message on the wire, where it is not very short.
	frameHead = 4
)

// stragglers are the slow subscribers of all channels. They keep up at first, then read a message a second each, and in the end all that is left.
type stragglers struct {
	audience *audience
	all      []straggler
	begin    chan struct{} // closed: read slowly from now on
	end      chan struct{} // closed: read on
}

// straggler is what is known of one while its reader is at work.
type straggler struct {
	got  atomic.Uint64 // messages
	told atomic.Uint64 // of so many drops
	cut  atomic.Bool   // the node has closed the connection
}

// newStragglers are so many, who gather when so many messages have been sent by channel. Readers end with ctx.
func newStragglers(ctx context.Context, r *rig, channels []string, sent []uint64) *stragglers {
	count := r.cfg.Load.Slow
	s := &stragglers{audience: newAudience(r, channels, count, 1), all: make([]straggler, count), begin: make(chan struct{}), end: make(chan struct{})}
	a := s.audience
	copy(a.since, sent)
	a.dialer.Control = narrow
	a.admit = func(i int, l *listener) {
		one := &s.all[i]
		sip := &sipper{Conn: l.conn.net, begin: s.begin, end: s.end, done: ctx.Done()}
		l.conn.net = sip
		l.conn.deliver = func(message []byte) error {
			sip.most = len(message) + frameHead
			return l.deliver(message)
		}
		l.conn.batched = func() {
			one.got.Add(uint64(l.fresh))
			l.batched()
		}
		l.conn.dropped = one.told.Store
		l.conn.ended = func(err error) {
			if !errors.Is(err, errGone) || !closed(s.begin) {
				r.fail(err)
			}
			one.cut.Store(true)
		}
	}
	return s
}

// tale is what became of slow subscribers together.
type tale struct {
	missed, told uint64 // messages
	silent       uint64 // missed without being told, though not cut
	cut          int    // connections that the node closed
}

// catchUp has the stragglers read on until each has what the node still has for it, of messages sent by channel, and tells what they missed.
func (s *stragglers) catchUp(ctx context.Context, sent []uint64) (t tale, err error) {
	close(s.end)
	owed := s.audience.owed(sent) / uint64(len(s.all))
	err = s.audience.rig.settle(ctx, func() (left uint64) {
		for i := range s.all {
			if one := &s.all[i]; !one.cut.Load() {
				left += owed - min(one.got.Load()+one.told.Load(), owed)
			}
		}
		return left
	})
	for i := range s.all {
		one := &s.all[i]
		missed, told := owed-min(one.got.Load(), owed), one.told.Load()
		t.missed += missed
		t.told += told
		if one.cut.Load() {
			t.cut++
		} else {
			t.silent += missed - min(missed, told)
		}
	}
	return t, err
}

// counts is what became of the messages that stragglers got. Those that they missed count only where they were not told. The rig must be closed.
func (s *stragglers) counts(sent []uint64, t tale) Counts {
	c := s.audience.count(sent)
	c.Lost = t.silent
	c.Sent = c.Delivered + c.Lost
	return c
}

// sipper is a connection of which a message is read a second from begin to end.
type sipper struct {
	net.Conn
	begin, end <-chan struct{}
	done       <-chan struct{}
	most       int // bytes of a message, which its reader tells
}

// Read reads.
func (s *sipper) Read(b []byte) (int, error) {
	if closed(s.begin) && !closed(s.end) {
		timer := time.NewTimer(sipEvery)
		defer timer.Stop()
		select {
		case <-timer.C:
			b = b[:min(len(b), cmp.Or(s.most, len(b)))]
		case <-s.end:
		case <-s.done:
		}
	}
	return s.Conn.Read(b)
}

// NetConn is what is below.
func (s *sipper) NetConn() net.Conn { return s.Conn }

// closed reports whether a channel is closed on which nothing is sent.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
