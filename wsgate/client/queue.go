package client

import (
	"sync"
	"sync/atomic"
)

// Policy says what becomes of a message that comes while the queue of a Subscription is full.
type Policy int

const (
	// DropOldest drops the message that has waited longest.
	DropOldest Policy = iota
	// Latest lets a message take the place of the one of the same channel that waits, full or not, so that at most one per
	// channel does: for states, of which only the last matters. With too many channels it is DropOldest.
	Latest
	// Block drops nothing here: the Client reads nothing until there is room. Its other subscriptions and the answers to
	// requests wait as well, and in the end the server drops messages for this client.
	Block
)

// Queue says how many messages wait for Subscription.Receive, and what becomes of more.
type Queue struct {
	Size   int // 0 means 256. A message has at most 65,535 bytes of payload
	Policy Policy
}

// queue holds messages between the reader of a connection and those who receive.
type queue struct {
	size    int
	policy  Policy
	arrived chan struct{} // capacity 1: something waits
	room    chan struct{} // capacity 1: something was taken
	dropped atomic.Uint64

	mu     sync.Mutex // guards what follows
	items  fifo[Message]
	popped int            // how many have left items
	places map[string]int // Latest: by channel, how many came into items before the one that waits
}

func newQueue(cfg Queue) *queue {
	if cfg.Size <= 0 {
		cfg.Size = 256
	}
	return &queue{
		size: cfg.Size, policy: cfg.Policy,
		arrived: make(chan struct{}, 1), room: make(chan struct{}, 1),
		places: map[string]int{},
	}
}

// push puts a message in, which must be nobody else's. It is refused only under Block.
func (q *queue) push(m Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if place, waits := q.places[m.Channel]; waits {
		*q.items.at(place - q.popped) = m
		q.dropped.Add(1)
		return true
	}
	if q.items.len() == q.size {
		if q.policy == Block {
			return false
		}
		q.pop()
		q.dropped.Add(1)
	}
	if q.policy == Latest {
		q.places[m.Channel] = q.popped + q.items.len()
	}
	q.items.push(m)
	signal(q.arrived)
	return true
}

// take takes the oldest message out, if there is one.
func (q *queue) take() (Message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items.len() == 0 {
		return Message{}, false
	}
	m := q.pop()
	if q.items.len() > 0 {
		signal(q.arrived) // for another who receives
	}
	signal(q.room)
	return m, true
}

func (q *queue) pop() Message {
	m := q.items.pop()
	q.popped++
	delete(q.places, m.Channel)
	return m
}

// signal leaves a token in a channel of capacity 1, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
