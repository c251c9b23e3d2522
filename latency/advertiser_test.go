package latency

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// teller drives an Advertiser as the node's loop does: an urgent offer that was held back stays urgent.
type teller struct {
	*Advertiser
	start   time.Time
	now     time.Duration
	urgent  bool
	vectors [][]Cost
	at      []time.Duration
}

func newTeller() *teller {
	return &teller{Advertiser: NewAdvertiser(Config{}), start: time.Unix(1_700_000_000, 0)}
}

func (a *teller) offer(at time.Duration, urgent bool, costs ...Cost) bool {
	a.now = at
	a.urgent = a.urgent || urgent
	vector, due := a.Offer(a.start.Add(at), costs, a.urgent)
	if due {
		a.urgent = false
		a.vectors, a.at = append(a.vectors, vector), append(a.at, at)
	}
	return due
}

// A1: what is too small to tell, for one link of each cost.
func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		told, now uint32
		want      bool
	}{
		{20_000, 20_000, false},
		{20_000, 26_000, false},
		{20_000, 26_001, true}, // five times six per cent
		{20_000, 18_800, false},
		{20_000, 18_799, true}, // six per cent
		{10_000, 9000, false},
		{10_000, 8999, true}, // a millisecond
		{10_000, 15_000, false},
		{10_000, 15_001, true}, // five of them
		{1, 5001, false},
		{1, 5002, true},
		{math.MaxUint32, 1, true},
		{1, math.MaxUint32, true},
	} {
		a := newTeller()
		a.offer(0, true, Cost{1, c.told})
		if got := a.offer(time.Minute, false, Cost{1, c.now}); got != c.want {
			t.Errorf("%d to %d: due %v", c.told, c.now, got)
		}
		climbs := c.now > c.told && c.now-c.told > max(c.told/climbParts, 10_000)
		if _, held := a.Next(); held != climbs {
			t.Errorf("%d to %d: held back after a minute: %v", c.told, c.now, held)
		}
	}
}

// A vector is a snapshot that keeps the numbers of links that hardly moved, however many small moves add up elsewhere.
func TestVectorKeepsOldNumbers(t *testing.T) {
	a := newTeller()
	a.offer(0, true, Cost{1, 20_000}, Cost{2, 30_000}, Cost{3, 40_000})
	a.offer(time.Minute, false, Cost{1, 20_400}, Cost{2, 45_000}, Cost{3, 39_700})
	a.offer(2*time.Minute, false, Cost{1, 20_400}, Cost{3, 39_700}, Cost{4, 9000})
	want := [][]Cost{
		{{1, 20_000}, {2, 30_000}, {3, 40_000}},
		{{1, 20_000}, {2, 45_000}, {3, 40_000}},
		{{1, 20_000}, {3, 40_000}, {4, 9000}},
	}
	if !slices.EqualFunc(a.vectors, want, slices.Equal) {
		t.Fatalf("%v; want %v", a.vectors, want)
	}
	a.vectors[2][0].Cost = 7 // the caller's to keep
	if a.offer(3*time.Minute, false, Cost{1, 20_000}, Cost{3, 40_000}, Cost{4, 9000}) {
		t.Error("a vector shares memory with the Advertiser")
	}
}

func TestNothingToTell(t *testing.T) {
	a := newTeller()
	if a.offer(0, true) {
		t.Error("an empty first vector was told")
	}
	a.offer(time.Second, true, Cost{1, 5000})
	if !a.offer(2*time.Second, true) || len(a.vectors[1]) != 0 {
		t.Error("the last link's end was not told")
	}
}

// A3, and a change that went back to what was told is no longer held.
func TestHeldBack(t *testing.T) {
	a := newTeller()
	a.offer(0, true, Cost{1, 20_000})
	if a.offer(100*ms, false, Cost{1, 30_000}) {
		t.Fatal("told after 100 ms")
	}
	if next, held := a.Next(); !held || next != a.start.Add(500*ms) {
		t.Fatalf("next %v, %v", next.Sub(a.start), held)
	}
	a.offer(200*ms, false, Cost{1, 20_100})
	if _, held := a.Next(); held {
		t.Fatal("held though nothing changed")
	}
	a.offer(300*ms, false, Cost{1, 30_000})
	if !a.offer(500*ms, false, Cost{1, 29_000}) || a.vectors[1][0].Cost != 29_000 {
		t.Fatalf("%v", a.vectors)
	}
}

