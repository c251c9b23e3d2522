package core

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// ownLinks are the links records of this node among the effects, to one neighbour.
func ownLinks(t *testing.T, r *rig, effects []Effect, to int) []wire.Record {
	t.Helper()
	return slices.DeleteFunc(sentRecords(t, effects, r.id(to)), func(rec wire.Record) bool {
		return rec.Origin != r.c.self || rec.Kind != wire.RecordLinks
	})
}

func TestANewNodeSpeaksForItself(t *testing.T) {
	r := &rig{t: t, now: epoch(), keys: coreKeys(rigNodes), echo: map[wire.NodeID]time.Duration{}}
	fresh := newRig(t, 2)
	for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
		if stamp := fresh.c.store.stamp(RecordKey{r.id(2), kind}); stamp != (wire.Stamp{Boot: 5, Version: 1}) {
			t.Errorf("kind %d: %v", kind, stamp)
		}
	}
	if fresh.c.table.Len() != 0 || fresh.c.table.Self() != r.id(2) {
		t.Error("it has routes")
	}
}

// A link that goes down is told at once, one that comes up within half a second with others that do, a cost that drifts only when it moved enough.
func TestAdvertisement(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.up(4)
	r.pass(time.Second)
	if len(r.c.vector) != 2 || !slices.IsSortedFunc(r.c.vector, func(a, b wire.Link) int { return int(int64(a.To>>1) - int64(b.To>>1)) }) {
		t.Fatalf("advertised %v", r.c.vector)
	}
	for _, l := range r.c.vector {
		if l.Cost < 5400 || l.Cost > 5600 { // half of 10 ms, and the hop
			t.Errorf("cost %d µs", l.Cost)
		}
	}
	r.pass(10 * time.Second)
	if effects := r.passed(10 * time.Second); len(ownLinks(t, r, effects, 3)) != 0 {
		t.Error("it is told again though nothing changed")
	}
	r.echo[r.id(4)] += 800 * time.Microsecond // 0.4 ms one way
	if effects := r.passed(20 * time.Second); len(ownLinks(t, r, effects, 3)) != 0 {
		t.Error("a cost within the threshold is told")
	}
	r.echo[r.id(4)] += 20 * time.Millisecond
	if n := len(ownLinks(t, r, r.passed(30*time.Second), 3)); n < 1 || n > 8 {
		t.Errorf("a step of a cost is told %d times", n)
	}
	version := r.c.version[wire.RecordLinks]
	effects := r.step(LinkClosed{r.id(4), r.number})
	told := ownLinks(t, r, effects, 3)
	if len(told) != 1 || told[0].Version != version+1 || told[0].Base != 0 {
		t.Fatalf("a lost link is told %d times at once", len(told))
	}
	if links, _, err := wire.ParseLinks(told[0].Body); err != nil || len(links) != 1 || links[0].To != r.id(3) {
		t.Errorf("told %v, %v", links, err)
	}
	r.step(r.open(4, 1))
	up := time.Time{}
	for _, s := range r.pass(3 * time.Second) {
		switch e := s.Effect.(type) {
		case Notice:
			if e.What == "link up" {
				up = s.at
			}
		case SendControl:
			if len(ownLinks(t, r, []Effect{e}, 3)) > 0 && s.at.Sub(up) > 510*time.Millisecond {
				t.Errorf("told %v after the link came up", s.at.Sub(up))
			}
		}
	}
	if up.IsZero() || len(r.c.vector) != 2 {
		t.Error("never told that it is up again")
	}
}

// An urgent change that turns out to be none does not make the next drift urgent.
func TestUrgencyEnds(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.pass(10 * time.Second)
	r.c.urgent, r.c.costsDirty = true, true // as after a down and an up between two offers
	if effects := r.step(); len(ownLinks(t, r, effects, 3)) != 0 || r.c.urgent {
		t.Errorf("urgent %v with nothing to tell", r.c.urgent)
	}
}

func TestLeavingWithdrawsLinks(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.up(4)
	told := ownLinks(t, r, r.step(Leaving{}), 4)
	if len(told) != 1 || string(told[0].Body) != "\x00" {
		t.Fatalf("told %v", told)
	}
	if len(r.c.vector) != 0 || !r.c.leaving {
		t.Error("links are still advertised")
	}
	// Neither time nor a link that comes up later brings them back.
	r.echo[r.id(5)] = 10 * time.Millisecond
	r.step(r.member(5, 1), r.open(5, 1))
	if effects := r.passed(5 * time.Second); len(ownLinks(t, r, effects, 4)) != 0 || len(r.c.vector) != 0 {
		t.Error("a leaving node advertises links")
	}
}

