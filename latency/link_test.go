package latency

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// L3
func TestFirstUpTakesTwoEchoes(t *testing.T) {
	l := newLine()
	for i, want := range []State{Down, Up, Up} {
		l.probe(20 * ms)
		if got := l.link.State(); got != want {
			t.Fatalf("after echo %d: %v; want %v", i+1, got, want)
		}
	}
}

// L3: each down within the half-life of the one before asks for more, up to a bound; an hour of quiet forgets all.
func TestFlapDamping(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	toUp := func() (n int) {
		l.link.Failed(l.now)
		for ; l.link.State() == Down; n++ {
			l.probe(20 * ms)
		}
		return n
	}
	var needed []int
	for range 12 {
		needed = append(needed, toUp())
	}
	if needed[0] != 5 || needed[1] < 9 || needed[2] < 15 {
		t.Errorf("answered probes needed: %v", needed)
	}
	for i, n := range needed {
		if i > 0 && n < needed[i-1]*8/10 || n > 160 {
			t.Errorf("answered probes needed: %v", needed)
		}
	}
	l.now = l.now.Add(time.Hour)
	if n := toUp(); n != 5 {
		t.Errorf("%d after an hour of quiet; want 5", n)
	}
	t.Logf("answered probes needed: %v", needed)
}

// A link that is down for its record alone can be released, one that does not work cannot.
func TestRelease(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	for range 4 {
		l.link.Failed(l.now)
		l.settle(20*ms, 200)
	}
	l.link.Failed(l.now)
	l.link.Advance(l.now)
	for good := range 10 {
		if held := l.link.held(); held != (good >= 5) {
			t.Errorf("after %d answered probes: held %v", good, held)
		}
		if good < 5 {
			l.link.Release()
		}
		if l.link.State() != Down {
			t.Fatalf("up after %d answered probes", good)
		}
		l.probe(20 * ms)
	}
	l.probe(-1)
	l.link.Advance(l.now.Add(time.Second))
	if l.link.held() {
		t.Error("held though it does not answer")
	}
	l.now = l.now.Add(time.Second)
	l.settle(20*ms, 5)
	l.link.Release()
	if !l.link.Advance(l.now) || l.link.State() != Up || l.link.held() {
		t.Error("it does not come up")
	}
}

// L3: a miss on the way up costs what was gained.
func TestMissesDelayUp(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	l.link.Failed(l.now)
	l.settle(20*ms, 4)
	l.probe(-1)
	l.settle(20*ms, 4)
	if l.link.State() != Down {
		t.Fatal("up after 4 in a row")
	}
	l.probe(20 * ms)
	if l.link.State() != Up {
		t.Fatal("down after 5 in a row")
	}
}

func TestFailedIsDownAtOnce(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	l.link.Advance(l.now)
	l.link.Failed(l.now)
	if l.link.State() != Down || l.link.Stats().Downs != 1 || !l.link.Advance(l.now) || l.link.Advance(l.now) {
		t.Fatalf("%v, %+v", l.link.State(), l.link.Stats())
	}
}

// A frame explains only misses whose echo could have come before it.
func TestHeardExplainsEarlierMisses(t *testing.T) {
	for _, c := range []struct {
		heard time.Duration // after the third unanswered probe
		want  State
	}{{-100 * ms, Down}, {-60 * ms, Up}, {30 * ms, Up}} {
		l := newLine()
		l.settle(40*ms, 100)
		for range 3 {
			l.now = l.now.Add(50 * ms)
			l.link.Probe(l.now)
		}
		l.link.Heard(l.now.Add(c.heard))
		l.link.Heard(l.now.Add(-time.Hour)) // old news
		l.link.Advance(l.now.Add(100 * ms))
		if got := l.link.State(); got != c.want {
			t.Errorf("heard at %v: %v; want %v", c.heard, got, c.want)
		}
	}
}

