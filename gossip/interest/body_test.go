package interest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
)

func unhex(t testing.TB, spaced string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(spaced, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// of is a filter of our own shape with the given keys.
func of(log2Bits uint8, keys ...Key) *Filter { return shaped(ownShape(log2Bits), keys) }

// shaped is a filter of the given shape with the given keys, made without a Local.
func shaped(s shape, keys []Key) *Filter {
	f := newFilter(s)
	for _, key := range keys {
		form := s.formRow(key)
		f.words[form/64] |= 1 << (form % 64)
		p := s.probe(key)
		for range s.hashes {
			position := p.next()
			f.words[position/64] |= 1 << (position % 64)
		}
	}
	f.keys, f.ones = len(keys), countOnes(f.words)
	return f
}

// Positions of the two keys at 64 bits: 1 11 37 38 40 56 57 and the form's 127, and 0 6 19 21 27 51 57 and 66.
const (
	keyA  Key = 0x2f994d47a99b66bf // "a"
	keyAB Key = 0x021b4bf248ba2602 // "a.b.#"
)

func TestFullGolden(t *testing.T) {
	for _, tc := range []struct {
		name   string
		filter *Filter
		body   string
	}{
		{"no interest", of(6), "01 06 07 00 01 00"},
		{"sparse", of(6, keyA), "01 06 07 01 01 08 01 09 19 00 01 0f 00 45"},
		{"raw", of(6, keyA, keyAB), "01 06 07 02 00 43 08 28 08 60 01 08 03 04 00 00 00 00 00 00 80"},
		{"larger", of(9, keyA), "01 09 07 01 01 08 0d 51 cd 01 09 0b 83 01 02 74"},
	} {
		body := unhex(t, tc.body)
		if got := tc.filter.AppendFull([]byte{0xff}); !bytes.Equal(got[1:], body) || got[0] != 0xff {
			t.Errorf("%s: AppendFull = % x, want % x", tc.name, got[1:], body)
		}
		if got := tc.filter.fullLen(); got != len(body) {
			t.Errorf("%s: fullLen = %d, want %d", tc.name, got, len(body))
		}
		f, err := ParseFull(body)
		if err != nil || !f.equal(tc.filter) {
			t.Errorf("%s: ParseFull = %+v, %v", tc.name, f, err)
		}
		for n := range body {
			if _, err := ParseFull(body[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d bytes: %v", tc.name, n, err)
			}
		}
	}
}

func TestDeltaGolden(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to *Filter
		body     string
	}{
		{"first key", of(6), of(6, keyA), "02 01 06 08 01 09 19 00 01 0f 00 45 00"},
		{"last key", of(6, keyA), of(6), "02 00 06 00 08 01 09 19 00 01 0f 00 45"},
		{"one for another", of(6, keyA), of(6, keyAB), "02 01 06 07 00 05 0c 01 05 17 0e 07 01 09 19 00 01 0f 46"},
		{"same", of(6, keyA), of(6, keyA), "02 01 06 00 00"},
	} {
		body := unhex(t, tc.body)
		if got := appendDelta([]byte{0xff}, diff(tc.from, tc.to)); !bytes.Equal(got[1:], body) || got[0] != 0xff {
			t.Errorf("%s: appendDelta = % x, want % x", tc.name, got[1:], body)
		}
		f := tc.from.clone()
		if err := f.Apply(body); err != nil || !f.equal(tc.to) {
			t.Errorf("%s: Apply: %v, %+v, want %+v", tc.name, err, f, tc.to)
		}
		for n := range body {
			if err := tc.from.Apply(body[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d bytes: %v", tc.name, n, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"full: kind":                 "03 06 07 00 01 00",
		"full: size below 64":        "01 05 07 00 01 00",
		"full: size above 2^24":      "01 19 07 00 01 00",
		"full: no positions":         "01 06 00 00 01 00",
		"full: 17 positions":         "01 06 11 00 01 00",
		"full: keys above 2^24":      "01 06 07 81 80 80 08 01 00",
		"full: keys, long varint":    "01 06 07 80 00 01 00",
		"full: encoding":             "01 06 07 00 02 00",
		"full: trailing":             "01 06 07 00 01 00 00",
		"full: raw, short":           "01 06 07 01 00 01 00 00 00 00 00 00 00 80 00 00 00 00 00 00",
		"full: raw, long":            "01 06 07 01 00 01 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00 00",
		"full: position 128":         "01 06 07 01 01 02 00 80 01",
		"full: positions up to 128":  "01 06 07 01 01 02 7f 00",
		"full: gap overflows":        "01 06 07 01 01 02 01 ff ff ff ff ff ff ff ff ff 01",
		"full: varint overflows":     "01 06 07 01 01 01 ff ff ff ff ff ff ff ff ff 02",
		"full: absurd count":         "01 06 07 01 01 80 80 80 80 80 80 80 80 80 01 00",
		"full: bits without keys":    "01 06 07 00 01 01 00",
		"full: keys without bits":    "01 06 07 01 01 00",
		"full: 9 bits, 1 key, k = 7": "01 06 07 01 00 ff 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
		"full: one bit":              "01 06 07 01 01 01 00",
		"full: sparse, not shorter":  "01 06 07 02 01 0f 00 00 04 04 07 01 05 09 00 01 0a 04 00 08 3c",
		"delta: kind":                "01 01 06 01 00 00",
		"delta: size":                "02 01 05 01 00 00",
		"delta: keys above 2^24":     "02 81 80 80 08 06 01 00 00",
		"delta: set 128":             "02 01 06 01 80 01 00",
		"delta: cleared 128":         "02 01 06 00 01 80 01",
		"delta: absurd count":        "02 01 06 ff ff ff ff 0f 00",
		"delta: count, long varint":  "02 01 06 81 00 00 00",
		"delta: trailing":            "02 01 06 01 00 00 00",
	} {
		kind, _, _ := strings.Cut(name, ":")
		_, err := ParseFull(unhex(t, body))
		if kind == "delta" {
			_, err = parseDelta(unhex(t, body))
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Invariant 8: what a body can make us allocate.
func TestParseAllocates(t *testing.T) {
	const slack = 64 << 10                                                // for the error, and for what else the test binary allocates meanwhile
	long := append(unhex(t, "02 01 18 80 80 04"), make([]byte, 1<<16)...) // 65,536 positions in 65,536 bytes, then nothing
	for _, tc := range []struct {
		name  string
		body  []byte
		limit uint64
	}{
		{"largest filter of one bit", unhex(t, "01 18 07 01 01 01 00"), 2<<20 + slack},
		{"largest filter, position missing", unhex(t, "01 18 07 01 01 02 00"), slack},
		{"largest filter, bits missing", unhex(t, "01 18 07 01 00 00 00"), slack},
		{"count without positions", unhex(t, "01 18 07 01 01 80 80 80 08"), slack},
		{"delta", long, 4*uint64(len(long)) + slack},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if tc.body[0] == BodyFull {
			_, _ = ParseFull(tc.body)
		} else {
			_, _ = parseDelta(tc.body)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > tc.limit {
			t.Errorf("%s: %d bytes allocated, want %d at most", tc.name, got, tc.limit)
		}
	}
}

func FuzzParseFull(f *testing.F) {
	for _, filter := range []*Filter{of(6), of(6, keyA), of(6, keyA, keyAB), of(9, keyA)} {
		f.Add(filter.AppendFull(nil))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		defer alloc.Bound(t, 8<<20+64*len(body))()
		filter, err := ParseFull(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again := filter.AppendFull(nil)
		if len(again) > len(body) || len(again) == len(body) && !bytes.Equal(again, body) {
			t.Fatalf("% x became % x", body, again)
		}
		if copied, err := ParseFull(again); err != nil || !copied.equal(filter) {
			t.Fatalf("% x reads %+v, %v", again, copied, err)
		}
		if rate := filter.FalsePositiveRate(); rate < 0 || rate > 1 {
			t.Fatalf("rate of false positives %v", rate)
		}
	})
}

// FuzzParseDelta holds that a delta has one spelling, and that filter and index do all or nothing, alike.
func FuzzParseDelta(f *testing.F) {
	base := of(6, keyA)
	for _, to := range []*Filter{of(6), of(6, keyAB), of(6, keyA, keyAB)} {
		f.Add(appendDelta(nil, diff(base, to)))
	}
	f.Add(appendDelta(nil, diff(of(9), of(9, keyA))))
	f.Fuzz(func(t *testing.T, body []byte) {
		defer alloc.Bound(t, 64*len(body))()
		if d, err := parseDelta(body); err == nil {
			if again := appendDelta(nil, d); !bytes.Equal(again, body) {
				t.Fatalf("% x became % x", body, again)
			}
		}
		filter := base.clone()
		var index Index
		index.Set(1, base.clone())
		err := filter.Apply(body)
		if (index.ApplyDelta(1, body) == nil) != (err == nil) {
			t.Fatalf("the filter says %v, the index does not", err)
		}
		if err != nil && !filter.equal(base) {
			t.Fatal("a refused delta changed the filter")
		}
		if filter.ones != countOnes(filter.words) {
			t.Fatalf("%d bits counted as %d", countOnes(filter.words), filter.ones)
		}
		checkRows(t, &index)
	})
}