// Routes follow the first change at once, and a storm of changes at most every spfPause.
func TestComputationsAreSpaced(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.pass(time.Second)
	a := r.author(3, 1)
	before, began := r.c.computations, r.now
	effects := r.step(r.records(3, a.links(19_000, r.id(2)))) // more than the other end says, which else would count
	if r.c.computations != before+1 || len(of[PublishRoutes](effects)) != 1 {
		t.Fatal("the first change waits")
	}
	for i := range 100 { // 200 ms of storm
		r.pass(2 * time.Millisecond)
		r.step(r.records(3, a.links(uint32(20_000+i), r.id(2))))
	}
	r.pass(spfPause)
	took := r.now.Sub(began)
	if n, most := r.c.computations-before, uint64(took/spfPause)+1; n < most-2 || n > most {
		t.Errorf("%d computations in %v", n, took)
	}
	want := route.Compute(r.c.self, r.c.db)
	if !maps.Equal(maps.Collect(r.c.table.All()), maps.Collect(want.All())) || r.c.routesDirty {
		t.Error("the last change is not in the table")
	}
	n := r.c.computations
	r.step(r.records(3, a.links(20_099, r.id(2))))
	if r.pass(time.Second); r.c.computations != n {
		t.Error("computed though nothing changed")
	}
}

// The data plane learns of each change of what it uses in the step of the change, once.
func TestPublishedRoutes(t *testing.T) {
	r := newRig(t, 2)
	usable := func(effects []Effect) string {
		t.Helper()
		all := of[PublishRoutes](effects)
		if len(all) == 0 {
			return "nothing"
		}
		if len(all) > 1 {
			t.Errorf("published %d times in a step", len(all))
		}
		if all[0].Table != r.c.table {
			t.Error("published another table")
		}
		names := []string{}
		for _, id := range all[0].Usable {
			for i := range rigNodes {
				if r.id(i) == id {
					names = append(names, fmt.Sprintf("%d/%d", i, all[0].Boots[id]))
				}
			}
		}
		return fmt.Sprint(names)
	}
	r.up(4)
	r.up(3)
	r.pass(time.Second)
	for _, step := range []struct {
		what string
		e    Event
		want string
	}{
		{"a link opens: it has to prove itself", r.open(5, 1), "nothing"},
		{"a member joins", r.member(6, 1), "[3/1 4/1]"},
		{"a member's description changes", r.member(6, 1), "nothing"},
		{"a later run joins", r.member(4, 2), "[3/1 4/2]"},
		{"a member with a working link dies", MemberDown{r.id(3), 1, false}, "nothing"},
		{"a link is lost", LinkClosed{r.id(3), 2}, "[4/2]"},
		{"a member leaves", MemberDown{r.id(4), 2, true}, "[]"},
	} {
		if got := usable(r.step(step.e)); got != step.want {
			t.Errorf("%s: published %s, want %s", step.what, got, step.want)
		}
	}
}

// What is under way over a path that lost a link is to be sent again, but not what goes over one that was left for a better one.
func TestBrokenPathsArePublished(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.up(4)
	r.pass(time.Second)
	last := r.number
	two, three, four, five := r.id(2), r.id(3), r.id(4), r.id(5)
	at3, at4, at5 := r.author(3, 1), r.author(4, 1), r.author(5, 1)
	r.step(r.member(5, 1))
	pause := func() { r.pass(2 * spfPause) }
	step := func(what string, e Event, hop wire.NodeID, broken ...wire.NodeID) {
		t.Helper()
		pause()
		all := of[PublishRoutes](append(r.step(e), r.passed(spfPause)...))
		if len(all) == 0 || !slices.Equal(all[0].Broken, broken) {
			t.Errorf("%s: published %v as broken, want %v", what, all, broken)
		}
		for _, later := range all[min(1, len(all)):] {
			if len(later.Broken) > 0 {
				t.Errorf("%s: broken once more: %v", what, later.Broken)
			}
		}
		if got, _ := r.c.table.Lookup(five); got.NextHop != hop {
			t.Errorf("%s: next hop %v, want %v", what, got.NextHop, hop)
		}
	}
	step("neighbours come within reach", RecordsCame{three, []wire.Record{at3.links(5000, two, five), at4.links(50000, two, five)}}, 0, three, four)
	step("so does a node behind them", RecordsCame{three, []wire.Record{at5.links(1000, three, four)}}, three, five)
	step("a better path", RecordsCame{four, []wire.Record{at4.links(100, two, five), at3.links(9000, two, five)}}, four)
	step("a link far away is lost", RecordsCame{four, []wire.Record{at5.links(1000, three)}}, three, five)
	step("and comes back", RecordsCame{four, []wire.Record{at5.links(1000, three, four)}}, four)
	step("a link of its own is lost", LinkClosed{four, last}, three, four, five)
}

