package forward

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// linked is two stations with a usable link, doubled or not.
func linked(ctx context.Context, t *testing.T, n *simnet.Net, twin bool) (a, b *station) {
	t.Helper()
	a, b = newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
	if err := a.Dial(ctx, b.addr, b.self); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	both := map[wire.NodeID][]route.Link{a.self: {{To: b.self, Cost: 20000}}, b.self: {{To: a.self, Cost: 20000}}}
	a.use(both)
	b.use(both)
	if twin {
		a.Link(b.self).SetTwin(true)
		time.Sleep(time.Second)
		if !a.Link(b.self).Twin() || !b.Link(a.self).Twin() {
			t.Fatal("the link is not doubled at both ends")
		}
	}
	return a, b
}

// TestLossTable measures the carriers on a path of 40 ms round trip: 500 messages of 128 bytes per second, one way. It
// is the source of the figures in doc.go.
func TestLossTable(t *testing.T) {
	const messages = 3000
	var table strings.Builder
	p99 := map[string]time.Duration{}
	for _, loss := range []float64{0, 0.01, 0.03} {
		for _, twin := range []bool{false, true} {
			path := simnet.Path{Delay: 20 * time.Millisecond, Loss: loss}
			bubble(t, path, func(ctx context.Context, t *testing.T, n *simnet.Net) {
				a, b := linked(ctx, t, n, twin)
				sent := make([]time.Time, messages)
				for i := range messages {
					sent[i] = time.Now()
					payload := fmt.Appendf(nil, "%-128d", i)
					m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: fmt.Appendf(nil, "c%d", i%20), Payload: payload}
					if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{b.self}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Millisecond)
				}
				time.Sleep(6 * time.Second)
				var took []time.Duration
				for _, got := range b.arrivals() {
					i, err := strconv.Atoi(strings.TrimSpace(got.payload))
					if err != nil {
						t.Fatal(err)
					}
					took = append(took, got.at.Sub(sent[i]))
				}
				if len(took) != messages {
					t.Errorf("loss %v, twin %v: %d of %d messages", loss, twin, len(took), messages)
				}
				slices.Sort(took)
				at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
				p99[fmt.Sprint(loss, twin)] = at(.99)
				fmt.Fprintf(&table, "loss %2.0f %%  twin %-5v  p50 %5.1f  p90 %5.1f  p99 %5.1f  p99.9 %5.1f ms\n", 100*loss, twin,
					ms(at(.5)), ms(at(.9)), ms(at(.99)), ms(at(.999)))
			})
		}
	}
	t.Log("\n" + table.String())
	if p99["0.01true"] > 30*time.Millisecond || p99["0.01true"] > p99["0.01false"]*2/3 {
		t.Errorf("at 1 %% loss the twin's p99 is %v, without %v", p99["0.01true"], p99["0.01false"])
	}
	if p99["0.03true"] > p99["0.03false"]*9/10 {
		t.Errorf("at 3 %% loss the twin's p99 is %v, without %v", p99["0.03true"], p99["0.03false"])
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A twin that ends, or is closed, disturbs nothing; it can be opened again; its link's end is its own.
func TestTwinComesAndGoes(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := linked(ctx, t, n, true)
		send := func(k int) {
			m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte{byte(k)}}
			if err := a.Forwarder().Spread(ctx, &m, []wire.NodeID{b.self}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		for k := range 60 {
			switch k {
			case 20:
				a.Link(b.self).SetTwin(false)
			case 40:
				a.Link(b.self).SetTwin(true)
				time.Sleep(time.Second)
			}
			send(k)
		}
		time.Sleep(time.Second)
		got := b.arrivals()
		if len(got) != 60 {
			t.Fatalf("%d of 60 messages", len(got))
		}
		for k, m := range got {
			if m.payload != string([]byte{byte(k)}) {
				t.Fatalf("message %d is %q", k, m.payload)
			}
		}
		if b.Counters().TwinCopies.Load() == 0 {
			t.Error("nothing came twice")
		}
		b.Link(a.self).SetTwin(false) // not its business
		if !b.Link(a.self).Twin() {
			t.Error("the end that did not dial closed the twin")
		}
		a.Link(b.self).Close()
		time.Sleep(time.Second)
		if len(a.Links())+len(b.Links()) != 0 {
			t.Error("a link is left")
		}
	})
}

func TestTwinNumbersOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w twinning
		seen := map[uint64]bool{}
		newest := uint64(0)
		at := uint64(1)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			number := uint64(max(1, int64(at)+rapid.Int64Range(-5000, 200).Draw(t, "offset")))
			if rapid.IntRange(0, 50).Draw(t, "leap") == 0 {
				number += 1 << 40
			}
			want := !seen[number] && (number > newest || newest-number < twinWindow)
			if got := w.first(number); got != want {
				t.Fatalf("number %d after %d: first is %v, want %v", number, newest, got, want)
			}
			seen[number] = true
			newest = max(newest, number)
			at = newest
		}
	})
}
