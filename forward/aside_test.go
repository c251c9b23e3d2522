package forward

import (
	"context"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// TestReportsAreNoUse: what the mesh publishes on its own channels arrives like anything, but does not make a link one in use at either end, nor count as traffic to a node.
func TestReportsAreNoUse(t *testing.T) {
	bubble(t, simnet.Path{Delay: 5 * time.Millisecond}, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		if err := a.Dial(ctx, b.addr, b.self); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		there, here := a.Link(b.self), b.Link(a.self)
		costs := map[wire.NodeID][]route.Link{a.self: {{To: b.self, Cost: 5000}}, b.self: {{To: a.self, Cost: 5000}}}
		a.use(costs)
		b.use(costs)
		publish := func(name string) {
			t.Helper()
			m := wire.Message{Deadline: 5000, Tenant: []byte("~"), Channel: []byte(name), Payload: []byte("x")}
			if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{b.self}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i, want := range []bool{false, true} {
			name := []string{"$mesh.x", "x"}[i]
			before, came := time.Now(), len(b.arrivals())
			publish(name)
			if len(b.arrivals()) != came+1 {
				t.Fatalf("%s did not arrive", name)
			}
			if sent, got := !there.LastUsed().Before(before), !here.LastUsed().Before(before); sent != want || got != want {
				t.Errorf("%s: in use at the sender %v, at the receiver %v; want %v", name, sent, got, want)
			}
			sent, _ := a.Flows()
			_, got := b.Flows()
			for _, flows := range [][]Flow{sent, got} {
				if (len(flows) == 1) != want {
					t.Errorf("%s: traffic %v", name, flows)
				}
			}
		}
	})
}
