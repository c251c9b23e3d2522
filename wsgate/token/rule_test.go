package token

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// TestAllowsSubscribe holds the consequences that the client contract lists (its section 6), then what follows besides.
func TestAllowsSubscribe(t *testing.T) {
	for _, tc := range []struct{ rule, yes, no string }{
		{"a.#", "a a.# a.> a.* a.b* a.b.# a.b>", "a# a* #"},
		{"a.>", "a.> a.* a.b.#", "a a.#"},
		{"a.b", "a.b", "a a.* a.b* a.b# a.b.# a.b.c a.b> b.b * # >"},
		{"a.?", "a.x a.yy", "a.* a.p* a a.# a.x.y a.x#"},
		{"a.*", "a.x a.p* a.*", "a a.# a.> a.p# a.p> a.x.y a.x.#"},
		{"a.(x|y*)", "a.x a.y a.y1 a.y* a.yz*", "a.x1 a.x* a.* a.z a.y# a.y> a a.#"},

		{"#", "# > * a a.b *.* a# a> *.# *.> a.*.b*", ""},
		{">", "# > * a a.b *.* a# a> *.# *.> a.*.b*", ""},
		{"*.#", "# > * a a# *.#", ""},
		{"*.>", "*.> a.> a> a.b *.*", "# > * a a.# a#"},
		{"*", "a a* *", "# > a.b a# *.*"},
		{"?", "a", "* a* # >"},
		{"?.#", "a a.# a.> a.*.# a.b", "# > * a# a> a*.b"},
		{"?.>", "a.> a.b a.b#", "a a.# a* *.b # > a>"},
		{"a.*.>", "a.*.> a.b> a.b.> a.b.c", "a.> a.# a.b# a.b.# a.b"},
		{"a.*.#", "a.> a.* a.b# a.b.#", "a a.#"},
		{"(b*).#", "b b* b# b> b.# b1.c b1# bb*.* b.c.d.e.#", "a # a# *"},
		{"(a|b).c", "a.c b.c", "*.c a.* c.c a.c.# ab.c"},
		{"(a|ab*)", "a ab ab* abc*", "a* ac b"},
		{"a.(b*).>", "a.b> a.b.> a.b*.c a.bx.>", "a.b# a.b.# a.b a.*.>"},
	} {
		for _, r := range []SubscribeRule{subscribeRule(t, tc.rule), subscribeRule(t, subscribeRule(t, tc.rule).String())} {
			for text := range strings.FieldsSeq(tc.yes) {
				if !r.AllowsSubscribe(pattern(t, text)) {
					t.Errorf("%q does not admit %q", tc.rule, text)
				}
			}
			for text := range strings.FieldsSeq(tc.no) {
				if r.AllowsSubscribe(pattern(t, text)) {
					t.Errorf("%q admits %q", tc.rule, text)
				}
			}
		}
	}
}

