package channel

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"

	"pgregory.net/rapid"
)

// TestBatchRoundTrip: what is added comes out again, in order, and a batch is valid and never over its bounds.
func TestBatchRoundTrip(t *testing.T) {
	var b Batch // one for all runs, as it is reused
	rapid.Check(t, func(t *rapid.T) {
		b.Reset()
		var want [][]byte
		for i, n := range rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 127, 128, 5000, MaxBatchLen}), 1, 1500).Draw(t, "lengths") {
			payload := bytes.Repeat([]byte{byte(i)}, n)
			if !b.Add(payload) {
				break
			}
			want = append(want, payload)
		}
		if len(want) == 0 {
			return
		}
		m := Message{Tenant: "t", Channel: "c", Batch: true, Payload: b.Payload()}
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(m.Payloads)
		if len(want) != b.Len() || m.Count() != len(want) || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%d payloads of %d, counted %d", len(got), len(want), m.Count())
		}
	})
}

func TestBatchInvalid(t *testing.T) {
	for name, payload := range map[string][]byte{
		"empty":            nil,
		"no message":       {0},
		"count overflows":  {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"too many":         append([]byte{0x81, 0x08}, make([]byte, 1025)...),
		"one missing":      {2, 1, 'x'},
		"one too many":     {1, 1, 'x', 0},
		"truncated length": {1, 0x80},
		"truncated":        {1, 2, 'x'},
		"length overflows": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"too long":         append([]byte{1, 0x81, 0x80, 1}, make([]byte, MaxBatchLen)...),
	} {
		m := Message{Tenant: "t", Channel: "c", Batch: true, Payload: payload}
		if err := m.Validate(); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := Message{Tenant: "t", Channel: "c", Mode: DeliverRandom, Batch: true, Payload: []byte{1, 0}}
	if err := m.Validate(); !errors.Is(err, ErrMode) {
		t.Errorf("for one: %v", err)
	}
}

// FuzzBatch: whatever Validate lets pass, Payloads and Count agree on, and adding it up again yields a batch that means the same.
func FuzzBatch(f *testing.F) {
	f.Add([]byte{2, 1, 'x', 0})
	f.Add([]byte{1, 0x80, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		defer alloc.Bound(t, 64*len(payload))()
		m := Message{Tenant: "t", Channel: "c", Batch: true, Payload: payload}
		if m.Validate() != nil {
			return
		}
		var again Batch
		for p := range m.Payloads {
			if !again.Add(p) && len(payload) < MaxBatchLen-16 {
				t.Fatalf("payload %d does not fit again", again.Len())
			}
		}
		if len(payload) < MaxBatchLen-16 && again.Len() != m.Count() {
			t.Fatalf("%d payloads, count %d", again.Len(), m.Count())
		}
	})
}

func TestBatchAllocatesNothing(t *testing.T) {
	var b Batch
	payload := make([]byte, 100)
	fill := func() {
		b.Reset()
		for b.Add(payload) {
		}
		m := Message{Tenant: "acme", Channel: "a.b.c", Batch: true, Payload: b.Payload()}
		if m.Validate() != nil {
			t.Fatal("not valid")
		}
		for p := range m.Payloads {
			_ = p
		}
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
