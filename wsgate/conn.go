package wsgate

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/fastpubsub/fastpubsub/mesh/nowait"
)

var (
	// errFrameSplit is a broken assumption about the WebSocket library: invariant 1 could not be kept.
	errFrameSplit = errors.New("wsgate: library write is not one control frame")
	// errCloseSent ends a writer: nothing follows a close frame (RFC 6455, section 5.5.1).
	errCloseSent = errors.New("wsgate: close frame sent")
)

// frameConn is the connection under a WebSocket session, written to by two: the session's writer, with batches of whole
// frames, and the WebSocket library, which is left the close frames. What reads is the intake.
type frameConn struct {
	net.Conn
	guest *guest // to be closed in place of Conn, or nil; what is written goes past it, as it would hide that Conn can write several slices at once

	in    *intake     // what reads
	heard atomic.Bool // bytes came in since the liveness check last cleared it

	prompt interface { // writes without waiting what there is room for; nil: that cannot be done. Of whoever has the turn
		Write(b []byte) (n int)
	}

	// turn holds a token while someone writes. It is a channel, not a mutex, because it is held across a write that can
	// last: a wait for a mutex would stop the virtual time of a test.
	turn chan struct{}
	// closeSent is set, under turn, by whoever writes the close frame, and read by anyone.
	closeSent atomic.Bool
}

// newFrameConn takes a connection over of which these bytes have been read.
func newFrameConn(conn net.Conn, buffers *intakeBuffers, read []byte) *frameConn {
	c := &frameConn{Conn: conn, guest: guestOf(conn), turn: make(chan struct{}, 1)}
	if plain, ok := conn.(*guest); ok {
		c.Conn = plain.Conn
	}
	if w := nowait.New(c.Conn); w != nil {
		c.prompt = w
	}
	c.in = newIntake(c, buffers, read)
	return c
}

// Close closes the connection.
func (c *frameConn) Close() error {
	if c.guest != nil && c.guest.Conn == c.Conn {
		return c.guest.Close()
	}
	return c.Conn.Close()
}

// Read is the library's way in.
func (c *frameConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// receive is the intake's way in.
func (c *frameConn) receive(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

// Write takes one whole control frame a call: the library's close frames, and ours. After the first close frame it takes
// and drops the rest, since the library cannot know of ours.
func (c *frameConn) Write(p []byte) (int, error) {
	if !isControlFrame(p) {
		return 0, errFrameSplit
	}
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.closeSent.Load() {
		return len(p), nil
	}
	if p[0] == frameClose {
		c.closeSent.Store(true)
	}
	return c.Conn.Write(p)
}

// writeFrames writes whole data frames or control frames other than close.
func (c *frameConn) writeFrames(segments net.Buffers) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.closeSent.Load() {
		return errCloseSent
	}
	if len(segments) == 1 {
		_, err := c.Conn.Write(segments[0])
		return err
	}
	v := segments // apart, because WriteTo makes it escape
	_, err := v.WriteTo(c.Conn)
	return err
}

// tryWrite writes what it can of whole data frames without waiting, and says how much.
func (c *frameConn) tryWrite(b []byte) (n int) {
	if c.prompt == nil {
		return 0
	}
	select {
	case c.turn <- struct{}{}:
	default:
		return 0
	}
	defer func() { <-c.turn }()
	if c.closeSent.Load() {
		return 0
	}
	return c.prompt.Write(b)
}

// abort closes the connection without a word. Under TLS it closes the transport itself: a close alert to a peer that
// does not read could block for seconds.
func (c *frameConn) abort() {
	inner := c.Conn
	if tls, ok := inner.(interface{ NetConn() net.Conn }); ok {
		inner = tls.NetConn()
	}
	if c.guest != nil {
		inner = c.guest
	}
	// The session ends whatever this returns.
	_ = inner.Close()
}

// hijacker is a ResponseWriter that gives the WebSocket library a frameConn in place of the connection.
type hijacker struct {
	http.ResponseWriter
	buffers *intakeBuffers
	conn    *frameConn // set by Hijack
}

// Hijack takes the connection over from net/http. The library's buffers are ours, because those of net/http would
// go around the frameConn. They hold the largest control frame, which so reaches the frameConn in one Write.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	read, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	h.conn = newFrameConn(conn, h.buffers, read)
	return h.conn, bufio.NewReadWriter(bufio.NewReaderSize(h.conn, maxClientHeader+maxControlPayload), bufio.NewWriterSize(h.conn, 2+maxControlPayload)), nil
}
