package latency

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// probes counts the probes sent on a link from a time on.
func (w *world) probes(id wire.NodeID, from time.Duration) (n int) {
	for _, s := range w.sent {
		if s.ID == id && s.at >= from {
			n++
		}
	}
	return n
}

// gap is the longest that a link waited for a probe from a time on.
func (w *world) gap(id wire.NodeID, from time.Duration) (longest time.Duration) {
	last := from
	for _, s := range w.sent {
		if s.ID == id && s.at >= from {
			longest, last = max(longest, s.at-last), s.at
		}
	}
	return max(longest, w.now-last)
}

// densest is the most probes sent in any span of this length.
func (w *world) densest(span time.Duration) (most int) {
	from := 0
	for i, s := range w.sent {
		for s.at-w.sent[from].at > span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func TestRates(t *testing.T) {
	w := newWorld(Config{}, 1)
	w.add(1, &path{rtt: steady(40 * ms), used: always})
	w.add(2, &path{rtt: steady(40 * ms)})
	w.add(3, &path{rtt: steady(40 * ms), used: func(at time.Duration) bool { return at >= 10*time.Second && at < 11*time.Second }})
	w.add(4, &path{rtt: steady(40 * ms), used: always, peers: 20 * ms})
	w.run(10*time.Second, nil)
	w.sent = nil
	w.run(20*time.Second, nil)
	for id, want := range map[wire.NodeID][2]int{1: {200, 245}, 2: {5, 7}, 3: {60, 76}, 4: {33, 45}} { // 3: a second of use and 2 s after; 4: heard all the time
		if got := w.probes(id, 0); got < want[0] || got > want[1] {
			t.Errorf("link %d: %d probes in 10 s; want %d to %d", id, got, want[0], want[1])
		}
	}
	if gap := w.gap(1, 10*time.Second); gap > 50*ms {
		t.Errorf("a link in use waited %v", gap)
	}
	if at := w.sent[slices.IndexFunc(w.sent, func(s sent) bool { return s.ID == 3 })].at; at > 10*time.Second+50*ms {
		t.Errorf("a link that came into use at 10 s was probed at %v", at)
	}
}

// TestRareUse: what is used once a second is probed fast for a while each time, what is used often all the time; and each use finds a dead link out as soon.
func TestRareUse(t *testing.T) {
	for _, c := range []struct {
		every       time.Duration
		least, most int // probes in 20 s
		down        time.Duration
	}{
		{100 * ms, 400, 500, 400 * ms},
		{time.Second, 190, 270, time.Second + 400*ms},
		{5 * time.Second, 30, 60, 2*time.Second + 400*ms}, // an idle link is found out first
	} {
		w := newWorld(Config{}, 1)
		died := never
		link := w.add(1, &path{rtt: steady(40 * ms), dead: func(at time.Duration) bool { return at >= died }})
		use := func(until time.Duration, stop func() bool) {
			for w.now < until && (stop == nil || !stop()) {
				link.Used(w.time())
				w.run(w.now+c.every, stop)
			}
		}
		use(10*time.Second, nil)
		w.sent = nil
		use(30*time.Second, nil)
		got := w.probes(1, 0)
		verdict(t, got >= c.least && got <= c.most, "used every %v: %d probes in 20 s; want %d to %d", c.every, got, c.least, c.most)
		died = w.now + 30*ms
		use(40*time.Second, func() bool { return link.State() == Down })
		verdict(t, w.now-died <= c.down, "used every %v: down after %v", c.every, w.now-died)
	}
}

// Links of equal interval share their ticks.
func TestTicksAreShared(t *testing.T) {
	for _, c := range []struct {
		links int
		used  func(time.Duration) bool
		most  float64 // ticks per second
	}{{8, always, 26}, {100, unused, 10}} {
		w := newWorld(Config{}, 1)
		for i := range c.links {
			w.run(w.now+7*ms, nil)
			w.add(wireID(i), &path{rtt: steady(40 * ms), used: c.used})
		}
		w.run(20*time.Second, nil)
		w.ticks = 0
		w.run(30*time.Second, nil)
		verdict(t, float64(w.ticks)/10 <= c.most, "%d links: %.1f ticks/s", c.links, float64(w.ticks)/10)
	}
}

// P1, P2: whatever links come, go, are used and die, the budget holds and no link starves.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := rapid.SampledFrom([]int{1, 10, 100}).Draw(t, "budget")
		w := newWorld(Config{Budget: budget}, rapid.Uint64().Draw(t, "seed"))
		n := rapid.IntRange(1, 60).Draw(t, "links")
		busy, dying := rapid.Float64Range(0, 1).Draw(t, "busy"), rapid.Float64Range(0, 1).Draw(t, "dying")
		for i := range n {
			p := &path{rtt: steady(time.Duration(1+w.rnd.IntN(200)) * ms), used: unused, loss: 0.2 * w.rnd.Float64() * w.rnd.Float64()}
			if w.rnd.Float64() < busy {
				p.used = always
			}
			if w.rnd.Float64() < dying {
				died := time.Duration(w.rnd.IntN(5000)) * ms
				p.dead = func(at time.Duration) bool { return at >= died }
			}
			w.add(wireID(i), p)
		}
		bound := 2*max(2*time.Second, time.Duration(3*n)*time.Second/time.Duration(budget)) + 100*ms
		w.run(3*bound, nil)
		for _, span := range []time.Duration{100 * ms, time.Second, 5 * time.Second} {
			if got, most := w.densest(span), max(1, budget/10)+int(span.Seconds()*float64(budget))+1; got > most {
				t.Fatalf("%d probes in %v; at most %d", got, span, most)
			}
		}
		for _, id := range w.ids {
			if gap := w.gap(id, 0); gap > bound {
				t.Fatalf("link %d of %d waited %v with a budget of %d; bound %v", id, n, gap, budget, bound)
			}
		}
	})
}

