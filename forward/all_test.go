package forward

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// What is for every node goes to each once, does not wait where there is no way yet, and is not held up by what published messages wait for.
func TestSpreadAll(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		b := startStation(ctx, t, n, 2, func(*Config) {})
		meet(ctx, t, a, b)
		all := func(payload string) {
			began := time.Now()
			a.Forwarder().SpreadAll(&wire.Message{Class: wire.ClassShared, Deadline: 5000, Payload: []byte(payload)})
			if took := time.Since(began); took != 0 {
				t.Errorf("waited %v", took)
			}
		}
		all("first")
		time.Sleep(50 * time.Millisecond)
		if got := b.payloads(); !slices.Equal(got, []string{"first"}) {
			t.Fatalf("came: %v", got)
		}
		good := a.forwarder.snapshot.Load()
		a.Forwarder().Publish(knows(good.Boots), nil) // no way anywhere
		for i := range 3 {
			all(fmt.Sprint("later", i))
		}
		time.Sleep(2 * time.Second)
		a.Forwarder().Publish(good, []wire.NodeID{b.self})
		time.Sleep(300 * time.Millisecond)
		got := b.payloads()
		slices.Sort(got)
		if !slices.Equal(got, []string{"first", "later0", "later1", "later2"}) {
			t.Errorf("came: %v", got)
		}
		if got := a.arrivals(); len(got) != 0 {
			t.Errorf("%d came back to their origin", len(got))
		}
		if state := a.Flights(); state.Outgoing != 0 {
			t.Errorf("still under way: %+v", state)
		}
	})
}

// A backlog of published messages does not delay it.
func TestSpreadAllOvertakes(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a := startStation(ctx, t, n, 1, func(*Config) {})
		b := startStation(ctx, t, n, 2, func(*Config) {})
		meet(ctx, t, a, b)
		for i := range 16 {
			a.spread(t, fmt.Sprint(i), 4000, b.self)
		}
		a.Forwarder().SpreadAll(&wire.Message{Class: wire.ClassShared, Deadline: 5000, Payload: []byte("news")})
		time.Sleep(time.Second)
		got := b.payloads()
		if at := slices.Index(got, "news"); len(got) != 17 || at < 0 || at > 8 {
			t.Errorf("came: %v", got)
		}
	})
}
