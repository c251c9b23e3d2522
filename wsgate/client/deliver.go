package client

import (
	"bytes"
	"context"
	"time"
)

// overlap is a hand-over as those who deliver see it. All of it is under Client.turn, but forced and done.
type overlap struct {
	old, new *link // new is nil before it is dialled
	merge    *merge
	forced   bool // the server asked for it
	start    time.Time
	waited   time.Duration // for the application to take messages: no time for the merge, as nothing was read meanwhile
	done     chan struct{} // closed when there is nothing left to merge
}

func (o *overlap) now() time.Duration { return time.Since(o.start) - o.waited }

// wait waits until nothing is left to merge, or the connection in use is lost.
func (o *overlap) wait(ctx context.Context, inUse *link) {
	select {
	case <-o.done:
	case <-inUse.lost:
	case <-ctx.Done():
	}
}

// enter takes the turn to deliver, unless the Client is closed.
func (c *Client) enter() bool {
	select {
	case c.turn <- struct{}{}:
		return true
	default:
	}
	select {
	case c.turn <- struct{}{}:
		return true
	case <-c.stopping:
		return false
	}
}

func (c *Client) leave() { <-c.turn }

// deliver hands a binary message of a connection on.
func (c *Client) deliver(l *link, body []byte) error {
	m, err := ParseDelivery(body)
	if err != nil {
		c.cfg.OnError(err)
		return nil
	}
	if !c.enter() {
		return ErrClosed
	}
	defer c.leave()
	o := c.overlap
	switch {
	case o != nil && l == o.old:
		if !o.merge.fromOld(o.now(), m) {
			return nil
		}
		return c.emitMerged(o, []Message{m})
	case o != nil && l == o.new:
		return c.emitMerged(o, o.merge.fromNew(o.now(), m))
	default:
		return c.emit(m)
	}
}

// emit gives a message to the application. c.turn is held.
func (c *Client) emit(m Message) error {
	subs, plain := c.takers(m)
	for _, s := range subs {
		if err := s.put(m); err != nil {
			return err
		}
	}
	if !plain {
		if len(subs) == 0 {
			c.unwanted.Add(1)
		}
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

// emitMerged gives messages of an overlap to the application. c.turn is held.
func (c *Client) emitMerged(o *overlap, list []Message) error {
	start := time.Now()
	for _, m := range list {
		if err := c.emit(m); err != nil {
			return err
		}
	}
	o.waited += time.Since(start)
	return nil
}

// overlapFrom has what l brings remembered from now on, as another connection is to take over.
func (c *Client) overlapFrom(ctx context.Context, l *link, forced bool) *overlap {
	o := &overlap{old: l, forced: forced, merge: newMerge(&c.merged), start: time.Now(), done: make(chan struct{})}
	if !c.enter() {
		close(o.done)
		return o
	}
	c.overlap = o
	if l.isLost() {
		// Its reader may have been here before.
		_ = c.emitMerged(o, o.merge.endOld(o.now()))
	}
	c.leave()
	c.own.Go(func() { c.tend(ctx, o) })
	return o
}

// overlapTo names the connection that is to take over, before it is read; nil means there will be none.
func (c *Client) overlapTo(o *overlap, l *link) {
	if !c.enter() {
		return
	}
	defer c.leave()
	if o.new = l; l == nil {
		o.merge.endNew(o.now())
	}
}

// overlapWithout tells the overlap, if there is one, that a connection has brought its last.
func (c *Client) overlapWithout(l *link) {
	if !c.enter() {
		return
	}
	defer c.leave()
	o := c.overlap
	switch {
	case o != nil && l == o.old:
		// An error means that the Client is closed.
		_ = c.emitMerged(o, o.merge.endOld(o.now()))
	case o != nil && l == o.new:
		o.merge.endNew(o.now())
	}
}

// tend delivers what is due, until nothing is left to merge.
func (c *Client) tend(ctx context.Context, o *overlap) {
	defer close(o.done)
	ticker := time.NewTicker(mergeTick)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if !c.enter() {
			return
		}
		now := o.now()
		err := c.emitMerged(o, o.merge.due(now))
		if over = err != nil || o.merge.over(now); over && c.overlap == o {
			c.overlap = nil
		}
		c.leave()
	}
}
