package forward

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Why next hops were taken, or not.
func TestCandidates(t *testing.T) {
	h := newHub(t, 3) // 2, 3, 4, at 1 ms each
	db := route.NewDatabase()
	db.Set(h.self, []route.Link{{To: 2, Cost: 10}, {To: 3, Cost: 20}, {To: 4, Cost: 100}})
	for _, n := range []struct {
		id   wire.NodeID
		cost uint32
	}{{2, 10}, {3, 20}} {
		db.Set(n.id, []route.Link{{To: h.self, Cost: n.cost}, {To: 4, Cost: 30}})
	}
	db.Set(4, []route.Link{{To: h.self, Cost: 100}, {To: 2, Cost: 30}, {To: 3, Cost: 30}})
	s := &Snapshot{Table: route.Compute(h.self, db), Links: h.forwarder.snapshot.Load().Links}
	taken, dearer, noLink, passed, avoided := wire.VerdictTaken, wire.VerdictDearer, wire.VerdictNoLink, wire.VerdictPassed, wire.VerdictAvoided
	for _, test := range []struct {
		name   string
		m      wire.Message
		came   wire.NodeID
		down   []wire.NodeID
		takes  wire.NodeID
		should []wire.Candidate
	}{
		{"best", wire.Message{}, 0, nil, 2, []wire.Candidate{{Hop: 2, Cost: 40, Verdict: taken}, {Hop: 3, Cost: 50, Verdict: dearer}, {Hop: 4, Cost: 100, Verdict: dearer}}},
		{"down", wire.Message{}, 0, []wire.NodeID{2}, 3, []wire.Candidate{{Hop: 2, Cost: 40, Verdict: noLink}, {Hop: 3, Cost: 50, Verdict: taken}, {Hop: 4, Cost: 100, Verdict: dearer}}},
		{"came from there", wire.Message{}, 2, nil, 3, []wire.Candidate{{Hop: 2, Cost: 40, Verdict: passed}, {Hop: 3, Cost: 50, Verdict: taken}, {Hop: 4, Cost: 100, Verdict: dearer}}},
		{"was there", wire.Message{Via: []wire.NodeID{2}}, 7, nil, 3, []wire.Candidate{{Hop: 2, Cost: 40, Verdict: passed}, {Hop: 3, Cost: 50, Verdict: taken}, {Hop: 4, Cost: 100, Verdict: dearer}}},
		{"around", wire.Message{Avoid: []wire.NodeID{2}}, 0, nil, 3, []wire.Candidate{{Hop: 3, Cost: 50, Verdict: taken}, {Hop: 2, Cost: 40, Verdict: avoided}, {Hop: 4, Cost: 100, Verdict: dearer}}},
		{"around both", wire.Message{Avoid: []wire.NodeID{2, 3}}, 0, nil, 4, []wire.Candidate{{Hop: 4, Cost: 100, Verdict: taken}, {Hop: 2, Cost: 40, Verdict: avoided}, {Hop: 3, Cost: 50, Verdict: avoided}}},
		{"nowhere", wire.Message{}, 0, []wire.NodeID{2, 3, 4}, 0, []wire.Candidate{{Hop: 2, Cost: 40, Verdict: noLink}, {Hop: 3, Cost: 50, Verdict: noLink}, {Hop: 4, Cost: 100, Verdict: noLink}}},
		{"by another snapshot", wire.Message{}, 0, []wire.NodeID{2, 3}, 9, []wire.Candidate{
			{Hop: 2, Cost: 40, Verdict: noLink}, {Hop: 3, Cost: 50, Verdict: noLink}, {Hop: 4, Cost: 100, Verdict: dearer}, {Hop: 9, Verdict: taken},
		}},
	} {
		for _, id := range test.down {
			s.Links[id].usable.Store(false)
		}
		test.m.Origin = 8
		if picked := h.forwarder.pick(s, &test.m, 4, test.came); test.takes != 9 && (picked == nil) != (test.takes == 0) || picked != nil && test.takes != 9 && picked.Peer != test.takes {
			t.Errorf("%s: picked %v, want %v", test.name, picked, test.takes)
		}
		if got := h.forwarder.candidates(s, &test.m, 4, test.came, test.takes); !slices.Equal(got, test.should) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.should)
		}
		for _, id := range test.down {
			s.Links[id].usable.Store(true)
		}
	}
}

