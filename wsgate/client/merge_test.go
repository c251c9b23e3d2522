package client

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// arrival is a message that a connection brings.
type arrival struct {
	at      time.Duration
	old     bool
	message int // index of what was published
}

// published is one message of a sequence of one publisher.
type published struct {
	at        time.Duration
	publisher int
	channel   string
	payload   string
}

func (p published) message() Message {
	return Message{Tenant: "t", Channel: p.channel, Payload: []byte(p.payload), Patterns: []string{"#"}}
}

// play merges what two connections bring; the old one ends at end. It returns what was delivered.
func play(t interface{ Fatalf(string, ...any) }, all []published, arrivals []arrival, end time.Duration) []Message {
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	g := newMerge(&mergeCounts{})
	var out []Message
	next := time.Duration(0)
	ended := false
	pass := func(to time.Duration) {
		for ; next <= to; next += mergeTick {
			if !ended && next >= end {
				ended = true
				out = append(out, g.endOld(next)...)
			}
			out = append(out, g.due(next)...)
		}
	}
	for _, a := range arrivals {
		pass(a.at)
		m := all[a.message].message()
		if a.old && ended {
			t.Fatalf("the model lets the old connection speak after its end")
		}
		if a.old && g.fromOld(a.at, m) {
			out = append(out, m)
		}
		if !a.old {
			out = append(out, g.fromNew(a.at, m)...)
		}
	}
	pass(next + 20*time.Second)
	if !g.over(next) || g.waiting != 0 || g.held.len() != 0 {
		t.Fatalf("not over: %d bytes and %d messages held", g.waiting, g.held.len())
	}
	g.expire(next)
	if len(g.twins) != 0 || g.expiry.len() != 0 {
		t.Fatalf("%d twins and %d times left", len(g.twins), g.expiry.len())
	}
	return out
}

// streams draws when each connection brings each message: in the order of each publisher, with delays that vary by up to
// skew in all. The new one brings what was published after its start, which may differ by publisher.
func streams(t *rapid.T, all []published, skew, end time.Duration, starts []time.Duration) []arrival {
	var arrivals []arrival
	for _, old := range []bool{true, false} {
		last := map[int]time.Duration{}
		base := map[int]time.Duration{}
		for p := range starts {
			base[p] = time.Duration(rapid.IntRange(0, int(skew/ms)/2).Draw(t, "delay")) * ms
		}
		for i, p := range all {
			if !old && p.at < starts[p.publisher] {
				continue
			}
			jitter := time.Duration(rapid.IntRange(0, int(skew/ms)/2).Draw(t, "jitter")) * ms
			at := max(last[p.publisher], p.at+base[p.publisher]+jitter)
			last[p.publisher] = at
			if !old || at < end-mergeTick {
				arrivals = append(arrivals, arrival{at: at, old: old, message: i})
			}
		}
	}
	return arrivals
}

// TestMergeKeepsSequences: whatever the delays, and wherever the new connection begins, all that was published is delivered
// once, and in order by channel and publisher (invariants 2 and 3).
func TestMergeKeepsSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		publishers := rapid.IntRange(1, 3).Draw(t, "publishers")
		starts := make([]time.Duration, publishers)
		for p := range starts {
			starts[p] = time.Duration(rapid.IntRange(0, 2000).Draw(t, "start")) * ms
		}
		// The old connection brings what was published before the new one's start.
		end := slices.Max(starts) + 1100*ms + time.Duration(rapid.IntRange(0, 5000).Draw(t, "end"))*ms
		var all []published
		at := time.Duration(0)
		for i := range rapid.IntRange(0, 150).Draw(t, "messages") {
			at += time.Duration(rapid.IntRange(0, 100).Draw(t, "gap")) * ms
			p := rapid.IntRange(0, publishers-1).Draw(t, "publisher")
			all = append(all, published{at, p, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"), fmt.Sprint(p, " ", i)})
		}
		got := play(t, all, streams(t, all, 950*ms, end, starts), end)
		checkSequences(t, all, got)
	})
}

func checkSequences(t *rapid.T, all []published, got []Message) {
	lines := func(channel, publisher string, each func(yield func(channel, payload string))) (s []string) {
		each(func(c, payload string) {
			if c == channel && strings.HasPrefix(payload, publisher) {
				s = append(s, payload)
			}
		})
		return s
	}
	for _, channel := range []string{"a", "b"} {
		for _, publisher := range []string{"0 ", "1 ", "2 "} {
			want := lines(channel, publisher, func(yield func(c, p string)) {
				for _, p := range all {
					yield(p.channel, p.payload)
				}
			})
			have := lines(channel, publisher, func(yield func(c, p string)) {
				for _, m := range got {
					yield(m.Channel, string(m.Payload))
				}
			})
			if !slices.Equal(want, have) {
				t.Fatalf("channel %s, publisher %s: delivered %q, published %q", channel, publisher, have, want)
			}
		}
	}
}

// TestMergeRepetitions: equal messages all arrive, in order among the others, if they are published at intervals of some
// times the skew, also where the new connection begins in the middle of them.
func TestMergeRepetitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const skew = 150 * ms
		start := time.Duration(rapid.IntRange(0, 1000).Draw(t, "start")) * ms
		end := start + pairTime + 500*ms + time.Duration(rapid.IntRange(0, 2000).Draw(t, "end"))*ms
		var all []published
		at := time.Duration(0)
		last := map[string]time.Duration{}
		for range rapid.IntRange(0, 120).Draw(t, "messages") {
			at += time.Duration(rapid.IntRange(1, 200).Draw(t, "gap")) * ms
			payload := rapid.SampledFrom([]string{"tick", "tock", "on", "off"}).Draw(t, "payload")
			if before, found := last[payload]; found && at-before < 4*skew {
				continue
			}
			last[payload] = at
			all = append(all, published{at: at, channel: "a", payload: payload})
		}
		got := play(t, all, streams(t, all, skew, end, []time.Duration{start}), end)
		var want, have []string
		for _, p := range all {
			want = append(want, p.payload)
		}
		for _, m := range got {
			have = append(have, string(m.Payload))
		}
		if !slices.Equal(want, have) {
			t.Fatalf("start %v, end %v: delivered %q, published %q", start, end, have, want)
		}
	})
}

