package flight

import (
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// Whatever gets lost, comes twice or late: each message for one subscriber is taken once, or its origin hears once that nobody took it;
// for the others nothing changes.
func TestTakenOrRefused(t *testing.T) {
	type id struct {
		channel uint64
		number  int
	}
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(rapid.Uint64().Draw(t, "seed"))
		p.loss = rapid.Float64Range(0, 0.3).Draw(t, "loss")
		p.dup = rapid.Float64Range(0, 0.3).Draw(t, "duplicates")
		p.spread = time.Duration(rapid.IntRange(0, 80).Draw(t, "spread ms")) * time.Millisecond
		unwanted := rapid.IntRange(0, 100).Draw(t, "% unwanted")
		ones := rapid.IntRange(0, 100).Draw(t, "% for one")
		p.wants = func(m parcel) bool { return !m.one || p.rnd.IntN(100) >= unwanted }
		sent, fates := map[uint64]int{}, map[id]string{}
		for range rapid.IntRange(1, 150).Draw(t, "messages") {
			m := parcel{channel: 1 + p.rnd.Uint64N(3), one: p.rnd.IntN(100) < ones}
			m.number = sent[m.channel]
			sent[m.channel]++
			fates[id{m.channel, m.number}] = ""
			p.publish(m)
			p.run(time.Duration(p.rnd.IntN(4)) * 5 * time.Millisecond)
		}
		p.run(life + time.Second)
		note := func(m parcel, fate string) {
			if before := fates[id{m.channel, m.number}]; before != "" || fate == "refused" && !m.one {
				t.Fatalf("%+v: %s, and before %q", m, fate, before)
			}
			fates[id{m.channel, m.number}] = fate
		}
		for _, m := range p.got {
			note(m, "taken")
		}
		for _, m := range p.refused {
			note(m, "refused")
		}
		if err := inOrderOnce(p.got, sent, p.expired+len(p.refused)); err != nil {
			t.Fatal(err)
		}
		if n, _ := p.in.Held(); n != 0 || p.out.Len() != 0 || p.in.open != 0 {
			t.Fatalf("%d held, %d of them open, %d in flight at the end", n, p.in.open, p.out.Len())
		}
	})
}

// What was refused is listed, all at once, until its origin knows; what could not be remembered is not taken in.
func TestRefusalsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	out, in := NewOutgoing[uint64](1, 1, 0), NewIncoming[uint64](1, 1)
	var asked, back []uint64
	nobody := func(seq uint64) bool {
		asked = append(asked, seq)
		return false
	}
	arrive := func(seq, ahead uint64) Verdict {
		return in.Receive(now, Arrival[uint64]{Seq: seq, Ahead: ahead, Item: seq, One: true, Deadline: now.Add(life)}, nobody)
	}
	acknowledge := func() {
		now = now.Add(AckDelay)
		var a wire.Ack
		if !in.Ack(now, &a) || len(a.Refused) > wire.MaxRefused {
			t.Fatalf("acknowledgement %+v", a)
		}
		_, refused := out.Ack(now, &a)
		back = append(back, refused...)
	}
	const count = refusedMost + 10
	for seq := uint64(1); seq <= count; seq++ {
		out.Add(now, seq, Unordered, 1, now.Add(2*life))
		want := Accepted
		if seq > refusedMost {
			want = Refused
		}
		if v := arrive(seq, seq-1); v != want {
			t.Fatalf("message %d: %v", seq, v)
		}
	}
	acknowledge()
	if out.Base() != refusedMost+1 || len(back) != refusedMost {
		t.Fatalf("base %d after %d refusals, want %d", out.Base(), len(back), refusedMost)
	}
	for round := 0; out.Len() > 0 && round < 10*count; round++ {
		now = now.Add(time.Millisecond)
		for _, r := range first(out.Due(now, 1)) {
			arrive(r.Seq, r.Ahead)
			acknowledge()
		}
	}
	if out.Len() != 0 {
		t.Errorf("%d are in flight", out.Len())
	}
	for what, got := range map[string][]uint64{"asked for": asked, "given back": back} {
		slices.Sort(got)
		if different := len(slices.Compact(slices.Clone(got))); different != count || len(got) != count {
			t.Errorf("%s: %d messages, %d of them different, want %d", what, len(got), different, count)
		}
	}
	in.Expire(now.Add(life), nobody)
	if len(in.passed) != 0 {
		t.Errorf("%d are remembered past their deadline", len(in.passed))
	}
}

func first[T any](again []Resend[T], _ int) []Resend[T] { return again }

// A message for one subscriber that waits for its predecessor is acknowledged only once it is known whether anybody takes it.
func TestHeldIsNotAcknowledged(t *testing.T) {
	now := time.Unix(0, 0)
	in := NewIncoming[string](1, 1)
	take := func(m string) bool { return m != "unwanted" }
	ack := func() (a wire.Ack) {
		now = now.Add(AckDelay)
		in.Ack(now, &a)
		return a
	}
	in.Receive(now, Arrival[string]{Seq: 2, Back: 1, Ahead: 1, Item: "unwanted", One: true, Deadline: now.Add(life)}, take)
	in.Receive(now, Arrival[string]{Seq: 3, Ahead: 2, Item: "other channel", Deadline: now.Add(life)}, take)
	if a := ack(); a.Floor != 0 || !slices.Equal(a.Ranges, []wire.Range{{First: 3, Last: 3}}) || len(a.Refused) != 0 {
		t.Errorf("while it waits: %+v", a)
	}
	in.Receive(now, Arrival[string]{Seq: 1, Item: "first", Deadline: now.Add(life)}, take)
	if a := ack(); a.Floor != 3 || !slices.Equal(a.Refused, []uint64{2}) {
		t.Errorf("when nobody took it: %+v", a)
	}
}

// What is taken back is no longer sent, and only what was asked for is taken.
func TestTake(t *testing.T) {
	now := time.Unix(0, 0)
	o := NewOutgoing[int](1, 1, 0)
	for i := range 6 {
		o.Add(now, i, Unordered, 10, now.Add(life))
	}
	o.Ack(now, &wire.Ack{Floor: 1, Newest: 1})
	if got := o.Take(func(i int) bool { return i%2 == 0 }); !slices.Equal(got, []int{2, 4}) {
		t.Errorf("took %v", got)
	}
	if o.Len() != 3 || o.Bytes() != 30 || o.Base() != 2 {
		t.Errorf("%d messages of %d bytes are left, from %d on", o.Len(), o.Bytes(), o.Base())
	}
}

// A burst that nobody takes comes back whole within a round trip or two, also when nothing follows it.
func TestBurstIsRefusedAtOnce(t *testing.T) {
	p := newPair(6)
	p.wants = func(parcel) bool { return false }
	const count = refusedMost - 24
	for i := range count {
		p.publish(parcel{channel: 1, number: i, one: true})
	}
	p.run(2*p.delay + AckDelay + 10*time.Millisecond)
	if len(p.refused) != count || p.expired != 0 || p.out.Len() != 0 {
		t.Errorf("%d of %d refused, %d expired, %d in flight", len(p.refused), count, p.expired, p.out.Len())
	}
}
