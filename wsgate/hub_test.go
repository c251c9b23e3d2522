package wsgate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// corkedSubscriber collects deliveries in its outbox and never writes.
func corkedSubscriber(counts *counters) *subscriber {
	limits := outboxLimits{bytes: 1 << 20, frames: 1000, overflow: time.Minute}
	return &subscriber{box: &outbox{limits: limits, counts: counts, room: make(chan struct{}, 1), corked: true}}
}

// frames takes the deliveries out.
func (s *subscriber) frames() [][]byte {
	var all [][]byte
	for s.box.frames.len() > 0 {
		all = append(all, s.box.frames.pop().bytes)
	}
	return all
}

// TestHubModel: Deliver reaches exactly the connections that a naive model says, each with one frame of exactly its
// patterns (invariant 2), and connections with equal patterns share the bytes.
func TestHubModel(t *testing.T) {
	all := patterns(t, "a", "a.b", "a.*", "a.b*", "a.#", "*", "#", ">", "b.>")
	tenants := []string{"t", "u"}
	rapid.Check(t, func(t *rapid.T) {
		var counts counters
		h := NewHub(HubConfig{})
		subs := make([]*subscriber, 6)
		held := make([]map[string]bool, len(subs))
		for i := range subs {
			subs[i], held[i] = corkedSubscriber(&counts), map[string]bool{}
			subs[i].json.Store(i == 5)
		}
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			i := rapid.IntRange(0, len(subs)-1).Draw(t, "connection")
			tenant, p := rapid.SampledFrom(tenants).Draw(t, "tenant"), rapid.SampledFrom(all).Draw(t, "pattern")
			if rapid.IntRange(0, 2).Draw(t, "drop") == 0 {
				if in := h.unsubscribe(subs[i], tenant, p); (in != nil) != held[i][tenant+":"+p.String()] {
					t.Fatalf("unsubscribe %s:%s: %v", tenant, p, in)
				} else if in != nil {
					h.settle(in, func(string, channel.Pattern, bool) {}, nil)
				}
				delete(held[i], tenant+":"+p.String())
			} else {
				h.settle(h.subscribe(subs[i], tenant, p, 100), func(string, channel.Pattern, bool) {}, nil)
				held[i][tenant+":"+p.String()] = true
			}
		}
		mode := channel.Mode(rapid.IntRange(0, 2).Draw(t, "mode"))
		m := channel.Message{Tenant: rapid.SampledFrom(tenants).Draw(t, "to"), Mode: mode, Payload: []byte("p")}
		m.Channel = rapid.SampledFrom([]string{"a", "a.b", "a.bc", "a.b.c", "b.c", "x"}).Draw(t, "channel")
		if wanted := h.Wants(m.Tenant, m.Channel); wanted != (h.Deliver(channel.Message{Tenant: m.Tenant, Channel: m.Channel}) > 0) {
			t.Fatalf("Wants says %v", wanted)
		}
		for _, s := range subs {
			s.frames()
		}
		reached, want, got := h.Deliver(m), 0, 0
		shared := map[string][]byte{}
		for i, s := range subs {
			var expected []string
			for _, p := range all {
				if held[i][m.Tenant+":"+p.String()] && p.Matches(m.Channel) {
					expected = append(expected, p.String())
				}
			}
			frames := s.frames()
			if len(expected) == 0 {
				if len(frames) != 0 {
					t.Fatalf("connection %d got %q", i, frames)
				}
				continue
			}
			want++
			got += len(frames)
			if mode != channel.Broadcast && len(frames) == 0 {
				continue
			}
			if len(frames) != 1 {
				t.Fatalf("invariant 2: connection %d got %d frames", i, len(frames))
			}
			if i == 5 {
				checkJSONDelivery(t, frames[0], m, expected)
				continue
			}
			checkDelivery(t, frames[0], m, expected)
			key := strings.Join(expected, " ")
			if other := shared[key]; other != nil && &other[0] != &frames[0][0] {
				t.Fatal("equal sets do not share a frame")
			}
			shared[key] = frames[0]
		}
		if mode != channel.Broadcast {
			want = min(want, 1)
		}
		if reached != want || got != want {
			t.Fatalf("reached %d, and %d got it, want %d", reached, got, want)
		}
		for _, s := range subs {
			h.leave(s, func(string, channel.Pattern, bool) {})
		}
		if h.tenants.Len() != 0 || h.held != 0 {
			t.Fatalf("left over: %d tenants, %d subscriptions", h.tenants.Len(), h.held)
		}
	})
}

