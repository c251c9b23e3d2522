package wsgate

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBatch: the segments are the frames in order, with no more pieces than long frames ask for.
func TestBatch(t *testing.T) {
	var b batch // one for all runs, as it is reused
	rapid.Check(t, func(t *rapid.T) {
		var want []byte
		replies := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "replies")
		b.reply(replies)
		want = append(want, replies...)
		long := 0
		for i, n := range rapid.SliceOfN(rapid.SampledFrom([]int{1, 100, joinBelow - 1, joinBelow, 60_000}), 0, 20).Draw(t, "lengths") {
			frame := bytes.Repeat([]byte{byte(i)}, n)
			b.add(frames{bytes: frame, messages: 1})
			want = append(want, frame...)
			if n >= joinBelow {
				long++
			}
		}
		segments := b.segments()
		if len(segments) > 2*long+1 {
			t.Fatalf("%d segments for %d long frames", len(segments), long)
		}
		if got := slices.Concat(segments...); !bytes.Equal(got, want) || b.bytes != len(want) {
			t.Fatalf("%d bytes in segments, %d counted, want %d", len(got), b.bytes, len(want))
		}
		b.clear()
		if b.bytes != 0 || len(b.segments()) != 0 {
			t.Fatal("not cleared")
		}
	})
}

// TestFrameQueue against a slice.
func TestFrameQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q frameQueue
		var model []frames
		total, messages := 0, 0
		for i := range rapid.IntRange(1, 300).Draw(t, "operations") {
			if len(model) > 0 && rapid.IntRange(0, 2).Draw(t, "pop") == 0 {
				if got := q.pop(); !bytes.Equal(got.bytes, model[0].bytes) {
					t.Fatalf("popped % x, want % x", got.bytes, model[0].bytes)
				}
				total -= len(model[0].bytes)
				messages -= model[0].messages
				model = model[1:]
			} else {
				frame := frames{bytes: bytes.Repeat([]byte{byte(i)}, rapid.IntRange(1, 5).Draw(t, "length")), messages: rapid.IntRange(1, 3).Draw(t, "messages")}
				q.push(frame)
				model = append(model, frame)
				total += len(frame.bytes)
				messages += frame.messages
			}
			if q.len() != messages || q.bytes != total {
				t.Fatalf("%d messages of %d bytes, want %d of %d", q.len(), q.bytes, messages, total)
			}
		}
		for q.len() > 0 {
			q.pop()
		}
		if len(q.slots) > keptSlots {
			t.Fatalf("%d slots kept", len(q.slots))
		}
	})
}
