package client

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
)

// ErrSubscribed is returned where a pattern has a Subscription, or is subscribed to without one.
var ErrSubscribed = errors.New("client: subscribed already")

// Subscription is a subscription with a queue of its own. It is safe for concurrent use.
type Subscription struct {
	client *Client
	sub    name
	queue  *queue
	closed chan struct{}
	close  sync.Once
}

// Open is Subscribe to a pattern of which messages come by the Subscription, and neither to Config.Handler nor to
// Client.Receive, unless they match another pattern that was subscribed to by Subscribe. It is an error that wraps ErrSubscribed
// if the Client is subscribed to the pattern in either way.
func (c *Client) Open(ctx context.Context, tenant, pattern string, q Queue) (*Subscription, error) {
	sub, err := parseName(tenant, pattern)
	if err != nil {
		return nil, err
	}
	s := &Subscription{client: c, sub: sub, queue: newQueue(q), closed: make(chan struct{})}
	if err := c.subscribe(ctx, sub, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Receive is the next message. Its Payload is the caller's. After Close it is an error that wraps ErrClosed, once no
// message waits any more.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	var ended error
	for {
		if m, ok := s.queue.take(); ok {
			return m, nil
		}
		if ended != nil {
			return Message{}, ended
		}
		select {
		case <-s.queue.arrived:
		case <-s.closed:
			ended = ErrClosed
		case <-s.client.done:
			ended = s.client.ended()
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// All receives until there is an error, which comes last; after Close there is none.
func (s *Subscription) All(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if err != nil && s.isClosed() {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Dropped is how many messages were dropped by the queue so far, replaced ones included.
func (s *Subscription) Dropped() uint64 { return s.queue.dropped.Load() }

// Close unsubscribes. What waits can still be received.
func (s *Subscription) Close(ctx context.Context) error {
	var err error
	s.close.Do(func() {
		s.client.unwant(s.sub)
		close(s.closed)
		err = s.client.request(ctx, wordUnsub, s.sub)
	})
	return err
}

func (s *Subscription) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// put puts a copy of a message into the queue. It waits for room if that is the policy.
func (s *Subscription) put(m Message) error {
	m.Payload = bytes.Clone(m.Payload)
	for !s.queue.push(m) {
		select {
		case <-s.queue.room:
		case <-s.closed:
			return nil
		case <-s.client.stopping:
			return ErrClosed
		}
	}
	return nil
}

// takers are those who get a message: Subscriptions, and the Handler or Receive.
func (c *Client) takers(m Message) (subs []*Subscription, plain bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pattern := range m.Patterns {
		s, wanted := c.wanted[name{m.Tenant, pattern}]
		if s != nil {
			subs = append(subs, s)
		}
		plain = plain || wanted && s == nil
	}
	return subs, plain
}
