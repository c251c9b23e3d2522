package forward

import (
	"context"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func holding(t *testing.T, number byte, secrets ...trust.Secret) *trust.Credentials {
	t.Helper()
	c, err := trust.Sealed(keyOf(number), secrets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startSealed(ctx context.Context, t *testing.T, n *simnet.Net, number byte, secrets ...trust.Secret) *station {
	t.Helper()
	return startStation(ctx, t, n, number, func(c *Config) { c.Trust = trust.NewKeeper(holding(t, number, secrets...)) })
}

// accepted is how many connections that others opened are there.
func (s *station) accepted() int {
	s.Endpoint.mu.Lock()
	defer s.Endpoint.mu.Unlock()
	return len(s.conns)
}

// A link is renewed beside the old one, which carries on what it has; both ends mark the new one. A peer that renews without end does not pile up connections.
func TestRenewal(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		one, two := trust.NewSecret(), trust.NewSecret()
		a, b := startSealed(ctx, t, n, 1, one, two), startSealed(ctx, t, n, 2, one, two)
		meet(ctx, t, a, b)
		time.Sleep(2 * time.Second)
		before := b.Link(a.self)
		if before.Authority() != holding(t, 1, one).Authority() {
			t.Errorf("a shows %q", before.Authority())
		}
		if err := a.cfg.Trust.Replace(holding(t, 1, two, one)); err != nil {
			t.Fatal(err)
		}
		a.Retrust()
		m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: make([]byte, wire.MaxPayload)}
		for range 10 { // so that much is under way
			if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{b.self}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(500 * time.Millisecond)
		after := b.Link(a.self)
		if after == before || !after.Renews || !a.Link(b.self).Renews || after.Authority() != holding(t, 1, two).Authority() {
			t.Errorf("renewed: %v, by %q", after.Renews, after.Authority())
		}
		if before.conn.Context().Err() != nil || b.accepted() != 2 {
			t.Error("the old connection is gone at once")
		}
		time.Sleep(2 * time.Second)
		if before.conn.Context().Err() == nil || b.accepted() != 1 {
			t.Error("the old connection is still there")
		}
		if got := len(b.arrivals()); got != 10 || a.Counters().Resent.Load() != 0 {
			t.Errorf("%d messages came, %d sent again", got, a.Counters().Resent.Load())
		}
		for range 20 {
			if err := a.dial(ctx, b.addr, b.self, forRenewal); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.accepted(); got > 3 {
			t.Errorf("%d connections after as many renewals as could be had", got)
		}
	})
}

// When a node does not believe in the peers' secret any more, their links end, and are not to be had again.
func TestCutOff(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		one, two := trust.NewSecret(), trust.NewSecret()
		a, b, c := startSealed(ctx, t, n, 1, one), startSealed(ctx, t, n, 2, one, two), startSealed(ctx, t, n, 3, one)
		meet(ctx, t, a, b)
		meet(ctx, t, b, c)
		stream, err := a.DialStream(ctx, b.addr) // a connection that is no link
		if err != nil {
			t.Fatal(err)
		}
		if err := b.cfg.Trust.Replace(holding(t, 2, two)); err != nil {
			t.Fatal(err)
		}
		b.Retrust()
		time.Sleep(2*time.Second + sweepAfter)
		if len(a.Links())+len(b.Links())+len(c.Links()) != 0 || b.accepted() != 0 {
			t.Errorf("links %d, %d, %d; %d connections", len(a.Links()), len(b.Links()), len(c.Links()), b.accepted())
		}
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Error("the stream goes on")
		}
		if a.Dial(ctx, b.addr, b.self) == nil || b.Dial(ctx, c.addr, c.self) == nil || b.Counters().Strangers.Load() < 2 {
			t.Errorf("they meet again; %d strangers", b.Counters().Strangers.Load())
		}
	})
}
