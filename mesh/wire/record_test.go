package wire

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// accepted reports whether a Records frame is taken and all its signatures hold.
func accepted(frame []byte) bool {
	records, err := ParseRecords(frame)
	return err == nil && !slices.ContainsFunc(records, func(r Record) bool { return r.Verify() != nil })
}

func TestVerify(t *testing.T) {
	for _, body := range [][]byte{nil, {0}, bytes.Repeat([]byte{7}, MaxRecordBody)} {
		r := signed(Record{Boot: 1, Kind: RecordInterest, Version: 1, Body: body})
		if err := r.Verify(); err != nil {
			t.Errorf("signed record with a body of %d bytes: %v", len(body), err)
		}
		if !accepted(AppendRecords(nil, r.Raw)) {
			t.Errorf("record with a body of %d bytes refused", len(body))
		}
	}
}

// Whichever bit of a record changes, the record is refused.
func TestBitFlips(t *testing.T) {
	frame := AppendRecords(nil, signed(Record{Boot: 300, Kind: RecordInterest, Version: 8, Base: 7, Body: []byte{0xde, 0xad}}).Raw)
	if !accepted(frame) {
		t.Fatal("the record itself is refused")
	}
	for bit := range 8 * len(frame) {
		frame[bit/8] ^= 1 << (bit % 8)
		if accepted(frame) {
			t.Errorf("taken with bit %d of byte %d changed", bit%8, bit/8)
		}
		frame[bit/8] ^= 1 << (bit % 8)
	}
}

func TestSignatureOfAnotherKey(t *testing.T) {
	const signature = ed25519.SignatureSize
	other, record := testKey(100), Record{Boot: 1, Kind: RecordLinks, Version: 2, Body: []byte{0}}
	mine, theirs, next := record, record, record
	next.Version++
	SignRecord(&mine, testKey(0))
	SignRecord(&theirs, other)
	SignRecord(&next, testKey(0))
	if mine.Origin == theirs.Origin || mine.Origin != IDOf(mine.Key) {
		t.Fatalf("origins %v and %v", mine.Origin, theirs.Origin)
	}

	body := mine.Raw[:len(mine.Raw)-signature]
	for name, raw := range map[string][]byte{
		"their key on my record":                 slices.Concat(theirs.Key, mine.Raw[ed25519.PublicKeySize:]),
		"their signature on my record":           slices.Concat(body, theirs.Raw[len(body):]),
		"their signature on just what I signed":  slices.Concat(body, ed25519.Sign(other, append([]byte(recordContext), body...))),
		"my signature of the next version":       slices.Concat(body, next.Raw[len(body):]),
		"my signature without the context":       slices.Concat(body, ed25519.Sign(testKey(0), body)),
		"my signature in another context":        slices.Concat(body, ed25519.Sign(testKey(0), append([]byte("fastpubsub record v2\x00"), body...))),
		"my signature over more than the record": slices.Concat(body, ed25519.Sign(testKey(0), append([]byte(recordContext), mine.Raw...))),
		"no signature":                           slices.Concat(body, make([]byte, signature)),
	} {
		records, err := ParseRecords(AppendRecords(nil, raw))
		if err != nil || len(records) != 1 {
			t.Fatalf("%s: %d records, %v", name, len(records), err)
		}
		if err := records[0].Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want %v", name, err, ErrSignature)
		}
	}

	// Fields that do not belong to Raw, which no parser makes.
	mine.Key = theirs.Key
	if err := mine.Verify(); !errors.Is(err, ErrSignature) {
		t.Errorf("my record under their key: %v, want %v", err, ErrSignature)
	}
	mine.Raw = slices.Concat(body, ed25519.Sign(other, append([]byte(recordContext), body...)))
	if err := mine.Verify(); !errors.Is(err, ErrSignature) {
		t.Errorf("my key in a record that they signed: %v, want %v", err, ErrSignature)
	}
}

func TestVerifyShort(t *testing.T) {
	r := signed(Record{Boot: 1, Kind: RecordLinks, Version: 1, Body: []byte{0}})
	for n := range r.Raw {
		short := r
		short.Raw = r.Raw[:n]
		if err := short.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("first %d bytes: %v, want %v", n, err, ErrSignature)
		}
	}
	for name, r := range map[string]Record{"zero": {}, "no key": {Raw: r.Raw}, "half a key": {Key: r.Key[:16], Raw: r.Raw}} {
		if err := r.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want %v", name, err, ErrSignature)
		}
	}
}

