package mesh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trace"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// detour is three nodes: a and b 80 ms apart, the relay 30 ms from both, so that messages go over it.
func detour(c *cluster) (a, b, relay *clusterNode) {
	c.net.SetPath(ipOf(0), ipOf(1), simnet.Path{Delay: 80 * time.Millisecond})
	c.net.SetPath(ipOf(1), ipOf(0), simnet.Path{Delay: 80 * time.Millisecond})
	a, b, relay = c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
	c.meshed(5 * time.Second)
	b.subscribe(c.t, "news.#")
	time.Sleep(3 * time.Second)
	return a, b, relay
}

// traced is what a node's trace came to: one message with one path.
func (n *clusterNode) traced(t *testing.T, r string) trace.Path {
	t.Helper()
	answer, err := n.ServeTrace(t.Context(), []byte(r))
	if err != nil {
		t.Fatal(err)
	}
	a := answer.(trace.Answer)
	if len(a.Messages) != 1 || len(a.Messages[0].Paths) != 1 {
		t.Fatalf("%+v", a)
	}
	return a.Messages[0].Paths[0]
}

// route is the names of the nodes on a path.
func route(p trace.Path) (names []string) {
	for _, h := range p.Hops {
		names = append(names, h.Name)
	}
	return names
}

// about allows for the network's ticks, and for what a link's round trip is measured to.
func about(got, want float64) bool { return math.Abs(got-want) < 0.5 }

func TestTraceNamesTheRelay(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, relay := detour(c)
		began := time.Now()
		p := a.traced(c.t, `{"to":"n1"}`)
		if waited := time.Since(began); waited > 200*time.Millisecond {
			t.Errorf("it waited %v, though all was told", waited)
		}
		if got := route(p); !slices.Equal(got, []string{"n0", "n2", "n1"}) || !p.Complete || !p.Arrived {
			t.Fatalf("%v: %+v", got, p)
		}
		if !about(*p.Took, 60) || !about(*p.Direct, 80) || !about(*p.Saved, 20) || !about(*p.DirectCost, 80.5) {
			t.Errorf("took %v, direct %v, saved %v, direct's cost %v", *p.Took, *p.Direct, *p.Saved, *p.DirectCost)
		}
		for i, want := range []struct{ at, link float64 }{{0, 0}, {30, 30}, {60, 30}} {
			if h := p.Hops[i]; !about(h.At, want.at) || !about(h.Link, want.link) || !about(h.Held, 0) {
				t.Errorf("hop %d: %+v", i, h)
			}
		}
		first := p.Hops[0].Ways
		if len(first) != 2 || first[0].Hop.Name != "n2" || first[0].Verdict != "taken" || first[1].Hop.Name != "n1" || first[1].Verdict != "dearer" || first[1].Why != "costs 19.5 ms more" {
			t.Errorf("ways %+v", first)
		}
		if p = a.traced(c.t, `{"to":"`+relay.ID().String()+`"}`); !slices.Equal(route(p), []string{"n0", "n2"}) || p.Saved != nil || !p.Complete {
			t.Errorf("direct: %+v", p)
		}
		if p = a.traced(c.t, `{"channel":"news.today","tenant":"t"}`); !slices.Equal(route(p), []string{"n0", "n2", "n1"}) || !p.Complete {
			t.Errorf("a channel: %+v", p)
		}
		if got := b.received(); len(got) != 0 {
			t.Errorf("clients got %v", got)
		}
		// What is in flight and who waits does not differ by it.
		time.Sleep(time.Second)
		if state := a.endpoint.Flights(); state.Outgoing != 0 || len(a.tracing.running) != 0 || a.tracing.samplers.Load() != nil {
			t.Errorf("left behind: %+v, %v", state, a.tracing.running)
		}
	})
}

