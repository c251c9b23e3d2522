package client

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Delays between attempts to reconnect.
const (
	firstDelay = 250 * time.Millisecond
	lastDelay  = 15 * time.Second
)

// run serves one connection after the other until Close, or the end of the first if there is to be no other.
func (c *Client) run(ctx context.Context, l *link) {
	defer close(c.done)
	for l != nil {
		err := c.serve(ctx, l)
		if c.closing() {
			return
		}
		if !c.cfg.Reconnect {
			c.cause = err
			return
		}
		c.cfg.OnError(err)
		l = c.redial(ctx)
	}
}

// closing tells whether Close was called.
func (c *Client) closing() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// redial dials until it succeeds; nil means ctx ended first.
func (c *Client) redial(ctx context.Context) *link {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		// Half of the delay is random, so that clients of one node do not come back all at once.
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-c.stopping:
			return nil
		}
		attempt, cancel := context.WithTimeout(ctx, lastDelay)
		l, err := c.dial(attempt)
		cancel()
		if err == nil {
			return l
		}
		if !c.closing() {
			c.cfg.OnError(err)
		}
	}
}

// serve handles one connection from its first message to the end of what it started.
func (c *Client) serve(ctx context.Context, l *link) error {
	ctx, cancel := context.WithCancel(ctx)
	var own sync.WaitGroup
	own.Go(func() { l.watch(ctx, c.cfg.Ping) })
	own.Go(func() { c.resume(ctx, l) })
	err := l.read(ctx, c.deliver, c.cfg.OnError)
	c.use(nil)
	cancel()
	own.Wait()
	return err
}

// resume brings a new connection to the state of the one before, and then makes it the one that calls use.
func (c *Client) resume(ctx context.Context, l *link) {
	c.mu.Lock()
	current := c.link
	subs := slices.Collect(maps.Keys(c.wanted))
	c.mu.Unlock()
	if current == l {
		return
	}
	requests := make([]*request, len(subs))
	for i, sub := range subs {
		var err error
		if requests[i], err = l.start(ctx, "SUB", sub); err != nil {
			return // lost again
		}
	}
	for _, r := range requests {
		var refused *ServerError
		switch err := l.wait(ctx, r); {
		case errors.As(err, &refused):
			c.cfg.OnError(err)
		case err != nil:
			return
		}
	}
	c.use(l)
}

// deliver hands a binary message on.
func (c *Client) deliver(body []byte) error {
	m, err := ParseDelivery(body)
	if err != nil {
		c.cfg.OnError(err)
		return nil
	}
	if c.cfg.Handler != nil {
		c.cfg.Handler(m)
		return nil
	}
	m.Payload = bytes.Clone(m.Payload)
	select {
	case c.messages <- m:
		return nil
	case <-c.stopping:
		return ErrClosed
	}
}
