package interest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

func TestLocalCounts(t *testing.T) {
	l := NewLocal()
	a, tree, beyond := mustPattern(t, "a"), mustPattern(t, "a.b.#"), mustPattern(t, "a.b.>")
	if l.Remove("~", a) {
		t.Error("a pattern never added was removed")
	}
	l.Add("~", a)
	l.Add("~", a)
	l.Add("acme", a)
	l.Add("~", tree)
	l.Add("~", beyond)
	if l.Len() != 3 {
		t.Errorf("%d keys, want 3", l.Len())
	}
	if !l.Remove("~", a) || !l.Remove("~", tree) || l.Len() != 3 {
		t.Errorf("%d keys after one of two removals each, want 3", l.Len())
	}
	if !l.Remove("~", a) || !l.Remove("~", beyond) || !l.Remove("acme", a) || l.Len() != 0 {
		t.Errorf("%d keys are left", l.Len())
	}
	if l.Remove("~", a) {
		t.Error("a pattern was removed once too often")
	}
	if !l.now.equal(of(6)) || slices.Max(l.counts) != 0 {
		t.Error("bits are left")
	}
}

func TestFlush(t *testing.T) {
	l := NewLocal()
	empty := unhex(t, "01 06 07 00 01 00")
	if got := l.Full(); !bytes.Equal(got, empty) {
		t.Errorf("Full before the first Flush = % x", got)
	}
	step := func(what, want string, wantFull, wantChanged bool) {
		t.Helper()
		body, full, changed := l.Flush()
		if !bytes.Equal(body, unhex(t, want)) || full != wantFull || changed != wantChanged {
			t.Errorf("%s: Flush = % x, %v, %v", what, body, full, changed)
		}
	}
	step("first", "01 06 07 00 01 00", true, true)
	step("nothing new", "", false, false)
	l.Add("~", mustPattern(t, "a"))
	l.Remove("~", mustPattern(t, "a"))
	step("there and back", "", false, false)
	l.Add("~", mustPattern(t, "a"))
	if got := l.Full(); !bytes.Equal(got, empty) {
		t.Errorf("Full tells what no Flush told: % x", got)
	}
	step("first key", "02 01 06 08 01 09 19 00 01 0f 00 45 00", false, true)
	l.Add("~", mustPattern(t, "a.b.#"))
	step("second key", "02 02 06 07 00 05 0c 01 05 17 0e 00", false, true)
	l.Remove("~", mustPattern(t, "a.b.#"))
	l.Remove("~", mustPattern(t, "a"))
	step("a delta longer than the whole", "01 06 07 00 01 00", true, true)
}

// TestFlushCadence: a record is full when the deltas since the last have cost twice as much, or are many, and when it changes the size.
func TestFlushCadence(t *testing.T) {
	l := NewLocal()
	for i := range 1000 {
		l.Add("~", mustPattern(t, fmt.Sprint("base.", i)))
	}
	first, _, _ := l.Flush()
	spent, deltas := 0, 0
	for i := range 400 {
		l.Add("~", mustPattern(t, fmt.Sprint("more.", i)))
		body, full, changed := l.Flush()
		if !changed { // all its bits were set already
			continue
		}
		if full != (spent > deltaShare*(len(first)+recordHead)) {
			t.Fatalf("flush %d after %d bytes in %d deltas: full %v", i, spent, deltas, full)
		}
		spent, deltas = spent+len(body)+recordHead, deltas+1
		if full {
			spent, deltas = 0, 0
		} else if len(body) > 30 {
			t.Errorf("flush %d: a delta of %d bytes for one key", i, len(body))
		}
	}
	for i := range 1000 {
		l.Add("~", mustPattern(t, fmt.Sprint("much.", i)))
	}
	if body, full, _ := l.Flush(); !full || l.told.Bits() != 32768 {
		t.Errorf("2,400 keys in %d bits, %d bytes, full %v", l.told.Bits(), len(body), full)
	}
	for i := range 20_000 {
		l.Add("~", mustPattern(t, fmt.Sprint("many.", i)))
	}
	l.Flush()
	deltas = 0
	for i := range 3 * maxDeltas {
		l.Add("~", mustPattern(t, fmt.Sprint("again.", i)))
		_, full, changed := l.Flush()
		if full != (deltas == maxDeltas) {
			t.Fatalf("flush %d of a large filter after %d deltas: full %v", i, deltas, full)
		}
		switch {
		case full:
			deltas = 0
		case changed:
			deltas++
		}
	}
}