func TestAllowsPublish(t *testing.T) {
	for _, tc := range []struct{ rule, yes, no string }{
		{"a.b.c", "a.b.c", "a.b a.b.c.d A.b.c a.b.cc"},
		{"a.b.#", "a.b a.b.c a.b.c.d", "a a.bc b.b"},
		{"a.>", "a.b a.b.c", "a b.c"},
		{"#", "a a.b.c", "$mesh $mesh.x"},
		{">", "a a.b.c", "$mesh.x"},
		{"store.(eu|us|a*).status", "store.eu.status store.us.status store.a.status store.asia.status", "store.e.status store.uss.status store.eu"},
		{"(a|b).#", "a b a.x b.x.y", "c ab.x"},
		{"(p*)", "p px pp", "x p.x"},
	} {
		for _, r := range []PublishRule{publishRule(t, tc.rule), publishRule(t, publishRule(t, tc.rule).String())} {
			for name := range strings.FieldsSeq(tc.yes) {
				if !r.AllowsPublish(name) {
					t.Errorf("%q does not allow %q", tc.rule, name)
				}
			}
			for name := range strings.FieldsSeq(tc.no) {
				if r.AllowsPublish(name) {
					t.Errorf("%q allows %q", tc.rule, name)
				}
			}
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for _, text := range []string{
		"", ".", "a.", ".a", "a..b", "a.#.b", "#.a", "a.>.b", "##", "a#", "a>", "p*", "a.p*", "**", "*a", "a?", "??", "a b", "a:b", "a,b", "é",
		"a\x00", "\xff", "(", ")", "()", "(a", "a)", "(a|)", "(|a)", "(a||b)", "(*)", "(a|*)", "(a|?)", "(a|#)", "(a.b)", "(a|b.c)", "((a))",
		"(a)(b)", "(a)*", "x(a)", "(a**)", "$", "$.a", "$#", "a.$b", "a.($b|c)", "($)", "($*)", "$$a", "$*",
		"(" + strings.Repeat("a|", MaxAlternatives) + "b)", strings.Repeat("a", MaxRuleLen+1), strings.Repeat("a", channel.MaxNameLen+1),
	} {
		if r, err := ParseSubscribeRule(text); !errors.Is(err, ErrRule) || r.String() != "" {
			t.Errorf("ParseSubscribeRule(%q) = %q, %v", text, r, err)
		}
		if r, err := ParsePublishRule(text); !errors.Is(err, ErrRule) || r.String() != "" {
			t.Errorf("ParsePublishRule(%q) = %q, %v", text, r, err)
		}
	}
	for text := range strings.FieldsSeq("* ? a.* a.? *.# ?.b $mesh $mesh.# ($mesh|a).b ($m*)") {
		if _, err := ParsePublishRule(text); !errors.Is(err, ErrRule) {
			t.Errorf("ParsePublishRule(%q): %v", text, err)
		}
		subscribeRule(t, text)
	}
}

// TestRuleErrors holds that errors say what is wrong, in printable ASCII of bounded length.
func TestRuleErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"a..b", `token: invalid rule "a..b": empty segment`},
		{"a.#.b", `token: invalid rule "a.#.b": "#" before the last segment`},
		{"a.?", `token: invalid rule "a.?": "?" is not for publishing`},
		{"a.p*", `token: invalid rule "a.p*": a prefix stands in parentheses, as in "(p*)"`},
		{"\x1bé", `token: invalid rule "\x1b\u00e9": a word is 1 to 256 of a-z A-Z 0-9 _ - ~ @`},
	} {
		if _, err := ParsePublishRule(tc.text); err == nil || err.Error() != tc.want {
			t.Errorf("%q: %v", tc.text, err)
		}
	}
	if _, err := ParsePublishRule(strings.Repeat("\xff", 1<<20)); len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestCanonical(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"a.b.c", "a.b.c"},
		{"a.b.#", "a.b.#"},
		{"#", "#"},
		{">", "#"},
		{"*.#", "#"},
		{"*.>", "*.>"},
		{"a.*.#", "a.>"},
		{"a.*.*.#", "a.*.>"},
		{"a.?.#", "a.?.#"},
		{"(a)", "a"},
		{"(b|a|b)", "(a|b)"},
		{"(x1|x*|x|y|x2*)", "(x*|y)"},
		{"(a|a*)", "(a*)"},
		{"(ab|a)", "(a|ab)"},
		{"($mesh|a).#", "($mesh|a).#"},
	} {
		if got := subscribeRule(t, tc.in).String(); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.in, got, tc.want)
		}
	}
}

// Reserved channels are for rules that name them: no wildcard in the first place means one.
func TestReserved(t *testing.T) {
	for _, tc := range []struct{ rule, yes, no string }{
		{"$mesh.#", "$mesh $mesh.# $mesh.links.* $mesh.>", "mesh.# # $mes* $mesh# $other *.#"},
		{"($mesh|a).links", "$mesh.links a.links", "$a.links *.links"},
		{"($m*).#", "$mesh.# $m.# $m# $mx*", "m.# $*.#"},
		{"#", "a.# #", "$mesh $mesh.# $m* $m> $m#"},
		{"*.#", "a", "$mesh.links"},
		{"?.x", "a.x", "$mesh.x"},
		{"*", "a*", "$mesh $m*"},
	} {
		r := subscribeRule(t, tc.rule)
		for text := range strings.FieldsSeq(tc.yes) {
			if !r.rule.admits(tokens(text)) {
				t.Errorf("%q does not admit %q", tc.rule, text)
			}
		}
		for text := range strings.FieldsSeq(tc.no) {
			if r.rule.admits(tokens(text)) {
				t.Errorf("%q admits %q", tc.rule, text)
			}
		}
	}
}