// Invariant 3.
func TestRecordLimits(t *testing.T) {
	for n, want := range map[int]error{MaxRecordBody: nil, MaxRecordBody + 1: ErrLimit} {
		r := signed(Record{Boot: 1, Kind: RecordInterest, Version: 1, Body: make([]byte, n)})
		records, err := ParseRecords(AppendRecords(nil, r.Raw))
		if !errors.Is(err, want) || want == nil && len(records[0].Body) != n {
			t.Errorf("body of %d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestRecordMalformed(t *testing.T) {
	for name, r := range map[string]Record{
		"kind 0":                {Kind: 0, Boot: 1, Version: 1},
		"kind 3":                {Kind: 3, Boot: 1, Version: 1},
		"boot 0":                {Kind: RecordLinks, Boot: 0, Version: 1},
		"version 0":             {Kind: RecordLinks, Boot: 1, Version: 0},
		"base at the version":   {Kind: RecordLinks, Boot: 1, Version: 1, Base: 1},
		"base over the version": {Kind: RecordLinks, Boot: 1, Version: 1, Base: 2},
	} {
		good := signed(Record{Boot: 1, Kind: RecordLinks, Version: 1})
		for at, raws := range [][][]byte{{signed(r).Raw}, {signed(r).Raw, good.Raw}, {good.Raw, signed(r).Raw}} {
			if records, err := ParseRecords(AppendRecords(nil, raws...)); records != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s (%d): %d records, %v, want %v", name, at, len(records), err, ErrMalformed)
			}
		}
	}
	frame := golden(t, "records")
	for kind := range 256 {
		frame[0] = byte(kind)
		if _, err := ParseRecords(frame); (err == nil) != (Kind(kind) == KindRecords) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}

// Invariant 3.
func TestLinksLimits(t *testing.T) {
	for n, want := range map[int]error{0: nil, MaxLinks: nil, MaxLinks + 1: ErrLimit} {
		links := make([]Link, n)
		for i := range links {
			links[i] = Link{NodeID(i + 1), 1<<32 - 1}
		}
		got, _, err := ParseLinks(AppendLinks(nil, links))
		if !errors.Is(err, want) || want == nil && !slices.Equal(got, links) {
			t.Errorf("%d links: %v, want %v", n, err, want)
		}
	}
}

func TestLinksMalformed(t *testing.T) {
	for name, links := range map[string][]Link{
		"node zero":      {{0, 1}},
		"a repeat":       {{5, 1}, {5, 1}},
		"descending":     {{5, 1}, {6, 1}, {4, 1}},
		"no cost":        {{5, 0}},
		"zero after all": {{5, 1}, {0, 1}},
	} {
		if got, _, err := ParseLinks(AppendLinks(nil, links)); got != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, ErrMalformed)
		}
	}
	for text, want := range map[string]error{
		"01 00 00 00 00 00 00 00 05 ff ff ff ff 0f": nil,
		"01 00 00 00 00 00 00 00 05 80 80 80 80 10": ErrMalformed, // a cost of 2^32 µs
	} {
		if _, _, err := ParseLinks(unhex(t, text)); !errors.Is(err, want) {
			t.Errorf("% s: %v, want %v", text, err, want)
		}
	}
}

func TestStampCompare(t *testing.T) {
	ascending := []Stamp{{0, 0}, {0, 1<<64 - 1}, {1, 0}, {1, 1}, {1, 2}, {2, 1}, {1<<63 - 1, 9}, {1 << 63, 1}, {1<<64 - 1, 1<<64 - 1}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Compare(b), cmp.Compare(i, j); got != want {
				t.Errorf("%v and %v: %d, want %d", a, b, got, want)
			}
		}
	}
	r := Record{Boot: 3, Version: 4}
	if got := r.Stamp(); got != (Stamp{Boot: 3, Version: 4}) {
		t.Errorf("stamp of the record %v", got)
	}
}

func TestStampOrder(t *testing.T) {
	stamps := rapid.Custom(func(t *rapid.T) Stamp {
		part := rapid.OneOf(rapid.Uint64Range(0, 2), rapid.Uint64())
		return Stamp{part.Draw(t, "boot"), part.Draw(t, "version")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := stamps.Draw(t, "a"), stamps.Draw(t, "b"), stamps.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%v and %v: %d and %d", a, b, a.Compare(b), b.Compare(a))
		}
		if (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: %d", a, b, a.Compare(b))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v <= %v <= %v, yet the first is over the last", a, b, c)
		}
	})
}
