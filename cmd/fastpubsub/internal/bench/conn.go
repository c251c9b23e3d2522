package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	// readFirst is the buffer of a connection that nothing has come on yet, in bytes, and readMost that of a busy one: it grows when a read fills it.
	readFirst = 4 << 10
	readMost  = 256 << 10
	// answerPatience bounds the wait for the answers to subscriptions.
	answerPatience = 30 * time.Second
	// slowNotice comes before the number of deliveries that the node has dropped because the client was slow.
	slowNotice = "ERR:slow_consumer:"
)

// errGone reports that a connection has ended, and not for what came on it.
var errGone = errors.New("bench: connection lost")

// conn is a WebSocket connection. One goroutine reads; one other writes, but for pongs.
type conn struct {
	net  net.Conn
	rest []byte // came together with the handshake
	now  func() time.Duration

	// The reader's.
	at      time.Duration              // when the last read returned
	deliver func(message []byte) error // gets binary messages, which are valid only during the call
	batched func()                     // called when all that one read brought has been delivered
	dropped func(deliveries uint64)    // called when the node says how many it has dropped so far
	ended   func(error)                // called when nothing more will be read

	turn    chan struct{} // capacity 1: holds a token while someone writes
	frames  []byte        // the writer's, not yet written
	message []byte        // the writer's, to work in

	unanswered atomic.Int64  // subscriptions
	answered   chan struct{} // capacity 1: the last one is
}

// newConn is a connection after the handshake.
func newConn(c net.Conn, rest []byte, now func() time.Duration) *conn {
	return &conn{
		net: c, rest: rest, now: now, turn: make(chan struct{}, 1), answered: make(chan struct{}, 1),
		deliver: func([]byte) error { return errors.New("bench: a delivery to a connection without subscriptions") },
		batched: func() {}, dropped: func(uint64) {}, ended: func(error) {},
	}
}

// hangUp ends the connection at once. It resets it, so that no ports stay taken for minutes where there were thousands of connections.
func (c *conn) hangUp() {
	inner := c.net
	if t, ok := inner.(interface{ NetConn() net.Conn }); ok {
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	inner.Close()
}

// add queues a publication.
func (c *conn) add(m channel.Message) {
	c.message = client.AppendPublish(c.message[:0], m)
	c.frames = appendFrame(c.frames, frame{opBinary, c.message}, rand.Uint32())
}

// flush writes all that is queued, in one system call if the kernel takes it.
func (c *conn) flush() error {
	if len(c.frames) == 0 {
		return nil
	}
	err := c.write(c.frames)
	c.frames = c.frames[:0]
	return err
}

func (c *conn) write(frames []byte) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if _, err := c.net.Write(frames); err != nil {
		return fmt.Errorf("%w: write: %w", errGone, err)
	}
	return nil
}

// subscribe subscribes to all patterns and returns when the node has acknowledged them.
func (c *conn) subscribe(ctx context.Context, tenant string, patterns []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience, errors.New("bench: subscriptions are not answered"))
	defer cancel()
	c.unanswered.Store(int64(len(patterns)))
	for _, pattern := range patterns {
		c.frames = appendFrame(c.frames, frame{opText, []byte("SUB:" + tenant + ":" + pattern)}, rand.Uint32())
	}
	if err := c.flush(); err != nil {
		return err
	}
	select {
	case <-c.answered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read handles what comes until the connection ends, which its error tells of.
func (c *conn) read() error {
	buffer := make([]byte, max(readFirst, 2*len(c.rest)))
	end := copy(buffer, c.rest)
	c.rest = nil
	for {
		used, err := c.handleAll(buffer[:end])
		if err != nil {
			return err
		}
		c.batched()
		full := end == len(buffer)
		end = copy(buffer, buffer[used:end])
		if end == len(buffer) || full && len(buffer) < readMost {
			buffer = append(buffer, make([]byte, len(buffer))...)
		}
		n, err := c.net.Read(buffer[end:])
		if err != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		c.at = c.now()
		end += n
	}
}

// handleAll handles the frames in b that are there as a whole and returns how many bytes they took.
func (c *conn) handleAll(b []byte) (used int, err error) {
	for {
		f, size, err := parseFrame(b[used:])
		if size == 0 || err != nil {
			return used, err
		}
		used += size
		switch f.op {
		case opBinary:
			err = c.deliver(f.message)
		case opText:
			err = c.line(string(f.message))
		case opPing:
			err = c.write(appendFrame(nil, frame{opPong, f.message}, rand.Uint32()))
		case opPong:
		case opClose:
			err = fmt.Errorf("%w: closed by the node: %q", errGone, f.message)
		default:
			err = fmt.Errorf("%w: opcode %d", errFrame, f.op)
		}
		if err != nil {
			return used, err
		}
	}
}

// line handles a text line.
func (c *conn) line(text string) error {
	switch {
	case strings.HasPrefix(text, "OK:"):
		if c.unanswered.Add(-1) == 0 {
			select {
			case c.answered <- struct{}{}:
			default:
			}
		}
	case strings.HasPrefix(text, slowNotice):
		if n, err := strconv.ParseUint(text[len(slowNotice):], 10, 64); err == nil {
			c.dropped(n)
		}
	case strings.HasPrefix(text, "ERR:"):
		return fmt.Errorf("bench: node reports %s", strings.TrimPrefix(text, "ERR:"))
	}
	return nil
}
