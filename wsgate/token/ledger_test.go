package token

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"

	"pgregory.net/rapid"
)

// issued is a token as Mint gives it, for an hour.
func issued(n byte) Token {
	return Token{ID: ID{n, 1}, CreatedBy: "me", Issued: wholeSecond(now), Expires: wholeSecond(now).Add(time.Hour)}
}

func TestIssueRefreshRevoke(t *testing.T) {
	l, tok := NewLedger(LedgerConfig{}), issued(1)
	check := func(at time.Time, want error) {
		t.Helper()
		if err := l.Check(tok, at); !errors.Is(err, want) {
			t.Errorf("Check at %v: %v, want %v", at.Sub(now), err, want)
		}
	}
	check(now, nil) // unknown: the token's own word
	check(tok.Expires, ErrExpired)
	if _, err := l.Refresh(tok.ID, now.Add(time.Hour), now); !errors.Is(err, ErrUnknown) {
		t.Errorf("Refresh of an unknown token: %v", err)
	}
	e, err := l.Issue(tok, "why")
	want := Entry{ID: tok.ID, Created: tok.Issued.UnixMilli(), Stamp: tok.Issued.UnixMilli(), Expires: tok.Expires.UnixMilli(), CreatedBy: "me", Description: "why"}
	if err != nil || e != want || !e.ExpiresAt().Equal(tok.Expires) || !e.CreatedAt().Equal(tok.Issued) {
		t.Errorf("Issue: %+v, %v", e, err)
	}
	check(tok.Expires.Add(-time.Second), nil)
	check(tok.Expires, ErrExpired)

	later := tok.Expires.Add(5 * time.Hour)
	if e, err = l.Refresh(tok.ID, later, now.Add(time.Minute)); err != nil || e.Expires != later.UnixMilli() || e.Description != "why" {
		t.Errorf("Refresh: %+v, %v", e, err)
	}
	check(later.Add(-time.Second), nil) // the ledger's word goes before the token's
	check(later, ErrExpired)
	if _, err := l.Refresh(tok.ID, now.Add(MaxLife+Skew+time.Second), now); !errors.Is(err, ErrExpiry) {
		t.Errorf("Refresh for too long: %v", err)
	}
	if _, err := l.Refresh(tok.ID, now.Add(time.Hour), later); !errors.Is(err, ErrExpired) {
		t.Errorf("Refresh of an expired token: %v", err)
	}
	if _, err := l.Refresh(tok.ID, now.Add(-time.Hour), now); err != nil { // soft deactivation
		t.Errorf("Refresh into the past: %v", err)
	}
	check(now, ErrExpired)
	if _, err := l.Refresh(tok.ID, now.Add(time.Hour), now); !errors.Is(err, ErrExpired) {
		t.Errorf("Refresh after deactivation: %v", err)
	}

	e = l.Revoke(tok, now)
	if !e.Revoked || e.Description != "why" {
		t.Errorf("Revoke: %+v", e)
	}
	check(now, ErrRevoked)
	if again := l.Revoke(tok, now.Add(time.Second)); again != e {
		t.Errorf("revoked twice: %+v, then %+v", e, again)
	}
	if _, err := l.Refresh(tok.ID, now.Add(time.Hour), now); !errors.Is(err, ErrRevoked) {
		t.Errorf("Refresh of a revoked token: %v", err)
	}
	if found, ok := l.Find(tok.ID); !ok || found != e || l.Len() != 1 {
		t.Errorf("Find: %+v, %v; Len %d", found, ok, l.Len())
	}
	if _, ok := l.Find(ID{9}); ok {
		t.Error("Find finds what is not there")
	}
}

func TestRevokeUnknown(t *testing.T) {
	l, tok := NewLedger(LedgerConfig{}), issued(1)
	tok.Issued = tok.Issued.Add(ClockSkew) // by a clock that is ahead
	e := l.Revoke(tok, now)
	if err := e.check(); err != nil || !e.Revoked {
		t.Errorf("%+v, %v", e, err)
	}
	if err := l.Check(tok, now); !errors.Is(err, ErrRevoked) {
		t.Error(err)
	}
	// The entry of its issue, heard later, changes nothing.
	issuer := NewLedger(LedgerConfig{})
	entry, _ := issuer.Issue(tok, "why")
	if news := l.Merge([]Entry{entry}, now); len(news) != 0 {
		t.Errorf("news %+v", news)
	}
}

