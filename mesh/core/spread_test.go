package core

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func announcedBy(from wire.NodeID, r *wire.Record) DigestCame {
	return DigestCame{Digest: wire.Digest{From: from, Entries: []wire.DigestEntry{{Origin: r.Origin, Kind: r.Kind, Stamp: r.Stamp()}}}}
}

const allClasses = 1<<wire.SumClasses - 1

// part is a digest of all that a node holds, or a mere announcement.
func part(whole bool, d wire.Digest) DigestCame {
	if whole {
		return DigestCame{Digest: d, Classes: allClasses}
	}
	return DigestCame{Digest: d}
}

// A lost delta is asked for once, and what comes repairs the filter.
func TestGapIsRepaired(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	full, second, third, fourth := a.wants(t, "one"), a.wants(t, "two"), a.wants(t, "three"), a.wants(t, "four")
	r.step(r.member(4, 1), r.records(3, full))
	if !r.finds(4, "one") {
		t.Fatal("setup")
	}
	key := RecordKey{a.id, wire.RecordInterest}
	effects := r.step(r.records(3, third))
	wants := frames(effects, wire.KindWant)
	if len(wants) != 1 || wants[0].To != r.id(3) || len(of[Announce](effects)) != 0 {
		t.Fatalf("a gap: %d wants, %d announcements", len(wants), len(of[Announce](effects)))
	}
	d := digestOf(t, wants[0].Frame)
	if len(d.Entries) != 1 || d.Entries[0] != (wire.DigestEntry{Origin: a.id, Kind: wire.RecordInterest, Stamp: full.Stamp()}) {
		t.Errorf("wants %+v", d)
	}
	r.pass(wantAgain / 2)
	if n := len(frames(r.step(r.records(3, fourth)), wire.KindWant)); n != 0 {
		t.Errorf("%d wants soon after", n)
	}
	r.pass(wantAgain / 2)
	if n := len(frames(r.step(r.records(3, fourth)), wire.KindWant)); n != 1 {
		t.Errorf("%d wants later, want 1", n)
	}
	r.step(r.records(3, second, third, fourth))
	if r.c.store.stamp(key) != fourth.Stamp() || !r.finds(4, "two") || !r.finds(4, "four") {
		t.Errorf("held %v after the repair", r.c.store.stamp(key))
	}
	if len(r.c.wants) != 0 {
		t.Error("the want is still open")
	}
}

// What is missed altogether shows in an announcement; one that is as old as what is held, or older, asks for nothing.
func TestAnnouncement(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	first, second := a.links(100, r.id(3)), a.links(200, r.id(3))
	r.step(r.records(3, first))
	for _, test := range []struct {
		what  string
		entry *wire.Record
		whole bool
		wants int
		sends int
	}{
		{"held", &first, false, 0, 0},
		{"newer", &second, false, 1, 0},
		{"newer, again", &second, false, 0, 0},
		{"newer, among all that the node holds: it will send it", &second, true, 0, 0},
	} {
		e := announcedBy(r.id(3), test.entry)
		if test.whole {
			e.Classes, e.Reply = allClasses, true
			e.Digest.Entries = append(r.c.store.digest(), e.Digest.Entries...)
		}
		effects := r.step(e)
		if n := len(frames(effects, wire.KindWant)); n != test.wants {
			t.Errorf("%s: %d wants, want %d", test.what, n, test.wants)
		}
		if n := len(frames(effects, wire.KindRecords)); n != test.sends {
			t.Errorf("%s: %d records, want %d", test.what, n, test.sends)
		}
	}
	r.step(r.records(3, second))
	effects := r.step(announcedBy(r.id(3), &first))
	if got := sentRecords(t, effects, r.id(3)); len(got) != 1 || got[0].Stamp() != second.Stamp() {
		t.Errorf("an older version was announced: sent %v", got)
	}
}

