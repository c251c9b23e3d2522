package forward

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// eager is a lane that takes all that is written without waiting.
type eager struct {
	lane
	prompt, flushed int
}

func (e *eager) Write(b []byte) (int, error) {
	e.flushed += len(b)
	return len(b), nil
}

func (e *eager) TryWriteAll(b []byte) error {
	e.prompt += len(b)
	return nil
}

// TestPromptIsBounded: after so many bytes that senders wrote themselves it is the flusher's turn, which sees whether QUIC can send.
func TestPromptIsBounded(t *testing.T) {
	written := new(eager)
	l := &Link{endpoint: &Endpoint{cfg: Config{QueueBytes: 64 << 10, Emit: func(Event) {}}}, near: true}
	l.lanes, l.out = []lane{nil, written}, make([]outbox, 3)
	l.flusher = laneFlusher(l)
	const size, rounds, each = 900, 3, 25
	for range rounds {
		for range each {
			if err := l.sendMessage(new(wire.Message), make([]byte, size), false, nil); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-l.flusher.wake:
		default:
			t.Error("the flusher sleeps")
		}
		if err := l.flusher.writeAll(); err != nil {
			t.Fatal(err)
		}
	}
	if least := (promptMost/(size+2) - 1) * (size + 2); written.prompt > rounds*promptMost || written.prompt < rounds*least || written.prompt+written.flushed != rounds*each*(size+2) {
		t.Errorf("%d bytes written by senders, %d by the flusher", written.prompt, written.flushed)
	}
}

// TestLeftToTheFlusher: who may hold a lock writes nothing, and so tells the control plane nothing.
func TestLeftToTheFlusher(t *testing.T) {
	written := new(eager)
	l := &Link{Peer: 2, endpoint: &Endpoint{counters: new(Counters), cfg: Config{QueueBytes: 64 << 10, Emit: func(Event) { t.Error("told the control plane") }}}, near: true}
	l.lanes, l.out = []lane{nil, written}, make([]outbox, 3)
	l.flusher = laneFlusher(l)
	l.usable.Store(true)
	f := newForwarder(l.endpoint)
	f.snapshot.Store(&Snapshot{Links: map[wire.NodeID]*Link{2: l}})
	if err := f.offer(new(wire.Message), wire.Destination{ID: 2}); err != nil || len(l.flusher.wake) != 1 || written.prompt != 0 {
		t.Errorf("%v, %d bytes written", err, written.prompt)
	}
}

// TestSilentPeer: who sends to a peer that has gone silent does not wait for it while the link's queue has room, nor for what is sent again to it.
func TestSilentPeer(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, simnet.Path{Delay: delay}, func(ctx context.Context, t *testing.T, n *simnet.Net) {
				a := startStation(ctx, t, n, 1, func(*Config) {})
				b := startStation(ctx, t, n, 2, func(*Config) {})
				meet(ctx, t, a, b)
				a.spread(t, "first", 900, b.self)
				time.Sleep(100 * time.Millisecond)
				n.Cut("10.0.0.1", "10.0.0.2")
				for range 60 { // less than a queue
					began := time.Now()
					a.spread(t, "x", 900, b.self)
					if took := time.Since(began); took != 0 {
						t.Fatalf("waited %v", took)
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		})
	}
}

// TestDeliveredBeforeWaiting: what a link brought for subscribers here does not wait for room on the link that the next message takes.
func TestDeliveredBeforeWaiting(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		var mu sync.Mutex // guards what follows
		var came, told time.Time
		b := startStation(ctx, t, n, 2, func(c *Config) {
			deliver := c.Deliver
			c.Deliver = func(m *wire.Message) bool {
				mu.Lock()
				came, told = time.Now(), time.Time{}
				mu.Unlock()
				return deliver(m)
			}
			c.Delivered = func() {
				mu.Lock()
				defer mu.Unlock()
				if told.IsZero() {
					told = time.Now()
				}
			}
		})
		c := startStation(ctx, t, n, 3, func(*Config) {})
		meet(ctx, t, b, c)
		meet(ctx, t, a, b)
		costs := map[wire.NodeID][]route.Link{
			a.self: {{To: b.self, Cost: 10000}}, b.self: {{To: a.self, Cost: 10000}, {To: c.self, Cost: 10000}}, c.self: {{To: b.self, Cost: 10000}},
		}
		for _, s := range []*station{a, b, c} {
			s.use(costs)
			snapshot := *s.forwarder.snapshot.Load()
			snapshot.Boots = map[wire.NodeID]uint64{a.self: 1, b.self: 1, c.self: 1}
			s.Forwarder().Publish(&snapshot, nil)
		}
		n.Cut("10.0.0.2", "10.0.0.3")
		onward := b.Link(c.self)
		onward.mu.Lock()
		onward.queued = 10 * b.cfg.QueueBytes // full
		onward.mu.Unlock()
		a.spread(t, "before", 100, b.self) // so that b's worker sleeps until it acknowledges that
		time.Sleep(2 * time.Millisecond)
		first := a.Link(b.self)
		first.flusher.turn <- struct{}{} // so that both go together
		a.spread(t, "here", 100, b.self)
		a.spread(t, "on", 100, c.self)
		<-first.flusher.turn
		time.Sleep(30 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if came.IsZero() || told != came {
			t.Errorf("came %v, could go on %v later", came, told.Sub(came))
		}
		onward.mu.Lock()
		onward.queued = 0
		onward.mu.Unlock()
	})
}
