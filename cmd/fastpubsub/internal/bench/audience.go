package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	// probesAtOnce is how many probes are published before it is looked what came of them, and probeWait for how long.
	probesAtOnce = 256
	probeWait    = 50 * time.Millisecond
	// probePatience is how long no further channel may be heard before that counts as a failure.
	probePatience = 30 * time.Second
)

// errForeign reports a delivery that is not what was published.
var errForeign = errors.New("bench: a delivery is not what was published")

// audience is all subscribers of a repetition.
type audience struct {
	rig      *rig
	channels []string
	hearers  []int    // by channel: connections that subscribe to it
	each     int      // subscribers of a channel on a connection, each by a pattern of its own
	since    []uint64 // by channel: messages published before the audience gathered
	dialer   net.Dialer

	// Hooks. Readers call the first two: for each message that came for the first time, and with how many a read brought.
	taken   func(s stamp, at time.Duration)
	arrived func(n int)
	admit   func(i int, l *listener) // called for listener i once it is connected

	listeners []*listener
	heard     []atomic.Int32 // by channel: connections that a probe has reached
	delivered atomic.Uint64  // messages to connections, each once
}

// newAudience is the audience of channels.
func newAudience(r *rig, channels []string, hearers, each int) *audience {
	return &audience{
		rig: r, channels: channels, hearers: slices.Repeat([]int{hearers}, len(channels)), each: each, since: make([]uint64, len(channels)),
		taken: func(stamp, time.Duration) {}, arrived: func(int) {}, admit: func(int, *listener) {}, heard: make([]atomic.Int32, len(channels)),
	}
}

// listener is a connection with subscriptions. Its fields are its reader's.
type listener struct {
	audience *audience
	conn     *conn
	first    int    // index of the first of its channels, which follow each other
	flows    []flow // by channel
	probed   []bool // by channel
	like     likeness
	fresh    int // messages of this read
}

// allot says which channels a connection gets: so many from the first on.
type allot func(connection int) (first, count int)

// inTurn gives each connection the next perConnection channels.
func (a *audience) inTurn(perConnection int) allot {
	return func(i int) (first, count int) {
		first = i * perConnection % len(a.channels)
		return first, min(perConnection, len(a.channels)-first)
	}
}

// gather connects all listeners and has them subscribe to their channels, by the patterns of each.
func (a *audience) gather(ctx context.Context, connections int, which allot, patterns func(channel string) []string) error {
	a.listeners = make([]*listener, connections)
	return many(ctx, connections, func(i int) error {
		first, count := which(i)
		l := &listener{audience: a, first: first, flows: make([]flow, count), probed: make([]bool, count)}
		for j := range l.flows {
			l.flows[j].next = a.since[first+j]
		}
		c, err := a.rig.connect(ctx, &a.dialer, a.rig.sub, func(c *conn) {
			l.conn = c
			c.deliver, c.batched = l.deliver, l.batched
			a.admit(i, l)
		})
		if err != nil {
			return err
		}
		a.listeners[i] = l
		var all []string
		for _, channel := range a.channels[first : first+count] {
			all = append(all, patterns(channel)...)
		}
		return c.subscribe(ctx, a.rig.cfg.Target.Tenant, all)
	})
}

// deliver takes a delivery.
func (l *listener) deliver(message []byte) error {
	payload, patterns, err := l.like.parse(message)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	s, ok := parseStamp(payload)
	if !ok || s.repetition != l.audience.rig.repetition {
		return nil // somebody else's
	}
	i := int(s.channel) - l.first
	if i < 0 || i >= len(l.flows) || patterns != l.audience.each {
		return fmt.Errorf("%w: channel %d by %d patterns at a connection for %d channels from %d on, by %d", errForeign, s.channel, patterns,
			len(l.flows), l.first, l.audience.each)
	}
	switch {
	case s.number == probeNumber:
		if !l.probed[i] {
			l.probed[i] = true
			l.audience.heard[s.channel].Add(1)
		}
	case l.flows[i].receive(s.number):
		l.fresh++
		l.audience.taken(s, l.conn.at)
	}
	return nil
}