// A whole digest is answered with all that is newer and all that it lacks; an announcement says nothing of what it leaves out.
func TestDigestIsAnswered(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a, b := r.author(4, 1), r.author(5, 1)
	first, second := a.wants(t, "one"), a.wants(t, "two")
	other := b.links(7, r.id(3))
	r.step(r.member(4, 1), r.member(5, 1), r.records(3, first, second, other))
	entry := wire.DigestEntry{Origin: a.id, Kind: wire.RecordInterest, Stamp: first.Stamp()}
	ask := func(whole bool, entries ...wire.DigestEntry) []wire.Record {
		t.Helper()
		return sentRecords(t, r.step(part(whole, wire.Digest{From: r.id(3), Entries: entries})), r.id(3))
	}
	if got := ask(false, entry); len(got) != 1 || !bytes.Equal(got[0].Raw, second.Raw) {
		t.Errorf("an announcement was answered with %d records", len(got))
	}
	got := ask(true, entry)
	if len(got) != 4 { // the delta, b's links, and both of this node's own
		t.Errorf("a digest was answered with %d records", len(got))
	}
	for _, want := range [][]byte{second.Raw, other.Raw} {
		if !slices.ContainsFunc(got, func(r wire.Record) bool { return bytes.Equal(r.Raw, want) }) {
			t.Error("a record is missing in the answer")
		}
	}
	if got := ask(true, r.c.store.digest()...); len(got) != 0 {
		t.Errorf("a digest that lacks nothing was answered with %d records", len(got))
	}
	if effects := r.step(part(true, wire.Digest{From: r.id(7)})); len(frames(effects, wire.KindRecords)) != 0 {
		t.Error("a node that is not known was answered")
	}
}

func TestWantIsAnswered(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	chain := []wire.Record{a.wants(t, "one"), a.wants(t, "two"), a.wants(t, "three")}
	r.step(r.records(3, chain...)) // of a node that SWIM does not know yet: who asks gets it all the same
	want := wire.DigestEntry{Origin: a.id, Kind: wire.RecordInterest}
	for held := range 4 {
		want.Stamp = wire.Stamp{}
		if held > 0 {
			want.Stamp = chain[held-1].Stamp()
		}
		got := sentRecords(t, r.step(WantCame{wire.Digest{From: r.id(3), Entries: []wire.DigestEntry{want}}}), r.id(3))
		if len(got) != 3-held {
			t.Errorf("holding %d: %d records", held, len(got))
		}
	}
}

// A small frame must not make a node write a large one for each of its entries.
func TestRepeatedEntriesAreAnsweredOnce(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	r.step(r.records(3, a.wants(t, "one"), a.wants(t, "two")))
	entry := wire.DigestEntry{Origin: a.id, Kind: wire.RecordInterest}
	later := entry
	later.Stamp = wire.Stamp{Boot: 1, Version: 1}
	got := sentRecords(t, r.step(WantCame{wire.Digest{From: r.id(3), Entries: []wire.DigestEntry{later, entry, entry, later, entry}}}), r.id(3))
	if len(got) != 2 {
		t.Errorf("%d records, want the 2 that there are", len(got))
	}
}

func TestAnswersAreCut(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	var entries []wire.DigestEntry
	var total int
	for i, size := range []int{20 << 10, 30 << 10, 9 << 10, 100 << 10, 1 << 10, 40 << 10} {
		rec := wire.Record{Boot: 1, Kind: wire.RecordInterest, Version: 1, Body: bytes.Repeat([]byte{byte(i)}, size)}
		wire.SignRecord(&rec, r.keys[(i+3)%rigNodes])
		if rec.Origin == r.c.self {
			t.Fatal("setup")
		}
		if rec.Origin == r.id(3) {
			r.step(r.records(4, rec)) // whoever said it
		} else {
			r.step(r.records(3, rec))
		}
		entries = append(entries, wire.DigestEntry{Origin: rec.Origin, Kind: rec.Kind})
		total++
	}
	count := 0
	sent := frames(r.step(WantCame{wire.Digest{From: r.id(3), Entries: entries}}), wire.KindRecords)
	for i, s := range sent {
		records, err := wire.ParseRecords(s.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Frame) > frameBytes+1 && len(records) > 1 {
			t.Errorf("frame %d: %d bytes, %d records", i, len(s.Frame), len(records))
		}
		count += len(records)
	}
	if count != total || len(sent) < 4 {
		t.Errorf("%d of %d records in %d frames", count, total, len(sent))
	}
}

