package wsgate

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// maxReadies bounds the subscriptions of a connection that wait to have spread; further ones get no READY.
const maxReadies = 1000

// session is one WebSocket connection, or one event stream. Its reader goroutine is run; what it may share is marked.
type session struct {
	server *Server
	id     uint64          // in the log: its connection's
	pass   *access.Pass    // nil: an open gateway's
	share  *share          // with other connections of its token; nil: nothing is limited
	ws     *websocket.Conn // nil: an event stream
	conn   *frameConn
	remote string
	cancel context.CancelFunc // ends what the reader does for the client

	subscriber subscriber
	box        outbox
	readies    atomic.Int32 // subscriptions that wait to have spread
	busy       atomic.Bool  // the reader works on a message, and so does not hear the client

	// Of the reader alone.
	badFrames int
	published uint64 // messages
	pending   pending
	rules     *rules  // that it goes by
	own       *budget // what it may publish itself; nil: no limit
	credits   credits // that each publication is taken from: its own budget, and its token's
	strikes   strikes
	commands  *rate.Limiter // of subscribing and unsubscribing; nil: no limit
	wanted    []command     // what an event stream is to subscribe
	tenant    string        // of the last publication that was valid and permitted: most clients publish
	channel   string        // on few channels, and equal names need no second check
	written   string        // that tenant as the client wrote it

	// Of the clock goroutine alone.
	heardAt time.Time
	pingAt  time.Time // when an unanswered ping was sent, or zero
}

// run serves the connection until it ends. The context's end cuts what the Broker does for it short, not the connection.
func (s *session) run(ctx context.Context) {
	began, told := time.Now(), s.server.journal.opened(s)
	var err error
	if s.ws != nil {
		err = s.read(ctx)
	} else {
		err = s.follow(ctx)
	}
	subscriptions := len(s.subscriber.held)
	s.finish(err)
	s.server.journal.closed(s, began, told, subscriptions, err)
}

// read handles one message after the other until the connection ends.
func (s *session) read(ctx context.Context) error {
	for {
		var err error
		if s.takeAll(ctx) {
			err = s.readOne(ctx)
		} else {
			err = s.conn.in.fill()
		}
		if err != nil {
			return err
		}
	}
}

// takeAll handles what has come, up to what the library has to read: irregular.
func (s *session) takeAll(ctx context.Context) (irregular bool) {
	s.busy.Store(true)
	defer s.busy.Store(false)
	for {
		first, msg, ok, irregular := s.conn.in.next()
		if !ok {
			s.publishPending(ctx)
			return irregular
		}
		kind := websocket.MessageBinary
		if first == frameText {
			kind = websocket.MessageText
		}
		s.handle(ctx, kind, msg)
	}
}

// readOne has the library read a message, whatever comes before it, and handles that.
func (s *session) readOne(ctx context.Context) error {
	// The library closes a connection whose read context ends, and spends a timer on every read with one that can.
	kind, r, err := s.ws.Reader(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	buf := s.server.buffers.Get().(*[]byte)
	defer s.server.buffers.Put(buf)
	if *buf, err = readAll(r, *buf); err != nil {
		return err
	}
	s.busy.Store(true)
	defer s.busy.Store(false)
	s.handle(ctx, kind, *buf)
	s.publishPending(ctx)
	return nil
}

// readAll reads to the end of a message into buf, which it grows as bytes come, and empties before.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(cap(buf), 512))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch err {
		case nil:
		case io.EOF:
			return buf, nil
		default:
			return buf, fmt.Errorf("message: %w", err)
		}
	}
}

// finish ends all that belongs to the connection, after reading from it ended with err.
func (s *session) finish(err error) {
	clientClosed := websocket.CloseStatus(err) != -1
	if s.ws != nil && s.conn.closeSent.Load() && !clientClosed {
		// The library found fault with the client and sent a close frame. Closing a connection with unread input resets
		// it, and the client might never see that frame; so let the library read on to the answer. It sends no second frame.
		s.box.drop(closeProtocol, time.Now())
		_ = s.ws.Close(websocket.StatusProtocolError, "")
	}
	s.cancel()
	s.box.drop(closeLost, time.Now())
	s.conn.abort()
	s.box.writers.Wait()
	s.share.release(len(s.subscriber.held))
	s.server.hub.leave(&s.subscriber, s.server.broker.SetInterest)
	s.server.leave(s.pass, s.share)
	s.hangUp()
	s.conn.in.release()
	s.server.counts.closings[s.box.reason()].Add(1)
}

// hangUp frees a connection that nobody uses any more.
func (s *session) hangUp() {
	s.conn.abort()
	if s.ws != nil { // the library holds more than the connection
		_ = s.ws.CloseNow()
	}
}

// revoke ends the connection since its token was revoked: nothing that waits goes out any more, nor does what waits to go in.
func (s *session) revoke() {
	s.box.shutNow(closeRevoked)
	s.cancel()
}

// pinged answers a ping frame of the client. It goes the way of all replies rather than the library's, so that a client
// that does not read stops being read from, instead of being closed by the library's fixed time limit.
func (s *session) pinged(ctx context.Context, payload []byte) bool {
	// An error means that the connection is ending.
	_ = s.box.reply(ctx, newFrame(framePong, payload))
	return false
}

// tick looks at the clock, and cuts the connection if one of its times is over.
func (s *session) tick(now time.Time) {
	why, overdue := s.box.overdue(now)
	if !overdue && s.silent(now) {
		why, overdue = closeSilent, true
	}
	if overdue {
		s.box.drop(why, now)
		s.cancel()
		s.conn.abort()
		return
	}
	if dropped, due := s.box.untold(now); due {
		notice := s.encode(reply{event: eventError, fault: fault{codeSlowConsumer, fmt.Sprint(dropped)}})
		if taken, _ := s.box.offer(notice); taken {
			s.server.counts.errors[codeSlowConsumer].Add(1)
			s.box.told(dropped, now)
		}
	}
}

// silent tells whether the client left a ping unanswered for too long, and pings one that was not heard for a while.
// Any bytes count as an answer, and so does our not listening.
func (s *session) silent(now time.Time) bool {
	timing := s.server.timing
	switch heard := s.conn.heard.Swap(false); {
	case s.ws == nil: // who reads events says nothing; writes show whether anybody is there
		if now.Sub(s.heardAt) >= timing.Ping {
			if taken, _ := s.box.offer([]byte{framePing, 0}); taken {
				s.heardAt = now
			}
		}
	case heard || s.busy.Load():
		s.heardAt, s.pingAt = now, time.Time{}
	case !s.pingAt.IsZero():
		return now.Sub(s.pingAt) >= timing.Pong
	case now.Sub(s.heardAt) >= timing.Ping:
		if taken, _ := s.box.offer([]byte{framePing, 0}); taken {
			s.pingAt = now
		}
	}
	return false
}

// encode makes the whole frame of a reply in the form the connection uses, or nil where the form has none.
func (s *session) encode(r reply) []byte {
	var text []byte
	if s.subscriber.json.Load() {
		text = newJSONReply(r)
	} else {
		text = appendLine(nil, r)
	}
	if len(text) == 0 {
		return nil
	}
	return newFrame(frameText, text)
}