// Where the direct link is gone there is nothing to compare with, and the trace says why it was not taken.
func TestTraceWithoutDirectLink(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, _ := detour(c)
		c.net.Cut(a.ip, b.ip)
		time.Sleep(5 * time.Second)
		p := a.traced(c.t, `{"to":"n1"}`)
		i := slices.IndexFunc(p.Hops[0].Ways, func(w trace.Way) bool { return w.Hop.Name == "n1" })
		if !p.Complete || p.Direct != nil || p.Saved != nil || i < 0 || p.Hops[0].Ways[i].Verdict != "no_link" || p.Hops[0].Ways[i].Why != "no direct link that works" {
			t.Errorf("%+v", p)
		}
	})
}

// What one node does not tell is missing, and the trace says so; the rest is there.
func TestTraceThatIsPartlyLost(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, _, relay := detour(c)
		for range 500 { // the relay has told as much as it may at a time
			m := wire.Message{Class: wire.ClassTrace, Trace: 77, Deadline: 5000}
			if err := a.endpoint.Forwarder().Spread(c.t.Context(), &m, []wire.NodeID{relay.ID()}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		p := a.traced(c.t, `{"to":"n1","timeout_s":2}`)
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("it waited %v", waited)
		}
		if p.Complete || !p.Arrived || len(p.Missing) != 1 || p.Missing[0].Name != "n2" || !slices.Equal(route(p), []string{"n0", "n2", "n1"}) || p.Hops[1].Told {
			t.Errorf("%+v", p)
		}
		if !about(*p.Took, 60) || !about(*p.Saved, 20) {
			t.Errorf("took %v, saved %v", *p.Took, *p.Saved)
		}
		if relay.Counters().Dropped(forward.DropTraces) == 0 || a.Counters().Dropped(forward.DropTraces) < 400 {
			t.Errorf("dropped: %d at the relay, %d at the origin", relay.Counters().Dropped(forward.DropTraces), a.Counters().Dropped(forward.DropTraces))
		}
	})
}

// A node that is gone: the message does not arrive, and the trace says how far it went.
func TestTraceToSilence(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, _ := detour(c)
		c.net.Kill(b.ip)
		p := a.traced(c.t, `{"to":"n1","timeout_s":0.15}`)
		if p.Arrived || p.Complete || p.Took != nil || p.Saved != nil || !slices.Equal(route(p), []string{"n0", "n2", "n1"}) || len(p.Missing) != 1 || p.Missing[0].Name != "n1" {
			t.Errorf("at first %+v", p)
		}
		if p = a.traced(c.t, `{"to":"n1"}`); p.Arrived || p.Hops[len(p.Hops)-1].End != "no_route" {
			t.Errorf("then %+v", p)
		}
	})
}

// Messages of clients, behind others in the queue of a slow link: how long they were held is seen, and the sum is what the clients see.
func TestTraceSamples(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, _ := detour(c)
		done := make(chan trace.Answer)
		go func() {
			answer, err := a.ServeTrace(c.t.Context(), []byte(`{"channel":"news.*","tenant":"t","sample":3,"every":4}`))
			if err != nil {
				t.Error(err)
			}
			done <- answer.(trace.Answer)
		}()
		time.Sleep(time.Millisecond)
		a.publish(c.t, "other", "not of the channel")
		sent := map[string]time.Time{}
		for i := range 12 {
			name := fmt.Sprint("news.", i)
			sent[name] = time.Now()
			a.publish(c.t, name, name+string(make([]byte, 20_000)))
		}
		answer := <-done
		if len(answer.Messages) != 3 {
			t.Fatalf("%+v", answer)
		}
		held := 0.0
		for i, m := range answer.Messages {
			name := fmt.Sprint("news.", 4*i)
			if m.Channel != name || !m.Sampled || len(m.Paths) != 1 || !m.Paths[0].Complete {
				t.Fatalf("message %d: %+v", i, m)
			}
			got := b.received()
			at := slices.IndexFunc(got, func(r received) bool { return r.payload[:len(name)+1] == name+"\x00" })
			if at < 0 {
				t.Fatalf("%s did not come", name)
			}
			p := m.Paths[0]
			// Of a message of 20,000 bytes the last packet leaves a little before the write ends, and comes later than the first; and what the
			// link itself takes is half of its smoothed round trip, which probes behind such messages lengthen.
			if took := got[at].at.Sub(sent[name]).Seconds() * 1000; *p.Took > took+120 || *p.Took < took-61 {
				t.Errorf("%s: took %.3f ms as traced, and %.3f", name, *p.Took, took)
			}
			held = max(held, p.Hops[0].Held)
			if p.Hops[0].Queued > p.Hops[0].Held {
				t.Errorf("%+v", p.Hops[0])
			}
		}
		if held < 10 {
			t.Errorf("held %v ms at most, behind 160,000 bytes", held)
		}
		time.Sleep(time.Second)
		if got := len(b.received()); got != 12 {
			t.Errorf("clients got %d messages", got)
		}
	})
}