// TestDeliverOneAvoidsFullQueues: a message for one goes to a connection that has room for it, as long as there is one, and to each with the
// same chance.
func TestDeliverOneAvoidsFullQueues(t *testing.T) {
	var counts counters
	h := NewHub(HubConfig{})
	p := patterns(t, "jobs")[0]
	var subs []*subscriber
	for range 4 {
		s := corkedSubscriber(&counts)
		h.subscribe(s, "t", p, 1)
		subs = append(subs, s)
	}
	subs[0].box.limits.frames = 1
	subs[1].box.closed = true
	job := channel.Message{Tenant: "t", Channel: "jobs", Mode: channel.DeliverRandom}
	for range 300 {
		if n := h.Deliver(job); n != 1 {
			t.Fatalf("%d took it", n)
		}
	}
	got := []int{len(subs[0].frames()), len(subs[1].frames()), len(subs[2].frames()), len(subs[3].frames())}
	if got[0] > 1 || got[1] != 0 || got[2] < 100 || got[3] < 100 || counts.dropsSlow.Load() != 0 {
		t.Errorf("got %v, %d dropped", got, counts.dropsSlow.Load())
	}
	for _, s := range subs[1:] {
		s.box.closed = true
	}
	h.Deliver(job)
	if n := h.Deliver(job); n != 1 || counts.dropsSlow.Load() != 1 { // nobody else is there
		t.Errorf("%d took it, %d dropped", n, counts.dropsSlow.Load())
	}
	subs[0].box.closed = true
	if n := h.Deliver(job); n != 0 {
		t.Errorf("%d closed connections took it", n)
	}
}

func checkDelivery(t *rapid.T, frame []byte, m channel.Message, expected []string) {
	if frame[0] != frameBinary || int(frame[1]) != len(frame)-2 {
		t.Fatalf("frame % x", frame)
	}
	got, err := client.ParseDelivery(frame[2:])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got.Patterns)
	slices.Sort(expected)
	if got.Tenant != m.Tenant || got.Channel != m.Channel || !bytes.Equal(got.Payload, m.Payload) ||
		!slices.Equal(got.Patterns, expected) {
		t.Fatalf("got %+v, want patterns %q", got, expected)
	}
}

func checkJSONDelivery(t *rapid.T, frame []byte, m channel.Message, expected []string) {
	var got jsonDelivery
	body := frame[2:]
	if frame[1] == 126 {
		body = frame[4:]
	}
	if err := json.Unmarshal(body, &got); err != nil || frame[0] != frameText {
		t.Fatalf("frame % x: %v", frame, err)
	}
	slices.Sort(got.Patterns)
	slices.Sort(expected)
	if got.Tenant != m.Tenant || got.Channel != m.Channel || *got.Payload != string(m.Payload) ||
		!slices.Equal(got.Patterns, expected) {
		t.Fatalf("got %+v, want patterns %q", got, expected)
	}
}

// TestInterestOrder is invariant 6 under contention.
func TestInterestOrder(t *testing.T) {
	h := NewHub(HubConfig{})
	all := patterns(t, "a", "a.#")
	var counts counters
	var calls [2][]bool
	var inside [2]atomic.Bool
	announce := func(tenant string, p channel.Pattern, wanted bool) {
		i := slices.Index(all, p)
		if inside[i].Swap(true) {
			t.Error("invariant 6: calls overlap")
		}
		runtime.Gosched()
		calls[i] = append(calls[i], wanted) // the race detector watches, too
		inside[i].Store(false)
	}
	var left []*subscriber
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 50 {
				s := corkedSubscriber(&counts)
				for range 20 {
					p := all[rnd.IntN(2)]
					if rnd.IntN(2) == 0 {
						h.settle(h.subscribe(s, "t", p, 10), announce, nil)
					} else if in := h.unsubscribe(s, "t", p); in != nil {
						h.settle(in, announce, nil)
					}
				}
				mu.Lock()
				keep := rnd.IntN(100) == 0 && len(s.held) > 0
				if keep {
					left = append(left, s)
				}
				mu.Unlock()
				if !keep {
					h.leave(s, announce)
				}
			}
		})
	}
	wg.Wait()
	for i, p := range all {
		wanted := h.find("t", p) != nil
		checkAlternation(t, calls[i], wanted)
	}
	for _, s := range left {
		h.leave(s, announce)
	}
	for i := range all {
		checkAlternation(t, calls[i], false)
	}
	if h.tenants.Len() != 0 {
		t.Error("interests left over")
	}
}

func checkAlternation(t *testing.T, calls []bool, last bool) {
	t.Helper()
	for i, wanted := range calls {
		if wanted != (i%2 == 0) {
			t.Fatalf("invariant 6: call %d is %v", i, wanted)
		}
	}
	if now := len(calls)%2 == 1; now != last {
		t.Fatalf("invariant 6: the overlay thinks %v, the truth is %v", now, last)
	}
}