func TestZeroRules(t *testing.T) {
	var p PublishRule
	var s SubscribeRule
	for _, name := range []string{"", "a", "a.b"} {
		if p.AllowsPublish(name) {
			t.Errorf("the zero PublishRule allows %q", name)
		}
	}
	if s.AllowsSubscribe(pattern(t, "a")) || s.AllowsSubscribe(pattern(t, "#")) || s.AllowsSubscribe(channel.Pattern{}) {
		t.Error("the zero SubscribeRule allows something")
	}
	if r := subscribeRule(t, "#"); r.AllowsSubscribe(channel.Pattern{}) {
		t.Error(`"#" allows the zero Pattern`)
	}
}

// TestSubsetAgainstOracle compares with what the rule is defined by: every channel that the pattern matches, of a universe
// large enough to hold a counterexample if there is one, is in the rule's set; and where the rule has "?", the pattern has a word.
func TestSubsetAgainstOracle(t *testing.T) { // invariant 1
	universe := channels()
	rapid.Check(t, func(t *rapid.T) {
		text, p := drawRule(t, true), drawPattern(t)
		r, err := ParseSubscribeRule(text)
		if err != nil {
			t.Fatal(err)
		}
		want := wordsWhereAsked(text, p.String())
		for _, name := range universe {
			if want && p.Matches(strings.Join(name, ".")) && !naiveAllows(strings.Split(text, "."), name) {
				want = false
			}
		}
		if got := r.AllowsSubscribe(p); got != want {
			t.Fatalf("rule %q, pattern %q: %v, want %v", text, p, got, want)
		}
	})
}

func TestPublishAgainstOracle(t *testing.T) {
	universe := channels()
	rapid.Check(t, func(t *rapid.T) {
		text := drawRule(t, false)
		r, err := ParsePublishRule(text)
		if err != nil {
			t.Fatal(err)
		}
		name := rapid.SampledFrom(universe).Draw(t, "name")
		if got, want := r.AllowsPublish(strings.Join(name, ".")), naiveAllows(strings.Split(text, "."), name); got != want {
			t.Fatalf("rule %q, channel %q: %v, want %v", text, name, got, want)
		}
	})
}

