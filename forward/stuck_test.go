package forward

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// A member that answers probes but reads nothing holds publishers up once, for stuckPatience, and takes nothing from others.
func TestMemberThatDoesNotRead(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		over := make(chan struct{})
		a, c := newStation(ctx, t, n, 1), newStation(ctx, t, n, 3)
		deaf := startStation(ctx, t, n, 2, func(cfg *Config) {
			cfg.Deliver = func(*wire.Message) bool { <-over; return true }
		})
		for _, x := range []*station{deaf, c} {
			if err := a.Dial(ctx, x.addr, x.self); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		costs := map[wire.NodeID][]route.Link{
			a.self:    {{To: deaf.self, Cost: 10_000}, {To: c.self, Cost: 10_000}},
			deaf.self: {{To: a.self, Cost: 10_000}}, c.self: {{To: a.self, Cost: 10_000}},
		}
		for _, x := range []*station{a, c} {
			x.use(costs)
		}
		const count = 4000
		began := time.Now()
		for i := range count {
			a.spread(t, strconv.Itoa(i), 4000, deaf.self, c.self)
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began) - count*time.Millisecond; took > stuckPatience+500*time.Millisecond {
			t.Errorf("publishers were held up for %v", took)
		}
		time.Sleep(time.Second)
		got := c.payloads()
		for i, payload := range got {
			if payload != strconv.Itoa(i) {
				t.Fatalf("message %d is %s", i, payload)
			}
		}
		if len(got) != count {
			t.Errorf("%d of %d came", len(got), count)
		}
		if state := a.Flights(); state.OutgoingBytes > a.cfg.FlightBytes {
			t.Errorf("under way: %+v", state)
		}
		close(over)
	})
}
