package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxMessage bounds a message from the server, in bytes. A node's delivery frames are at most 1 MiB by default.
	maxMessage = 2 << 20
	// pongTimeout is how long the connection may take to answer when it is tested.
	pongTimeout = 10 * time.Second
)

// ErrLost reports that the connection broke off. Without Config.Reconnect, ErrClosed follows.
var ErrLost = errors.New("client: connection lost")

// errReconnect ends a connection at the server's wish.
var errReconnect = errors.New("client: server asks to reconnect")

// link is one WebSocket connection.
type link struct {
	ws   *websocket.Conn
	turn chan struct{} // capacity 1: holds a token while requests are written, so that they queue as they were sent
	lost chan struct{} // closed when reading has ended

	heard atomic.Uint64 // messages read
	busy  atomic.Bool   // a message is being handled, so the reader does not listen

	mu       sync.Mutex
	requests []*request // without answer, oldest first
	pings    []chan struct{}
}

// request is a SUB or UNSUB without answer.
type request struct {
	ack    string
	answer chan error // capacity 1
}

func newLink(ws *websocket.Conn) *link {
	return &link{ws: ws, turn: make(chan struct{}, 1), lost: make(chan struct{})}
}

// isLost tells whether reading has ended.
func (l *link) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

func (l *link) close() error {
	if err := l.ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		return fmt.Errorf("client: close: %w", err)
	}
	return nil
}

// write writes one message. Errors of the connection wrap ErrLost.
func (l *link) write(ctx context.Context, kind websocket.MessageType, body []byte) error {
	if err := l.ws.Write(ctx, kind, body); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// queued writes a line after putting its answer's place in the queue; both under the same turn.
func (l *link) queued(ctx context.Context, line string, enqueue func()) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	l.mu.Lock()
	enqueue()
	l.mu.Unlock()
	return l.write(ctx, websocket.MessageText, []byte(line))
}

// start makes a request.
func (l *link) start(ctx context.Context, word string, sub name) (*request, error) {
	line := word + ":" + sub.tenant + ":" + sub.pattern
	r := &request{ack: "OK:" + line, answer: make(chan error, 1)}
	return r, l.queued(ctx, line, func() { l.requests = append(l.requests, r) })
}

// wait waits for the answer to a request.
func (l *link) wait(ctx context.Context, r *request) error {
	select {
	case err := <-r.answer:
		return err
	case <-l.lost:
		return ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ping measures the time to the server's PONG.
func (l *link) ping(ctx context.Context) (time.Duration, error) {
	pong := make(chan struct{})
	var sent time.Time
	err := l.queued(ctx, "PING", func() {
		l.pings = append(l.pings, pong)
		sent = time.Now()
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-pong:
		return time.Since(sent), nil
	case <-l.lost:
		return 0, ErrLost
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// read handles what comes in until the connection ends. deliver gets binary messages, valid only during the call, and
// report errors that answer no request.
func (l *link) read(ctx context.Context, deliver func([]byte) error, report func(error)) error {
	defer close(l.lost)
	forever := context.WithoutCancel(ctx) // no timer a message; closing the connection is what ends the read
	var buf bytes.Buffer
	for {
		kind, r, err := l.ws.Reader(forever)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		buf.Reset()
		if _, err := buf.ReadFrom(r); err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		l.heard.Add(1)
		l.busy.Store(true)
		if kind == websocket.MessageText {
			err = l.line(buf.String(), report)
		} else {
			err = deliver(buf.Bytes())
		}
		l.busy.Store(false)
		if err != nil {
			return err
		}
	}
}

// line handles a text line. Lines it does not know are for newer clients.
func (l *link) line(text string, report func(error)) error {
	switch {
	case text == "PONG":
		l.pong()
	case text == "RECONNECT":
		return errReconnect
	case strings.HasPrefix(text, "OK:"):
		l.acknowledge(text)
	default:
		if fault, ok := parseError(text); ok && (!fault.answersRequest() || !l.refuse(fault)) {
			report(fault)
		}
	}
	return nil
}

func (l *link) pong() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pings) > 0 {
		close(l.pings[0])
		l.pings = slices.Delete(l.pings, 0, 1)
	}
}

// acknowledge answers the request whose acknowledgement this is.
func (l *link) acknowledge(ack string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.requests, func(r *request) bool { return r.ack == ack })
	if i >= 0 {
		l.requests[i].answer <- nil
		l.requests = slices.Delete(l.requests, i, i+1)
	}
}

// refuse answers the oldest request with an error, if there is a request.
func (l *link) refuse(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.requests) == 0 {
		return false
	}
	l.requests[0].answer <- err
	l.requests = slices.Delete(l.requests, 0, 1)
	return true
}

// watch closes the connection when it is dead, or when ctx ends. That ends the read, which tells the rest.
func (l *link) watch(ctx context.Context, every time.Duration) {
	// The connection is of no use any more; there is nothing to do about an error.
	defer func() { _ = l.ws.CloseNow() }()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		heard := l.heard.Load()
		answer, cancel := context.WithTimeout(ctx, pongTimeout)
		err := l.ws.Ping(answer)
		cancel()
		// A pong that lies behind a message still being handled is not missing.
		if err != nil && !l.busy.Load() && l.heard.Load() == heard {
			return
		}
	}
}