// TestHostilePatterns: thousands of overlapping patterns of one connection cost one frame that is too large, not more.
func TestHostilePatterns(t *testing.T) {
	var counts counters
	h := NewHub(HubConfig{MaxFrame: 64 << 10})
	s := corkedSubscriber(&counts)
	name := strings.TrimSuffix(strings.Repeat("aaaaaaaa.", 28), ".")
	for i := range 10_000 {
		tokens := strings.Split(name, ".")
		for bit := range 14 {
			if i>>bit&1 == 1 {
				tokens[2*bit] = "*"
			}
		}
		h.subscribe(s, "t", patterns(t, strings.Join(tokens, "."))[0], 10_000)
	}
	if n := h.Deliver(channel.Message{Tenant: "t", Channel: name}); n != 0 || h.tooLarge.Load() != 1 {
		t.Errorf("reached %d, dropped %d", n, h.tooLarge.Load())
	}
	h.leave(s, func(string, channel.Pattern, bool) {})
}

// TestDeliverAllocs: a message to many connections allocates its one frame, and nothing for a connection.
func TestDeliverAllocs(t *testing.T) {
	var counts counters
	h := NewHub(HubConfig{})
	for i := range 100 {
		s := corkedSubscriber(&counts)
		s.box.limits.frames = 1 // a full queue, so that it does not grow
		for _, p := range patterns(t, "a", []string{"a", "#"}[i%2]) {
			h.subscribe(s, "t", p, 10)
		}
		s.box.slow.since = time.Now().Add(time.Hour)
	}
	m := channel.Message{Tenant: "t", Channel: "a", Payload: make([]byte, 100)}
	f := newFanout()
	if n := testing.AllocsPerRun(100, func() { h.deliver(m, f); f.reset() }); n > 2 {
		t.Errorf("%v allocations for 2 frames", n)
	}
}

// TestSettledAfterAnnouncement: who subscribes while another announces hears that the overlay was told only when it was told of him.
func TestSettledAfterAnnouncement(t *testing.T) {
	var counts counters
	h := NewHub(HubConfig{})
	p := patterns(t, "a")[0]
	first, second := corkedSubscriber(&counts), corkedSubscriber(&counts)
	var events []string
	note := func(_ string, _ channel.Pattern, wanted bool) {
		events = append(events, map[bool]string{true: "on", false: "off"}[wanted])
	}
	h.settle(h.subscribe(first, "t", p, 1), note, nil)
	in := h.unsubscribe(first, "t", p)
	h.settle(in, func(tenant string, p channel.Pattern, wanted bool) {
		if !wanted { // meanwhile
			h.settle(h.subscribe(second, "t", p, 1), note, func() { events = append(events, "settled") })
		}
		note(tenant, p, wanted)
	}, nil)
	if want := []string{"on", "off", "on", "settled"}; !slices.Equal(events, want) {
		t.Errorf("%v, want %v", events, want)
	}
}

// TestHubBatch: a batch comes out as the deliveries of its messages one by one, in binary and in JSON, also where patterns make them very long.
func TestHubBatch(t *testing.T) {
	const name = "a.a.a.a.a.a.a.a.a.a"
	for _, held := range []int{1, 1 << 10} {
		t.Run(fmt.Sprint(held, " patterns"), func(t *testing.T) {
			var b channel.Batch
			for i := range 100 {
				b.Add([]byte(fmt.Sprint("payload ", i)))
			}
			batch := channel.Message{Tenant: "t", Channel: name, Batch: true, Payload: b.Payload()}
			for _, json := range []bool{false, true} {
				together, singly := deliverTo(t, name, held, json, []channel.Message{batch}), [][]byte(nil)
				var single []channel.Message
				for p := range batch.Payloads {
					single = append(single, channel.Message{Tenant: "t", Channel: name, Payload: p})
				}
				singly = deliverTo(t, name, held, json, single)
				if got, want := bytes.Join(together, nil), bytes.Join(singly, nil); !bytes.Equal(got, want) {
					t.Errorf("json %v: %d bytes together, %d singly", json, len(got), len(want))
				}
				if held == 1 && len(together) != 1 {
					t.Errorf("json %v: in %d pieces", json, len(together))
				}
			}
		})
	}
}

// deliverTo is what a connection with so many patterns that match name gets of messages.
func deliverTo(t *testing.T, name string, held int, json bool, messages []channel.Message) [][]byte {
	t.Helper()
	var counts counters
	h, s := NewHub(HubConfig{}), corkedSubscriber(&counts)
	s.box.limits = outboxLimits{bytes: 1 << 30, frames: 1000, overflow: time.Minute}
	s.json.Store(json)
	for i := range held {
		tokens := strings.Split(name, ".")
		for bit := range tokens {
			if i>>bit&1 != 0 {
				tokens[bit] = "*"
			}
		}
		h.subscribe(s, "t", patterns(t, strings.Join(tokens, "."))[0], held)
	}
	wanted := 0
	for _, m := range messages {
		if n := h.Deliver(m); n != 1 {
			t.Fatalf("reached %d", n)
		}
		wanted += m.Count()
	}
	if n := s.box.frames.len(); n != wanted {
		t.Fatalf("%d messages counted, want %d", n, wanted)
	}
	return s.frames()
}