// A2: downs and ups go at once, but not without bound; the last word is always told.
func TestUrgentIsBounded(t *testing.T) {
	a := newTeller()
	a.offer(0, true, Cost{1, 20_000})
	for at := 10 * ms; at < 2*time.Second; at += 10 * ms {
		if at/(10*ms)%2 == 1 {
			a.offer(at, true)
		} else {
			a.offer(at, true, Cost{1, 20_000})
		}
	}
	if n := len(a.at); n < 15 || n > 26 {
		t.Errorf("%d vectors in 2 s", n)
	}
	if a.at[1] != 10*ms || a.at[2] != 20*ms {
		t.Errorf("told at %v", a.at)
	}
	a.offer(2*time.Second, true, Cost{2, 1000})
	if next, held := a.Next(); held {
		a.offer(next.Sub(a.start), false, Cost{2, 1000})
	}
	if last := a.vectors[len(a.vectors)-1]; !slices.Equal(last, []Cost{{2, 1000}}) {
		t.Errorf("last told %v", last)
	}
}

// Lasting churn is told ever more rarely, but a large change does not wait for that, and quiet makes it quick again.
func TestChurn(t *testing.T) {
	a := newTeller()
	cost := func(at time.Duration) Cost { return Cost{1, 20_000 + uint32(at/(100*ms)%2)*8000} }
	for at := time.Duration(0); at < time.Minute; at += 10 * ms {
		a.offer(at, false, cost(at))
	}
	if n := len(a.at); n < 8 || n > 24 {
		t.Errorf("%d vectors in a minute of churn", n)
	}
	for at := time.Minute; len(a.at) == 0 || a.at[len(a.at)-1] < time.Minute; at += 10 * ms {
		a.offer(at, false, cost(at))
	}
	last := a.now
	for at := last + 10*ms; !a.offer(at, false, Cost{1, 60_000}); at += 10 * ms {
		if at > last+time.Second {
			t.Fatal("a large change waited for a second")
		}
	}
	quiet := a.now + 15*time.Minute
	a.offer(quiet, false, Cost{1, 20_000})
	if next := quiet + a.pause; !a.offer(next, false, Cost{1, 28_000}) || a.pause > 2*time.Second {
		t.Errorf("pause %v after quiet", a.pause)
	}
}

// How often a steady but jittery link is told: seldom.
func TestJitterIsSeldomTold(t *testing.T) {
	for _, c := range []struct {
		rtt, dev float64 // ms
		loss     float64
		most     int
	}{{20, 0.5, 0, 0}, {100, 1, 0, 0}, {100, 5, 0, 120}, {40, 4, 0, 160}, {40, 1, 0.02, 120}} {
		r := rand.New(rand.NewPCG(3, 4))
		l, a := newLine(), newTeller()
		for i := range 12_200 {
			rtt := time.Duration((c.rtt + c.dev*noise(r, "normal")) * float64(ms))
			if lost(r, c.loss) {
				rtt = -1
			}
			l.probe(rtt)
			if i > 200 {
				a.offer(time.Duration(i)*50*ms, false, Cost{1, l.link.Cost()})
			}
		}
		verdict(t, len(a.at)-1 <= c.most, "%+v: told %d times in 10 min", c, len(a.at)-1)
	}
}