// What is heard after misses were counted takes them back.
func TestHeardLateTakesMissesBack(t *testing.T) {
	l := newLine()
	l.settle(40*ms, 100)
	l.probe(-1)
	l.probe(-1)
	if l.link.run != 2 || !l.link.suspected() {
		t.Fatalf("run %d; want 2", l.link.run)
	}
	l.link.Heard(l.now.Add(-5 * ms)) // after the echo of the first was due, before that of the second was
	if l.link.run != 1 {
		t.Fatalf("run %d; want 1", l.link.run)
	}
	l.link.Heard(l.now.Add(60 * ms))
	if l.link.suspected() {
		t.Fatal("still suspected")
	}
}

// A late echo shows the round trip and is no loss.
func TestLateEcho(t *testing.T) {
	l := newLine()
	l.settle(40*ms, 100)
	for range 5 {
		l.probe(200 * ms) // time-outs pass before the first of them
	}
	s := l.link.Stats()
	if s.Late == 0 || s.Late != s.Missed || s.Loss > 1e-9 || s.SRTT < 180*ms || l.link.State() != Up {
		t.Fatalf("%v, %+v", l.link.State(), s)
	}
}

// The first sample after a down shortens the time-outs of probes sent without one.
func TestFirstSampleShortensTimeouts(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	l.link.Failed(l.now)
	l.probe(-1)
	l.now = l.now.Add(50 * ms)
	l.link.Probe(l.now)
	before := l.link.Stats().Missed
	l.probe(20 * ms)
	l.link.Advance(l.now.Add(30 * ms))
	if missed := l.link.Stats().Missed - before; missed != 1 {
		t.Fatalf("%d missed; want the one that is 80 ms old", missed)
	}
}

// L7
func TestRefusedEchoes(t *testing.T) {
	l := newLine()
	l.settle(40*ms, 20)
	l.now = l.now.Add(50 * ms)
	seq := l.link.Probe(l.now)
	before := *l.link
	before.probes.ring = append([]probe(nil), before.probes.ring...)
	for _, c := range []struct {
		seq uint32
		rtt time.Duration
	}{
		{seq + 1, 40 * ms}, {0, 40 * ms}, {math.MaxUint32, 40 * ms}, {seq + historySize, 40 * ms}, // unknown
		{seq - 1, 40 * ms}, // repeated
		{seq, -1}, {seq, time.Minute}, {seq, math.MinInt64},
	} {
		l.link.Echo(l.now, c.seq, c.rtt)
	}
	after := l.link.Stats()
	if after.Refused != 8 || after.SRTT != before.Stats().SRTT || after.Loss != before.Stats().Loss || l.link.heardAt != before.heardAt {
		t.Fatalf("%+v; before %+v", after, before.Stats())
	}
	l.link.Echo(l.now, seq, 0) // faster than the clock can tell
	if got := l.link.Stats(); got.Refused != 8 || l.link.unanswered != 0 {
		t.Fatalf("%+v", got)
	}
}

// The estimate starts anew after a down: the path may be another.
func TestEstimateStartsAnewAfterDown(t *testing.T) {
	l := newLine()
	l.settle(300*ms, 50)
	l.link.Failed(l.now)
	l.settle(10*ms, 5)
	if s := l.link.Stats(); l.link.State() != Up || s.SRTT != 10*ms || s.MinRTT != 10*ms {
		t.Fatalf("%v, %+v", l.link.State(), s)
	}
}

func TestCost(t *testing.T) {
	l := newLine()
	if got := l.link.Cost(); got != math.MaxUint32 {
		t.Errorf("unmeasured: %d", got)
	}
	l.settle(40*ms, 300)
	if got := l.link.Cost(); got != 20_500 {
		t.Errorf("40 ms: %d µs; want 20500", got)
	}
	l.link.loss.average = 1 - 0.98*0.98
	if got := float64(l.link.Cost()); math.Abs(got-20_500-0.017*45_000) > 10 {
		t.Errorf("40 ms and 2 %% loss: %v µs", got)
	}
	l.link.rtt.srtt = math.MaxFloat64
	if got := l.link.Cost(); got != math.MaxUint32 {
		t.Errorf("endless: %d", got)
	}
	l.link.rtt, l.link.cfg.HopCost = estimator{samples: 1}, 0
	l.link.loss = losses{}
	if got := l.link.Cost(); got != 1 {
		t.Errorf("nothing: %d; want 1", got)
	}
}

