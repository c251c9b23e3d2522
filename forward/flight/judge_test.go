package flight

import (
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

// ways are the paths to a destination, the best first: the relays of each, and one that is direct if there is an empty one.
type ways [][]wire.NodeID

// way takes the first path without avoided relays; each takes 20 ms more than the one before.
func (w ways) way(avoid []wire.NodeID) ([]wire.NodeID, time.Duration, bool) {
	for i, relays := range w {
		if !slices.ContainsFunc(relays, func(id wire.NodeID) bool { return slices.Contains(avoid, id) }) {
			return relays, 40*time.Millisecond + time.Duration(i)*20*time.Millisecond, true
		}
	}
	return nil, 0, false
}

// trial is a judge, and a clock in ms.
type trial struct {
	t *testing.T
	Judge
	ways
}

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func newTrial(t *testing.T, w ...[]wire.NodeID) *trial {
	c := &trial{t: t, ways: w}
	c.Route(at(0), c.way)
	return c
}

func (c *trial) missed(now, sent int, changed bool, avoid ...wire.NodeID) {
	c.t.Helper()
	if got := c.Missed(at(now), at(sent), c.way); got != changed || !slices.Equal(c.Avoid(), avoid) {
		c.t.Errorf("%d ms: sent at %d and missed: %v, avoids %v; want %v, %v", now, sent, got, c.Avoid(), changed, avoid)
	}
}

func (c *trial) heard(now, freed int, avoid ...wire.NodeID) {
	c.t.Helper()
	if c.Heard(at(now), freed, c.way); !slices.Equal(c.Avoid(), avoid) {
		c.t.Errorf("%d ms: heard: avoids %v, want %v", now, c.Avoid(), avoid)
	}
}

func (c *trial) routed(now int, avoid ...wire.NodeID) {
	c.t.Helper()
	if c.Route(at(now), c.way); !slices.Equal(c.Avoid(), avoid) {
		c.t.Errorf("%d ms: routed: avoids %v, want %v", now, c.Avoid(), avoid)
	}
}

// A relay that passes nothing on is left at the first time-out, kept out for penaltyFirst once the other way has proved to work, and longer if found again.
func TestSilentRelay(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, nil)
	now := 0
	for _, penalty := range []time.Duration{penaltyFirst, 2 * penaltyFirst, 4 * penaltyFirst} {
		c.missed(now+300, now+100, true, 7)
		c.missed(now+310, now+110, false, 7) // sent the old way
		c.heard(now+450, 3, 7)
		c.routed(now+450+int(penalty/time.Millisecond)-1, 7)
		if c.Over(at(now + 450 + int(penalty/time.Millisecond) - 1)) {
			t.Errorf("over before %v", penalty)
		}
		now += 450 + int(penalty/time.Millisecond)
		if !c.Over(at(now)) {
			t.Errorf("not over after %v", penalty)
		}
		c.routed(now)
	}
	now += int(penaltyKept * 4 * penaltyFirst / time.Millisecond)
	c.missed(now+200, now, true, 7)
	c.heard(now+400, 1, 7)
	if c.penalty != penaltyFirst {
		t.Errorf("long after the last: %v", c.penalty)
	}
}

// What is acknowledged sooner than the other way takes was late only.
func TestLateRelay(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, nil)
	c.missed(300, 100, true, 7)
	c.heard(310, 5)
	c.missed(600, 400, true, 7)
	c.heard(700, 5, 7) // later than 60 ms there and back, less a quarter
}

// An acknowledgement of a message that took a way of its own does not speak for the relays.
func TestDetourDoesNotAcquit(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, []wire.NodeID{8}, nil)
	c.missed(300, 100, true, 7)
	if got := c.Detour(1, c.way); !slices.Equal(got, []wire.NodeID{7, 8}) {
		t.Fatalf("the detour avoids %v", got)
	}
	c.missed(600, 300, true, 7, 8)
	c.heard(605, 1, 7, 8)
	c.heard(900, 1, 7, 8)
	if c.until.IsZero() {
		t.Error("they are not condemned")
	}
}

// A destination that answers on no way is not held against relays, and messages do not rush from one way to another.
func TestSilentDestination(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, nil)
	c.missed(300, 100, true, 7)
	c.missed(390, 300, false, 7) // the other way takes longer
	c.missed(600, 300, false)
	c.missed(900, 600, false)
	if got := c.Detour(1, c.way); !slices.Equal(got, []wire.NodeID{7}) {
		t.Errorf("a message sent again avoids %v", got)
	}
	c.missed(1700, 1000, true, 7) // after a while there may be another way
	c.missed(2000, 1700, false)
	c.heard(2100, 9)
	c.missed(2400, 2150, true, 7) // and now it has spoken
	c.heard(2600, 9, 7)
}