// What rises is told in steps, and so is what falls again soon after: quickly up, slowly down, and in the end in full.
func TestRiseAndFallInSteps(t *testing.T) {
	a := newTeller()
	a.offer(0, true, Cost{1, 20_000})
	pass := func(from, to time.Duration, cost uint32) (told []uint32) {
		n := len(a.vectors)
		for at := from; at < to; at += 100 * ms {
			a.offer(at, false, Cost{1, cost})
		}
		for _, v := range a.vectors[n:] {
			told = append(told, v[0].Cost)
		}
		return told
	}
	up := pass(10*time.Second, 20*time.Second, 100_000)
	down := pass(20*time.Second, 55*time.Second, 20_000)
	if want := []uint32{30_000, 45_000, 67_500, 100_000}; !slices.Equal(up, want) {
		t.Errorf("told %v; want %v", up, want)
	}
	if want := []uint32{80_000, 65_000, 53_750, 45_313, 38_985, 34_239, 30_131, 26_516, 23_335, 20_535}; !slices.Equal(down, want) {
		t.Errorf("told %v; want %v", down, want)
	}
	// It rises again: there is a floor now, for half a minute, which the next rise makes a minute.
	pass(55*time.Second, 65*time.Second, 100_000)
	floor := 20_535 + (30_802-20_535)/uint32(floorParts)
	if held := pass(65*time.Second, 80*time.Second, 20_000); slices.Min(held) < floor {
		t.Errorf("told %v; the floor is %d", held, floor)
	}
	pass(80*time.Second, 155*time.Second, 20_000)
	if a.told[0].Cost > 21_000 {
		t.Errorf("%d was told when the floor was gone", a.told[0].Cost)
	}
	a.offer(200*time.Second, false, Cost{1, 29_000})
	if a.offer(20*time.Minute, false, Cost{1, 20_000}); a.told[0].Cost != 20_000 {
		t.Errorf("long after the rise %d was told", a.told[0].Cost)
	}
}

// A link that had risen and went is eased when it comes back, from where it was; one that had not is told as it is.
func TestEaseOutlastsALink(t *testing.T) {
	for _, rose := range []bool{true, false} {
		a := newTeller()
		a.offer(0, true, Cost{1, 20_000}, Cost{2, 90_000})
		a.offer(5*time.Second, true, Cost{1, 20_000}, Cost{2, 90_000})
		if rose {
			for at := 10 * time.Second; at < 20*time.Second; at += 100 * ms {
				a.offer(at, false, Cost{1, 90_000}, Cost{2, 90_000})
			}
		}
		a.offer(30*time.Second, true, Cost{2, 90_000})
		if len(a.told) != 1 {
			t.Fatalf("told %v", a.told)
		}
		want := uint32(20_000)
		if rose {
			want = 90_000 - (90_000-20_000)/uint32(easeParts)
		}
		if a.offer(35*time.Second, true, Cost{1, 20_000}, Cost{2, 90_000}); a.told[0].Cost != want {
			t.Errorf("rose %v: %d was told when it came back, want %d", rose, a.told[0].Cost, want)
		}
		for at := 36 * time.Second; at < 90*time.Second; at += 100 * ms {
			a.offer(at, false, Cost{1, 20_000}, Cost{2, 90_000})
		}
		if told := a.told[0].Cost; told > 21_000 {
			t.Errorf("%d was told in the end", told)
		}
	}
}

// A link that comes back dearer than it was told to be is told as it is, at once.
func TestDearerReturnIsTold(t *testing.T) {
	a := newTeller()
	a.offer(0, true, Cost{1, 20_000}, Cost{2, 90_000})
	for at := 10 * time.Second; at < 40*time.Second; at += 100 * ms {
		cost := uint32(20_000)
		if at < 20*time.Second {
			cost = 90_000
		}
		a.offer(at, false, Cost{1, cost}, Cost{2, 90_000})
	}
	a.offer(45*time.Second, true, Cost{2, 90_000})
	if a.offer(50*time.Second, true, Cost{1, 500_000}, Cost{2, 90_000}); a.told[0].Cost != 500_000 {
		t.Errorf("%d was told", a.told[0].Cost)
	}
}