// L6, L7: any sequence of calls, with times that leap and numbers made up, leaves a link sound.
func TestAnySequenceOfCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		link := newLink(mustNormal(Config{}), now, now)
		if rapid.Bool().Draw(t, "detached") {
			link = NewProber(Config{}, nil).Link(9)
		}
		leap := rapid.OneOf(rapid.Int64Range(0, int64(200*ms)), rapid.Int64Range(-int64(time.Hour), int64(time.Hour)), rapid.Int64())
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(100*ms)).Draw(t, "step")))
			at := now.Add(time.Duration(leap.Draw(t, "leap")))
			switch rapid.IntRange(0, 7).Draw(t, "call") {
			case 0, 1:
				link.Probe(now)
			case 2, 3:
				link.Echo(now, rapid.Uint32Range(0, link.probes.last+2).Draw(t, "seq"), time.Duration(leap.Draw(t, "rtt")))
			case 4:
				link.Heard(at)
			case 5:
				link.Used(at)
			case 6:
				link.Failed(now)
			case 7:
				was := link.told
				if changed := link.Advance(now); changed != (link.State() != was) {
					t.Fatalf("changed %v: %v, was %v", changed, link.State(), was)
				}
			}
			s := link.Stats()
			sound := s.Loss >= 0 && s.Loss <= 1 && s.SRTT >= 0 && s.SRTT <= rttMost && s.Deviation >= 0 && s.Missed <= s.Sent && s.Late <= s.Missed
			if link.Cost() == 0 || !sound {
				t.Fatalf("%d, %+v", link.Cost(), s)
			}
			if link.limit < 3 || link.limit > 6 || link.timeout() < marginLeast || link.timeout() > timeoutMost {
				t.Fatalf("limit %d, time-out %v", link.limit, link.timeout())
			}
		}
	})
}

// A flood of probes within one time-out: the oldest count as missed, none is forgotten.
func TestHistoryIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	link := newLink(mustNormal(Config{}), now, now)
	for range 10 * historySize {
		link.Probe(now)
	}
	if s := link.Stats(); s.Missed != 9*historySize {
		t.Fatalf("%+v", s)
	}
	link.Advance(now.Add(timeoutFirst))
	if s := link.Stats(); s.Missed != s.Sent {
		t.Fatalf("%+v", s)
	}
}

// Numbers wrap around without harm.
func TestNumbersWrap(t *testing.T) {
	l := newLine()
	l.settle(20*ms, 10)
	l.link.probes = history{ring: make([]probe, historySize), last: math.MaxUint32 - 5, tail: math.MaxUint32 - 4}
	l.settle(20*ms, 300)
	if s := l.link.Stats(); s.Refused != 0 || s.Missed != 0 || l.link.State() != Up {
		t.Fatalf("%v, %+v", l.link.State(), s)
	}
	for range 6 {
		l.probe(-1)
	}
	if l.link.State() != Down {
		t.Fatal("up")
	}
}

func TestConfig(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("zero: %v", err)
	}
	if c := mustNormal(Config{ActiveInterval: 2 * time.Second}); c.IdleInterval != 2*time.Second {
		t.Errorf("idle interval %v is less than the active one", c.IdleInterval)
	}
	bad := Config{Budget: -1, MissedLimit: 1000, AdvertiseShare: math.NaN(), IdleInterval: time.Millisecond}
	err := bad.Validate()
	for _, name := range []string{"Budget", "MissedLimit", "AdvertiseShare", "IdleInterval"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if c, _ := bad.normal(); c != mustNormal(Config{}) {
		t.Errorf("refused values are not the defaults: %+v", c)
	}
}
