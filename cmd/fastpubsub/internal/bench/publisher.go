package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// publisher publishes on its own connection. It is one goroutine's.
type publisher struct {
	rig      *rig
	conn     *conn
	channels []string
	payload  []byte
	sent     []uint64 // by channel
}

// newPublisher connects a publisher to an audience.
func newPublisher(ctx context.Context, a *audience, size int) (*publisher, error) {
	c, err := a.rig.connect(ctx, &net.Dialer{}, a.rig.pub, func(*conn) {})
	if err != nil {
		return nil, err
	}
	p := &publisher{rig: a.rig, conn: c, channels: a.channels, payload: make([]byte, size), sent: make([]uint64, len(a.channels))}
	for i := range p.payload { // what a compressing proxy can make nothing of
		p.payload[i] = byte(rand.Uint32())
	}
	return p, nil
}

// add queues a message with a number of its own.
func (p *publisher) add(i int, number uint64, due time.Duration) {
	stamp{repetition: p.rig.repetition, channel: uint32(i), number: number, due: due}.put(p.payload)
	p.conn.add(channel.Message{Tenant: p.rig.cfg.Target.Tenant, Channel: p.channels[i], Payload: p.payload})
}

// next queues the next message of a channel.
func (p *publisher) next(i int, due time.Duration) {
	p.add(i, p.sent[i], due)
	p.sent[i]++
}

// drive publishes as fast as the window lets it, to the channels that pick names, and measures after the warm-up. A mesh that delivers nothing
// any more ends it early.
func (p *publisher) drive(ctx context.Context, a *audience, w *window, pick func() int) (usage, error) {
	start := p.rig.now() + p.rig.cfg.WarmUp
	end := start + p.rig.cfg.Duration
	p.rig.progress.say("warming up")
	var m *meter
	for now := p.rig.now(); now < end; now = p.rig.now() {
		if m == nil && now >= start {
			p.rig.progress.say("measuring")
			m = a.meter()
		}
		n, err := w.take(ctx)
		if errors.Is(err, errStalled) {
			break
		}
		if err != nil {
			return usage{}, err
		}
		for range n {
			p.next(pick(), 0)
		}
		if err := p.conn.flush(); err != nil {
			return usage{}, err
		}
	}
	return m.read(), nil
}