// TestMergeCounts: of equal messages within the time that twins are looked for, as many are delivered as the connection that
// brought more of them has brought, in whatever order they come.
func TestMergeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newMerge(&mergeCounts{})
		var brought [2]map[string]int
		brought[0], brought[1] = map[string]int{}, map[string]int{}
		delivered := map[string]int{}
		count := func(list []Message) {
			for _, m := range list {
				delivered[string(m.Payload)]++
			}
		}
		now := time.Duration(0)
		total, ends := 0, rapid.IntRange(0, 60).Draw(t, "end of the old")
		for i := range rapid.IntRange(0, 60).Draw(t, "messages") {
			total++
			now += time.Duration(rapid.IntRange(0, int(pairTime/ms)/61).Draw(t, "gap")) * ms
			m := published{channel: "a", payload: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "payload")}.message()
			if i == ends {
				count(g.endOld(now))
			}
			count(g.due(now))
			if rapid.Bool().Draw(t, "old") && i < ends {
				brought[0][string(m.Payload)]++
				if g.fromOld(now, m) {
					count([]Message{m})
				}
			} else {
				brought[1][string(m.Payload)]++
				count(g.fromNew(now, m))
			}
		}
		count(g.due(now + holdTime))
		sum := 0
		for _, payload := range []string{"x", "y"} {
			if want := max(brought[0][payload], brought[1][payload]); delivered[payload] != want {
				t.Fatalf("%s: %d delivered, brought %v", payload, delivered[payload], brought)
			}
			sum += delivered[payload]
		}
		if dropped := g.counts.duplicates.Load(); int(dropped) != total-sum {
			t.Fatalf("%d counted as dropped, of %d %d were delivered", dropped, total, sum)
		}
	})
}

// TestMergeSilentOld: what the old connection does not bring is late, not lost, and not doubled when it comes after all.
func TestMergeSilentOld(t *testing.T) {
	g := newMerge(&mergeCounts{})
	m := published{channel: "a", payload: "x"}.message()
	if out := g.fromNew(0, m); out != nil {
		t.Errorf("not held: %v", out)
	}
	m.Payload[0] = '!' // the buffer is reused
	if out := g.due(holdTime - 1); out != nil {
		t.Errorf("early: %v", out)
	}
	if out := g.due(holdTime); len(out) != 1 || string(out[0].Payload) != "x" {
		t.Errorf("got %v", out)
	}
	if g.fromOld(holdTime+pairTime, published{channel: "a", payload: "x"}.message()) {
		t.Error("delivered twice")
	}
}

// TestMergeBounds: memory is bounded whatever comes, and what is over the bound is delivered, in its order.
func TestMergeBounds(t *testing.T) {
	counts := &mergeCounts{}
	g := newMerge(counts)
	var out []Message
	const n = maxPaired + maxPaired/4
	payload := strings.Repeat("x", 200)
	for i := range n {
		now := time.Duration(i) * time.Microsecond
		m := published{channel: "a", payload: fmt.Sprintf("%08d%s", i, payload)}.message()
		out = append(out, g.fromNew(now, m)...)
		g.fromOld(now, published{channel: "b", payload: fmt.Sprint(i)}.message())
		if g.waiting > maxHeld || g.held.len() > maxPaired || g.expiry.len() > maxPaired || len(g.twins) > 2*maxPaired {
			t.Fatalf("after %d: %d bytes, %d held, %d times, %d twins", i, g.waiting, g.held.len(), g.expiry.len(), len(g.twins))
		}
	}
	if int(counts.forced.Load()) != len(out) {
		t.Errorf("%d forced, %d delivered", counts.forced.Load(), len(out))
	}
	out = append(out, g.endOld(time.Second)...)
	if len(out) != n || !slices.IsSortedFunc(out, func(a, b Message) int { return strings.Compare(string(a.Payload), string(b.Payload)) }) {
		t.Errorf("%d delivered, or not in order", len(out))
	}
}

// TestMergeEqualFlood: many equal messages cost no more time each than few, and their doubts are forgotten.
func TestMergeEqualFlood(t *testing.T) {
	g := newMerge(&mergeCounts{})
	m := published{channel: "a", payload: "x"}.message()
	for i := range 2 * maxPaired {
		now := time.Duration(i) * time.Microsecond
		g.fromOld(now, m)
		if i%2 == 0 {
			g.fromNew(now, m)
		}
	}
	g.expire(time.Minute)
	g.expire(2 * time.Minute)
	if len(g.twins) != 0 || g.expiry.len() != 0 {
		t.Errorf("%d twins, %d times", len(g.twins), g.expiry.len())
	}
}

func BenchmarkMerge(b *testing.B) {
	g := newMerge(&mergeCounts{})
	m := published{channel: "some.channel", payload: strings.Repeat("x", 128)}.message()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Payload[i%8] = byte(i >> (i % 8))
		now := time.Duration(i) * time.Millisecond
		g.fromOld(now, m)
		g.fromNew(now, m)
	}
}
