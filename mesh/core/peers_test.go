package core

import (
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func TestMemberUpTakesTheLatestRun(t *testing.T) {
	steps := []struct {
		what   string
		event  func(r *rig) Event
		boot   uint64 // of the run known afterwards
		member bool
		joined bool // a notice says so
	}{
		{"first run", func(r *rig) Event { return r.member(4, 3) }, 3, true, true},
		{"same run again", func(r *rig) Event { return r.member(4, 3) }, 3, true, false},
		{"earlier run", func(r *rig) Event { return r.member(4, 2) }, 3, true, false},
		{"later run", func(r *rig) Event { return r.member(4, 7) }, 7, true, true},
		{"end of the earlier run", func(r *rig) Event { return MemberDown{r.id(4), 3, false} }, 7, true, false},
		{"end of a run unheard of", func(r *rig) Event { return MemberDown{r.id(4), 8, false} }, 7, true, false},
		{"end", func(r *rig) Event { return MemberDown{r.id(4), 7, false} }, 7, false, false},
		{"end again", func(r *rig) Event { return MemberDown{r.id(4), 7, false} }, 7, false, false},
		{"late news of an earlier run", func(r *rig) Event { return r.member(4, 3) }, 7, false, false},
		{"the same run after all", func(r *rig) Event { return r.member(4, 7) }, 7, true, true},
	}
	r := newRig(t, 2)
	for _, s := range steps {
		effects := r.step(s.event(r))
		p := r.c.peers[r.id(4)]
		if p.meta.Boot != s.boot || p.member != s.member {
			t.Errorf("%s: boot %d member %v, want %d %v", s.what, p.meta.Boot, p.member, s.boot, s.member)
		}
		joined := slices.ContainsFunc(of[Notice](effects), func(n Notice) bool { return n.What == "member joined" })
		if joined != s.joined {
			t.Errorf("%s: joined %v, want %v", s.what, joined, s.joined)
		}
	}
}

func TestNewsOfItselfChangesNothing(t *testing.T) {
	r := newRig(t, 2)
	r.step(r.member(2, 9), MemberDown{r.id(2), 9, false})
	if len(r.c.peers) != 0 {
		t.Errorf("a node is its own peer: %v", r.c.peers)
	}
}

// What a peer said over its link before SWIM told of it must count once SWIM does.
func TestLinkAheadOfMembership(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := newRig(t, 2)
		r.echo[r.id(4)] = 10 * time.Millisecond
		a := r.author(4, 3)
		if !late {
			r.step(r.member(4, 3))
		}
		r.step(r.open(4, 3))
		r.pass(200 * time.Millisecond)
		full, delta := a.wants(t, "news.*"), a.wants(t, "sport")
		effects := r.step(r.records(4, a.links(2000, r.id(2)), full, delta))
		if late {
			if r.linked(2, 4) || r.finds(4, "sport") || len(of[PublishRoutes](effects)) > 0 {
				t.Error("a node that SWIM does not know takes part")
			}
			r.pass(time.Second)
			effects = r.step(r.member(4, 3))
		}
		effects = append(effects, r.passed(100*time.Millisecond)...)
		if !r.linked(2, 4) || !r.finds(4, "news.x") || !r.finds(4, "sport") {
			t.Errorf("late %v: link %v, news %v, sport %v", late, r.linked(2, 4), r.finds(4, "news.x"), r.finds(4, "sport"))
		}
		if route, ok := r.c.table.Lookup(r.id(4)); !ok || route.NextHop != r.id(4) {
			t.Errorf("late %v: no route", late)
		}
		published := of[PublishRoutes](effects)
		if len(published) == 0 || !slices.Equal(published[len(published)-1].Usable, []wire.NodeID{r.id(4)}) {
			t.Errorf("late %v: published %v", late, published)
		}
	}
}

// linkedPair is node 2 with a working link to node 4, whose records it has.
func linkedPair(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, 2)
	r.up(4)
	a := r.author(4, 1)
	r.step(r.records(4, a.links(2000, r.id(2)), a.wants(t, "sport")))
	r.pass(100 * time.Millisecond)
	if !r.linked(2, 4) || !r.finds(4, "sport") {
		t.Fatal("not linked")
	}
	return r
}

func TestMemberDown(t *testing.T) {
	for _, test := range []struct {
		what   string
		event  func(r *rig) Event
		stays  bool // takes part
		closed bool // its link is closed
	}{
		{"declared dead, link works", func(r *rig) Event { return MemberDown{r.id(4), 1, false} }, true, false},
		{"left", func(r *rig) Event { return MemberDown{r.id(4), 1, true} }, false, true},
		{"an earlier run left", func(r *rig) Event { return MemberDown{r.id(4), 0, true} }, true, false},
	} {
		r := linkedPair(t)
		effects := r.step(test.event(r))
		effects = append(effects, r.passed(100*time.Millisecond)...)
		_, routed := r.c.table.Lookup(r.id(4))
		if r.finds(4, "sport") != test.stays || r.linked(2, 4) != test.stays || routed != test.stays {
			t.Errorf("%s: interest %v, links %v, route %v; want %v", test.what, r.finds(4, "sport"), r.linked(2, 4), routed, test.stays)
		}
		if closed := len(of[CloseLink](effects)) > 0; closed != test.closed || (r.c.peers[r.id(4)].link == 0) != test.closed {
			t.Errorf("%s: closed %v, want %v", test.what, closed, test.closed)
		}
	}
}

