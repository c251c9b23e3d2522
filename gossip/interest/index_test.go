package interest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// Invariant 4 and the rows behind it: each slot holds its node's filter, bit by bit.
func checkRows(t interface{ Fatalf(string, ...any) }, x *Index) {
	total := 0
	for _, c := range x.classes() {
		members := c.members()
		total += len(members)
		if c.used != len(members) || 4*c.used <= c.slots() && c.slots() > 1 {
			t.Fatalf("%d nodes in %d slots, counted as %d", len(members), c.slots(), c.used)
		}
		for _, id := range members {
			m := x.nodes[id]
			if m == nil || m.filter.shape != c.shape || c.ids[m.slot] != id {
				t.Fatalf("node %s is not where it should be", id)
			}
			for p := range uint64(m.filter.shape.rows()) {
				at := c.bit(p, m.slot)
				if has := c.rows[at/64].Load()>>(at%64)&1 != 0; has != m.filter.test(p) {
					t.Fatalf("node %s: bit %d is %v in its row", id, p, has)
				}
			}
		}
	}
	if total != len(x.nodes) {
		t.Fatalf("%d nodes in the classes, %d in all", total, len(x.nodes))
	}
	for i, c := range x.classes() {
		if find(x.classes(), c.shape) != i {
			t.Fatalf("two classes of one shape")
		}
	}
}

func TestIndexEmpty(t *testing.T) {
	var x Index
	x.Remove(1)
	dst := []wire.NodeID{9}
	if got := x.Lookup(dst, []Key{keyA}); !slices.Equal(got, dst) || x.Len() != 0 {
		t.Errorf("an empty index says %v", got)
	}
	if err := x.ApplyDelta(1, appendDelta(nil, diff(of(6), of(6, keyA)))); !errors.Is(err, ErrBase) {
		t.Errorf("a delta for no filter: %v", err)
	}
	if err := x.ApplyDelta(1, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no delta: %v", err)
	}
	x.Set(1, of(6, keyA))
	x.Set(2, of(9, keyAB))
	if got := x.Lookup(dst, nil); !slices.Equal(got, dst) {
		t.Errorf("no keys find %v", got)
	}
	if got := x.Lookup(dst, []Key{keyA, keyAB}); !slices.Equal(got, []wire.NodeID{9, 1, 2}) || x.Len() != 2 {
		t.Errorf("two nodes found as %v", got)
	}
	x.Remove(1)
	x.Remove(2)
	if got := x.Lookup(nil, []Key{keyA, keyAB}); len(got) != 0 || len(x.classes()) != 0 {
		t.Errorf("nodes removed are found: %v", got)
	}
}

func TestTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var square [64]uint64
	for i := range square {
		square[i] = rng.Uint64()
	}
	mirror := square
	transpose(&mirror)
	for i := range 64 {
		for j := range 64 {
			if square[i]>>j&1 != mirror[j]>>i&1 {
				t.Fatalf("bit %d of word %d is not bit %d of word %d", j, i, i, j)
			}
		}
	}
}

// One large filter alone must not cost the rows of a full class.
func TestIndexMemory(t *testing.T) {
	f, err := ParseFull(unhex(t, "01 14 07 01 01 02 00 00"))
	if err != nil {
		t.Fatal(err)
	}
	var x Index
	x.Set(1, f)
	if got := len(x.classes()[0].rows) * 8; got != 128<<10+8 {
		t.Errorf("%d bytes of rows for a filter of 128 KiB", got)
	}
}

// drawKeys draws some of the keys mixed(0)..mixed(15).
func drawKeys(t *rapid.T) []Key {
	key := rapid.Map(rapid.IntRange(0, 15), mixed)
	return rapid.SliceOfNDistinct(key, 0, 6, rapid.ID).Draw(t, "keys")
}

// mixed is the n-th of a series of keys.
func mixed(n int) Key { return exactKey(uint64(n)) }

