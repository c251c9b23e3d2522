package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitFrame(t *testing.T) {
	for _, test := range []struct {
		name, in    string
		limit       int
		frame, rest string
		need        int
		err         error
	}{
		{name: "nothing", limit: 4, need: 1},
		{name: "half a length", in: "80", limit: 200, rest: "80", need: 2},
		{name: "length only", in: "03", limit: 4, rest: "03", need: 4},
		{name: "all but a byte", in: "03 0a 0b", limit: 4, rest: "03 0a 0b", need: 4},
		{name: "a frame", in: "03 0a 0b 0c", limit: 4, frame: "0a 0b 0c"},
		{name: "a frame and more", in: "03 0a 0b 0c 05 01", limit: 4, frame: "0a 0b 0c", rest: "05 01"},
		{name: "at the limit", in: "04 01 02 03 04", limit: 4, frame: "01 02 03 04"},
		{name: "over the limit", in: "05", limit: 4, rest: "05", err: ErrLimit},
		{name: "far over the limit", in: "ff ff ff ff 7f", limit: MaxControlFrame, rest: "ff ff ff ff 7f", err: ErrLimit},
		{name: "length of two bytes", in: "80 01 07", limit: 128, rest: "80 01 07", need: 130},
		{name: "empty frame", in: "00 01", limit: 4, rest: "00 01", err: ErrMalformed},
		{name: "padded length", in: "81 00 07", limit: 4, rest: "81 00 07", err: ErrMalformed},
		{name: "padded zero", in: "80 00", limit: 4, rest: "80 00", err: ErrMalformed},
		{name: "four bytes of an endless length", in: "ff ff ff ff", limit: 4, rest: "ff ff ff ff", need: 5},
		{name: "five bytes of an endless length", in: "ff ff ff ff ff", limit: 4, rest: "ff ff ff ff ff", err: ErrMalformed},
		{name: "length of six bytes", in: "ff ff ff ff ff 01", limit: 4, rest: "ff ff ff ff ff 01", err: ErrMalformed},
		{name: "padded to six bytes", in: "81 80 80 80 80 00 07", limit: 4, rest: "81 80 80 80 80 00 07", err: ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			frame, rest, need, err := SplitFrame(unhex(t, test.in), test.limit)
			if !bytes.Equal(frame, unhex(t, test.frame)) || !bytes.Equal(rest, unhex(t, test.rest)) ||
				need != test.need || !errors.Is(err, test.err) {
				t.Errorf("% x | % x | %d | %v, want %s | %s | %d | %v",
					frame, rest, need, err, test.frame, test.rest, test.need, test.err)
			}
			if test.frame == "" && frame != nil {
				t.Errorf("frame %v, want nil", frame)
			}
		})
	}
}

// splitAll takes every whole frame off b and returns copies.
func splitAll(tb testing.TB, b []byte, limit int) (frames [][]byte, rest []byte, need int) {
	tb.Helper()
	for {
		frame, rest, need, err := SplitFrame(b, limit)
		if err != nil {
			tb.Fatal(err)
		}
		if frame == nil {
			return frames, rest, need
		}
		frames, b = append(frames, bytes.Clone(frame)), rest
	}
}

// testFrames are frames around the lengths at which the prefix grows.
func testFrames() (frames [][]byte, stream []byte) {
	for i, n := range []int{1, 2, 127, 128, 129, 1, 300} {
		frame := bytes.Repeat([]byte{byte(i + 1)}, n)
		frames = append(frames, frame)
		stream = AppendFrame(stream, frame[:n/2], frame[n/2:])
	}
	return frames, stream
}

func TestSplitFrameCutAnywhere(t *testing.T) {
	want, stream := testFrames()
	for cut := range len(stream) + 1 {
		frames, rest, need := splitAll(t, stream[:cut], 300)
		if need <= len(rest) || need-len(rest) > len(stream)-cut && cut < len(stream) {
			t.Fatalf("cut at %d: need %d of %d and %d to come", cut, need, len(rest), len(stream)-cut)
		}
		more, rest, _ := splitAll(t, slices.Concat(rest, stream[cut:]), 300)
		if got := slices.Concat(frames, more); len(rest) != 0 || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("cut at %d: %d frames and %d bytes, want %d", cut, len(got), len(rest), len(want))
		}
	}
}