// A message that is sent again and again tries one way after the other.
func TestDetoursGoFurther(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, []wire.NodeID{8, 9}, []wire.NodeID{3}, nil)
	for tries, want := range [][]wire.NodeID{{}, {7}, {7}, {7, 8, 9}, {7, 8, 9}, {7, 8, 9, 3}, {7, 8, 9, 3}, {7, 8, 9, 3}} {
		if got := c.Detour(tries, c.way); !slices.Equal(got, want) {
			t.Errorf("after %d tries: %v, want %v", tries, got, want)
		}
	}
}

// Relays one after the other are found out, as far as there are ways around them.
func TestManyLiars(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, []wire.NodeID{8, 9}, []wire.NodeID{3}, nil)
	c.missed(300, 100, true, 7)
	c.missed(600, 300, true, 7, 8, 9)
	c.missed(900, 600, true, 7, 8, 9, 3)
	c.heard(1200, 9, 7, 8, 9, 3)
	c.ways = ways{{1, 2}, nil}
	c.routed(1300)                               // no longer on the way
	c.missed(1600, 1250, false)                  // sent before
	c.missed(1700, 1400, true, 7, 8, 9, 3, 1, 2) // and two more
	c.ways = ways{{10, 11}}
	c.routed(1800)
	c.missed(2100, 1900, false) // no other way
}

// A relay that drops some messages is left once they are many; until then each goes around by itself.
func TestSelectiveRelay(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, nil)
	for i := range 100 {
		c.heard(i*10, 1)
	}
	for i := range lostLeast + 1 { // they fade
		if got := c.Detour(1, c.way); !slices.Equal(got, []wire.NodeID{7}) {
			t.Errorf("a message sent again avoids %v", got)
		}
		now := 1000 + 10*i
		c.heard(now, 1)
		if i < lostLeast {
			c.missed(now+1, now-200, false)
		} else {
			c.missed(now+1, now-200, true, 7)
		}
	}
	if c.Over(at(2000)) || c.until.IsZero() {
		t.Error("it is not condemned")
	}
	few := newTrial(t, []wire.NodeID{7}, nil)
	for i := range 1000 { // one in 100
		few.heard(i*10, 1)
		if i%100 == 99 {
			few.missed(i*10+1, i*10-200, false)
		}
	}
}

// What goes around relays is astray once that way is another: the links of it may be broken, and no one says so, since the shortest path is whole.
func TestAstray(t *testing.T) {
	c := newTrial(t, []wire.NodeID{7}, []wire.NodeID{8}, []wire.NodeID{9})
	route := func(now int, astray bool, w ...[]wire.NodeID) {
		t.Helper()
		c.ways = w
		if got := c.Route(at(now), c.way); got != astray {
			t.Errorf("%d ms: astray %v", now, got)
		}
	}
	route(0, false, []wire.NodeID{6}, []wire.NodeID{8}, []wire.NodeID{9}) // nothing is avoided: who knows of broken links tells
	route(10, false, []wire.NodeID{7}, []wire.NodeID{8}, []wire.NodeID{9})
	c.missed(300, 100, true, 7)
	c.heard(500, 3, 7)
	route(510, false, []wire.NodeID{7}, []wire.NodeID{8}, []wire.NodeID{9})
	route(520, true, []wire.NodeID{7}, []wire.NodeID{9})  // by 8 no more
	route(530, true, []wire.NodeID{6}, []wire.NodeID{9})  // what it was for is no longer on the path
	route(540, false, []wire.NodeID{7}, []wire.NodeID{9}) // messages took the shortest path
	over := 500 + int(penaltyFirst/time.Millisecond)
	route(over, false, []wire.NodeID{7}, []wire.NodeID{9}) // 7 is tried again, and 9 still works
}

// Whatever happens, relays are named only while they are on the plain path and there is a way around them, and never more than a message can name.
func TestJudgeNamesWhatItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		relays := rapid.SliceOfN(rapid.Map(rapid.Uint64Range(1, 12), func(v uint64) wire.NodeID { return wire.NodeID(v) }), 0, 4)
		var j Judge
		var w ways
		now := 0
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += rapid.IntRange(0, 4000).Draw(t, "ms")
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0:
				w = rapid.SliceOfN(relays, 0, 4).Draw(t, "ways")
				j.Route(at(now), w.way)
			case 1:
				j.Missed(at(now), at(now-rapid.IntRange(0, 1000).Draw(t, "ago")), w.way)
			case 2:
				j.Heard(at(now), rapid.IntRange(0, 9).Draw(t, "freed"), w.way)
			case 3:
				if j.Over(at(now)) {
					j.Route(at(now), w.way)
				}
			}
			avoid := j.Avoid()
			plain, _, _ := w.way(nil)
			if len(avoid) > wire.MaxAvoid || len(j.Detour(rapid.IntRange(0, 9).Draw(t, "tries"), w.way)) > wire.MaxAvoid {
				t.Fatalf("avoids %v", avoid)
			}
			if avoid != nil && !slices.ContainsFunc(plain, func(id wire.NodeID) bool { return slices.Contains(avoid, id) }) {
				t.Fatalf("avoids %v on %v", avoid, plain)
			}
		}
	})
}
