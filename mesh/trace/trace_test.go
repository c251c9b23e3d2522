package trace

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

func TestParseRequest(t *testing.T) {
	for text, want := range map[string]Request{
		`{"to":"Tokyo"}`:                         {To: "Tokyo", Timeout: 3},
		`{"channel":"a.b","timeout_s":0.5}`:      {Tenant: channel.DefaultTenant, Channel: "a.b", Timeout: 0.5},
		`{"channel":"a.#","sample":2,"every":9}`: {Tenant: channel.DefaultTenant, Channel: "a.#", Sample: 2, Every: 9, Timeout: 15},
	} {
		if got, err := ParseRequest([]byte(text)); err != nil || got != want || got.Wait() != time.Duration(want.Timeout*1e9) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{
		``:                                    fs.ErrInvalid,
		`{}`:                                  fs.ErrInvalid,
		`[]`:                                  fs.ErrInvalid,
		`{"to":"a"}{}`:                        fs.ErrInvalid,
		`{"to":"a","hops":1}`:                 fs.ErrInvalid,
		`{"to":"a","channel":"b"}`:            fs.ErrInvalid,
		`{"to":"a","tenant":"b"}`:             fs.ErrInvalid,
		`{"to":"a","sample":1}`:               fs.ErrInvalid,
		`{"channel":"b","sample":101}`:        fs.ErrInvalid,
		`{"channel":"b","sample":-1}`:         fs.ErrInvalid,
		`{"channel":"b","every":2}`:           fs.ErrInvalid,
		`{"channel":"b","timeout_s":61}`:      fs.ErrInvalid,
		`{"channel":"b","timeout_s":-1}`:      fs.ErrInvalid,
		`{"channel":"b*"}`:                    channel.ErrChannel,
		`{"channel":"b.**","sample":1}`:       channel.ErrPattern,
		`{"channel":"b","tenant":"a b"}`:      channel.ErrTenant,
		`{"to":"` + strings.Repeat("a", 5000): fs.ErrInvalid,
	} {
		if got, err := ParseRequest([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"channel":"a.#","sample":2,"every":9,"tenant":"t","timeout_s":1e-9}`))
	f.Add([]byte(`{"to":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b)+4096)()
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseRequest(again); len(again) <= MaxRequest && (err != nil || got != r) {
			t.Errorf("%s: %+v, %v, want %+v", again, got, err, r)
		}
	})
}

// A message from 1 by way of 2 and 3 to 4, and by way of 2 to 5.
func hops() map[wire.NodeID][]wire.Hop {
	to := func(id, next wire.NodeID, cost uint32, others ...wire.Candidate) wire.Choice {
		return wire.Choice{To: id, Candidates: append(others, wire.Candidate{Hop: next, Cost: cost})}
	}
	return map[wire.NodeID][]wire.Hop{
		1: {{Trace: 9, Held: 500, Queued: 200, Choices: []wire.Choice{
			to(4, 2, 30_000, wire.Candidate{Hop: 4, Cost: 90_000, Verdict: wire.VerdictDearer}), to(5, 2, 20_000),
		}}},
		2: {{Trace: 9, Age: 10_000, Link: 10_000, Held: 1000, Choices: []wire.Choice{to(4, 3, 20_000)}}, {Trace: 9, Age: 10_000, Link: 10_000, Choices: []wire.Choice{to(5, 5, 10_000)}}},
		3: {{Trace: 9, Via: []wire.NodeID{2}, Age: 20_000, Link: 10_000, Held: 2000, Choices: []wire.Choice{to(4, 4, 10_000)}}},
		4: {{Trace: 9, Via: []wire.NodeID{2, 3}, Age: 30_000, Link: 10_000, End: wire.EndDelivered}},
		5: {{Trace: 9, Via: []wire.NodeID{2}, Age: 20_000, Link: 10_000, End: wire.EndDelivered}},
	}
}

func nameOf(id wire.NodeID) string { return string(rune('a' + id - 1)) }

func namesOf(p Path) string {
	text := ""
	for _, h := range p.Hops {
		text += h.Name
	}
	return text
}

// Invariants 2 and 3.
func TestPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type said struct {
			by  wire.NodeID
			hop wire.Hop
		}
		var all []said
		for by, hops := range hops() {
			for _, h := range hops {
				all = append(all, said{by, h})
			}
		}
		slices.SortFunc(all, func(a, b said) int { return int(a.by) - int(b.by) })
		order := rapid.Permutation(all).Draw(t, "order")
		c := NewCollection(1, []wire.NodeID{4, 5})
		for i, s := range order {
			if c.Complete() {
				t.Fatalf("complete with %d of %d", i, len(order))
			}
			if !c.Add(s.by, &s.hop) {
				t.Fatal("not taken")
			}
		}
		if !c.Complete() {
			t.Fatal("not complete")
		}
		paths := c.Paths(Directs{4: 88 * time.Millisecond}, nameOf)
		if len(paths) != 2 || namesOf(paths[0]) != "abcd" || namesOf(paths[1]) != "abe" {
			t.Fatalf("%+v", paths)
		}
		p := paths[0]
		if *p.Took != 33.5 || *p.Direct != 88 || *p.Saved != 54.5 || *p.DirectCost != 90 {
			t.Errorf("took %v, direct %v, saved %v, direct's cost %v", *p.Took, *p.Direct, *p.Saved, *p.DirectCost)
		}
		if at := []float64{p.Hops[0].At, p.Hops[1].At, p.Hops[2].At, p.Hops[3].At}; !reflect.DeepEqual(at, []float64{0, 10.5, 21.5, 33.5}) {
			t.Errorf("at %v", at)
		}
		if ways := p.Hops[0].Ways; len(ways) != 2 || ways[0].Verdict != "taken" || ways[1].Why != "costs 60.0 ms more" {
			t.Errorf("%+v", ways)
		}
		if paths[1].Direct != nil || paths[1].Saved != nil || *paths[1].Took != 20.5 {
			t.Errorf("%+v", paths[1])
		}
	})
}