// Routes often leave a node just before it is found dead, since its links look worse by then: what went that way is to be sent again when the path left
// breaks, as long as it may still be under way.
func TestFormerPathsBreak(t *testing.T) {
	for _, c := range []struct {
		after  time.Duration
		broken bool
	}{{formerKept / 2, true}, {formerKept + 200*time.Millisecond, false}} {
		r := newRig(t, 2)
		r.up(3)
		r.up(4)
		r.pass(time.Second)
		two, three, four, five := r.id(2), r.id(3), r.id(4), r.id(5)
		at3, at4, at5 := r.author(3, 1), r.author(4, 1), r.author(5, 1)
		r.step(r.member(5, 1), RecordsCame{three, []wire.Record{
			at3.links(5000, two, five), at4.links(50000, two, five), at5.links(1000, three, four),
		}})
		r.pass(time.Second)
		r.step(RecordsCame{four, []wire.Record{at4.links(100, two, five)}}) // better
		r.pass(c.after)
		effects := append(r.step(RecordsCame{three, []wire.Record{at3.links(5000, two)}}), r.passed(2*spfPause)...)
		broken := false
		for _, e := range of[PublishRoutes](effects) {
			broken = broken || slices.Contains(e.Broken, five)
		}
		if got, _ := r.c.table.Lookup(five); got.NextHop != four || broken != c.broken {
			t.Errorf("the former path breaks after %v: next hop %v, broken %v", c.after, got.NextHop, broken)
		}
	}
}

// Changes of interest gather for interestPause and go out as one record; a change that is taken back goes out not at all.
func TestInterestGathers(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.pass(time.Second)
	key := RecordKey{r.c.self, wire.RecordInterest}
	version := r.c.store.stamp(key).Version
	change := func(name string, wanted bool) { r.step(InterestChanged{"t", pattern(t, name), wanted}) }
	began := r.now
	change("a", true)
	r.pass(interestPause / 2)
	change("b", true)
	var sent []stamped
	for _, s := range r.pass(time.Second) {
		if e, ok := s.Effect.(SendControl); ok && wire.Kind(e.Frame[0]) == wire.KindRecords {
			sent = append(sent, s)
		}
	}
	if len(sent) != 1 || sent[0].at.Sub(began) != interestPause {
		t.Fatalf("%d records, the first after %v", len(sent), sent[0].at.Sub(began))
	}
	records := sentRecords(t, []Effect{sent[0].Effect}, r.id(3))
	if len(records) != 1 || records[0].Version != version+1 {
		t.Fatalf("sent %v", records)
	}
	change("c", true)
	change("c", false)
	if n := len(sentRecords(t, r.passed(time.Second), r.id(3))); n != 0 {
		t.Errorf("nothing changed, %d records", n)
	}
	change("a", false)
	if n := len(sentRecords(t, r.passed(time.Second), r.id(3))); n != 1 {
		t.Errorf("a subscriber went, %d records", n)
	}
	// Another node that follows the records has exactly the interest that is left.
	var follower interest.Index
	for _, rec := range r.c.store.entries[key].records {
		if f, err := interest.ParseFull(rec.Body); rec.Base == 0 && err == nil {
			follower.Set(rec.Origin, f)
		} else if err := follower.ApplyDelta(rec.Origin, rec.Body); err != nil {
			t.Fatal(err)
		}
	}
	if len(follower.Lookup(nil, query("b"))) != 1 || len(follower.Lookup(nil, query("a"))) != 0 {
		t.Error("the records do not tell what is wanted")
	}
}

// Bodies that make no sense change nothing, and are told of.
func TestBadBodies(t *testing.T) {
	r := linkedPair(t)
	a := r.author(4, 1)
	for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
		a.version[kind] = 50
		r.step(r.records(4, a.record(kind, []byte{0xff, 1, 2}, true)))
	}
	effects := r.step(r.records(4, a.record(wire.RecordInterest, []byte{2, 9}, false)))
	if !r.linked(2, 4) || !r.finds(4, "sport") {
		t.Error("a bad body was used")
	}
	if n := of[Notice](effects); len(n) != 1 || n[0].What != "bad interest" {
		t.Errorf("notices %v", n)
	}
}

