package interest

import (
	"slices"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"pgregory.net/rapid"
)

func mustPattern(t interface{ Fatalf(string, ...any) }, s string) channel.Pattern {
	p, err := channel.ParsePattern(s)
	if err != nil {
		t.Fatalf("ParsePattern(%q): %v", s, err)
	}
	return p
}

// The golden keys hold every node of a mesh to one hash: a change of any of them needs a new version of the records.
func TestPatternKeyGolden(t *testing.T) {
	for _, tc := range []struct {
		tenant, pattern string
		want            Key
	}{
		{"~", "a", 0x2f994d47a99b66bf},
		{"~", "a.b.c", 0xa378e0ffeb05ff7f},
		{"~", "a.b.c.#", 0xfa2aa4a576b70243},
		{"~", "a.b.>", 0x021b4bf248ba2602},
		{"~", "a.b.#", 0x021b4bf248ba2602},
		{"~", "a.*.c", 0x9fcc040d781ac981},
		{"~", "#", 0xa0c1029140d0aa40},
		{"acme", "#", 0xf8c8d74131d3dc40},
		{"acme", "a.b.c", 0x4ca87144bcdefd7f},
	} {
		if got := PatternKey(tc.tenant, mustPattern(t, tc.pattern)); got != tc.want {
			t.Errorf("PatternKey(%q, %q) = %#016x, want %#016x", tc.tenant, tc.pattern, uint64(got), uint64(tc.want))
		}
	}
}

func TestProbeGolden(t *testing.T) {
	p := shape{log2Bits: 10, hashes: 7}.probe(0x0123456789abcdee)
	var got []uint64
	for range 7 {
		got = append(got, p.next())
	}
	if want := []uint64{4, 50, 304, 506, 429, 835, 216}; !slices.Equal(got, want) {
		t.Errorf("positions %v, want %v", got, want)
	}
}

// TestAppendQueryKeys spells out which keys a name asks for: every prefix as a tree, itself as a tree and exactly.
func TestAppendQueryKeys(t *testing.T) {
	got := AppendQuery([]Key{1}, "acme", "a.b.c")
	want := []Key{1}
	for _, pattern := range []string{"#", "a.#", "a.b.#", "a.b.c.#", "a.b.c"} {
		want = append(want, PatternKey("acme", mustPattern(t, pattern)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("AppendQuery = %#x, want %#x", got, want)
	}
	if other := AppendQuery(nil, "acm", "ea.b.c"); slices.ContainsFunc(other, func(k Key) bool { return slices.Contains(got, k) }) {
		t.Error("tenant and name are not told apart")
	}
}

func TestAppendQueryAllocates(t *testing.T) {
	buf := make([]Key, 0, 130)
	name := strings.Repeat("a.", 127) + "a"
	if n := testing.AllocsPerRun(100, func() { buf = AppendQuery(buf[:0], "~", name) }); n != 0 { // invariant 7
		t.Errorf("%v allocations", n)
	}
	if len(buf) != 130 {
		t.Errorf("%d keys for 128 tokens, want 130", len(buf))
	}
}

// names and patterns over few tokens, so that many match.
func drawName(t *rapid.T) string {
	tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 4).Draw(t, "name")
	return drawReserved(t) + strings.Join(tokens, ".")
}

// drawReserved is "$" now and then, else nothing.
func drawReserved(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "$"}).Draw(t, "reserved")
}

func drawPattern(t *rapid.T) channel.Pattern {
	tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "a", "b", "*", "a*"}), 0, 4).Draw(t, "tokens")
	tails := []string{"#", ">", "a#", "b>"}
	if len(tokens) > 0 {
		tails = append(tails, "", "", "", "")
	}
	if tail := rapid.SampledFrom(tails).Draw(t, "tail"); tail != "" {
		tokens = append(tokens, tail)
	}
	text := strings.Join(tokens, ".")
	if !strings.ContainsAny(text[:1], "*#>") {
		text = drawReserved(t) + text
	}
	return mustPattern(t, text)
}

func drawTenant(t *rapid.T) string { return rapid.SampledFrom([]string{"~", "acme"}).Draw(t, "tenant") }

// Invariant 1: whatever matches is asked for.
func TestQueryHoldsEveryMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tenant, name, p := drawTenant(t), drawName(t), drawPattern(t)
		if p.Matches(name) && !slices.Contains(AppendQuery(nil, tenant, name), PatternKey(tenant, p)) {
			t.Fatalf("the query for %q does not ask for %q", name, p)
		}
	})
}

// What wildcards alone stand for is asked of nobody who publishes or names a reserved channel, and the other way round.
func TestReservedAndOthersAreApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tenant, name, p := drawTenant(t), drawName(t), drawPattern(t)
		asked := slices.Contains(AppendQuery(nil, tenant, name), PatternKey(tenant, p))
		if asked && channel.IsReserved(name) != channel.IsReserved(p.String()) {
			t.Fatalf("the query for %q asks for %q", name, p)
		}
	})
}