// ear takes what is told.
type ear struct {
	mu   sync.Mutex
	told []wire.Hop
	by   []wire.NodeID
}

func (e *ear) hear(by wire.NodeID, h *wire.Hop) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told, e.by = append(e.told, *h), append(e.by, by)
}

func (e *ear) heard() (told []wire.Hop, by []wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.told), slices.Clone(e.by)
}

// inARow is three stations in a row, of which the first traces.
func inARow(ctx context.Context, t *testing.T, n *simnet.Net) (a, b, c *station, e *ear) {
	t.Helper()
	e = new(ear)
	a = startStation(ctx, t, n, 1, func(cfg *Config) { cfg.Traced = e.hear })
	b, c = startStation(ctx, t, n, 2, func(*Config) {}), startStation(ctx, t, n, 3, func(*Config) {})
	for _, dial := range [][2]*station{{a, b}, {b, c}} {
		if err := dial[0].Dial(ctx, dial[1].addr, dial[1].self); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	costs := map[wire.NodeID][]route.Link{
		a.self: {{To: b.self, Cost: 10_000}}, b.self: {{To: a.self, Cost: 10_000}, {To: c.self, Cost: 10_000}}, c.self: {{To: b.self, Cost: 10_000}},
	}
	for _, s := range []*station{a, b, c} {
		s.use(costs)
	}
	return a, b, c, e
}

func (s *station) traceTo(ctx context.Context, t *testing.T, m wire.Message, ids ...wire.NodeID) {
	t.Helper()
	m.Class, m.Trace, m.Deadline = wire.ClassTrace, 7, 5000
	if err := s.Forwarder().Spread(ctx, &m, ids); err != nil {
		t.Fatal(err)
	}
}

// Each node tells where it sent the message, for whom, and when.
func TestTracedMessageIsToldOf(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b, c, e := inARow(ctx, t, n)
		a.traceTo(ctx, t, wire.Message{}, b.self, c.self)
		time.Sleep(100 * time.Millisecond)
		told, by := e.heard()
		if want := []wire.NodeID{a.self, b.self, b.self, c.self}; !slices.Equal(by, want) {
			t.Fatalf("told by %v, want %v: %+v", by, want, told)
		}
		first, at, on, last := told[0], told[1], told[2], told[3]
		if len(first.Choices) != 2 || first.Age != 0 || first.Link != 0 || len(first.Via) != 0 || first.End != wire.EndSent {
			t.Errorf("first %+v", first)
		}
		if at.End != wire.EndDelivered || len(at.Choices) != 0 || len(at.Via) != 0 || at.Age < 9_900 || at.Age > 10_100 || at.Link != at.Age {
			t.Errorf("at the relay %+v", at)
		}
		if len(on.Choices) != 1 || on.Choices[0].To != c.self || len(on.Via) != 0 || on.Age != at.Age {
			t.Errorf("from the relay %+v", on)
		}
		if last.End != wire.EndDelivered || !slices.Equal(last.Via, []wire.NodeID{b.self}) || last.Age < 19_900 || last.Age > 20_100 {
			t.Errorf("last %+v", last)
		}
		for _, s := range []*station{a, b, c} {
			for _, l := range s.Links() {
				l.mu.Lock()
				if len(l.watched) != 0 {
					t.Errorf("still watched: %+v", l.watched)
				}
				l.mu.Unlock()
			}
		}
	})
}