// A node that SWIM gave up takes part as long as its link works, and again when it works again.
func TestDeadMemberWithLivingLink(t *testing.T) {
	r := linkedPair(t)
	r.step(MemberDown{r.id(4), 1, false})
	r.pass(10 * time.Second)
	if !r.finds(4, "sport") || r.c.View().Members[0].State != "unreachable" {
		t.Fatal("it was dropped though its link works")
	}
	delete(r.echo, r.id(4))
	r.pass(3 * time.Second)
	if r.finds(4, "sport") || r.linked(2, 4) || len(r.c.View().Members) != 0 {
		t.Fatal("it takes part though neither SWIM nor its link say so")
	}
	r.echo[r.id(4)] = 10 * time.Millisecond
	r.pass(5 * time.Second)
	if p := r.c.peers[r.id(4)]; !p.up || !r.finds(4, "sport") {
		t.Fatal("its link works again, and it does not take part")
	}
	r.step(LinkClosed{r.id(4), r.number})
	if r.finds(4, "sport") {
		t.Fatal("it takes part though its link is closed")
	}
	if effects := r.passed(20 * time.Second); len(of[Dial](effects)) > 0 {
		t.Fatal("a node that is dead and without link is dialled")
	}
}

// A link to a later run outlives the news that the earlier run left.
func TestGracefulEndOfAnEarlierRun(t *testing.T) {
	r := linkedPair(t)
	r.step(r.open(4, 2)) // it restarted at once
	r.pass(time.Second)
	effects := r.step(MemberDown{r.id(4), 1, true})
	if p := r.c.peers[r.id(4)]; len(of[CloseLink](effects)) > 0 || p.link != r.number || !p.up {
		t.Error("the link to the later run was closed")
	}
	r.step(r.member(4, 2))
	if !r.finds(4, "sport") {
		t.Error("the node does not take part")
	}
}

func TestRestartedNodeReplacesItsRecords(t *testing.T) {
	r := linkedPair(t)
	later := r.author(4, 2)
	r.step(r.records(4, later.wants(t, "music")), r.member(4, 2), MemberDown{r.id(4), 1, false})
	if r.finds(4, "sport") || !r.finds(4, "music") {
		t.Errorf("sport %v, music %v", r.finds(4, "sport"), r.finds(4, "music"))
	}
	earlier := r.author(4, 1)
	for range 3 {
		earlier.links(1)
	}
	r.step(r.records(4, earlier.links(9, r.id(2)), earlier.wants(t, "chess")))
	if r.finds(4, "chess") {
		t.Error("a record of the earlier run was believed")
	}
}

func TestSweepForgetsStrangers(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	stranger, dead := r.author(5, 1), r.author(6, 1)
	r.step(r.records(3, stranger.links(1, r.id(3)), stranger.wants(t, "x"), dead.wants(t, "y")), r.member(6, 1))
	r.pass(time.Minute)
	r.step(MemberDown{r.id(6), 1, false})
	// A want that stays open must not be remembered for ever either.
	r.step(DigestCame{Digest: wire.Digest{From: r.id(3), Entries: []wire.DigestEntry{{Origin: r.id(7), Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1, Version: 1}}}}})
	when := map[wire.NodeID]time.Duration{}
	began := r.now
	for _, s := range r.pass(4 * time.Minute) {
		if f, ok := s.Effect.(Forgot); ok {
			when[f.Origin] = s.at.Sub(began)
		}
	}
	for i, known := range map[int]time.Duration{5: time.Minute, 6: 0} {
		kept := when[r.id(i)] + known
		if kept < strangerKept || kept > strangerKept+strangerKept/4+time.Second {
			t.Errorf("node %d was kept for %v", i, kept)
		}
		if r.c.peers[r.id(i)] != nil || r.c.store.entries[RecordKey{r.id(i), wire.RecordInterest}] != nil {
			t.Errorf("something is left of node %d", i)
		}
	}
	if len(when) != 2 || r.c.peers[r.id(3)] == nil {
		t.Errorf("forgot %v", when)
	}
	if len(r.c.wants) != 0 {
		t.Errorf("%d wants are left", len(r.c.wants))
	}
}