// The larger the mesh, the fewer false positives a filter of the same keys has; a mesh that grows and shrinks by a few nodes changes nothing.
func TestRateFollowsTheMesh(t *testing.T) {
	l := NewLocal()
	for i := range 10_000 {
		l.Add("~", mustPattern(t, fmt.Sprint("c.", i)))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rate := func(nodes int) float64 {
		l.Expect(nodes)
		l.Flush()
		hits := 0
		for range 100_000 {
			if l.now.Has(exactKey(rng.Uint64())) {
				hits++
			}
		}
		return float64(hits) / 100_000
	}
	for _, tc := range []struct {
		nodes int
		most  float64
		bits  int
	}{{3, 0.01, 1 << 17}, {128, 0.01, 1 << 17}, {129, 0.003, 1 << 17}, {600, 0.001, 1 << 18}, {500, 0.001, 1 << 18}, {5000, 0.0003, 1 << 18}} {
		if got := rate(tc.nodes); got > 1.3*tc.most || l.now.Bits() != tc.bits {
			t.Errorf("%d nodes: %.5f false positives in %d bits", tc.nodes, got, l.now.Bits())
		}
	}
	if l.Expect(500); l.room != 15.01 {
		t.Errorf("room for %v bits a key in a mesh that shrank to 500", l.room)
	}
	if l.Expect(90); l.room != usual {
		t.Errorf("room for %v bits a key in a mesh that shrank to 90", l.room)
	}
}

// Copies of one node's interest, kept in every way that the package offers.
type copies struct {
	filter *Filter
	index  Index
}

const sender wire.NodeID = 7

// ship takes a flushed body to the copies; after a gap, the whole filter instead.
func (c *copies) ship(t *rapid.T, l *Local, body []byte, full bool) {
	if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
		body, full = l.Full(), true
	}
	if !full {
		if err := c.filter.Apply(body); err != nil {
			t.Fatalf("Apply: %v", err)
		}
		if err := c.index.ApplyDelta(sender, body); err != nil {
			t.Fatalf("ApplyDelta: %v", err)
		}
		return
	}
	var err error
	if c.filter, err = ParseFull(body); err != nil {
		t.Fatalf("ParseFull: %v", err)
	}
	c.index.Set(sender, c.filter.clone())
}

type subscription struct {
	tenant  string
	pattern channel.Pattern
}

// drawSubscription draws from few patterns that overlap, or from many that make filters grow.
func drawSubscription(t *rapid.T) subscription {
	if rapid.Bool().Draw(t, "overlapping") {
		return subscription{drawTenant(t), drawPattern(t)}
	}
	return subscription{"~", mustPattern(t, fmt.Sprint("n.", rapid.IntRange(0, 400).Draw(t, "n")))}
}

// Invariants 2, 3 and 5: through any history, whatever a live pattern matches is found, in every copy.
func TestNoFalseNegatives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLocal()
		live := make(map[subscription]int)
		var order []subscription // live, in a fixed order for replay
		var c copies
		flush := func(t *rapid.T) {
			body, full, changed := l.Flush()
			if changed {
				c.ship(t, l, body, full)
			} else if body != nil || full {
				t.Fatalf("nothing changed, but % x", body)
			}
		}
		flush(t)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 3, 40}).Draw(t, "count") {
					s := drawSubscription(t)
					l.Add(s.tenant, s.pattern)
					live[s]++
					order = append(order, s)
				}
			},
			"remove": func(t *rapid.T) {
				for range min(len(order), rapid.SampledFrom([]int{1, 1, 3, 60}).Draw(t, "count")) {
					i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
					s := order[i]
					order = slices.Delete(order, i, i+1)
					if live[s]--; live[s] == 0 {
						delete(live, s)
					}
					if !l.Remove(s.tenant, s.pattern) {
						t.Fatalf("%v was not there", s)
					}
				}
			},
			"flush": flush,
			"": func(t *rapid.T) {
				body, full, changed := l.Flush()
				if changed {
					c.ship(t, l, body, full)
				}
				checkCopies(t, l, live, &c)
			},
		})
	})
}

func checkCopies(t *rapid.T, l *Local, live map[subscription]int, c *copies) {
	keys := make(map[Key]bool)
	for s := range live {
		keys[PatternKey(s.tenant, s.pattern)] = true
	}
	if l.Len() != len(keys) {
		t.Fatalf("%d keys, want %d", l.Len(), len(keys))
	}
	afresh := shaped(l.now.shape, slices.Collect(maps.Keys(keys)))
	if !slices.Equal(afresh.words, c.filter.words) || c.filter.ones != afresh.ones {
		t.Fatalf("the copy differs from a filter made afresh of %d keys", len(keys))
	}
	if n := l.Len(); n > usual.capacity(afresh.shape.log2Bits) || usual.fit(afresh.shape.log2Bits, n) != afresh.shape.log2Bits {
		t.Fatalf("%d keys in 2^%d bits", n, afresh.shape.log2Bits)
	}
	name := drawName(t)
	for _, s := range slices.Collect(maps.Keys(live)) {
		match := name
		if prefix, exact := s.pattern.LiteralPrefix(); exact {
			match = prefix
		}
		query := AppendQuery(nil, s.tenant, match)
		if !s.pattern.Matches(match) {
			continue
		}
		if !slices.ContainsFunc(query, c.filter.Has) {
			t.Fatalf("%q matches %q, the filter does not know", s.pattern, match)
		}
		if got := c.index.Lookup(nil, query); !slices.Equal(got, []wire.NodeID{sender}) {
			t.Fatalf("%q matches %q, the index says %v", s.pattern, match, got)
		}
	}
}
