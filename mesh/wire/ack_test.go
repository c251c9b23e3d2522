package wire

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestAckRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Ack{
			Boot: rapid.Uint64().Draw(t, "boot"), OriginBoot: rapid.Uint64().Draw(t, "origin boot"),
			Floor: rapid.Uint64Max(1<<40).Draw(t, "floor"), Newest: rapid.Uint64().Draw(t, "newest"), Ranges: []Range{},
			Refused: []uint64{},
		}
		at := want.Floor
		for range rapid.IntRange(0, MaxRanges).Draw(t, "ranges") {
			first := at + rapid.Uint64Range(1, 1<<30).Draw(t, "gap")
			last := first + rapid.Uint64Max(1<<30).Draw(t, "length")
			want.Ranges = append(want.Ranges, Range{first, last})
			at = last
		}
		at = 0
		for range rapid.IntRange(0, MaxRefused).Draw(t, "refused") {
			at += rapid.Uint64Range(1, 1<<30).Draw(t, "gap")
			want.Refused = append(want.Refused, at)
		}
		got := Ack{Ranges: []Range{}, Refused: []uint64{}}
		if err := ParseAck(AppendAck(nil, &want), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestAckFaults(t *testing.T) {
	for name, test := range map[string]struct {
		hex  string
		want error
	}{
		"no gap before a range": {"07 01 01 05 09 00 01 00 00", ErrMalformed},
		"range wraps":           {"07 01 01 05 09 00 01 01 ff ff ff ff ff ff ff ff ff 01", ErrMalformed},
		"gap wraps":             {"07 01 01 05 09 00 01 ff ff ff ff ff ff ff ff ff 01 00", ErrMalformed},
		"too many ranges":       {"07 01 01 05 09 00 41", ErrLimit},
		"held too long":         {"07 01 01 05 09 81 80 80 80 80 20 00", ErrLimit},
		"refused twice":         {"07 01 01 05 09 00 00 02 05 00", ErrMalformed},
		"refused wraps":         {"07 01 01 05 09 00 00 02 05 ff ff ff ff ff ff ff ff ff 01", ErrMalformed},
		"too many refused":      {"07 01 01 05 09 00 00 81 08", ErrLimit},
		"another kind":          {"06 01 01 05 09 00 00", ErrMalformed},
	} {
		if _, err := parseAck(unhex(t, test.hex)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
