package client

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"time"
)

// Delays between attempts to connect, and times for them.
const (
	firstDelay  = 250 * time.Millisecond
	lastDelay   = 15 * time.Second
	attemptTime = 15 * time.Second // to connect and to subscribe
	hurryTime   = 500 * time.Millisecond
	settleTime  = 10 * time.Second // a connection that lasts longer is none that a server cuts at once
	// maxRounds bounds how often the subscriptions may change while a connection takes over.
	maxRounds = 4
)

// run keeps a connection until Close, or the end of the first if there is to be no other.
func (c *Client) run(ctx context.Context, l *link) {
	c.attend(ctx, l)
	if c.cfg.Reconnect && c.cfg.Measure > 0 && c.nodes.several() {
		c.own.Go(func() { c.survey(ctx) })
	}
	for l != nil {
		l = c.keep(ctx, l)
	}
	c.cancel()
	c.own.Wait()
	close(c.done)
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

// fault reports an error that no call returns.
func (c *Client) fault(err error) {
	if !c.closing() {
		c.cfg.OnError(err)
	}
}

// attend starts what a connection needs. It ends with the connection, and that with ctx.
func (c *Client) attend(ctx context.Context, l *link) {
	c.own.Go(func() {
		l.why = l.read(ctx, func(body []byte) error { return c.deliver(l, body) }, c.cfg.OnError)
		close(l.lost)
		c.drop(l)
		c.overlapWithout(l)
	})
	c.own.Go(func() { l.watch(ctx, c.cfg.Ping, c.cfg.Pong) })
}

// keep stays with a connection until there is another, and returns that; nil means the end.
func (c *Client) keep(ctx context.Context, l *link) *link {
	wish, better := l.wish, c.better
	if !c.cfg.Reconnect {
		wish, better = nil, nil // it stays as long as the server lets it
	}
	delay, tried := firstDelay, false
	var again <-chan time.Time
	for {
		var urls []string
		forced := false
		select {
		case <-ctx.Done():
			return nil
		case <-l.lost:
			return c.replace(ctx, l)
		case target := <-better:
			urls = []string{target}
		case <-wish:
			wish = nil // once is enough
			again = time.After(jittered(c.cfg.Spread))
			continue
		case <-again:
			urls, forced = c.nodes.order(l.url), true
			if len(urls) > 1 && !tried {
				urls = urls[:len(urls)-1] // the node that wants to be left is for when no other takes us
			}
			tried = true
		}
		if l.isLost() || !forced && urls[0] == l.url {
			continue
		}
		next, err := c.handOver(ctx, l, urls, forced)
		if err != nil {
			c.fault(err)
		}
		if next != l {
			return next
		}
		if forced {
			again = time.After(jittered(delay))
			delay = min(2*delay, lastDelay)
		}
	}
}

// jittered is a random part of a delay, so that the clients of a node do not come back all at once. Of the usual ways this
// one ("full jitter") spreads them best: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
func jittered(delay time.Duration) time.Duration {
	if delay <= 0 {
		return 0
	}
	return rand.N(delay)
}

// replace makes a connection after one was lost; nil means the end.
func (c *Client) replace(ctx context.Context, lost *link) *link {
	if c.closing() {
		<-ctx.Done() // Close says goodbye first
		return nil
	}
	if !c.cfg.Reconnect {
		c.cause = lost.why
		return nil
	}
	c.fault(lost.why)
	urls := c.nodes.order(lost.url)
	if time.Since(lost.opened) >= settleTime {
		c.backoff = firstDelay
	}
	for {
		select {
		case <-time.After(jittered(c.backoff)):
		case <-c.stopping:
			<-ctx.Done()
			return nil
		}
		c.backoff = min(2*c.backoff, lastDelay)
		l, err := c.connect(ctx, urls, nil)
		if err == nil {
			return l
		}
		c.fault(err)
		if c.nodes.several() {
			if _, err := c.nodes.refresh(ctx); err != nil {
				c.fault(err)
			}
			urls = c.nodes.order("")
		}
	}
}

// connect makes one of the addresses the connection in use, with all subscriptions. With an overlap, it is the one that
// takes over there.
func (c *Client) connect(ctx context.Context, urls []string, o *overlap) (*link, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if o != nil {
		c.own.Go(func() { hurry(attempt, cancel, o.old) })
	}
	l, err := c.dialFirst(attempt, urls)
	if o != nil {
		c.overlapTo(o, l)
	}
	if err != nil {
		return nil, err
	}
	c.attend(ctx, l)
	if err := c.resume(attempt, l, o != nil && !o.forced); err != nil {
		_ = l.ws.CloseNow()
		return nil, err
	}
	return l, nil
}

// hurry ends an attempt soon after the connection that it is to take over from is lost: then others may be quicker.
func hurry(attempt context.Context, cancel context.CancelFunc, old *link) {
	select {
	case <-old.lost:
	case <-attempt.Done():
		return
	}
	select {
	case <-time.After(hurryTime):
		cancel()
	case <-attempt.Done():
	}
}

// handOver moves to one of the addresses and returns the connection in use then, which is old if that did not work. Only
// if forced, subscriptions that are refused there do not stop it.
func (c *Client) handOver(ctx context.Context, old *link, urls []string, forced bool) (*link, error) {
	o := c.overlapFrom(ctx, old, forced)
	l, err := c.connect(ctx, urls, o)
	if err != nil {
		o.wait(ctx, old)
		return old, err
	}
	if old.isLost() {
		c.fault(old.why)
	}
	select {
	case <-time.After(c.cfg.Overlap):
		c.drop(old)
		// There is nobody to tell that the goodbye was not answered.
		c.own.Go(func() { _ = old.close() })
	case <-old.lost:
	case <-l.lost:
		if !old.isLost() && c.resume(ctx, old, false) == nil {
			o.wait(ctx, old)
			return old, l.why
		}
	case <-ctx.Done():
	}
	o.wait(ctx, l)
	// What was found nearer meanwhile was so seen from the former node.
	select {
	case <-c.better:
	default:
	}
	return l, nil
}

// resume brings a connection, which is read already, to the subscriptions that are wanted, and then makes it the one that
// calls use. Subscriptions that the server refuses are reported, or end it if strict.
func (c *Client) resume(ctx context.Context, l *link, strict bool) error {
	refused := map[name]struct{}{}
	for round := 1; ; round++ {
		c.mu.Lock()
		wanted, version := maps.Clone(c.wanted), c.version
		c.mu.Unlock()
		lacks, extra := l.differences(wanted, refused)
		// If they keep changing, the former connection brings what this one does not yet.
		last := round == maxRounds
		if last || len(lacks)+len(extra) == 0 {
			used, err := c.use(l, version, last)
			if err != nil || used && len(lacks)+len(extra) == 0 {
				return err
			}
			if !used {
				continue
			}
		}
		err := c.adjust(ctx, l, lacks, extra, refused)
		if last {
			return nil // it is in use; what is wrong with it will show
		}
		if err != nil {
			return err
		}
		if strict && len(refused) > 0 {
			return errRefused
		}
	}
}

// adjust adds and removes subscriptions of a connection, and adds to refused what the server refuses.
func (c *Client) adjust(ctx context.Context, l *link, lacks, extra []name, refused map[name]struct{}) error {
	var requests []*request
	for i, sub := range append(extra, lacks...) {
		word := wordSub
		if i < len(extra) {
			word = wordUnsub
		}
		r, err := l.start(ctx, word, sub)
		if err != nil {
			return err
		}
		requests = append(requests, r)
	}
	for _, r := range requests {
		err := l.wait(ctx, r)
		if _, no := errors.AsType[*ServerError](err); no {
			refused[r.sub] = struct{}{}
			c.fault(err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// use makes l the connection that calls use, unless what is wanted has changed since it was version.
func (c *Client) use(l *link, version uint64, anyVersion bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.isLost() {
		return false, ErrLost
	}
	if version != c.version && !anyVersion {
		return false, nil
	}
	if c.link == nil {
		c.reconnects.Add(1)
	} else {
		c.moves.Add(1)
	}
	c.former = c.link
	c.link = l
	close(c.changed)
	c.changed = make(chan struct{})
	return true, nil
}

// drop has no call use a connection any more.
func (c *Client) drop(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.former == l {
		c.former = nil
	}
	if c.link == l {
		c.link = nil
		close(c.changed)
		c.changed = make(chan struct{})
	}
}
