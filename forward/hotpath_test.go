//go:build !race

// The race detector has pools forget at random.

package forward

import (
	"fmt"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// TestRelayAllocatesNothing: what passes through a node costs it no memory but that of its links' buffers.
func TestRelayAllocatesNothing(t *testing.T) {
	for _, neighbours := range []int{2, 9} {
		h := newHub(t, neighbours)
		frame, m := h.relayed(128), new(wire.Message)
		if n := testing.AllocsPerRun(200, func() { h.relay(t, frame, m) }); n != 0 {
			t.Errorf("%v allocations with %d neighbours", n, neighbours)
		}
		if got := h.counters.Relayed.Load(); got != uint64((neighbours-1)*201) {
			t.Errorf("%d messages relayed", got)
		}
	}
}

// TestOriginAllocates at most two pieces of memory for a message: what it keeps until all have acknowledged it.
func TestOriginAllocates(t *testing.T) {
	h := newHub(t, 4)
	m := &wire.Message{Tenant: []byte("t"), Channel: []byte("some.channel"), Payload: make([]byte, 128)}
	if n := testing.AllocsPerRun(200, func() { h.spread(t, m) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
	if s := h.flights.state(); s.Outgoing != 0 || h.flights.bytes.Load() != 0 {
		t.Errorf("%+v left, %d bytes", s, h.flights.bytes.Load())
	}
}

// BenchmarkRelay is a step of a relay: parse, split by next hop, write a new head for each, queue and flush, to so many links.
func BenchmarkRelay(b *testing.B) {
	for _, neighbours := range []int{2, 9, 33} {
		b.Run(fmt.Sprintf("links=%d", neighbours-1), func(b *testing.B) {
			h := newHub(b, neighbours)
			frame, m := h.relayed(128), new(wire.Message)
			b.ReportAllocs()
			for b.Loop() {
				h.relay(b, frame, m)
			}
		})
	}
}

// BenchmarkOrigin is a step of the origin: enter into the in-flight tables, split, queue and flush, and take the acknowledgements.
func BenchmarkOrigin(b *testing.B) {
	for _, neighbours := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("destinations=%d", neighbours), func(b *testing.B) {
			h := newHub(b, neighbours)
			m := &wire.Message{Tenant: []byte("t"), Channel: []byte("some.channel"), Payload: make([]byte, 128)}
			b.ReportAllocs()
			for b.Loop() {
				h.spread(b, m)
			}
		})
	}
}