// drawFilter draws a filter of any shape that may come from a peer.
func drawFilter(t *rapid.T) *Filter {
	return shaped(shape{
		log2Bits: rapid.SampledFrom([]uint8{6, 6, 7, 8}).Draw(t, "log2 m"),
		hashes:   rapid.SampledFrom([]uint8{7, 7, 1, 16}).Draw(t, "k"),
	}, drawKeys(t))
}

// Invariant 5: the index answers as a loop over the filters would.
func TestIndexEqualsLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Index
		filters := make(map[wire.NodeID]*Filter)
		node := rapid.Custom(func(t *rapid.T) wire.NodeID { return wire.NodeID(rapid.IntRange(0, 80).Draw(t, "node")) })
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				id, f := node.Draw(t, "id"), drawFilter(t)
				x.Set(id, f)
				filters[id] = f.clone()
			},
			"set many alike": func(t *rapid.T) {
				first, f := node.Draw(t, "first"), drawFilter(t)
				for id := first; id < first+70; id++ {
					x.Set(id, f.clone())
					filters[id] = f.clone()
				}
			},
			"remove many": func(t *rapid.T) {
				first := node.Draw(t, "first")
				for id := first; id < first+50; id++ {
					x.Remove(id)
					delete(filters, id)
				}
			},
			"delta": func(t *rapid.T) {
				id := node.Draw(t, "id")
				f, known := filters[id]
				if !known {
					f = of(6)
				}
				body := appendDelta(nil, diff(f, shaped(f.shape, drawKeys(t))))
				if err := x.ApplyDelta(id, body); (err == nil) != known {
					t.Fatalf("ApplyDelta: %v", err)
				}
				if err := f.Apply(body); err != nil {
					t.Fatalf("Apply: %v", err)
				}
			},
			"": func(t *rapid.T) {
				query := []Key{mixed(rapid.IntRange(0, 15).Draw(t, "a")), mixed(rapid.IntRange(0, 20).Draw(t, "b"))}
				got := x.Lookup(nil, query)
				var want []wire.NodeID
				for id, f := range filters {
					if slices.ContainsFunc(query, f.Has) {
						want = append(want, id)
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) || x.Len() != len(filters) {
					t.Fatalf("Lookup = %v, want %v", got, want)
				}
			},
		})
		checkRows(t, &x)
	})
}

// Two blocks of a row and more: 1,500 nodes, each found by its own key and by one that all share.
func TestIndexManyNodes(t *testing.T) {
	const nodes = 1500
	var x Index
	for id := range nodes {
		x.Set(wire.NodeID(id), of(8, keyAB, mixed(id)))
	}
	checkRows(t, &x)
	for id := range nodes {
		if got := x.Lookup(nil, []Key{mixed(id)}); !slices.Contains(got, wire.NodeID(id)) || len(got) > 20 {
			t.Fatalf("node %d: found %v", id, got)
		}
	}
	got := x.Lookup(nil, []Key{keyA, keyAB})
	slices.Sort(got)
	if len(got) != nodes || len(slices.Compact(got)) != nodes {
		t.Errorf("%d of %d nodes found", len(got), nodes)
	}
}

// What lookups rely on for invariant 6: whatever takes bits or slots away publishes, once; what only adds bits need not.
func TestTakingAwayPublishes(t *testing.T) {
	var x Index
	x.Set(1, of(6, keyA))
	x.Set(2, of(6))
	for _, tc := range []struct {
		name      string
		change    func()
		publishes bool
	}{
		{"filter, more bits", func() { x.Set(1, of(6, keyA, keyAB)) }, false},
		{"filter, other bits", func() { x.Set(1, of(6, keyA)) }, true},
		{"delta, more bits", func() { _ = x.ApplyDelta(1, appendDelta(nil, diff(of(6, keyA), of(6, keyA, keyAB)))) }, false},
		{"delta, fewer bits", func() { _ = x.ApplyDelta(1, appendDelta(nil, diff(of(6, keyA, keyAB), of(6, keyAB)))) }, true},
		{"other size", func() { x.Set(1, of(7, keyA)) }, true},
		{"gone", func() { x.Remove(1) }, true},
		{"gone already", func() { x.Remove(1) }, false},
	} {
		before := x.current.Load()
		tc.change()
		if published := x.current.Load() != before; published != tc.publishes {
			t.Errorf("%s: published %v", tc.name, published)
		}
	}
}

