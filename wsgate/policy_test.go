package wsgate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// policyWorld is a world with short queues, and a client that does not read yet.
func policyWorld(t *testing.T, test func(t *testing.T, w *world, c *rawClient)) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 200_000, QueueFrames: 100}}, func(t *testing.T, w *world) { test(t, w, w.dial()) })
}

// subscribe subscribes in JSON, to tenant t.
func (c *rawClient) subscribe(pattern, policy string) {
	c.t.Helper()
	c.ask(fmt.Sprintf(`{"action":"subscribe","tenant":"t","channel":%q,"policy":%q}`, pattern, policy),
		fmt.Sprintf(`{"event":"subscribed","tenant":"t","channel":%q}`, pattern))
}

// stuff fills what lies between the hub and a client that does not read: the stream, and a batch being written.
func (w *world) stuff(name string) {
	for range 4 {
		w.hub.Deliver(channel.Message{Tenant: "t", Channel: name, Payload: []byte(strings.Repeat("s", 40_000))})
		synctest.Wait()
	}
}

// feed delivers numbered messages of 100 bytes, and returns how many were taken.
func (w *world) feed(name string, from, to int) (taken int) {
	for i := from; i < to; i++ {
		taken += w.hub.Deliver(channel.Message{Tenant: "t", Channel: name, Payload: fmt.Appendf(nil, "%06d%094d", i, 0)})
	}
	return taken
}

// numbers reads deliveries until none comes, and returns the numbers by channel. Other frames are given to other, if it is not nil.
func (c *rawClient) numbers(other func(frame)) map[string][]int {
	c.t.Helper()
	got := map[string][]int{}
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		f, err := c.readFrame()
		if err != nil {
			_ = c.conn.SetReadDeadline(time.Time{})
			return got
		}
		text := string(f.payload)
		if !strings.HasPrefix(text, `{"event":"message"`) {
			if other != nil {
				other(f)
			}
			continue
		}
		_, rest, _ := strings.Cut(text, `"channel":"`)
		name, rest, _ := strings.Cut(rest, `"`)
		_, rest, _ = strings.Cut(rest, `"payload":"`)
		if rest[0] == 's' {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(rest[:6], "%d", &n); err != nil {
			c.t.Fatal(text)
		}
		got[name] = append(got[name], n)
	}
}

// TestLatest: of each channel the newest message waits, and no other; the client hears of no loss, as there is none.
func TestLatest(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("a.*", "latest")
		w.stuff("a.s")
		for i := range 1000 {
			for _, name := range []string{"a.x", "a.y", "a.z"} {
				if w.feed(name, i, i+1) != 1 {
					t.Fatal("not taken")
				}
			}
		}
		got := c.numbers(func(f frame) { t.Errorf("got %q", f.payload) })
		for _, name := range []string{"a.x", "a.y", "a.z"} {
			if !slices.Equal(got[name], []int{999}) {
				t.Errorf("%s: %v", name, got[name])
			}
		}
		w.feed("a.x", 1000, 1001) // and on it goes
		if got := c.numbers(nil); !slices.Equal(got["a.x"], []int{1000}) {
			t.Errorf("then %v", got)
		}
		if s := w.server.Stats(); s.Drops.Slow != 0 || s.Drops.Replaced < 3*999 {
			t.Errorf("%+v", s.Drops)
		}
	})
}

// TestLatestOfBatch: of messages that travel together, the last counts.
func TestLatestOfBatch(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("a", "latest")
		all := w.dial("llps.v1")
		all.ask("SUB:t:a", "OK:SUB:t:a")
		var batch channel.Batch
		for i := range 50 {
			batch.Add(fmt.Appendf(nil, "%06d", i))
		}
		for range 2 { // the working memory is used again
			if n := w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a", Batch: true, Payload: batch.Payload()}); n != 2 {
				t.Errorf("reached %d", n)
			}
			if got := c.numbers(nil); !slices.Equal(got["a"], []int{49}) {
				t.Errorf("got %v", got)
			}
			for i := range 50 {
				all.expect("a", fmt.Sprintf("%06d", i), "a")
			}
		}
	})
}

