package flight

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// parcel is a message of the simulated pair of nodes.
type parcel struct {
	channel  uint64
	number   int // within its channel
	one      bool
	deadline time.Time
}

type flying struct {
	due time.Time
	num int
	do  func(now time.Time)
}

type sky []flying

func (s sky) Len() int { return len(s) }
func (s sky) Less(i, j int) bool {
	return s[i].due.Before(s[j].due) || s[i].due.Equal(s[j].due) && s[i].num < s[j].num
}
func (s sky) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *sky) Push(x any)   { *s = append(*s, x.(flying)) }
func (s *sky) Pop() any {
	old := *s
	f := old[len(old)-1]
	*s = old[:len(old)-1]
	return f
}

// pair is an origin and a destination with a bad network between them.
type pair struct {
	rnd       *rand.Rand
	loss, dup float64
	delay     time.Duration
	spread    time.Duration // of the delay: reorders
	broken    func(time.Time) bool
	now       time.Time
	sky       sky
	num       int
	out       *Outgoing[parcel]
	in        *Incoming[parcel]
	got       []parcel
	wants     func(parcel) bool // nil: all
	refused   []parcel          // as the origin hears of it
	expired   int
	sends     int
}

func newPair(seed uint64) *pair {
	return &pair{
		rnd: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1000, 0), delay: 30 * time.Millisecond,
		out: NewOutgoing[parcel](7, 1, 0), broken: func(time.Time) bool { return false },
	}
}

func (p *pair) later(d time.Duration, do func(now time.Time)) {
	p.num++
	heap.Push(&p.sky, flying{p.now.Add(d), p.num, do})
}

// carry takes something across: lost, late, twice, as it happens.
func (p *pair) carry(do func(now time.Time)) {
	copies := 1
	if p.rnd.Float64() < p.dup {
		copies = 2
	}
	for range copies {
		if p.rnd.Float64() < p.loss || p.broken(p.now) {
			continue
		}
		p.later(p.delay+time.Duration(p.rnd.Int64N(int64(p.spread)+1)), do)
	}
}

// deliver is the destination's subscribers.
func (p *pair) deliver(got parcel) bool {
	if p.wants != nil && !p.wants(got) {
		return false
	}
	p.got = append(p.got, got)
	return true
}

func (p *pair) send(seq, back, ahead uint64, item parcel) {
	p.sends++
	p.carry(func(now time.Time) {
		if !now.Before(item.deadline) {
			return // nodes drop what is past its deadline
		}
		if p.in == nil {
			p.in = NewIncoming[parcel](3, seq-ahead)
		}
		p.in.Receive(now, Arrival[parcel]{Seq: seq, Back: back, Ahead: ahead, Item: item, Size: 100, One: item.one, Deadline: item.deadline}, p.deliver)
	})
}

const life = 5 * time.Second

func (p *pair) publish(item parcel) {
	item.deadline = p.now.Add(life)
	seq, back, ahead := p.out.Add(p.now, item, item.channel, 100, item.deadline)
	p.send(seq, back, ahead, item)
}

// step is the owners' timers: every 5 ms.
func (p *pair) step() {
	again, expired := p.out.Due(p.now, 64)
	p.expired += expired
	for _, r := range again {
		p.send(r.Seq, r.Back, r.Ahead, r.Item)
	}
	if p.in == nil {
		return
	}
	p.in.Expire(p.now, p.deliver)
	a := new(wire.Ack)
	if p.in.Ack(p.now, a) {
		p.carry(func(now time.Time) {
			_, refused := p.out.Ack(now, a)
			p.refused = append(p.refused, refused...)
		})
	}
}

func (p *pair) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(5 * time.Millisecond)
		for len(p.sky) > 0 && !p.sky[0].due.After(p.now) {
			heap.Pop(&p.sky).(flying).do(p.now)
		}
		p.step()
	}
}

