package flight

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// inFlight is how many messages are under way in the benchmarks.
const inFlight = 100

// addAndAck enters a message and acknowledges the one before the last inFlight.
func addAndAck(o *Outgoing[int], now time.Time) {
	seq, _, _ := o.Add(now, 1, 7, 128, now.Add(5*time.Second))
	if done := seq - min(seq, inFlight); done > 0 {
		o.Ack(now, &wire.Ack{Floor: done, Newest: done})
	}
}

func receiveInOrder(in *Incoming[int], now time.Time, seq uint64, deliver Deliver[int], a *wire.Ack) {
	in.Receive(now, Arrival[int]{Seq: seq, Back: min(seq-1, 1), Ahead: min(seq-1, inFlight), Size: 128, Deadline: now.Add(5 * time.Second)}, deliver)
	if seq%inFlight == 0 {
		in.Ack(now.Add(AckDelay), a)
	}
}

// TestSteadyStateAllocatesNothing: numbering, acknowledging, and receiving in order cost no memory once the tables have grown.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	now := time.Unix(1, 0)
	o := NewOutgoing[int](1, 1, 0)
	for range 10 * inFlight {
		addAndAck(o, now)
	}
	if n := testing.AllocsPerRun(10*inFlight, func() { addAndAck(o, now) }); n != 0 {
		t.Errorf("%v allocations to send", n)
	}
	in, seq := NewIncoming[int](1, 1), uint64(0)
	delivered := 0
	deliver := func(int) bool { delivered++; return true }
	var a wire.Ack
	if n := testing.AllocsPerRun(10*inFlight, func() { seq++; receiveInOrder(in, now, seq, deliver, &a) }); n != 0 {
		t.Errorf("%v allocations to receive", n)
	}
	if delivered != int(seq) {
		t.Errorf("%d of %d delivered", delivered, seq)
	}
}

// BenchmarkOutgoing is a message entered and one acknowledged, with 100 under way.
func BenchmarkOutgoing(b *testing.B) {
	o, now := NewOutgoing[int](1, 1, 0), time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		addAndAck(o, now)
	}
}

// BenchmarkIncoming is a message received in order, every hundredth acknowledged.
func BenchmarkIncoming(b *testing.B) {
	in, now, seq := NewIncoming[int](1, 1), time.Unix(1, 0), uint64(0)
	deliver := func(int) bool { return true }
	var a wire.Ack
	b.ReportAllocs()
	for b.Loop() {
		seq++
		receiveInOrder(in, now, seq, deliver, &a)
	}
}