// P3: past the budget the link in use now is probed more often than those used a while ago, and all get something.
func TestRecentUseGoesFirst(t *testing.T) {
	w := newWorld(Config{}, 1)
	for i := range 40 {
		period := time.Duration(i/10) * 600 * ms // used every 0, 0.6, 1.2, 1.8 s
		used := -time.Hour
		w.add(wireID(i), &path{rtt: steady(40 * ms), used: func(at time.Duration) bool {
			if at-used >= period {
				used = at
				return true
			}
			return false
		}})
	}
	w.run(5*time.Second, nil)
	w.sent = nil
	w.run(25*time.Second, nil)
	var groups [4]int
	for i := range 40 {
		groups[i/10] += w.probes(wireID(i), 0)
	}
	t.Logf("probes in 20 s on 10 links each, from most to least used: %v", groups)
	for i := range 3 {
		if groups[i] <= groups[i+1] {
			t.Errorf("%v", groups)
		}
	}
	if total := groups[0] + groups[1] + groups[2] + groups[3]; total < 3400 || total > 4020 {
		t.Errorf("%d probes in 20 s with a budget of 200/s", total)
	}
}

// P3: links that die are found as fast as ever though the demand is four times the budget.
func TestSuspectsGoFirst(t *testing.T) {
	w := newWorld(Config{}, 1)
	died := 10 * time.Second
	for i := range 40 {
		p := &path{rtt: steady(40 * ms), used: always}
		if i < 3 {
			p.dead = func(at time.Duration) bool { return at >= died }
		}
		w.add(wireID(i), p)
	}
	w.run(died, nil)
	w.changes = nil
	longest := time.Duration(0)
	for i := range 3 {
		longest = max(longest, w.prober.plan.interval(w.prober.Link(wireID(i))))
	}
	w.run(died+3*time.Second, func() bool { return len(w.changes) == 3 })
	took := w.now - died
	// One stretched interval until the first miss, then the fast ones.
	verdict(t, took <= longest+100*ms+2*(40*ms+marginLeast)+50*ms, "stretched to %v, down after %v", longest, took)
}