// TestCanonicalIsOneText holds both directions: equal texts allow the same, and what allows the same has equal texts.
func TestCanonicalIsOneText(t *testing.T) { // invariant 2
	universe := channels()
	rapid.Check(t, func(t *rapid.T) {
		text, other := drawRule(t, true), drawRule(t, true)
		a, b := subscribeRule(t, text), subscribeRule(t, other)
		if again := subscribeRule(t, a.String()); again.String() != a.String() {
			t.Fatalf("%q became %q, then %q", text, a, again)
		}
		same := true
		for _, name := range universe {
			if inCanonical := naiveAllows(strings.Split(a.String(), "."), name); inCanonical != naiveAllows(strings.Split(text, "."), name) {
				t.Fatalf("%q became %q, which differs on %q", text, a, name)
			} else if inCanonical != naiveAllows(strings.Split(b.String(), "."), name) {
				same = false
			}
		}
		asks := strings.Contains(text+other, "?") // a difference that channels do not show
		if same && !asks && a.String() != b.String() {
			t.Fatalf("%q and %q allow the same as %q and %q", text, other, a, b)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"a.b.c", "a.#", ">", "(a|b*).?.*.>", "$mesh.#", "a..b", "(a", "p*", "\xff"} {
		f.Add(seed, "a.b")
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, text, other string) {
		defer alloc.Bound(t, 256*len(text)+256*len(other))()
		r, err := ParseSubscribeRule(text)
		pub, pubErr := ParsePublishRule(text)
		if err != nil {
			if !errors.Is(err, ErrRule) || pubErr == nil {
				t.Fatalf("%q: %v; for publishing %v", text, err, pubErr)
			}
			return
		}
		if pubErr == nil && pub.String() != r.String() {
			t.Fatalf("%q reads %q and %q", text, r, pub)
		}
		if again, err := ParseSubscribeRule(r.String()); err != nil || again.String() != r.String() || len(r.String()) > len(text) {
			t.Fatalf("%q became %q, then %q, %v", text, r, again, err)
		}
		pub.AllowsPublish(other) // any name: must not panic
		p, err := channel.ParsePattern(other)
		if err != nil {
			return
		}
		_, exact := p.LiteralPrefix()
		if r.AllowsSubscribe(p) && exact && !r.rule.matches(other) {
			t.Fatalf("%q admits %q but does not hold it", text, other)
		}
	})
}

func BenchmarkAllowsSubscribe(b *testing.B) {
	r, p := subscribeRule(b, "building.(floor*|roof).?.#"), pattern(b, "building.floor12.room4711.*.temp*.#")
	b.ReportAllocs()
	for b.Loop() {
		if !r.AllowsSubscribe(p) {
			b.Fatal("refused")
		}
	}
}

// naiveAllows is the table of segments in the package comment, read segment by segment.
func naiveAllows(rule, name []string) bool {
	switch {
	case len(rule) == 0:
		return len(name) == 0
	case rule[0] == "#":
		return true
	case len(name) == 0:
		return false
	case rule[0] == ">":
		return true
	case rule[0] != "*" && rule[0] != "?" && !slices.ContainsFunc(strings.Split(strings.Trim(rule[0], "()"), "|"), func(a string) bool {
		word, prefix := strings.CutSuffix(a, "*")
		return name[0] == a || prefix && strings.HasPrefix(name[0], word)
	}):
		return false
	}
	return naiveAllows(rule[1:], name[1:])
}

// wordsWhereAsked tells whether the pattern has a word in each place where the rule has "?".
func wordsWhereAsked(rule, pattern string) bool {
	places := strings.Split(pattern, ".")
	for i, segment := range strings.Split(rule, ".") {
		if segment == "?" && (i >= len(places) || strings.ContainsAny(places[i], "*#>")) {
			return false
		}
	}
	return true
}

// channels are all names of one to four of the tokens below. "z" is in no rule and no pattern, and stands for all the rest.
func channels() [][]string {
	words := []string{"a", "b", "z", "aa", "ab", "az", "ba", "bz", "aba", "abz"}
	var all [][]string
	level := [][]string{nil}
	for range 4 {
		var next [][]string
		for _, name := range level {
			for _, w := range words {
				next = append(next, append(slices.Clip(name), w))
			}
		}
		all = append(all, next...)
		level = next
	}
	return all
}

func drawRule(t *rapid.T, subscribe bool) string {
	word := rapid.SampledFrom([]string{"a", "b", "ab", "ba"})
	alternative := rapid.SampledFrom([]string{"a", "a*", "b", "b*", "ab", "ab*", "aba"})
	kinds := []string{"word", "alternatives"}
	if subscribe {
		kinds = append(kinds, "*", "?")
	}
	var segments []string
	for range rapid.IntRange(0, 3).Draw(t, "segments") {
		switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
		case "word":
			segments = append(segments, word.Draw(t, "word"))
		case "alternatives":
			segments = append(segments, "("+strings.Join(rapid.SliceOfN(alternative, 1, 3).Draw(t, "alternatives"), "|")+")")
		default:
			segments = append(segments, kind)
		}
	}
	tail := rapid.SampledFrom([]string{"", "#", ">"}).Draw(t, "tail")
	if tail == "" && len(segments) == 0 {
		tail = "#"
	}
	if tail != "" {
		segments = append(segments, tail)
	}
	return strings.Join(segments, ".")
}

func drawPattern(t *rapid.T) channel.Pattern {
	middle := rapid.SampledFrom([]string{"a", "b", "ab", "a*", "b*", "ab*", "*"})
	last := rapid.SampledFrom([]string{"a", "b", "ab", "a*", "b*", "ab*", "*", "#", ">", "a#", "a>", "ab#", "b>"})
	segments := append(rapid.SliceOfN(middle, 0, 2).Draw(t, "middle"), last.Draw(t, "last"))
	return pattern(t, strings.Join(segments, "."))
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func pattern(t fataler, text string) channel.Pattern {
	t.Helper()
	p, err := channel.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func subscribeRule(t fataler, text string) SubscribeRule {
	t.Helper()
	r, err := ParseSubscribeRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func publishRule(t fataler, text string) PublishRule {
	t.Helper()
	r, err := ParsePublishRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tokens is Pattern.Tokens, also for texts that are no Pattern.
func tokens(text string) iter.Seq[channel.Token] {
	return func(yield func(channel.Token) bool) {
		for token := range strings.SplitSeq(text, ".") {
			word := strings.TrimRight(token, "*#>")
			symbol := byte(0)
			if len(word) < len(token) {
				symbol = token[len(word)]
			}
			if !yield(channel.Token{Word: word, Wildcard: symbol}) {
				return
			}
		}
	}
}