// inOrderOnce reports the first fault of exactly-once, in-order delivery per channel; given up is how many may be missing.
func inOrderOnce(got []parcel, sent map[uint64]int, givenUp int) error {
	next := map[uint64]int{}
	missing := 0
	for _, m := range got {
		if m.number < next[m.channel] {
			return fmt.Errorf("channel %d: message %d came when %d was due", m.channel, m.number, next[m.channel])
		}
		missing += m.number - next[m.channel]
		next[m.channel] = m.number + 1
	}
	for channel, n := range sent {
		missing += n - next[channel]
	}
	if missing > givenUp {
		return fmt.Errorf("%d messages are missing, %d were given up", missing, givenUp)
	}
	return nil
}

func TestExactlyOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(rapid.Uint64().Draw(t, "seed"))
		p.loss = rapid.Float64Range(0, 0.3).Draw(t, "loss")
		p.dup = rapid.Float64Range(0, 0.3).Draw(t, "duplicates")
		p.spread = time.Duration(rapid.IntRange(0, 80).Draw(t, "spread ms")) * time.Millisecond
		channels := rapid.Uint64Range(1, 6).Draw(t, "channels")
		sent := map[uint64]int{}
		for range rapid.IntRange(1, 150).Draw(t, "messages") {
			channel := 1 + p.rnd.Uint64N(channels)
			p.publish(parcel{channel: channel, number: sent[channel]})
			sent[channel]++
			p.run(time.Duration(p.rnd.IntN(4)) * 5 * time.Millisecond)
		}
		p.run(life + time.Second)
		if err := inOrderOnce(p.got, sent, p.expired); err != nil {
			t.Fatal(err)
		}
		n := 0
		if p.in != nil { // something has come
			n, _ = p.in.Held()
		}
		if n != 0 || p.out.Len() != 0 || p.out.Bytes() != 0 {
			t.Fatalf("%d held, %d in flight with %d bytes at the end", n, p.out.Len(), p.out.Bytes())
		}
	})
}

// A path that breaks for half a second and a Reroute at its end: nothing lost, and the pause is the break.
func TestRerouteSendsAtOnce(t *testing.T) {
	p := newPair(1)
	from := p.now.Add(200 * time.Millisecond)
	p.broken = func(now time.Time) bool { return now.After(from) && now.Before(from.Add(500*time.Millisecond)) }
	sent := 0
	for range 40 {
		p.publish(parcel{channel: 1, number: sent})
		sent++
		p.run(20 * time.Millisecond)
	}
	healed := from.Add(505 * time.Millisecond)
	for p.now.Before(healed) {
		p.run(5 * time.Millisecond)
	}
	before := len(p.got)
	p.out.Reroute(p.now)
	p.run(p.delay + 10*time.Millisecond)
	if len(p.got) != sent || before == sent {
		t.Errorf("%d of %d messages one path latency after the reroute, %d before", len(p.got), sent, before)
	}
}