// A link removed and added again remembers its downs, for a while.
func TestFlapsOutliveTheLink(t *testing.T) {
	w := newWorld(Config{}, 1)
	again := func(after time.Duration) (took int) {
		w.prober.Link(1).Failed(w.time())
		w.prober.Remove(1)
		w.ids, w.flights = nil, nil
		w.now += after
		w.sent = nil
		link := w.add(1, &path{rtt: steady(20 * ms)})
		w.run(w.now+time.Minute, func() bool { return link.State() == Up })
		return len(w.sent)
	}
	w.add(1, &path{rtt: steady(20 * ms)})
	w.run(time.Second, nil)
	var took []int
	for range 3 {
		took = append(took, again(100*ms))
	}
	if took[0] < 5 || took[1] < 9 || took[2] < 15 {
		t.Errorf("probes until up again: %v", took)
	}
	if n := again(time.Hour); n > 6 {
		t.Errorf("%d probes after an hour", n)
	}
	if len(w.prober.past) != 0 {
		t.Errorf("%d remembered of links that exist", len(w.prober.past))
	}
}

// The two ends of an idle link take turns in asking whether it works: half as many probes as if each did so by itself, none long silent, and both measure.
func TestEndsOfAnIdleLinkTakeTurns(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Microsecond, 20 * ms, 150 * ms} {
		now := time.Unix(1_700_000_000, 0)
		began := now
		var ends [2]*Prober
		for i := range ends {
			ends[i] = NewProber(Config{}, rand.New(rand.NewPCG(5, uint64(i))))
			ends[i].Add(1, now)
		}
		var flights []func() bool // what is under way; true once it is there
		arrives := func(at time.Time, do func(*Link), end int) {
			flights = append(flights, func() bool {
				if now.Before(at) {
					return false
				}
				do(ends[end].Link(1))
				return true
			})
		}
		var sent [2]int
		var last time.Time
		longest := time.Duration(0)
		const idleAfter, total = 10 * time.Second, 3 * time.Minute
		for now.Sub(began) < total {
			flights = slices.DeleteFunc(flights, func(f func() bool) bool { return f() })
			for i, p := range ends {
				p.Advance(now)
				for _, probe := range p.Due(now) {
					there := now.Add(delay)
					back := there.Add(delay)
					arrives(there, func(l *Link) { l.Heard(there) }, 1-i)
					arrives(back, func(l *Link) { l.Echo(back, probe.Seq, 2*delay) }, i)
					if now.Sub(began) > idleAfter {
						sent[i]++
						longest = max(longest, now.Sub(last))
					}
					last = now
				}
			}
			now = now.Add(2 * ms)
		}
		rate := float64(sent[0]+sent[1]) / (total - idleAfter).Seconds()
		t.Logf("delay %v: %d and %d probes, %.2f a second, longest silence %v", delay, sent[0], sent[1], rate, longest)
		if rate > 0.65 || min(sent[0], sent[1]) < 28 || longest > 2500*ms {
			t.Errorf("delay %v: %d and %d probes, %.2f a second, longest silence %v", delay, sent[0], sent[1], rate, longest)
		}
	}
}

// What is remembered of removed links is bounded.
func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := NewProber(Config{}, rand.New(rand.NewPCG(1, 2)))
	for id := range wire.NodeID(rememberedMost + 100) {
		p.Add(id, now)
		l := p.Link(id)
		for range 2 {
			l.Echo(now.Add(20*ms), l.Probe(now), 20*ms)
		}
		l.Failed(now)
		p.Remove(id)
	}
	if got := len(p.past); got != rememberedMost {
		t.Errorf("%d remembered; bound %d", got, rememberedMost)
	}
	later := now.Add(time.Hour)
	p.Add(1<<40, later)
	p.Link(1 << 40).flaps.add(later)
	p.Remove(1 << 40)
	if got := len(p.past); got > rememberedMost {
		t.Errorf("%d remembered; bound %d", got, rememberedMost)
	}
}

func TestEmptyAndUnknown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := NewProber(Config{}, rand.New(rand.NewPCG(1, 2)))
	if !p.Next().IsZero() || p.Due(now) != nil || p.Advance(now) != nil {
		t.Error("a prober without links has something to do")
	}
	p.Remove(5)
	l := p.Link(5)
	l.Used(now)
	l.Heard(now)
	l.Echo(now, 1, 20*ms)
	l.Failed(now)
	if l == nil || l.State() != Down || l.Advance(now) || l.Cost() == 0 || p.Link(5) == l {
		t.Error("a detached link is not harmless")
	}
	if !p.Next().IsZero() || len(p.Due(now)) != 0 {
		t.Error("a detached link is probed")
	}
	p.Add(7, now)
	p.Add(3, now)
	known := p.Link(7)
	p.Add(7, now.Add(time.Hour))
	if p.Link(7) != known || p.Next() != now {
		t.Error("adding a known link changed it")
	}
	var ids []wire.NodeID
	for id := range p.All() {
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []wire.NodeID{3, 7}) {
		t.Errorf("All: %v", ids)
	}
	p.Remove(7)
	p.Remove(3)
	if !p.Next().IsZero() {
		t.Error("Next after the last link went")
	}
}

