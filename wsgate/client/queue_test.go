package client

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestQueue: whatever comes and goes, a queue holds what its policy says, and never more than its size.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]Policy{DropOldest, Latest, Block}).Draw(t, "policy")
		size := rapid.IntRange(1, 5).Draw(t, "size")
		q := newQueue(Queue{Size: size, Policy: policy})
		var model []string // channel and number
		dropped, refused := 0, 0
		for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				m, ok := q.take()
				if ok != (len(model) > 0) || ok && m.Channel+string(m.Payload) != model[0] {
					t.Fatalf("took %+v, %v of %q", m, ok, model)
				}
				model = model[min(1, len(model)):]
				continue
			}
			channel, number := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"}).Draw(t, "channel"), fmt.Sprint(i)
			taken := q.push(Message{Channel: channel, Payload: []byte(number)})
			at := slices.IndexFunc(model, func(s string) bool { return policy == Latest && s[:1] == channel })
			switch {
			case at >= 0:
				model[at] = channel + number
				dropped++
			case len(model) < size:
				model = append(model, channel+number)
			case policy == Block:
				refused++
			default:
				model = append(model[1:], channel+number)
				dropped++
			}
			if taken != (refused == 0) {
				t.Fatalf("taken: %v", taken)
			}
			refused = 0
		}
		if int(q.dropped.Load()) != dropped || q.items.len() != len(model) || len(q.places) > size {
			t.Fatalf("%d dropped, want %d; %d wait, want %d; %d places", q.dropped.Load(), dropped, q.items.len(), len(model), len(q.places))
		}
		if waits := len(q.arrived) > 0; len(model) > 0 && !waits {
			t.Fatal("no signal for what waits")
		}
	})
}