// What some do not tell is missing, and of the rest all is there.
func TestPathsWithHoles(t *testing.T) {
	for _, test := range []struct {
		silent  wire.NodeID
		names   string
		missing string
		took    float64
	}{{1, "abcd", "a", 33}, {2, "abcd", "b", 32}, {3, "abcd", "c", 30}, {4, "abcd", "d", -1}} {
		c := NewCollection(1, []wire.NodeID{4})
		for by, hops := range hops() {
			for _, h := range hops {
				if by != test.silent {
					c.Add(by, &h)
				}
			}
		}
		i := slices.IndexFunc(c.Paths(nil, nameOf), func(p Path) bool { return p.To.ID == 4 })
		p := c.Paths(nil, nameOf)[i]
		took := -1.0
		if p.Took != nil {
			took = *p.Took
		}
		if p.Complete || c.Complete() || namesOf(p) != test.names || len(p.Missing) != 1 || p.Missing[0].Name != test.missing || took != test.took || p.Arrived != (took >= 0) {
			t.Errorf("without %s: %+v, took %v", nameOf(test.silent), p, took)
		}
	}
}

// What was sent again by another way: the first that arrived is what is shown, with what its own nodes told.
func TestPathsOfWhatWasSentAgain(t *testing.T) {
	c := NewCollection(1, []wire.NodeID{4})
	for by, hops := range hops() {
		for _, h := range hops {
			if by != 4 {
				c.Add(by, &h)
			}
		}
	}
	taken := []wire.Choice{{To: 4, Candidates: []wire.Candidate{{Hop: 4, Cost: 90_000}}}}
	c.Add(1, &wire.Hop{Trace: 9, Age: 200_000, Choices: taken})
	c.Add(4, &wire.Hop{Trace: 9, Age: 290_000, Link: 90_000, End: wire.EndDelivered})
	p := c.Paths(nil, nameOf)[0]
	if namesOf(p) != "ad" || !p.Complete || *p.Took != 290 || p.Hops[0].At != 200 {
		t.Errorf("%+v", p)
	}
}

// Invariant 1, and the bounds: whatever is told.
func TestHostileHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.Map(rapid.Uint64Range(1, 6), func(n uint64) wire.NodeID { return wire.NodeID(n) })
		c := NewCollection(1, rapid.SliceOfN(rapid.Map(rapid.Uint64Range(2, 6), func(n uint64) wire.NodeID { return wire.NodeID(n) }), 0, 3).Draw(t, "to"))
		for range rapid.IntRange(0, 40).Draw(t, "hops") {
			h := wire.Hop{
				Trace: 1, End: wire.End(rapid.ByteMax(5).Draw(t, "end")), Via: rapid.SliceOfN(ids, 0, wire.MaxHops).Draw(t, "via"),
				Age: rapid.Uint32().Draw(t, "age"), Link: rapid.Uint32().Draw(t, "link"), Held: rapid.Uint32().Draw(t, "held"),
			}
			for range rapid.IntRange(0, 3).Draw(t, "choices") {
				h.Choices = append(h.Choices, wire.Choice{To: ids.Draw(t, "to"), Candidates: []wire.Candidate{{
					Hop: ids.Draw(t, "hop"), Cost: rapid.Uint32().Draw(t, "cost"), Verdict: wire.Verdict(rapid.ByteMax(4).Draw(t, "verdict")),
				}}})
			}
			c.Add(ids.Draw(t, "by"), &h)
		}
		complete := c.Complete()
		paths := c.Paths(Directs{2: time.Millisecond}, nameOf)
		for _, p := range paths {
			var seen []wire.NodeID
			for _, h := range p.Hops {
				if slices.Contains(seen, h.ID) {
					t.Fatalf("%s is there twice: %+v", h.Name, p)
				}
				seen = append(seen, h.ID)
			}
			if seen[0] != 1 || len(seen) > wire.MaxHops+2 || p.Complete != (p.Arrived && len(p.Missing) == 0) || complete && !p.Complete {
				t.Fatalf("%+v", p)
			}
		}
	})
	c := NewCollection(1, nil)
	taken := 0
	for range 20_000 {
		if c.Add(wire.NodeID(rand.Uint64N(100)+2), &wire.Hop{Trace: 1}) {
			taken++
		}
	}
	for range 200 {
		if c.Add(200, &wire.Hop{Trace: 1}) {
			taken++
		}
	}
	if taken != mostHops || len(c.told[2]) > mostOfNode || c.Complete() {
		t.Errorf("%d taken, %d of one", taken, len(c.told[2]))
	}
}

// Every verdict has words of its own.
func TestWhy(t *testing.T) {
	seen := map[string]bool{}
	for v := wire.VerdictTaken; v <= wire.VerdictAvoided; v++ {
		for _, direct := range []bool{false, true} {
			seen[why(wire.Candidate{Cost: 2000, Verdict: v}, 1000, direct)] = true
		}
	}
	seen[why(wire.Candidate{Verdict: wire.VerdictDearer}, 1000, true)] = true
	if len(seen) != 7 {
		t.Errorf("%v", seen)
	}
}