// A reader that asks the stream for just what SplitFrame needs gets every frame and never waits for bytes of the next.
func TestSplitFrameNeed(t *testing.T) {
	want, stream := testFrames()
	var buf []byte
	taken := 0
	for i, frame := range want {
		for {
			got, rest, need, err := SplitFrame(buf, 300)
			if err != nil {
				t.Fatal(err)
			}
			if got != nil {
				if !bytes.Equal(got, frame) || len(rest) != 0 {
					t.Fatalf("frame %d: % x and %d bytes more, want % x", i, got, len(rest), frame)
				}
				buf = nil
				break
			}
			missing := need - len(buf)
			buf = append(buf, stream[taken:taken+missing]...)
			taken += missing
		}
	}
	if taken != len(stream) {
		t.Errorf("took %d bytes of %d", taken, len(stream))
	}
}

// What a stream turns out to be does not depend on where it is cut: an error stays one as more arrives.
func TestSplitFrameStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SliceOfN(rapid.SampledFrom([]byte{0x00, 0x01, 0x7f, 0x80, 0x81, 0xff}), 0, 12).Draw(t, "prefix")
		stream := append(prefix, bytes.Repeat([]byte{1}, 128)...)
		limit := rapid.IntRange(1, 256).Draw(t, "limit")
		wantFrame, _, _, wantErr := SplitFrame(stream, limit)
		for cut := range stream {
			frame, _, need, err := SplitFrame(stream[:cut], limit)
			switch {
			case err != nil && (wantErr == nil || err.Error() != wantErr.Error()):
				t.Fatalf("%d bytes: %v, all: %v", cut, err, wantErr)
			case frame != nil && !bytes.Equal(frame, wantFrame):
				t.Fatalf("%d bytes: frame % x, all: % x", cut, frame, wantFrame)
			case err == nil && frame == nil && need <= cut:
				t.Fatalf("%d bytes: no frame, no error, need %d", cut, need)
			}
		}
	})
}

func TestFrameKeepsNext(t *testing.T) {
	stream := AppendFrame(AppendFrame(nil, []byte{1, 2}, nil), nil, []byte{3, 4})
	frame, rest, _, err := SplitFrame(stream, 2)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(frame, 9, 9, 9)
	if next, _, _, err := SplitFrame(rest, 2); err != nil || !bytes.Equal(next, []byte{3, 4}) {
		t.Errorf("next frame % x, %v", next, err)
	}
}

// The largest of each message fits the frame, or the metadata, that carries it.
func TestLargestFits(t *testing.T) {
	message := largestMessage()
	digest := Digest{From: 1, Entries: make([]DigestEntry, MaxDigest)}
	for i := range digest.Entries {
		digest.Entries[i] = DigestEntry{1<<64 - 1, RecordInterest, Stamp{1<<64 - 1, 1<<64 - 1}}
	}
	record := signed(Record{
		Boot: 1<<64 - 1, Kind: RecordInterest, Version: 1<<64 - 1, Base: 1<<64 - 2, Body: make([]byte, MaxRecordBody),
	})
	links := make([]Link, MaxLinks)
	for i := range links {
		links[i] = Link{NodeID(i + 1), 1<<32 - 1}
	}
	meta := largestMeta()
	for _, test := range []struct {
		name  string
		bytes []byte
		limit int
	}{
		{"message", appender(message)(nil), MaxFrame},
		{"digest", AppendDigest(nil, KindDigest, &digest), MaxControlFrame},
		{"record", AppendRecords(nil, record.Raw), MaxControlFrame},
		{"links", AppendLinks(nil, links), MaxRecordBody},
		{"meta", appendMeta(nil, &meta), MaxMeta},
	} {
		if len(test.bytes) > test.limit {
			t.Errorf("%s of %d bytes, at most %d", test.name, len(test.bytes), test.limit)
		}
	}
	for _, limit := range []int{MaxFrame, MaxControlFrame} {
		if n := len(binary.AppendUvarint(nil, uint64(limit))); n > binary.MaxVarintLen32 {
			t.Errorf("length of a frame of %d takes %d bytes", limit, n)
		}
	}
}