// ringed is a rig that knows a ring of so many nodes, with a chord that is on no path of it: from the first, which is linked to it and may change its other links, to the third.
func ringed(t *testing.T, nodes wire.NodeID) (r *rig, change func(links ...wire.Link)) {
	r = newRig(t, 2)
	r.up(3)
	for i := range nodes {
		r.c.db.Set(i+1, []route.Link{{To: (i+1)%nodes + 1, Cost: 1000}, {To: (i+nodes-1)%nodes + 1, Cost: 1000}})
	}
	r.c.db.Set(3, []route.Link{{To: 1, Cost: 5000}, {To: 2, Cost: 1000}, {To: 4, Cost: 1000}})
	r.c.db.Set(r.c.self, append(slices.Clone(r.c.db.Links(r.c.self)), route.Link{To: 1, Cost: 1000}))
	r.now = r.now.Add(time.Duration(nodes) * spfCalm)
	change = func(links ...wire.Link) {
		r.c.setLinks(1, append(links, wire.Link{To: r.c.self, Cost: 1000}))
		r.step()
	}
	change(wire.Link{To: 2, Cost: 1001}, wire.Link{To: 3, Cost: 5000}, wire.Link{To: nodes, Cost: 1000})
	if _, ok := r.c.table.Lookup(nodes); !ok || r.c.table.Crosses(1, 3) || !r.c.table.Crosses(1, nodes) {
		t.Fatal("not the ring that was meant")
	}
	if r.c.routesDirty || r.c.linksDirty {
		t.Fatal("routes are not computed at the first change after a calm")
	}
	return r, change
}

// hurries are changes of the ring's first node, and whether they make paths of this one worse.
var hurries = []struct {
	what  string
	links []wire.Link
	hurry bool
}{
	{"a link on no path costs more", []wire.Link{{To: 2, Cost: 1001}, {To: 3, Cost: 6000}, {To: 1000, Cost: 1000}}, false},
	{"a link on a path costs less", []wire.Link{{To: 2, Cost: 901}, {To: 3, Cost: 5000}, {To: 1000, Cost: 1000}}, false},
	{"a link on no path is gone", []wire.Link{{To: 2, Cost: 1001}, {To: 1000, Cost: 1000}}, false},
	{"a link on a path costs more", []wire.Link{{To: 2, Cost: 2000}, {To: 3, Cost: 5000}, {To: 1000, Cost: 1000}}, true},
	{"a link on a path is gone", []wire.Link{{To: 2, Cost: 1001}, {To: 3, Cost: 5000}}, true},
}

// What makes no path worse is followed together with more, and what does, at once.
func TestChangesAreFollowedTogether(t *testing.T) {
	for _, x := range hurries {
		r, change := ringed(t, 1000)
		change(x.links...)
		if r.c.linksDirty == x.hurry {
			t.Errorf("%s: followed at once is %v", x.what, !r.c.linksDirty)
		}
		if !x.hurry {
			r.pass(r.c.followDue().Sub(r.now))
		}
		if r.c.linksDirty || !r.c.routesDirty {
			t.Errorf("%s: not followed when it is due, or routes are computed for it", x.what)
		}
	}
}

// In a large mesh some cost always changes, and some link is given up: routes by it may wait, those around a link that is lost or dearer do not.
func TestWorsePathsComputeSooner(t *testing.T) {
	for _, x := range hurries {
		r, change := ringed(t, 1000)
		change(x.links...)
		wait := r.c.spfDue().Sub(r.c.spfAt)
		if x.hurry && wait > spfPause || !x.hurry && wait < 1000*spfCalm || !r.c.routesDirty {
			t.Errorf("%s: routes wait %v", x.what, wait)
		}
		r.pass(wait)
		if r.c.routesDirty || r.c.routesWorse {
			t.Errorf("%s: it is not in the routes after that", x.what)
		}
	}
}

// A path that was left for a better one just now may still be in use: a link of it that is lost hurries, too.
func TestLostLinksOfFormerPathsHurry(t *testing.T) {
	const nodes = 1000
	r, change := ringed(t, nodes)
	change(wire.Link{To: 2, Cost: 1001}, wire.Link{To: 3, Cost: 100}, wire.Link{To: nodes, Cost: 1000}) // the chord becomes a path only when both ends say so
	r.c.setLinks(3, []wire.Link{{To: 1, Cost: 100}, {To: 2, Cost: 1000}, {To: 4, Cost: 1000}})
	r.pass(2 * nodes * spfCalm)
	if !r.c.table.Crosses(1, 3) || r.c.table.Crosses(2, 3) {
		t.Fatal("the chord is no path")
	}
	r.c.setLinks(2, []wire.Link{{To: 1, Cost: 1000}})
	if !r.c.routesWorse {
		t.Error("a lost link of a path left just now does not hurry")
	}
}