// A1, A2, A3 under any offers: what the mesh knows is, when nothing is held back, within the threshold of the truth.
func TestAdvertiserProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newTeller()
		var costs []Cost
		urgentAt := []time.Duration{}
		for range rapid.IntRange(1, 200).Draw(t, "offers") {
			a.now += time.Duration(rapid.Int64Range(0, int64(400*ms)).Draw(t, "wait"))
			before, n := a.told, len(a.at)
			urgent := rapid.IntRange(0, 9).Draw(t, "urgent") == 0
			costs = drawCosts(t, costs)
			wasUrgent := urgent || a.urgent
			if due := a.offer(a.now, urgent, costs...); due {
				if n > 0 && !wasUrgent && a.now-a.at[n-1] < 500*ms {
					t.Fatalf("told %v after the one before", a.now-a.at[n-1])
				}
				if wasUrgent {
					urgentAt = append(urgentAt, a.now)
				}
				if slices.Equal(before, a.vectors[n]) {
					t.Fatal("told nothing new")
				}
			}
			next, held := a.Next()
			if wait := next.Sub(a.start) - a.now; held && (wait <= 0 || wait > holdMost) {
				t.Fatalf("held back for %v", wait)
			}
			if !held && !near(a.told, costs) {
				t.Fatalf("told %v, true %v, nothing held back", a.told, costs)
			}
		}
		for i, from := range urgentAt {
			within := 0
			for _, at := range urgentAt[i:] {
				if at-from <= time.Second {
					within++
				}
			}
			if within > 5+10+3 { // those that AdvertiseEvery allowed anyway take no token
				t.Fatalf("%d urgent vectors in a second", within)
			}
		}
	})
}

func drawCosts(t *rapid.T, costs []Cost) []Cost {
	costs = slices.Clone(costs)
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		to := wire.NodeID(rapid.Uint64Range(1, 12).Draw(t, "to"))
		if i, known := slices.BinarySearchFunc(costs, to, func(c Cost, id wire.NodeID) int { return cmp.Compare(c.To, id) }); known {
			costs = slices.Delete(costs, i, i+1)
		} else {
			costs = slices.Insert(costs, i, Cost{to, rapid.Uint32Min(1).Draw(t, "new")})
		}
	case 1, 2, 3:
		for i := range costs {
			share := rapid.Float64Range(0.97, 1.03).Draw(t, "share")
			costs[i].Cost = uint32(min(max(1, float64(costs[i].Cost)*share), math.MaxUint32))
		}
	case 4:
		for i := range costs {
			costs[i].Cost = rapid.Uint32Min(1).Draw(t, "cost")
		}
	}
	return costs
}

// near reports whether each cost told is within the threshold of the true one.
func near(told, costs []Cost) bool {
	return slices.EqualFunc(told, costs, func(told, now Cost) bool {
		off, least := float64(told.Cost)-float64(now.Cost), max(1000, 0.06*float64(told.Cost))
		return told.To == now.To && off <= least && -off <= 5*least
	})
}

func BenchmarkOffer128(b *testing.B) {
	a := NewAdvertiser(Config{})
	now := time.Unix(1_700_000_000, 0)
	costs := make([]Cost, 128)
	for i := range costs {
		costs[i] = Cost{wireID(i), 20_000}
	}
	a.Offer(now, costs, true)
	b.ReportAllocs()
	for b.Loop() {
		a.Offer(now, costs, false)
	}
}

// Links that come up one after another, ten a second, are told every half second, or ever more rarely to the patient, and so are those that go one after another; a
// first one, and one that broke, are not put off.
func TestPatience(t *testing.T) {
	for _, patient := range []bool{false, true} {
		a := newTeller()
		a.Patient(patient)
		var costs []Cost
		for i := range 100 {
			costs = append(costs, Cost{wire.NodeID(i + 1), 5000})
			a.offer(time.Duration(i)*100*time.Millisecond, false, costs...)
		}
		if told := len(a.vectors); a.at[0] != 0 || patient && (told < 4 || told > 6) || !patient && (told < 19 || told > 21) {
			t.Errorf("patient %v: told at %v", patient, a.at)
		}
		before := len(a.vectors)
		for i := range 50 {
			a.offer(10*time.Second+time.Duration(i)*100*time.Millisecond, false, costs[i+1:]...)
		}
		if told := len(a.vectors) - before; patient && told > 2 || !patient && told < 9 {
			t.Errorf("patient %v: links that went were told of %d times", patient, told)
		}
		before = len(a.vectors)
		if a.offer(15*time.Second, true, costs[60:]...); len(a.vectors) != before+1 {
			t.Errorf("patient %v: a link that broke was not told", patient)
		}
	}
}
