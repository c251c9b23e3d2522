package interest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// filled is a filter with n seeded keys at the size that a Local gives them.
func filled(rng *rand.Rand, n int) *Filter {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = exactKey(rng.Uint64())
	}
	return of(usual.leastFor(n), keys...)
}

func (f *Filter) clone() *Filter {
	g := *f
	g.words = slices.Clone(f.words)
	return &g
}

func (f *Filter) equal(g *Filter) bool {
	return f.shape == g.shape && f.keys == g.keys && f.ones == g.ones && slices.Equal(f.words, g.words)
}

// TestFalsePositiveRate measures at the worst load, a filter filled to its capacity, and half way.
func TestFalsePositiveRate(t *testing.T) {
	const queries = 20_000
	for _, n := range []int{6, 13, 26, 53, 106, 427, 1709, 6837, 27349, 1000, 20, 3} {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		hits, estimate, trials := 0, 0.0, max(1, 2000/n)
		for range trials {
			f := filled(rng, n)
			estimate += f.FalsePositiveRate() / float64(trials)
			for range queries / trials {
				if f.Has(exactKey(rng.Uint64())) {
					hits++
				}
			}
		}
		rate := float64(hits) / float64(queries/trials*trials)
		t.Logf("%6d keys: measured %.4f, estimated %.4f", n, rate, estimate)
		if rate > 0.015 {
			t.Errorf("%d keys: %.2f %% false positives, want 1.5 %% at most", n, 100*rate)
		}
		if estimate > 1.5*rate+0.001 || estimate < rate/1.5-0.001 {
			t.Errorf("%d keys: estimated %.4f, measured %.4f", n, estimate, rate)
		}
	}
}

func TestCapacity(t *testing.T) {
	for log2Bits, want := range map[uint8]int{6: 6, 7: 13, 14: 1709, 24: 1750361} {
		if got := usual.capacity(log2Bits); got != want {
			t.Errorf("capacity(%d) = %d, want %d", log2Bits, got, want)
		}
	}
}

// TestFitHysteresis walks n up and down: a size changes only at its edges, and never back at the next step.
func TestFitHysteresis(t *testing.T) {
	for log2Bits := uint8(minLog2Bits); log2Bits <= maxLog2Bits; log2Bits++ {
		full := usual.capacity(log2Bits)
		if got := usual.fit(log2Bits, full); got != log2Bits {
			t.Errorf("2^%d bits at capacity become 2^%d", log2Bits, got)
		}
		grown := usual.fit(log2Bits, full+1)
		if log2Bits < maxLog2Bits && (grown != log2Bits+1 || usual.fit(grown, full) != grown) {
			t.Errorf("2^%d bits past capacity become 2^%d, then 2^%d", log2Bits, grown, usual.fit(grown, full))
		}
		low := (full + 3) / 4
		if got := usual.fit(log2Bits, low); got != log2Bits {
			t.Errorf("2^%d bits at a quarter become 2^%d", log2Bits, got)
		}
		shrunk := usual.fit(log2Bits, low-1)
		if log2Bits > minLog2Bits && (shrunk >= log2Bits || usual.fit(shrunk, low) != shrunk || usual.fit(shrunk, low-2) != shrunk) {
			t.Errorf("2^%d bits below a quarter become 2^%d and do not stay", log2Bits, shrunk)
		}
	}
	if got := usual.fit(maxLog2Bits, 10_000_000); got != maxLog2Bits {
		t.Errorf("10,000,000 keys in 2^%d bits", got)
	}
}

// Invariant 4: a delta for another filter changes nothing.
func TestApplyRefuses(t *testing.T) {
	f := newFilter(ownShape(6))
	f.apply(delta{log2Bits: 6, keys: 1, set: []uint32{3, 5}})
	before := f.clone()
	for _, tc := range []struct {
		name string
		body []byte
		want error
	}{
		{"other size", appendDelta(nil, delta{log2Bits: 7, keys: 1, set: []uint32{4}}), ErrBase},
		{"set already", appendDelta(nil, delta{log2Bits: 6, keys: 1, set: []uint32{4, 5}}), ErrBase},
		{"clear already", appendDelta(nil, delta{log2Bits: 6, keys: 1, set: []uint32{4}, cleared: []uint32{3, 6}}), ErrBase},
		{"bits without keys", appendDelta(nil, delta{log2Bits: 6, keys: 0, set: []uint32{4}}), ErrBase},
		{"keys without bits", appendDelta(nil, delta{log2Bits: 6, keys: 1, cleared: []uint32{3, 5}}), ErrBase},
		{"too few keys", appendDelta(nil, delta{log2Bits: 6, keys: 1, set: []uint32{6, 7, 8, 9, 10, 11, 12}}), ErrBase},
		{"full", before.AppendFull(nil), ErrMalformed},
		{"empty", nil, ErrMalformed},
	} {
		if err := f.Apply(tc.body); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if !f.equal(before) {
			t.Fatalf("%s: the filter was changed", tc.name)
		}
	}
	if err := f.Apply(appendDelta(nil, delta{log2Bits: 6, keys: 0, cleared: []uint32{3, 5}})); err != nil {
		t.Errorf("a fitting delta: %v", err)
	}
	if f.Len() != 0 || f.ones != 0 || f.FalsePositiveRate() != 0 {
		t.Errorf("%d keys, %d bits are left", f.Len(), f.ones)
	}
}