// A change made by a clock that is behind still counts, as its maker knew what it changed.
func TestChangeByASlowClock(t *testing.T) {
	l, tok := NewLedger(LedgerConfig{}), issued(1)
	if _, err := l.Issue(tok, ""); err != nil {
		t.Fatal(err)
	}
	behind := now.Add(-30 * time.Second)
	before, _ := l.Find(tok.ID)
	e, err := l.Refresh(tok.ID, now.Add(2*time.Hour), behind)
	if err != nil || e.Stamp <= before.Stamp || !e.changed() {
		t.Errorf("%+v, %v", e, err)
	}
	if e := l.Revoke(tok, behind); e.Stamp <= before.Stamp {
		t.Errorf("%+v", e)
	}
}

func TestList(t *testing.T) {
	l := NewLedger(LedgerConfig{})
	for i, by := range []string{"a", "b", "a"} {
		tok := issued(byte(9 - i))
		tok.CreatedBy, tok.Issued = by, tok.Issued.Add(time.Duration(-i/2)*time.Second)
		if _, err := l.Issue(tok, ""); err != nil {
			t.Fatal(err)
		}
	}
	for by, want := range map[string]string{"": "7 8 9", "a": "7 9", "b": "8", "c": ""} {
		var got []string
		for _, e := range l.List(by) {
			got = append(got, fmt.Sprint(e.ID[0]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("List(%q) = %v, want %s", by, got, want)
		}
	}
}

func TestSweep(t *testing.T) {
	l := NewLedger(LedgerConfig{})
	for n := range byte(4) {
		if _, err := l.Issue(issued(n), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Refresh(ID{1, 1}, now.Add(-time.Hour), now); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Refresh(ID{2, 1}, now.Add(20*time.Hour), now); err != nil {
		t.Fatal(err)
	}
	l.Revoke(issued(3), now)
	asIssued := issued(0).Expires.Add(retention)
	changed := time.UnixMilli(now.UnixMilli()).Add(lifeLimit + retention)
	for _, tc := range []struct {
		at   time.Time
		want int
	}{
		{asIssued.Add(-time.Millisecond), 0},
		{asIssued, 1},
		{changed.Add(-time.Millisecond), 0}, // deactivated and revoked are remembered for longer than any such token can live
		{changed, 3},
		{changed, 0},
	} {
		if got := l.Sweep(tc.at); got != tc.want {
			t.Errorf("Sweep after %v drops %d, want %d", tc.at.Sub(now), got, tc.want)
		}
	}
	if l.Len() != 0 || l.Digest() != 0 || len(l.records) != 0 {
		t.Errorf("an emptied ledger has %d entries, digest %x", l.Len(), l.Digest())
	}
}

// A revocation is a change even if it has the time of the issue.
func TestRevokedAtOnce(t *testing.T) {
	l, tok := NewLedger(LedgerConfig{}), issued(1)
	e := l.Revoke(tok, tok.Issued)
	if at := tok.Expires.Add(retention); e.Stamp != e.Created || l.Sweep(at) != 0 {
		t.Errorf("%+v dropped with its token's own expiry, while a refresh by someone else may last longer", e)
	}
}

// What is dropped would, if it came back, be taken for news: so it is not let in.
func TestDroppedStaysOut(t *testing.T) {
	l := NewLedger(LedgerConfig{})
	e, _ := l.Issue(issued(1), "")
	at := issued(1).Expires.Add(retention)
	l.Sweep(at)
	if news := l.Merge([]Entry{e}, at); len(news) != 0 || l.Len() != 0 || l.Stats().Late != 1 {
		t.Errorf("news %+v, %+v", news, l.Stats())
	}
	early := e
	early.Stamp = at.Add(ClockSkew).UnixMilli() + 1
	if news := l.Merge([]Entry{early}, at); len(news) != 0 || l.Stats().Early != 1 {
		t.Errorf("news %+v, %+v", news, l.Stats())
	}
}

func TestFull(t *testing.T) {
	l := NewLedger(LedgerConfig{Entries: 3})
	for n := range byte(3) {
		tok := issued(n)
		tok.Issued = tok.Issued.Add(time.Duration(n) * time.Second)
		if _, err := l.Issue(tok, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Issue(issued(9), ""); !errors.Is(err, ErrFull) {
		t.Errorf("Issue: %v", err)
	}
	if _, err := l.Refresh(ID{0, 1}, now.Add(2*time.Hour), now); err != nil {
		t.Errorf("Refresh needs no room: %v", err)
	}
	held := func() string {
		var ids []string
		for id := range maps.Keys(l.records) {
			ids = append(ids, fmt.Sprint(id[0]))
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	for i, want := range []string{"0 10 2", "0 10 11", "10 11 12", "11 12 13"} { // first as issued, oldest first; then changed; then revoked
		l.Revoke(issued(byte(10+i)), now.Add(time.Duration(i)*time.Second))
		if held() != want {
			t.Errorf("after %d revocations: %s, want %s", i+1, held(), want)
		}
	}
	if s := l.Stats(); s != (LedgerStats{Entries: 3, Evicted: 2, Forgotten: 2}) {
		t.Errorf("%+v", s)
	}
	l.Revoke(issued(20), now.Add(-time.Hour)) // by a clock far behind: fits all the same
	if err := l.Check(issued(20), now); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked in a full ledger: %v", err)
	}
}

// TestMergeIsAJoin: any order, grouping and repetition gives the same ledger, also when it is full.
func TestMergeIsAJoin(t *testing.T) { // invariant 7
	rapid.Check(t, func(t *rapid.T) {
		limit := LedgerConfig{Entries: rapid.SampledFrom([]int{3, 6, 100}).Draw(t, "limit")}
		merged := func(parts ...[]Entry) *Ledger {
			l := NewLedger(limit)
			for _, part := range parts {
				l.Merge(part, now)
			}
			checkLedger(t, l)
			return l
		}
		entries := rapid.SliceOfN(rapid.Custom(drawEntry), 0, 20)
		a, b, c := entries.Draw(t, "a"), entries.Draw(t, "b"), entries.Draw(t, "c")
		want := merged(a, b, c)
		bc := merged(b, c).List("")
		for name, l := range map[string]*Ledger{
			"commutative": merged(c, a, b),
			"associative": merged(a, bc),
			"both":        merged(bc, a),
			"idempotent":  merged(a, b, c, a, b, want.List("")),
			"one by one":  merged(slices.Collect(slices.Chunk(slices.Concat(b, c, a), 1))...),
		} {
			if !reflect.DeepEqual(l.List(""), want.List("")) || l.Digest() != want.Digest() || l.BucketDigests() != want.BucketDigests() {
				t.Fatalf("%s: %+v, want %+v", name, l.List(""), want.List(""))
			}
		}
		for _, e := range slices.Concat(a, b, c) {
			if held, ok := want.Find(e.ID); ok && (e.Revoked && !held.Revoked || e.compare(&held) > 0) {
				t.Fatalf("%+v was merged, %+v is held", e, held)
			}
		}
	})
}

// TestNodesConverge lets three nodes issue, refresh, revoke and tell one another by buckets that differ, in any order. Once all have told all
// they are equal, and what was revoked anywhere is revoked everywhere.
func TestNodesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := []*Ledger{NewLedger(LedgerConfig{}), NewLedger(LedgerConfig{}), NewLedger(LedgerConfig{})}
		clock, revoked := now, map[ID]bool{}
		node := func() *Ledger { return nodes[rapid.IntRange(0, 2).Draw(t, "node")] }
		tok := func() Token { return issued(byte(rapid.IntRange(0, 5).Draw(t, "token"))) }
		t.Repeat(map[string]func(*rapid.T){
			"issue": func(*rapid.T) { _, _ = node().Issue(tok(), "") },
			"refresh": func(t *rapid.T) {
				_, _ = node().Refresh(tok().ID, clock.Add(time.Duration(rapid.IntRange(-2, 24).Draw(t, "hours"))*time.Hour), clock)
			},
			"revoke": func(*rapid.T) {
				gone := tok()
				node().Revoke(gone, clock)
				revoked[gone.ID] = true
			},
			"tell": func(*rapid.T) { tell(t, node(), node(), clock) },
			"wait": func(*rapid.T) { clock = clock.Add(100 * time.Millisecond) },
			"":     func(*rapid.T) {},
		})
		for range 2 {
			for _, from := range nodes {
				for _, to := range nodes {
					tell(t, from, to, clock)
				}
			}
		}
		for _, l := range nodes {
			checkLedger(t, l)
			if l.Digest() != nodes[0].Digest() || !reflect.DeepEqual(l.List(""), nodes[0].List("")) {
				t.Fatalf("%+v and %+v", l.List(""), nodes[0].List(""))
			}
			for id := range revoked {
				if err := l.Check(Token{ID: id, Expires: now.Add(time.Hour)}, clock); !errors.Is(err, ErrRevoked) {
					t.Fatalf("%v: %v", id, err)
				}
			}
		}
	})
}

// tell sends what differs over the wire and checks that what the receiver calls news is what changed it.
func tell(t *rapid.T, from, to *Ledger, at time.Time) {
	ours, theirs := from.BucketDigests(), to.BucketDigests()
	for i := range Buckets {
		if ours[i] == theirs[i] {
			continue
		}
		chunk, rest := AppendEntries(nil, from.Bucket(i))
		entries, err := ParseEntries(chunk)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%v, %d left", err, len(rest))
		}
		before := to.Digest()
		if news := to.Merge(entries, at); (len(news) > 0) != (to.Digest() != before) {
			t.Fatalf("news %+v", news)
		}
		if news := to.Merge(entries, at); len(news) != 0 {
			t.Fatalf("told twice: news %+v", news)
		}
	}
}

// checkLedger holds that all parts of a ledger agree.
func checkLedger(t *rapid.T, l *Ledger) {
	if len(l.records) != len(l.ranked) || l.Len() > l.limit || l.Stats().Entries != l.Len() {
		t.Fatalf("%d records, %d ranked, limit %d", len(l.records), len(l.ranked), l.limit)
	}
	var digests [Buckets]uint64
	var sum uint64
	for i, r := range l.ranked {
		if r.at != i || l.records[r.ID] != r || r.hash != r.Entry.hash() || i > 0 && r.compare(&l.ranked[(i-1)/2].Entry) < 0 {
			t.Fatalf("record %d: %+v", i, r)
		}
		digests[r.ID.bucket()] ^= r.hash
		sum ^= r.hash
	}
	if digests != l.digests || sum != l.Digest() {
		t.Fatalf("digests %x, want %x", l.digests, digests)
	}
	var all []Entry
	for i := range Buckets {
		all = append(all, l.Bucket(i)...)
	}
	if len(all) != l.Len() {
		t.Fatalf("%d entries in buckets, %d in all", len(all), l.Len())
	}
}

// drawEntry draws from few IDs and times, so that entries meet and tie.
func drawEntry(t *rapid.T) Entry {
	created := now.Add(-time.Hour).UnixMilli()
	e := Entry{
		ID:          ID{byte(rapid.IntRange(0, 7).Draw(t, "id"))},
		Created:     created + int64(rapid.IntRange(0, 1).Draw(t, "created")),
		Expires:     now.UnixMilli() + int64(rapid.IntRange(-1, 2).Draw(t, "expires"))*1000,
		CreatedBy:   rapid.SampledFrom([]string{"", "a"}).Draw(t, "by"),
		Description: rapid.SampledFrom([]string{"", "x"}).Draw(t, "description"),
		Revoked:     rapid.IntRange(0, 4).Draw(t, "revoked") == 0,
	}
	e.Stamp = e.Created + int64(rapid.IntRange(0, 3).Draw(t, "stamp"))
	return e
}

func TestLedgerMemory(t *testing.T) {
	l := NewLedger(LedgerConfig{})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 110_000 {
		e := Entry{ID: ID{byte(n), byte(n >> 8), byte(n >> 16)}, Created: 1, Stamp: now.UnixMilli(), Revoked: true}
		e.CreatedBy, e.Description = strings.Repeat("c", MaxCreatedByLen), strings.Repeat("d", MaxDescriptionLen)
		l.Merge([]Entry{e}, now)
	}
	if held := (heap() - before) / 100_000; l.Len() != 100_000 || held > 400 || held < 200 {
		t.Errorf("%d entries of %d bytes", l.Len(), held)
	}
	runtime.KeepAlive(l)
}

func TestEntriesGolden(t *testing.T) {
	id := "00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff "
	for _, tc := range []struct {
		name  string
		entry Entry
		chunk string
	}{
		{"least", Entry{ID: testID}, "01 " + id + "00 00 00 00 00 00"},
		{
			"issued",
			Entry{ID: testID, Created: 1778932800000, Stamp: 1778932800000, Expires: 1778936400000, CreatedBy: "me", Description: "why"},
			"01 " + id + "00 80 b4 a1 85 e3 33 00 80 91 fd 86 e3 33 02 6d 65 03 77 68 79",
		},
		{"revoked", Entry{ID: testID, Created: 1, Stamp: 300, Expires: 2, Revoked: true}, "01 " + id + "01 01 ab 02 02 00 00"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(tc.chunk, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got, rest := AppendEntries([]byte{0xff}, []Entry{tc.entry}); !bytes.Equal(got[1:], want) || got[0] != 0xff || len(rest) != 0 {
			t.Errorf("%s: % x", tc.name, got[1:])
		}
		if got, err := ParseEntries(want); err != nil || len(got) != 1 || got[0] != tc.entry {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
		for n := range want {
			if _, err := ParseEntries(want[:n]); n != 1 && !errors.Is(err, ErrEntries) { // one byte is a chunk of none
				t.Errorf("%s: the first %d bytes: %v", tc.name, n, err)
			}
		}
	}
	if hash := (&Entry{ID: testID}).hash(); hash != 0x2cb24ec9fff78265 {
		t.Errorf("hash %#x: ledgers of another version differ in all their digests", hash)
	}
}

func TestParseEntriesRefuses(t *testing.T) {
	id := strings.Repeat("00", 16)
	for name, spaced := range map[string]string{
		"empty":              "",
		"version":            "02" + id + "00 00 00 00 00 00",
		"flags":              "01" + id + "02 00 00 00 00 00",
		"long varint":        "01" + id + "00 80 00 00 00 00 00",
		"created too large":  "01" + id + "00 81 80 80 80 80 80 40 00 00 00 00",
		"stamp too large":    "01" + id + "00 01 80 80 80 80 80 80 40 00 00 00",
		"varint overflows":   "01" + id + "00 ff ff ff ff ff ff ff ff ff 02 00 00 00 00",
		"expiry too far":     "01" + id + "00 00 00 f9 8d 9a 29 00 00", // 24 h 11.001 s after the stamp
		"created_by, 65":     "01" + id + "00 00 00 00 41" + strings.Repeat("61", 65) + "00",
		"description, 129":   "01" + id + "00 00 00 00 00 81" + strings.Repeat("61", 129),
		"created_by, short":  "01" + id + "00 00 00 00 02 61",
		"not printable":      "01" + id + "00 00 00 00 01 0a 00",
		"not UTF-8":          "01" + id + "00 00 00 00 00 01 ff",
		"second is cut":      "01" + id + "00 00 00 00 00 00" + id,
		"more than MaxChunk": "01" + strings.Repeat(id+"00 00 00 00 00 00", MaxChunkLen/22+1),
	} {
		chunk, err := hex.DecodeString(strings.ReplaceAll(spaced, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := ParseEntries(chunk); got != nil || !errors.Is(err, ErrEntries) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	atLimit, _ := hex.DecodeString(strings.ReplaceAll("01"+id+"00 00 00 f8 8d 9a 29 00 00", " ", ""))
	if _, err := ParseEntries(atLimit); err != nil {
		t.Errorf("24 h 11 s after the stamp: %v", err)
	}
}

func TestChunks(t *testing.T) {
	entries := make([]Entry, 2000)
	for i := range entries {
		entries[i] = Entry{ID: ID{byte(i), byte(i >> 8)}, Description: strings.Repeat("d", i%129)}
	}
	var back []Entry
	chunks := 0
	for rest := entries; len(rest) > 0; chunks++ {
		var chunk []byte
		chunk, rest = AppendEntries(nil, rest)
		if len(chunk) > MaxChunkLen || len(rest) > 0 && len(chunk) < MaxChunkLen-300 {
			t.Fatalf("a chunk of %d bytes", len(chunk))
		}
		part, err := ParseEntries(chunk)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, part...)
	}
	if !slices.Equal(back, entries) || chunks < 3 {
		t.Errorf("%d entries in %d chunks", len(back), chunks)
	}
	for long, left := range map[string]int{"ddddd": 0, "dddddd": 1} { // 1 + 2,726·22 + 27 bytes are a chunk to the brim
		edge := append(make([]Entry, 2726), Entry{Description: long})
		if chunk, rest := AppendEntries([]byte("before"), edge); len(rest) != left || len(chunk)-len("before") > MaxChunkLen {
			t.Errorf("%d bytes, %d entries left", len(chunk), len(rest))
		}
	}
	if chunk, rest := AppendEntries(nil, nil); !bytes.Equal(chunk, []byte{1}) || rest != nil {
		t.Errorf("no entries: % x", chunk)
	}
}

func FuzzParseEntries(f *testing.F) {
	for _, entries := range [][]Entry{nil, {{ID: testID}}, {{ID: testID, Created: 1, Stamp: 300, Expires: 2, Revoked: true}, {CreatedBy: "é", Description: "x"}}} {
		chunk, _ := AppendEntries(nil, entries)
		f.Add(chunk)
	}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		defer alloc.Bound(t, 256*len(chunk))()
		entries, err := ParseEntries(chunk)
		if err != nil {
			if !errors.Is(err, ErrEntries) || len(err.Error()) > 200 {
				t.Fatal(err)
			}
			return
		}
		if again, rest := AppendEntries(nil, entries); !bytes.Equal(again, chunk) || len(rest) != 0 {
			t.Fatalf("% x became % x", chunk, again)
		}
		l := NewLedger(LedgerConfig{Entries: 10})
		at := now
		for _, e := range entries {
			at = time.UnixMilli(max(at.UnixMilli(), e.Stamp))
		}
		news := l.Merge(entries, at)
		for _, e := range l.List("") { // invariant 8: whatever came in, no expiry is further away than a day and a bit
			if e.ExpiresAt().After(at.Add(lifeLimit + ClockSkew)) {
				t.Fatalf("%+v", e)
			}
		}
		if len(news) < l.Len() || l.Len() > 10 {
			t.Fatalf("%d entries, %d news", l.Len(), len(news))
		}
		if l.Sweep(at.Add(lifeLimit + retention + ClockSkew)); l.Len() != 0 {
			t.Fatalf("kept: %+v", l.List(""))
		}
	})
}

func TestCheckAllocatesNothing(t *testing.T) { // invariant 4
	l, tok := NewLedger(LedgerConfig{}), issued(1)
	l.Revoke(tok, now)
	if n := testing.AllocsPerRun(100, func() { _ = l.Check(tok, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	l := full()
	tok := Token{ID: ID{7, 7}, Expires: now.Add(time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		if l.Check(tok, now) != nil {
			b.Fatal("refused")
		}
	}
}

// BenchmarkRevoke is at a full ledger, where each evicts one.
func BenchmarkRevoke(b *testing.B) {
	l := full()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		l.Revoke(Token{ID: ID{0xff, byte(n), byte(n >> 8), byte(n >> 16)}, Expires: now}, now)
	}
}

func BenchmarkSweep(b *testing.B) {
	l := full()
	for b.Loop() {
		l.Sweep(now)
	}
}

// full is a ledger of 100,000 entries as issued.
func full() *Ledger {
	l := NewLedger(LedgerConfig{})
	for n := range l.limit {
		e := Entry{ID: ID{byte(n), byte(n >> 8), byte(n >> 16)}, Created: now.UnixMilli() - int64(n), Stamp: now.UnixMilli() - int64(n), Expires: now.Add(time.Hour).UnixMilli()}
		l.put(e)
	}
	return l
}