// Changes made between two calls of Advance wake the owner and are reported by the next.
func TestFailedWakesTheOwner(t *testing.T) {
	w := newWorld(Config{}, 1)
	link := w.add(1, &path{rtt: steady(20 * ms)})
	w.run(5*time.Second, nil)
	link.Failed(w.time())
	if next := w.prober.Next(); next.After(w.time()) {
		t.Errorf("Next is in %v", next.Sub(w.time()))
	}
	if got := w.prober.Advance(w.time()); !slices.Equal(got, []Change{{1, Down}}) {
		t.Errorf("%v", got)
	}
}

// P4
func TestSameSeedSameProbes(t *testing.T) {
	run := func() *world {
		w := newWorld(Config{Budget: 60}, 9)
		for i := range 12 {
			p := &path{rtt: jittery(w.rnd, 30*ms, 3*ms), loss: 0.05, used: unused}
			if i%2 == 0 {
				p.used = always
			}
			w.add(wireID(i), p)
		}
		w.run(10*time.Second, nil)
		return w
	}
	a, b := run(), run()
	if !reflect.DeepEqual(a.sent, b.sent) || !reflect.DeepEqual(a.changes, b.changes) {
		t.Fatal("two runs of one seed differ")
	}
}

func BenchmarkStep(b *testing.B) {
	for _, n := range []int{36, 128, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(Config{}, 1)
			for i := range n {
				p := &path{rtt: steady(40 * ms), used: unused}
				if i%4 == 0 {
					p.used = always
				}
				w.add(wireID(i), p)
			}
			w.run(5*time.Second, nil)
			b.ReportAllocs()
			for b.Loop() {
				w.now += 2 * ms
				now := w.time()
				w.prober.Advance(now)
				for _, d := range w.prober.Due(now) {
					w.prober.Link(d.ID).Echo(now, d.Seq, 40*ms)
				}
				w.prober.Next()
			}
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	l := newLine()
	b.ReportAllocs()
	for b.Loop() {
		l.probe(40 * ms)
	}
}

// P3: where the budget is used up, what is left is for suspected links, then for those due longest.
func TestSuspectsLeadTheTick(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := NewProber(Config{}, rand.New(rand.NewPCG(1, 2)))
	for i := range 40 {
		p.Add(wireID(i), now)
		l := p.Link(wireID(i))
		sent := now.Add(time.Duration(40-i) * ms)
		if i%10 == 0 {
			l.state, l.run = Up, 1
			sent = sent.Add(900 * ms) // due last
		}
		l.Probe(sent)
	}
	probes := p.Due(now.Add(time.Second))
	if len(probes) != 20 {
		t.Fatalf("%d probes; the burst is 20", len(probes))
	}
	for i, want := range []wire.NodeID{31, 21, 11, 1, 40, 39} {
		if probes[i].ID != want {
			t.Fatalf("probe %d is for link %d; want %d", i, probes[i].ID, want)
		}
	}
}

// P2: many links that die at once leave the living ones their share.
func TestSuspectsAreBounded(t *testing.T) {
	w := newWorld(Config{}, 1)
	died := 10 * time.Second
	for i := range 100 {
		p := &path{rtt: steady(40 * ms), used: unused}
		switch {
		case i < 5:
			p.used = always
		default:
			p.dead = func(at time.Duration) bool { return at >= died }
		}
		w.add(wireID(i), p)
	}
	w.run(died+5*time.Second, nil)
	for i := range 5 {
		gap := w.gap(wireID(i), died)
		verdict(t, gap <= 650*ms && w.prober.Link(wireID(i)).State() == Up, "link %d waited %v while 95 others died", i+1, gap)
	}
}