// batched tells of all that one read brought.
func (l *listener) batched() {
	if l.fresh > 0 {
		l.audience.delivered.Add(uint64(l.fresh))
		l.audience.arrived(l.fresh)
		l.fresh = 0
	}
}

// tune publishes probes until every listener hears every channel of its own.
func (a *audience) tune(ctx context.Context, p *publisher) error {
	pending := make([]int, len(a.channels))
	for i := range pending {
		pending[i] = i
	}
	deaf := func(i int) bool { return int(a.heard[i].Load()) < a.hearers[i] }
	for last := a.rig.now(); len(pending) > 0; {
		for chunk := range slices.Chunk(pending, probesAtOnce) {
			for _, i := range chunk {
				p.add(i, probeNumber, 0)
			}
			if err := p.conn.flush(); err != nil {
				return err
			}
			for late := a.rig.now() + probeWait; slices.ContainsFunc(chunk, deaf) && a.rig.now() < late; {
				if err := sleep(ctx, time.Millisecond); err != nil {
					return err
				}
			}
		}
		before := len(pending)
		pending = slices.DeleteFunc(pending, func(i int) bool { return !deaf(i) })
		if len(pending) < before {
			last = a.rig.now()
		}
		if a.rig.now()-last > probePatience {
			return fmt.Errorf("bench: %d of %d connections hear %s", a.heard[pending[0]].Load(), a.hearers[pending[0]], a.channels[pending[0]])
		}
	}
	return nil
}

// owed is how many messages connections should get, of those sent by channel.
func (a *audience) owed(sent []uint64) (n uint64) {
	for i := range a.channels {
		n += (sent[i] - a.since[i]) * uint64(a.hearers[i])
	}
	return n
}

// drain waits until all messages that are owed have come, of those sent by channel, or none has come for Config.Patience.
func (a *audience) drain(ctx context.Context, sent []uint64) error {
	owed := a.owed(sent)
	return a.rig.settle(ctx, func() uint64 { return owed - min(a.delivered.Load(), owed) })
}

// settle waits until nothing is left, or what is left has not changed for Config.Patience.
func (r *rig) settle(ctx context.Context, left func() uint64) error {
	for last, before := r.now(), left(); before > 0 && r.now()-last < r.cfg.Patience; {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
		if now := left(); now != before {
			last, before = r.now(), now
		}
	}
	return sleep(ctx, breath)
}

// count is what became of all messages, per subscriber. The rig must be closed.
func (a *audience) count(sent []uint64) (c Counts) {
	for _, l := range a.listeners {
		for i := range l.flows {
			c.add(l.flows[i].end(sent[l.first+i]-a.since[l.first+i]), uint64(a.each))
		}
	}
	return c
}

// likeness is what deliveries of one channel to one connection have in common, so that all but the first need only be compared.
type likeness struct {
	head, tail []byte // what is before the length of the payload, and behind the payload
	patterns   int
}

// parse is client.ParseDelivery as far as this package needs it.
func (k *likeness) parse(message []byte) (payload []byte, patterns int, err error) {
	if n := len(message) - len(k.head) - 4 - len(k.tail); k.patterns > 0 && n >= 0 && bytes.HasPrefix(message, k.head) {
		start := len(k.head) + 4
		if uint64(binary.BigEndian.Uint32(message[len(k.head):])) == uint64(n) && bytes.Equal(message[start+n:], k.tail) {
			return message[start : start+n], k.patterns, nil
		}
	}
	m, err := client.ParseDelivery(message)
	if err != nil {
		return nil, 0, err
	}
	head := 1 + 2 + len(m.Tenant) + 2 + len(m.Channel)
	k.head = append(k.head[:0], message[:head]...)
	k.tail = append(k.tail[:0], message[head+4+len(m.Payload):]...)
	k.patterns = len(m.Patterns)
	return m.Payload, k.patterns, nil
}