// TestCloseInstead: who is not to lose a message is closed before it would; what was queued before still comes, without a gap.
func TestCloseInstead(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("a", "close")
		c.subscribe("b", "drop_oldest")
		w.stuff("b")
		w.feed("b", 0, 50)
		w.feed("a", 0, 10)
		if n := w.feed("b", 50, 1000); n > 100 {
			t.Errorf("%d taken, though one of a would have had to go", n)
		}
		if w.feed("a", 10, 20) != 0 {
			t.Error("taken after the end")
		}
		closed := ""
		got := c.numbers(func(f frame) {
			if f.op == opClose {
				closed = string(f.payload)
				c.send(opClose, f.payload[:2])
			}
		})
		if closed != "\x03\xf5slow consumer" || len(got["a"]) != 10 {
			t.Errorf("closed with %q after %v", closed, got["a"])
		}
		time.Sleep(time.Second)
		if s := w.server.Stats(); s.Closed.Slow != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestCloseInsteadOfLaggard: who does not take what is queued in time misses the end of it, but hears why the connection is closed.
func TestCloseInsteadOfLaggard(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("a", "close")
		w.stuff("a")
		taken := w.feed("a", 0, 1000)
		time.Sleep(6 * time.Second) // longer than Timing.Close, but no batch takes longer than Timing.Write
		if s := w.server.Stats(); s.Closed.Slow+s.Closed.Stalled != 0 {
			t.Fatalf("cut: %+v", s)
		}
		closed := ""
		got := c.numbers(func(f frame) {
			if f.op == opClose {
				closed = string(f.payload)
				c.send(opClose, f.payload[:2])
			}
		})
		if closed != "\x03\xf5slow consumer" || len(got["a"]) >= taken {
			t.Errorf("closed with %q after %d of %d", closed, len(got["a"]), taken)
		}
		time.Sleep(time.Second)
		if s := w.server.Stats(); s.Closed.Slow != 1 || s.Drops.Ended == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPolicyOfSeveral: drop_oldest goes before latest; subscribing again changes the policy.
func TestPolicyOfSeveral(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("a", "latest")
		c.text("SUB:t:#")
		c.line()
		w.stuff("s")
		w.feed("a", 0, 10)
		if got := c.numbers(nil); len(got["a"]) != 10 {
			t.Errorf("with drop_oldest besides: %v", got)
		}
		c.text("UNSUB:t:#")
		c.line()
		c.subscribe("s", "")
		w.stuff("s")
		w.feed("a", 10, 20)
		if got := c.numbers(nil); !slices.Equal(got["a"], []int{19}) {
			t.Errorf("latest alone: %v", got)
		}
		c.subscribe("a", "")
		w.stuff("s")
		w.feed("a", 20, 30)
		if got := c.numbers(nil); len(got["a"]) != 10 {
			t.Errorf("no policy any more: %v", got)
		}
		c.ask(`{"action":"subscribe","channel":"a","policy":"keep"}`, `{"event":"error","error":"bad_json","detail":"policy must be drop_oldest, latest or close"}`)
		c.ask(`{"action":"subscribe","channel":"a","policy":1}`, `{"event":"error","error":"bad_json","detail":"policy must be a string"}`)
	})
}

// TestOneIsNeverReplaced: a message for one subscriber is a job of its own.
func TestOneIsNeverReplaced(t *testing.T) {
	policyWorld(t, func(t *testing.T, w *world, c *rawClient) {
		c.subscribe("#", "latest")
		w.stuff("s")
		for i := range 5 {
			w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a", Mode: channel.DeliverRandom, Payload: fmt.Appendf(nil, "%06d", i)})
		}
		if got := c.numbers(nil); !slices.Equal(got["a"], []int{0, 1, 2, 3, 4}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestPickyQueue holds an outbox against a plain list of what is to be in it: places, order, bounds, and that what must not be dropped is not.
func TestPickyQueue(t *testing.T) {
	type entry struct {
		n, channel int
		policy     policy
	}
	rapid.Check(t, func(r *rapid.T) {
		b := &outbox{batches: &sync.Pool{}, counts: new(counters), writing: true, limits: outboxLimits{bytes: 60, frames: 6, overflow: time.Hour}}
		var model []entry
		for n := range rapid.IntRange(1, 200).Draw(r, "pushes") {
			policies := []policy{latestOnly, latestOnly, dropOldestToo, dropOldestToo, closeInstead}
			e := entry{n, rapid.IntRange(0, 3).Draw(r, "channel"), rapid.SampledFrom(policies).Draw(r, "policy")}
			f := frames{slices.Repeat([]byte{byte(n)}, rapid.IntRange(1, 25).Draw(r, "size")), 1}
			taken, _ := b.pushPicky(f, e.policy, channelName{"t", fmt.Sprint(e.channel)})
			if b.last != nil {
				if taken || b.why != closeSlow || !slices.ContainsFunc(model, func(e entry) bool { return e.policy == closeInstead }) {
					r.Fatalf("ended, taken %v, reason %v, with %v", taken, b.why, model)
				}
				return
			}
			at := -1
			for i, old := range model {
				if old.channel == e.channel {
					at = i
				}
			}
			if at >= 0 && e.policy == latestOnly && model[at].policy == latestOnly {
				model[at] = e
			} else {
				model = append(model, e)
			}
			for drop := len(model) - b.frames.len(); drop > 0; drop-- {
				if model[0].policy == closeInstead {
					r.Fatalf("%v was dropped", model[0])
				}
				model = model[1:]
			}
			for pops := rapid.IntRange(-3, len(model)).Draw(r, "pops"); pops > 0; pops-- {
				if got := int(b.frames.pop().bytes[0]); got != model[0].n {
					r.Fatalf("took out %d, want %d", got, model[0].n)
				}
				model = model[1:]
			}
			if b.frames.bytes > 60 || b.frames.len() > 6 || len(b.picky.latest) > 2*6+65 || len(b.picky.closing) > 200 {
				r.Fatalf("%d bytes, %d frames, %d names", b.frames.bytes, b.frames.len(), len(b.picky.latest))
			}
		}
	})
}

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]policy{"": dropOldest, "drop_oldest": dropOldest, "latest": latestOnly, "close": closeInstead} {
		if got, err := parsePolicy(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := parsePolicy("LATEST"); !errors.As(err, new(fault)) {
		t.Errorf("got %v", err)
	}
}