// Open wants are bounded, and those that grew old make room.
func TestWantsAreBounded(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	flood := func() (asked int) {
		for i := range wantsMost / 32 * 2 {
			d := wire.Digest{From: r.id(3)}
			for j := range 32 {
				d.Entries = append(d.Entries, wire.DigestEntry{Origin: wire.NodeID(1 + i*32 + j), Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1, Version: 1}})
			}
			for _, s := range frames(r.step(DigestCame{Digest: d}), wire.KindWant) {
				_, want, err := wire.ParseDigest(s.Frame)
				if err != nil {
					t.Fatal(err)
				}
				asked += len(want.Entries)
			}
		}
		return asked
	}
	if n := flood(); n != wantsMost || len(r.c.wants) != wantsMost {
		t.Errorf("%d wants, %d open", n, len(r.c.wants))
	}
	r.pass(wantAgain)
	if n := flood(); n != wantsMost || len(r.c.wants) != wantsMost {
		t.Errorf("half a second later %d wants, %d open", n, len(r.c.wants))
	}
}

// Invariant 3: a later run of this very node ends it, but only a record proves it: digests are not signed.
func TestImpostor(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	later, earlier, same := r.author(2, 6), r.author(2, 4), r.author(2, 5)
	for range 3 {
		same.links(1)
	}
	for what, rec := range map[string]wire.Record{"an earlier run": earlier.links(1), "this run": same.links(1)} {
		effects := r.step(r.records(3, rec))
		if len(of[Impostor](effects)) != 0 || r.c.store.stamp(RecordKey{r.id(2), wire.RecordLinks}).Boot != 5 {
			t.Errorf("%s is taken for another", what)
		}
	}
	proof := later.links(1)
	for _, whole := range []bool{false, true} {
		e := announcedBy(r.id(3), &proof)
		if whole {
			e.Classes = allClasses
		}
		effects := r.step(e)
		if len(of[Impostor](effects)) != 0 {
			t.Error("an unsigned claim ends the node")
		}
		if wants := frames(effects, wire.KindWant); len(wants) != 1 || digestOf(t, wants[0].Frame).Entries[0].Origin != r.id(2) {
			t.Error("the proof is not asked for")
		}
		r.pass(wantAgain)
	}
	effects := r.step(r.records(3, proof))
	if got := of[Impostor](effects); len(got) != 1 || got[0].Boot != 6 {
		t.Errorf("got %v", got)
	}
}

// A restarted node finds its own records of an earlier run in others' digests and replaces them.
func TestOwnRecordsOfAnEarlierRunAreReplaced(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	old := r.author(2, 4).links(1)
	got := sentRecords(t, r.step(announcedBy(r.id(3), &old)), r.id(3))
	if len(got) != 1 || got[0].Origin != r.id(2) || got[0].Boot != 5 {
		t.Errorf("sent %v", got)
	}
}

// Records of a node that is long gone are not given to those who have forgotten it: else all would give it back to each other for ever.
func TestTheDeadAreNotHandedOut(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	r.step(r.member(4, 1), r.records(3, a.links(1)))
	asked := func() bool {
		t.Helper()
		return slices.ContainsFunc(sentRecords(t, r.step(part(true, wire.Digest{From: r.id(3)})), r.id(3)),
			func(rec wire.Record) bool { return rec.Origin == a.id })
	}
	if !asked() {
		t.Error("a member's record is kept back")
	}
	r.step(MemberDown{a.id, 1, false})
	if !asked() {
		t.Error("kept back at once: SWIM may err, or be late")
	}
	r.pass(vouchTime)
	if asked() {
		t.Error("handed out though it is gone")
	}
	r.step(r.member(4, 1))
	if !asked() {
		t.Error("kept back though it is back")
	}
}