// Invariant 6: while one node's filter is rewritten, resized and moved, and others come and go and take its slots, every lookup
// finds the node once, by a key that it never loses and by two of which it always has one. Lookups are longer and shorter than
// the changes, so that they begin and end at every stage of them.
func TestLookupDuringChanges(t *testing.T) {
	const subject, rounds = wire.NodeID(1), 200
	always, one, other := mixed(1), mixed(2), mixed(3)
	pause := slices.Repeat([]Key{mixed(4)}, 200)
	queries := [][]Key{
		{always},
		{one, other},
		{other, one},
		slices.Concat([]Key{one}, pause, []Key{other}),
		slices.Concat([]Key{other}, pause, []Key{one}),
	}
	var x Index
	x.Set(subject, of(9, always, one))
	var done atomic.Bool
	var lookups, missed atomic.Int64
	var readers sync.WaitGroup
	for _, query := range queries {
		readers.Go(func() {
			var dst []wire.NodeID
			for last := false; !last; {
				last = done.Load()
				dst = x.Lookup(dst[:0], query)
				slices.Sort(dst)
				if !slices.Contains(dst, subject) || len(slices.Compact(dst)) != len(dst) {
					missed.Add(1)
				}
				lookups.Add(1)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	filter := func(log2Bits uint8, keys ...Key) *Filter {
		for range usual.capacity(log2Bits) / 4 {
			keys = append(keys, Key(rng.Uint64()))
		}
		return of(log2Bits, keys...)
	}
	for range rounds {
		log2Bits := uint8(9 + rng.IntN(3))
		f, next := filter(log2Bits, always, other), filter(log2Bits, always, one)
		body := appendDelta(nil, diff(f, next))
		x.Set(subject, f)
		if err := x.ApplyDelta(subject, body); err != nil {
			t.Error(err)
		}
		x.Set(subject, filter(log2Bits, always, other))
		x.Set(subject, filter(log2Bits, always, one))
		for range 4 {
			id := subject + 1 + wire.NodeID(rng.IntN(40))
			if x.Remove(id); rng.IntN(3) > 0 {
				x.Set(id, filter(uint8(8+rng.IntN(3))))
			}
		}
	}
	done.Store(true)
	readers.Wait()
	checkRows(t, &x)
	t.Logf("%d lookups", lookups.Load())
	if missed.Load() != 0 {
		t.Errorf("%d of %d lookups missed the node or found one twice", missed.Load(), lookups.Load())
	}
}

func TestLookupAllocates(t *testing.T) {
	for _, nodes := range []int{36, 200} {
		x, query := meshOf(nodes, 100, "a.b.c")
		dst := make([]wire.NodeID, 0, nodes)
		if n := testing.AllocsPerRun(100, func() { dst = x.Lookup(dst[:0], query) }); n != 0 { // invariant 7
			t.Errorf("%d nodes: %v allocations", nodes, n)
		}
	}
}

// What the index says of its memory and of false positives is what its filters are.
func TestIndexOfItself(t *testing.T) {
	var x Index
	if x.Bytes() != 0 || x.FalsePositiveRate() != 0 {
		t.Errorf("an empty index: %d bytes, rate %v", x.Bytes(), x.FalsePositiveRate())
	}
	some, none := of(6, keyA, keyA+1), of(6)
	x.Set(1, some)
	x.Set(2, none)
	if got, want := x.FalsePositiveRate(), some.FalsePositiveRate()/2; got != want || got <= 0 {
		t.Errorf("rate %v, want %v", got, want)
	}
	rows := 8 * len(x.classes()[0].rows)
	if got, want := x.Bytes(), 8*(len(some.words)+len(none.words))+rows; got != want || rows == 0 {
		t.Errorf("%d bytes, want %d", got, want)
	}
}