// A message for one subscriber is traced to that one.
func TestTraceSampleForOne(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, _, _ := detour(c)
		done := make(chan trace.Answer)
		go func() {
			answer, err := a.ServeTrace(c.t.Context(), []byte(`{"channel":"news.a","tenant":"t","sample":1}`))
			if err != nil {
				t.Error(err)
			}
			done <- answer.(trace.Answer)
		}()
		time.Sleep(time.Millisecond)
		if err := a.Publish(c.t.Context(), channel.Message{Tenant: "t", Channel: "news.a", Mode: channel.DeliverLowestLatency}); err != nil {
			t.Fatal(err)
		}
		if a := <-done; len(a.Messages) != 1 || len(a.Messages[0].Paths) != 1 || !a.Messages[0].Paths[0].Complete {
			t.Errorf("%+v", a)
		}
	})
}

func TestTraceRefuses(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		c.adjust = func(_ int, cfg *Config) { cfg.Name = "same" }
		a, b := c.start(0, 1), c.start(1, 1, 0)
		c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		for _, request := range []string{`{"to":"nobody"}`, `{"to":"same"}`, `{"to":"` + a.ID().String() + `"}`, `{}`} {
			if _, err := a.ServeTrace(c.t.Context(), []byte(request)); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: %v", request, err)
			}
		}
		// A channel that nobody wants has no paths, and nothing is waited for.
		began := time.Now()
		answer, err := a.ServeTrace(c.t.Context(), []byte(`{"channel":"x"}`))
		if got := answer.(trace.Answer); err != nil || len(got.Messages) != 1 || len(got.Messages[0].Paths) != 0 || time.Since(began) != 0 {
			t.Errorf("%+v, %v", answer, err)
		}
		// What no sound node tells is dropped, and counted.
		told := func(payload []byte) {
			m := wire.Message{Class: wire.ClassHop, Deadline: 1000, Payload: payload}
			if err := b.endpoint.Forwarder().Send(&m, a.ID()); err != nil {
				t.Fatal(err)
			}
		}
		told(wire.AppendHop(nil, &wire.Hop{Trace: 5}))
		told([]byte{byte(wire.KindHop), 1})
		time.Sleep(100 * time.Millisecond)
		if got := a.Counters().Dropped(forward.DropTraces); got != 1 {
			t.Errorf("%d dropped, want that of a trace which never was", got)
		}
		if got := a.endpoint.Faults()[b.ID()]["malformed"]; got != 1 {
			t.Errorf("%d faults, want 1", got)
		}
		ctx, cancel := context.WithCancel(c.t.Context())
		cancel()
		if _, err := a.ServeTrace(ctx, []byte(`{"channel":"x","sample":1}`)); err != nil {
			t.Errorf("a request that ends: %v", err)
		}
		b.stop()
		<-b.done
		if _, err := b.ServeTrace(c.t.Context(), []byte(`{"channel":"x"}`)); !errors.Is(err, errStopped) {
			t.Errorf("of a node that has stopped: %v", err)
		}
	})
}