// Sums that agree cost nothing more; where few classes differ, what each lacks is sent both ways; the dead, whom one has forgotten, do not count.
func TestSumsAreCompared(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	a := r.author(4, 1)
	first, second := a.wants(t, "one"), a.wants(t, "two")
	r.step(r.member(4, 1), r.records(3, first, second))
	theirs := func(change func(s *wire.Sums)) SumsCame {
		s := *r.c.sums(r.now)
		s.From = r.id(3)
		change(&s)
		return SumsCame{s}
	}
	if effects := r.step(theirs(func(*wire.Sums) {})); len(effects) != 0 {
		t.Errorf("the same sums made %d effects", len(effects))
	}
	effects := r.step(theirs(func(s *wire.Sums) { s.Of[a.id.Class()]++ }))
	sent := frames(effects, wire.KindPart)
	if len(sent) != 1 || sent[0].To != r.id(3) {
		t.Fatalf("%d parts for sums that differ", len(sent))
	}
	got, err := wire.ParsePart(sent[0].Frame)
	entry := wire.DigestEntry{Origin: a.id, Kind: wire.RecordInterest, Stamp: second.Stamp()}
	if err != nil || got.Reply || got.Classes != 1<<a.id.Class() || !slices.Contains(got.Digest.Entries, entry) {
		t.Errorf("the part %+v, %v", got, err)
	}
	// What the other lacks is sent; for what it holds newly it is told what is held here, so that it sends it, but not asked in return.
	older, newer := entry, entry
	older.Stamp, newer.Stamp.Version = first.Stamp(), 9
	came := DigestCame{Digest: wire.Digest{From: r.id(3), Entries: []wire.DigestEntry{older}}, Classes: got.Classes}
	effects = r.step(came)
	if records := sentRecords(t, effects, r.id(3)); len(records) == 0 || !bytes.Equal(records[0].Raw, second.Raw) || len(frames(effects, wire.KindPart)) != 0 {
		t.Errorf("%d records and %d parts for what it lacks", len(records), len(frames(effects, wire.KindPart)))
	}
	came.Digest.Entries[0] = newer
	effects = r.step(came)
	if sent := frames(effects, wire.KindPart); len(sent) != 1 {
		t.Errorf("%d parts for what it holds newly", len(sent))
	} else if p, err := wire.ParsePart(sent[0].Frame); err != nil || !p.Reply {
		t.Errorf("%+v, %v", p, err)
	}
	hearsay := DigestCame{Digest: wire.Digest{From: r.id(3), Entries: []wire.DigestEntry{older, {Origin: r.id(7), Kind: wire.RecordLinks, Stamp: newer.Stamp}}}, Hearsay: true}
	if effects := r.step(hearsay); len(sentRecords(t, effects, r.id(3))) != 0 || len(frames(effects, wire.KindWant)) != 1 {
		t.Errorf("what any member may have said: %d records sent, %d frames ask", len(sentRecords(t, effects, r.id(3))), len(frames(effects, wire.KindWant)))
	}
	came.Reply = true
	if effects := r.step(came); len(frames(effects, wire.KindPart)) != 0 {
		t.Error("a reply is replied to")
	}
	before := r.c.sums(r.now).Records
	r.step(MemberDown{a.id, 1, false})
	r.pass(vouchTime)
	if after := r.c.sums(r.now).Records; after != before-1 {
		t.Errorf("%d records of %d are handed out without the dead", after, before)
	}
}