// A hole delays only its own channel, and no longer than the deadline.
func TestHoleDelaysItsChannelOnly(t *testing.T) {
	in := NewIncoming[string](1, 1)
	now := time.Unix(0, 0)
	var got []string
	deliver := func(s string) bool {
		got = append(got, s)
		return true
	}
	take := func(seq, back, ahead uint64, item string) Verdict {
		return in.Receive(now, Arrival[string]{Seq: seq, Back: back, Ahead: ahead, Item: item, Size: 10, Deadline: now.Add(life)}, deliver)
	}
	take(1, 0, 0, "a1")
	// sequence 2 is a2, lost for now
	take(3, 0, 2, "b1")
	take(4, 2, 3, "a3") // waits for 2
	take(5, 1, 4, "a4") // waits for 4
	take(6, 3, 5, "b2")
	if want := []string{"a1", "b1", "b2"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if v := take(4, 2, 3, "a3"); v != Duplicate {
		t.Errorf("a held message came again: %v", v)
	}
	take(2, 1, 1, "a2")
	if want := []string{"a1", "b1", "b2", "a2", "a3", "a4"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	take(8, 1, 7, "c2") // 7 is c1, which never comes
	in.Expire(now.Add(life-1), deliver)
	if len(got) != 6 {
		t.Fatalf("let go before its deadline: %v", got)
	}
	in.Expire(now.Add(life), deliver)
	take(10, 1, 9, "d2")
	in.Advance(10, deliver) // the origin has given 9 up
	if want := []string{"a1", "b1", "b2", "a2", "a3", "a4", "c2", "d2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What does not fit is refused unseen, so that it may come again; what is held is bounded.
func TestBounds(t *testing.T) {
	in := NewIncoming[int](1, 1)
	now := time.Unix(0, 0)
	receive := func(seq, back uint64, size int) Verdict {
		return in.Receive(now, Arrival[int]{Seq: seq, Back: back, Ahead: seq - 1, Size: size, Deadline: now.Add(life)}, func(int) bool { return true })
	}
	if v := receive(Window+1, 0, 1); v != Refused {
		t.Errorf("beyond the window: %v", v)
	}
	if v := receive(Window, 0, 1); v != Accepted {
		t.Errorf("at the window's end: %v", v)
	}
	if v := receive(3, 1, HoldBytes); v != Accepted {
		t.Errorf("held to the bound: %v", v)
	}
	if v := receive(5, 1, 1); v != Refused {
		t.Errorf("held beyond the bound: %v", v)
	}
	for _, bad := range []Arrival[int]{{}, {Seq: 5, Back: 5}, {Seq: 5, Ahead: 5}, {Seq: 0, Ahead: 1}} {
		if v := in.Receive(now, bad, func(int) bool { t.Error("delivered nonsense"); return true }); v != Refused {
			t.Errorf("%+v: %v", bad, v)
		}
	}
}

func TestDeadlineEvictionAndNonsenseAcks(t *testing.T) {
	now := time.Unix(0, 0)
	o := NewOutgoing[int](1, 1, 0)
	for i := range 3 {
		o.Add(now, i, 1, 100, now.Add(time.Second))
	}
	if size, ok := o.Evict(); !ok || size != 100 || o.Len() != 2 || o.Base() != 2 {
		t.Errorf("evicted %d, %v; %d left from %d", size, ok, o.Len(), o.Base())
	}
	for _, a := range []wire.Ack{{Floor: 4, Newest: 3}, {Floor: 0, Newest: 9}, {Floor: 1 << 60, Newest: 1 << 60}} {
		if freed, _ := o.Ack(now, &a); freed != 0 {
			t.Errorf("%+v freed %d", a, freed)
		}
	}
	if _, expired := o.Due(now.Add(time.Second), 10); expired != 2 || o.Len() != 0 || o.Bytes() != 0 {
		t.Errorf("%d expired, %d left", expired, o.Len())
	}
	if !o.Next().IsZero() {
		t.Error("an empty table wants to be woken")
	}
}

// Without loss nothing is sent twice, whatever the round trip once it is known.
func TestNothingIsSentTwiceWithoutLoss(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 140 * time.Millisecond} {
		p := newPair(3)
		p.delay, p.spread = delay, 10*time.Millisecond
		for i := range 300 {
			p.publish(parcel{channel: uint64(1 + i%3), number: i / 3})
			p.run(5 * time.Millisecond)
		}
		p.run(time.Second)
		if p.sends > 300 {
			t.Errorf("%v: %d sends of 300 messages", delay, p.sends)
		}
	}
}

// Ages are estimates, so of two messages of a channel the later may seem to expire first. It waits for the earlier one all the same.
func TestOrderHoldsWhateverTheDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		out, in := NewOutgoing[parcel](1, 1, 0), (*Incoming[parcel])(nil)
		now := time.Unix(1000, 0)
		var sent []Arrival[parcel]
		numbers := map[uint64]int{}
		for range rapid.IntRange(2, 30).Draw(t, "messages") {
			channel := rapid.Uint64Range(1, 3).Draw(t, "channel")
			item := parcel{channel: channel, number: numbers[channel]}
			numbers[channel]++
			seq, back, ahead := out.Add(now, item, channel, 1, now.Add(life))
			seems := time.Duration(rapid.IntRange(1, 20).Draw(t, "deadline")) * time.Millisecond
			sent = append(sent, Arrival[parcel]{Seq: seq, Back: back, Ahead: ahead, Item: item, Size: 1, Deadline: now.Add(seems)})
		}
		var got []parcel
		deliver := func(p parcel) bool {
			got = append(got, p)
			return true
		}
		for _, a := range rapid.Permutation(sent).Draw(t, "order") {
			now = now.Add(time.Millisecond)
			if in == nil {
				in = NewIncoming[parcel](1, a.Seq-a.Ahead)
			}
			if rapid.IntRange(0, 4).Draw(t, "lost") > 0 {
				in.Receive(now, a, deliver)
			}
			in.Expire(now, deliver)
		}
		in.Expire(now.Add(life), deliver)
		if n, bytes := in.Held(); n != 0 || bytes != 0 {
			t.Fatalf("%d messages of %d bytes are held past every deadline", n, bytes)
		}
		if err := inOrderOnce(got, numbers, len(sent)); err != nil {
			t.Fatal(err)
		}
	})
}