// Where it goes no further that is told, too.
func TestTracedMessageEnds(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b, c, e := inARow(ctx, t, n)
		ends := func() (ends []wire.End) {
			told, by := e.heard()
			for i, h := range told {
				if by[i] == b.self {
					ends = append(ends, h.End)
				}
			}
			return ends
		}
		b.Link(c.self).SetUsable(false)
		a.traceTo(ctx, t, wire.Message{}, c.self)
		time.Sleep(25 * time.Millisecond)
		if got := ends(); !slices.Equal(got, []wire.End{wire.EndNoRoute}) {
			t.Errorf("without a way: %v", got)
		}
		a.traceTo(ctx, t, wire.Message{Age: 4_995_000}, c.self)
		time.Sleep(25 * time.Millisecond)
		if got := ends(); !slices.Contains(got, wire.EndExpired) {
			t.Errorf("too old: %v", got)
		}
		b.Link(c.self).SetUsable(true)
		m := wire.Message{Class: wire.ClassTrace, Trace: 7, Deadline: 5000, Origin: a.self, HopsLeft: 1}
		d := wire.Destination{ID: c.self}
		if err := a.Link(b.self).sendMessage(&m, wire.AppendMessageHead(nil, &m, []wire.Destination{d}), false, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Millisecond)
		if got := ends(); !slices.Contains(got, wire.EndHopLimit) {
			t.Errorf("too far: %v", got)
		}
	})
}

// Whoever traces, a node tells of so much and no more.
func TestTellingIsBounded(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b, _, e := inARow(ctx, t, n)
		for range 3 * traceBurst {
			a.traceTo(ctx, t, wire.Message{}, b.self)
		}
		time.Sleep(100 * time.Millisecond)
		told := 0
		_, all := e.heard()
		for _, by := range all {
			if by == b.self {
				told++
			}
		}
		if dropped := b.Counters().Dropped(DropTraces); told < traceBurst || told > traceBurst+traceRate/2 || int(dropped)+told < 3*traceBurst {
			t.Errorf("told %d times, and not %d times", told, dropped)
		}
	})
}

// A message whose link breaks before it was written goes another way, and is told of there alone.
func TestTracedMessageGoesAnotherWay(t *testing.T) {
	h := newHub(t, 3)
	m := wire.Message{HopsLeft: 8, Origin: 2, Boot: 1, Deadline: 5000, Trace: 5, Class: wire.ClassTrace}
	frame := wire.AppendMessageHead(nil, &m, []wire.Destination{{ID: 3}})
	if err := h.links[0].message(1, frame, &m); err != nil {
		t.Fatal(err)
	}
	to, other := h.links[1], h.links[2]
	if len(to.watched) != 0 { // its sender wrote it itself
		t.Fatalf("watched: %d", len(to.watched))
	}
	if got := bytes.Count(h.links[0].out[controlLane].pending, []byte{byte(wire.KindHop)}); got == 0 {
		t.Error("nothing is told")
	}
	to.flusher.turn <- struct{}{} // it writes something else
	if err := h.links[0].message(1, frame, &m); err != nil || len(to.watched) != 1 {
		t.Fatalf("%v, watched: %d", err, len(to.watched))
	}
	db := route.NewDatabase()
	db.Set(h.self, []route.Link{{To: 2, Cost: 10}, {To: 3, Cost: 10}, {To: 4, Cost: 10}})
	db.Set(3, []route.Link{{To: h.self, Cost: 10}, {To: 4, Cost: 10}})
	db.Set(4, []route.Link{{To: h.self, Cost: 10}, {To: 3, Cost: 10}})
	s := &Snapshot{Table: route.Compute(h.self, db), Links: h.forwarder.snapshot.Load().Links}
	h.forwarder.Publish(s, nil)
	other.flusher.turn <- struct{}{}
	to.SetUsable(false)
	h.group.Wait()
	if len(to.watched) != 0 || len(other.watched) != 1 || len(other.watched[0].hops[0].Choices[0].Candidates) != 2 {
		t.Errorf("watched: %d, %+v", len(to.watched), other.watched)
	}
}
