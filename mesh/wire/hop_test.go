package wire

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
)

// hopVectors are those of traced messages and what nodes tell of them.
func hopVectors() []vector {
	traced := Message{
		Class: ClassTrace, HopsLeft: 16, Origin: 1, Age: 2, Deadline: 3, Trace: 0x0102030405060708, Via: nil,
		Tenant: []byte("t"), Channel: []byte("c"), Destinations: []Destination{{ID: 9}}, Payload: []byte{},
	}
	hop := Hop{
		Trace: 0x0102030405060708, End: EndSent, Via: []NodeID{0xa1}, Age: 0x12345, Link: 0x123, Held: 300, Queued: 2,
		Choices: []Choice{
			{To: 9, Candidates: []Candidate{{Hop: 8, Cost: 1000, Verdict: VerdictTaken}, {Hop: 9, Verdict: VerdictNoLink}}},
			{To: 10},
		},
	}
	return []vector{{
		name: "traced message",
		hex: `01 45 00 10
			00 00 00 00 00 00 00 01
			00
			00 00 00 02
			03
			00
			01 02 03 04 05 06 07 08
			01 74
			01 63
			01 00 00 00 00 00 00 00 09 00`,
		append: appender(traced), parse: parseMessage, value: traced, uvarints: []int{12, 17, 29, 31, 40},
	}, {
		name: "hop",
		hex: `11
			01 02 03 04 05 06 07 08
			00
			01 00 00 00 00 00 00 00 a1
			00 01 23 45
			00 00 01 23
			ac 02
			02
			02
			00 00 00 00 00 00 00 09 02
				00 00 00 00 00 00 00 08 e8 07 00
				00 00 00 00 00 00 00 09 00 02
			00 00 00 00 00 00 00 0a 00`,
		append: func(dst []byte) []byte { return AppendHop(dst, &hop) }, parse: parseHop, value: hop,
		uvarints: []int{28, 29, 30, 49, 59}, trailing: ErrTrailing,
	}}
}

func parseHop(b []byte) (any, error) { return ParseHop(b) }

func hops() *rapid.Generator[Hop] {
	micros := rapid.Uint32()
	candidates := rapid.Custom(func(t *rapid.T) Candidate {
		return Candidate{nodeIDs().Draw(t, "hop"), micros.Draw(t, "cost"), Verdict(rapid.ByteMax(verdicts-1).Draw(t, "verdict"))}
	})
	choices := rapid.Custom(func(t *rapid.T) Choice {
		return Choice{nodeIDs().Draw(t, "to"), rapid.SliceOfN(candidates, 1, MaxCandidates).Draw(t, "candidates")}
	})
	return rapid.Custom(func(t *rapid.T) Hop {
		return Hop{
			Trace: rapid.Uint64Min(1).Draw(t, "trace"), End: End(rapid.ByteMax(ends-1).Draw(t, "end")),
			Via: rapid.SliceOfN(nodeIDs(), 1, MaxHops).Draw(t, "via"),
			Age: micros.Draw(t, "age"), Link: micros.Draw(t, "link"), Held: micros.Draw(t, "held"), Queued: micros.Draw(t, "queued"),
			Choices: rapid.SliceOfN(choices, 1, MaxChoices).Draw(t, "choices"),
		}
	})
}

func TestHopRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hops().Draw(t, "hop")
		if got, err := ParseHop(AppendHop(nil, &want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestHopFaults(t *testing.T) {
	sound := func() Hop {
		return Hop{Trace: 1, Via: []NodeID{2}, Choices: []Choice{{To: 3, Candidates: []Candidate{{Hop: 4}}}}}
	}
	for name, test := range map[string]struct {
		spoil func(*Hop)
		want  error
	}{
		"no trace":      {func(h *Hop) { h.Trace = 0 }, ErrMalformed},
		"end":           {func(h *Hop) { h.End = ends }, ErrMalformed},
		"via too long":  {func(h *Hop) { h.Via = someIDs(MaxHops + 1) }, ErrLimit},
		"via zero":      {func(h *Hop) { h.Via[0] = 0 }, ErrMalformed},
		"choices":       {func(h *Hop) { h.Choices = make([]Choice, MaxChoices+1) }, ErrLimit},
		"for nobody":    {func(h *Hop) { h.Choices[0].To = 0 }, ErrMalformed},
		"many ways":     {func(h *Hop) { h.Choices[0].Candidates = make([]Candidate, MaxCandidates+1) }, ErrMalformed},
		"no next hop":   {func(h *Hop) { h.Choices[0].Candidates[0].Hop = 0 }, ErrMalformed},
		"other verdict": {func(h *Hop) { h.Choices[0].Candidates[0].Verdict = verdicts }, ErrMalformed},
		"sound":         {func(*Hop) {}, nil},
	} {
		h := sound()
		test.spoil(&h)
		if _, err := ParseHop(AppendHop(nil, &h)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := ParseHop(golden(t, "ack")); !errors.Is(err, ErrMalformed) {
		t.Errorf("an ack: %v", err)
	}
}

// Every value that parses has a name.
func TestHopNames(t *testing.T) {
	seen := map[string]bool{}
	for e := range End(ends) {
		seen[e.String()] = true
	}
	for v := range Verdict(verdicts) {
		seen[v.String()] = true
	}
	if len(seen) != ends+verdicts || seen[""] {
		t.Errorf("%v", seen)
	}
}

func FuzzParseHop(f *testing.F) {
	seed(f, "hop")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if h, err := ParseHop(b); err == nil {
			same(t, AppendHop(nil, &h), b)
		}
	})
}
