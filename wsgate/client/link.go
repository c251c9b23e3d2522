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
	// maxLine bounds a text line from the server, in bytes. Longer ones are ignored; those known are well below.
	maxLine = 4 << 10
	// maxUnanswered bounds the requests without answer. It leaves room for all subscriptions a node grants, at once.
	maxUnanswered = 1 << 17
)

// Words of requests.
const (
	wordSub   = "SUB"
	wordUnsub = "UNSUB"
)

// ErrLost reports that the connection broke off. Without Config.Reconnect, ErrClosed follows.
var ErrLost = errors.New("client: connection lost")

// errUnanswered ends what would be one more request to a server that answers none.
var errUnanswered = errors.New("client: too many requests without answer")

// link is one WebSocket connection.
type link struct {
	url    string
	ws     *websocket.Conn
	opened time.Time
	turn   chan struct{} // capacity 1: holds a token while requests are written, so that they queue as they were sent
	wish   chan struct{} // capacity 1: the server asks to reconnect
	lost   chan struct{} // closed when reading has ended, after why was set
	why    error

	heard atomic.Uint64 // messages read
	busy  atomic.Bool   // a message is being handled, so the reader does not listen
	rtt   atomic.Int64  // as last measured, in nanoseconds; 0 until then

	mu       sync.Mutex
	requests []*request // without answer, oldest first
	pings    []chan struct{}
	subs     map[name]*subscription // asked for here, and neither refused nor cancelled
}

// subscription is a subscription as one connection knows it.
type subscription struct {
	acked bool
	ready bool
	known chan struct{} // closed when ready becomes true
}

// request is a SUB or UNSUB without answer.
type request struct {
	word   string
	sub    name
	ack    string
	answer chan error // capacity 1
}

func newLink(url string, ws *websocket.Conn) *link {
	return &link{
		url: url, ws: ws, opened: time.Now(),
		turn: make(chan struct{}, 1), wish: make(chan struct{}, 1), lost: make(chan struct{}),
		subs: map[name]*subscription{},
	}
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

// queued writes a line after putting its answer's place in the queue; both under the same turn. enqueue runs with l.mu
// held.
func (l *link) queued(ctx context.Context, line string, enqueue func()) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	l.mu.Lock()
	full := len(l.requests)+len(l.pings) >= maxUnanswered
	if !full {
		enqueue()
	}
	l.mu.Unlock()
	if full {
		return errUnanswered
	}
	return l.write(ctx, websocket.MessageText, []byte(line))
}

// start makes a request.
func (l *link) start(ctx context.Context, word string, sub name) (*request, error) {
	line := word + ":" + sub.tenant + ":" + sub.pattern
	r := &request{word: word, sub: sub, ack: "OK:" + line, answer: make(chan error, 1)}
	return r, l.queued(ctx, line, func() {
		l.requests = append(l.requests, r)
		if word == wordUnsub {
			delete(l.subs, sub)
		} else if l.subs[sub] == nil {
			l.subs[sub] = &subscription{known: make(chan struct{})}
		}
	})
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
			if buf.Len() <= maxLine {
				l.line(buf.String(), report)
			}
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
func (l *link) line(text string, report func(error)) {
	if text == "PONG" {
		l.pong()
	} else if text == "RECONNECT" {
		select {
		case l.wish <- struct{}{}:
		default: // it is known already
		}
	} else if strings.HasPrefix(text, "OK:") {
		l.acknowledge(text)
	} else if sub, ok := parseReady(text); ok {
		l.markReady(sub)
	} else if fault, ok := parseError(text); ok && (!fault.answersRequest() || !l.refuse(fault)) {
		report(fault)
	}
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
	if i < 0 {
		return
	}
	r := l.requests[i]
	if s := l.subs[r.sub]; s != nil && r.word == wordSub {
		s.acked = true
	}
	r.answer <- nil
	l.requests = slices.Delete(l.requests, i, i+1)
}

// markReady notes that every node knows of a subscription. Before it was acknowledged, the line speaks of an earlier one.
func (l *link) markReady(sub name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.subs[sub]; s != nil && s.acked && !s.ready {
		s.ready = true
		close(s.known)
	}
}

// everywhere is closed when every node knows of a subscription. It is nil if there is no such subscription.
func (l *link) everywhere(sub name) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.subs[sub]; s != nil {
		return s.known
	}
	return nil
}

// has tells whether a subscription was asked for here, and neither refused nor cancelled.
func (l *link) has(sub name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subs[sub] != nil
}

// differences are what l lacks of the wanted subscriptions, except those that were refused, and what it has too much.
func (l *link) differences(wanted map[name]*Subscription, refused map[name]struct{}) (lacks, extra []name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sub := range wanted {
		if _, hopeless := refused[sub]; !hopeless && l.subs[sub] == nil {
			lacks = append(lacks, sub)
		}
	}
	for sub := range l.subs {
		if _, found := wanted[sub]; !found {
			extra = append(extra, sub)
		}
	}
	return lacks, extra
}

// refuse answers the oldest request with an error, if there is a request.
func (l *link) refuse(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.requests) == 0 {
		return false
	}
	r := l.requests[0]
	if s := l.subs[r.sub]; s != nil && !s.acked && r.word == wordSub {
		delete(l.subs, r.sub)
	}
	r.answer <- err
	l.requests = slices.Delete(l.requests, 0, 1)
	return true
}

// watch measures the connection, closes it when it is dead, and when ctx ends. That ends the read, which tells the rest.
func (l *link) watch(ctx context.Context, every, patience time.Duration) {
	// The connection is of no use any more; there is nothing to do about an error.
	defer func() { _ = l.ws.CloseNow() }()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.lost:
			return
		case <-ctx.Done():
			return
		}
		heard, sent := l.heard.Load(), time.Now()
		answer, cancel := context.WithTimeout(ctx, patience)
		err := l.ws.Ping(answer)
		cancel()
		if err == nil {
			l.rtt.Store(int64(time.Since(sent)))
			continue
		}
		// A pong that lies behind a message still being handled is not missing.
		if !l.busy.Load() && l.heard.Load() == heard {
			return
		}
	}
}