// Invariant 4: whoever can make up keys cannot fill the memory of a node.
func TestStrangersAreBounded(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	for i := range strangersMost + 50 {
		id := wire.NodeID(1<<32 + i)
		r.step(r.records(3, wire.Record{Origin: id, Boot: 1, Kind: wire.RecordLinks, Version: 1, Body: []byte{0}}))
	}
	if n := r.c.strangers(); n > strangersMost {
		t.Errorf("%d strangers", n)
	}
	if n := len(r.c.store.entries); n > strangersMost+2 {
		t.Errorf("%d records", n)
	}
	known := r.author(5, 1)
	r.step(r.member(5, 1), r.records(3, known.wants(t, "x")))
	if !r.finds(5, "x") {
		t.Error("a member's record was refused")
	}
	effects := r.step(LinkOpened{Peer: 77, Boot: 1, Link: 900})
	if r.c.peers[77] != nil || !slices.Contains(of[CloseLink](effects), CloseLink{77, 900}) {
		t.Error("a link of yet another stranger is kept")
	}
	r.pass(strangerKept + strangerKept/4 + time.Second)
	r.step(r.records(3, r.author(6, 1).links(1)))
	if r.c.peers[r.id(6)] == nil {
		t.Error("no room after the strangers were forgotten")
	}
}

// A node that SWIM has declared dead and whose own link is down keeps its routes and interest while others' links to it work: it may only have
// stalled, and what is published meanwhile is for it too. When nobody reaches it any more, it goes; when it leaves, at once.
func TestDeadByMistakeKeepsInterest(t *testing.T) {
	for _, end := range []string{"unreachable", "leaves", "for long"} {
		r := newRig(t, 2)
		r.up(3)
		far := r.author(3, 1)
		r.detour(4, 3)
		far.version[wire.RecordLinks]++ // the detour's
		r.step(r.records(3, far.wants(t, "a.b")))
		if !r.finds(3, "a.b") {
			t.Fatal("no interest to begin with")
		}
		delete(r.echo, r.id(3))
		r.step(MemberDown{ID: r.id(3), Boot: 1}, LinkClosed{r.id(3), r.c.peers[r.id(3)].link})
		r.pass(2 * time.Second)
		if _, ok := r.c.table.Lookup(r.id(3)); !ok || !r.finds(3, "a.b") {
			t.Fatalf("routes %v, interest %v while another node reaches it", ok, r.finds(3, "a.b"))
		}
		switch end {
		case "leaves":
			r.step(r.member(3, 1), MemberDown{ID: r.id(3), Boot: 1, Graceful: true})
		case "for long":
			r.pass(reachedKept)
			fallthrough
		case "unreachable":
			links := r.author(4, 1)
			links.version[wire.RecordLinks] = 5
			if end == "unreachable" {
				r.step(r.records(4, links.links(1000, r.c.self)))
			} else {
				r.step(r.records(4, links.links(2000, r.c.self, r.id(3)))) // routes are computed again
			}
			r.pass(200 * time.Millisecond)
		}
		if r.finds(3, "a.b") {
			t.Errorf("%s: it is still sent to", end)
		}
	}
}

// A peer whose link is to a later run than SWIM knows is introduced to SWIM again and again, as one that SWIM does not know is, until it knows the run.
func TestLaterRunIsIntroduced(t *testing.T) {
	r := newRig(t, 2)
	introduced := func(d time.Duration) (n int) {
		for _, e := range r.passed(d) {
			if i, is := e.(Introduce); is && i.Peer == r.id(4) {
				n++
			}
		}
		return n
	}
	r.up(4)
	if n := introduced(10 * time.Second); n != 0 {
		t.Errorf("introduced %d times, though SWIM knows it", n)
	}
	r.step(r.open(4, 2))
	r.pass(time.Second)
	if n := introduced(4 * introEvery); n < 2 {
		t.Errorf("a later run is introduced %d times", n)
	}
	r.step(r.member(4, 2))
	if n := introduced(10 * time.Second); n != 0 {
		t.Errorf("introduced %d times, though SWIM knows the run", n)
	}
}

// The data plane is told of the latest run that anything has told of: else what is published for a node that restarted while this one was cut off is for its earlier run.
func TestLatestRunIsPublished(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	boot := uint64(1)
	pass := func(d time.Duration) uint64 {
		for _, e := range r.passed(d) {
			if routes, is := e.(PublishRoutes); is {
				boot = routes.Boots[r.id(4)]
			}
		}
		return boot
	}
	for _, step := range []struct {
		what string
		told Event
		want uint64
	}{
		{"SWIM", r.member(4, 2), 2},
		{"its link", r.open(4, 3), 3},
		{"SWIM, late", r.member(4, 2), 3},
		{"a record that another hands on", r.records(3, r.author(4, 5).links(1000, r.c.self)), 5},
		{"SWIM, still late", r.member(4, 4), 5},
		{"SWIM at last", r.member(4, 6), 6},
	} {
		for _, e := range r.step(step.told) {
			if routes, is := e.(PublishRoutes); is {
				boot = routes.Boots[r.id(4)]
			}
		}
		if got := pass(time.Second); got != step.want {
			t.Errorf("%s: run %d is published, want %d", step.what, got, step.want)
		}
	}
}