// A path that has become slower than the time-out is learnt, though what is sent twice gives no sample of time.
func TestSlowerPathIsLearnt(t *testing.T) {
	p := newPair(4)
	for i := range 400 {
		if i == 100 {
			p.delay = 300 * time.Millisecond
		}
		p.publish(parcel{channel: uint64(1 + i%3), number: i / 3})
		p.run(10 * time.Millisecond)
	}
	if again := p.sends - 400; again > 120 { // those of the first time-outs, before an acknowledgement could come
		t.Errorf("%d of 300 messages were sent again on a path without loss", again)
	}
	if timeout := p.out.Timeout(); timeout < 600*time.Millisecond {
		t.Errorf("the time-out is %v on a round trip of 600 ms", timeout)
	}
	p.run(life)
	if p.out.Len() != 0 || p.expired != 0 {
		t.Errorf("%d are under way, %d expired", p.out.Len(), p.expired)
	}
}

// On a new path the time-outs start afresh: what the first attempt loses there, since some node on it does not know the way yet,
// follows soon.
func TestRerouteForgetsBackOff(t *testing.T) {
	p := newPair(5)
	began := p.now
	rerouted, works := began.Add(3*time.Second), began.Add(3*time.Second+50*time.Millisecond)
	p.broken = func(now time.Time) bool { return now.After(began.Add(time.Second)) && now.Before(works) }
	sent := 0
	for p.now.Before(rerouted) {
		p.publish(parcel{channel: 1, number: sent})
		sent++
		p.run(50 * time.Millisecond)
	}
	p.out.Reroute(p.now) // the path works 50 ms later
	p.run(300 * time.Millisecond)
	if len(p.got) != sent {
		t.Errorf("%d of %d came", len(p.got), sent)
	}
}

// A burst that is lost whole is sent again at one time-out, not at twice that; of a larger one the rest waits, lest all be sent again where it was merely late.
func TestLostBurstIsSentAgainAtOnce(t *testing.T) {
	for _, burst := range []int{1, 20, spareMost + 1, 4 * spareMost} {
		p := newPair(6)
		lose := false
		p.broken = func(time.Time) bool { return lose }
		for i := range 50 { // the time-out is learnt
			p.publish(parcel{channel: 2, number: i})
			p.run(20 * time.Millisecond)
		}
		p.run(time.Second)
		lose = true
		p.publish(parcel{channel: 2, number: 50})
		p.run(p.out.Timeout() / 2)
		for i := range burst {
			p.publish(parcel{channel: 1, number: i})
		}
		p.run(p.out.Timeout()/2 - 10*time.Millisecond)
		before := p.sends
		p.run(20 * time.Millisecond) // the one sent first
		if again := p.sends - before; again != 1 {
			t.Fatalf("%d sent again at first", again)
		}
		p.run(p.out.Timeout() / 4) // that has doubled
		if again := p.sends - before - 1; again != min(burst, spareMost) {
			t.Errorf("of a burst of %d sent half a time-out later %d are sent again", burst, again)
		}
	}
}