// A node that lacks nearly all asks one neighbour for it, not each; one that has all waits to be asked.
func TestNewcomerAsksOne(t *testing.T) {
	r := newRig(t, 2)
	r.up(3)
	r.up(4)
	full := wire.Sums{Records: 1000}
	for i := range full.Of {
		full.Of[i] = uint32(i + 1)
	}
	parts := func(from wire.NodeID, s wire.Sums) (parts, sums int) {
		t.Helper()
		s.From = from
		effects := r.step(SumsCame{s})
		return len(frames(effects, wire.KindPart)), len(frames(effects, wire.KindSums))
	}
	if p, s := parts(r.id(3), full); p != 1 || s != 0 {
		t.Errorf("%d parts, %d sums to the first", p, s)
	}
	if p, s := parts(r.id(4), full); p != 0 || s != 0 {
		t.Errorf("%d parts, %d sums to the second", p, s)
	}
	r.pass(syncPatience)
	if p, _ := parts(r.id(4), full); p != 1 {
		t.Errorf("%d parts to the second when the first did not answer", p)
	}
	for i := range rigNodes {
		r.step(r.records(3, r.author(i, 1).links(1)))
	}
	if p, s := parts(r.id(4), wire.Sums{Of: full.Of}); p != 0 || s != 1 {
		t.Errorf("%d parts, %d sums to a newcomer", p, s)
	}
}

func TestExchangeTakesNeighboursInTurn(t *testing.T) {
	r := newRig(t, 2)
	for _, i := range []int{3, 4, 5} {
		r.up(i)
	}
	r.step(r.member(6, 1)) // no link
	to := map[wire.NodeID]int{}
	var last time.Time
	r.pass(time.Minute) // while they differed, pauses were shorter
	for _, s := range r.pass(10 * time.Minute) {
		e, ok := s.Effect.(SendControl)
		if !ok || wire.Kind(e.Frame[0]) != wire.KindSums {
			continue
		}
		to[e.To]++
		if pause := s.at.Sub(last); !last.IsZero() && (pause < digestMost*3/4 || pause > digestMost*5/4+50*time.Millisecond) {
			t.Errorf("%v between sums", pause)
		}
		last = s.at
	}
	for _, i := range []int{3, 4, 5} {
		if to[r.id(i)] < 5 {
			t.Errorf("node %d got %d sums in 10 minutes", i, to[r.id(i)])
		}
	}
	if len(to) != 3 {
		t.Errorf("sums to %v", to)
	}
}

// Where no path leads to any neighbour, as when a whole mesh begins, some of them get a record and all others news of it.
func TestNeighboursApartShare(t *testing.T) {
	r := newRig(t, 2)
	for _, i := range []int{1, 3, 4, 5, 6} {
		r.up(i)
	}
	picked := map[wire.NodeID]int{}
	for origin := range 2 {
		a := r.author(7*origin, 1)
		record := a.links(100, r.id(3))
		pushed := map[wire.NodeID]bool{}
		for _, f := range frames(r.step(r.records(3, record)), wire.KindRecords) {
			pushed[f.To] = true
			picked[f.To]++
		}
		if len(pushed) != apartMost || pushed[r.id(3)] {
			t.Fatalf("pushed to %d neighbours, want %d and not to whom it came from", len(pushed), apartMost)
		}
		told := map[wire.NodeID]bool{}
		for _, f := range frames(r.passed(newsPause), wire.KindNews) {
			if d := digestOf(t, f.Frame); slices.Contains(d.Entries, wire.DigestEntry{Origin: record.Origin, Kind: record.Kind, Stamp: record.Stamp()}) {
				told[f.To] = true
			}
		}
		for _, i := range []int{1, 4, 5, 6} {
			if pushed[r.id(i)] == told[r.id(i)] {
				t.Errorf("node %d: pushed to %v, told %v; want one of both", i, pushed[r.id(i)], told[r.id(i)])
			}
		}
	}
	if len(picked) == apartMost {
		t.Error("the records of two origins went to the same neighbours")
	}
}
