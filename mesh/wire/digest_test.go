package wire

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

// Invariant 3.
func TestDigestLimits(t *testing.T) {
	for n, want := range map[int]error{0: nil, MaxDigest: nil, MaxDigest + 1: ErrLimit} {
		d := Digest{From: 1, Entries: slices.Repeat([]DigestEntry{{Origin: 2, Kind: RecordLinks}}, n)}
		for _, kind := range []Kind{KindDigest, KindWant, KindAsk, KindHave} {
			gotKind, got, err := ParseDigest(AppendDigest(nil, kind, &d))
			if !errors.Is(err, want) || want == nil && (gotKind != kind || !slices.Equal(got.Entries, d.Entries)) {
				t.Errorf("%d entries: %v, want %v", n, err, want)
			}
		}
	}
}

func TestDigestMalformed(t *testing.T) {
	good := DigestEntry{Origin: 2, Kind: RecordInterest, Stamp: Stamp{1, 1}}
	for name, d := range map[string]Digest{
		"no sender":     {Entries: []DigestEntry{good}},
		"no origin":     {From: 1, Entries: []DigestEntry{good, {Kind: RecordLinks}}},
		"record kind 0": {From: 1, Entries: []DigestEntry{{Origin: 2}}},
		"record kind 3": {From: 1, Entries: []DigestEntry{{Origin: 2, Kind: 3}, good}},
	} {
		if _, got, err := ParseDigest(AppendDigest(nil, KindWant, &d)); got.Entries != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, ErrMalformed)
		}
	}
	frame := golden(t, "digest")
	for kind := range 256 {
		frame[0] = byte(kind)
		got, _, err := ParseDigest(frame)
		if Kind(kind).IsDigest() {
			if err != nil || got != Kind(kind) {
				t.Errorf("kind %d: %d, %v", kind, got, err)
			}
		} else if got != 0 || !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %d, %v, want %v", kind, got, err, ErrMalformed)
		}
	}
}

func TestProbeKind(t *testing.T) {
	for kind := range 256 {
		p, err := ParseProbe(AppendProbe(nil, Probe{Kind: Kind(kind), Seq: 1}))
		if Kind(kind) == KindProbe || Kind(kind) == KindEcho {
			if err != nil || p.Kind != Kind(kind) {
				t.Errorf("kind %d: %+v, %v", kind, p, err)
			}
		} else if p != (Probe{}) || !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %+v, %v, want %v", kind, p, err, ErrMalformed)
		}
	}
}

// Held travels in whole microseconds, rounded down, and stops at the ends of its field.
func TestProbeHeld(t *testing.T) {
	const most = (1<<32 - 1) * time.Microsecond
	for held, want := range map[time.Duration]time.Duration{
		0:                       0,
		-1:                      0,
		math.MinInt64:           0,
		999:                     0,
		1999:                    time.Microsecond,
		most:                    most,
		most + 999:              most,
		most + time.Microsecond: most,
		math.MaxInt64:           most,
	} {
		p, err := ParseProbe(AppendProbe(nil, Probe{Kind: KindEcho, Held: held}))
		if err != nil || p.Held != want {
			t.Errorf("held %v: %v, %v, want %v", held, p.Held, err, want)
		}
	}
}
