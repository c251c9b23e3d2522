package channel

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMatches holds the vectors of the client contract (its section 6), then what its token rules say besides.
func TestMatches(t *testing.T) {
	for _, tc := range []struct{ pattern, yes, no string }{
		{"a.b.c", "a.b.c", "a.b a.b.c.d A.b.c"},
		{"a.*", "a.b", "a a.b.c"},
		{"a.*.c", "a.x.c", "a.c a.x.y.c"},
		{"a.b*", "a.b a.b1", "a.c a.b.c a.b1.c"},
		{"a.b*.c", "a.b.c a.b9.c", "a.b.d a.c.c"},
		{"a.b.>", "a.b.c a.b.c.d", "a.b a"},
		{"a.b.#", "a.b a.b.c a.b.c.d", "a a.bc"},
		{"*.b.#", "x.b x.b.c", "b x.y.b"},
		{"#", "a a.b a.b.c ~ @.-._", ""},
		{">", "a a.b a.b.c ~ @.-._", ""},
		{"*", "a", "a.b"},
		{"a.b#", "a.b a.b1 a.b.c a.b1.c.d", "a a.c a.xb"},
		{"a.b>", "a.b.c a.b1.c.d", "a.b a.b1 a.c.d"},
		{"b*.#", "b b1 b1.c", "a a.b"},

		{"a", "a", "A aa a.a b"},
		{"*.*", "a.b", "a a.b.c"},
		{"*.>", "a.b a.b.c", "a"},
		{"*.#", "a a.b a.b.c", ""},
		{"a.*.#", "a.b a.b.c a.b.c.d", "a b.b"},
		{"a*", "a ab abc", "b ba a.b A"},
		{"a#", "a ab a.b ab.c.d", "b b.a"},
		{"a>", "a.b ab.c ab.c.d", "a ab b.a"},
		{"a*.b*", "a.b ax.bx", "a ax a.c b.b a.b.c"},
		{"aa*", "aa aaa", "a a.aa"},
		{"a.b.c.#", "a.b.c a.b.c.d", "a.b a.b.cd a.b.c1.d"},

		{"#", "a", "$a $a.b"},
		{">", "a", "$a $a.b"},
		{"*", "a", "$a"},
		{"*.b", "a.b", "$a.b"},
		{"a*", "a", "$a"},
		{"$a", "$a", "a $ab $a.b"},
		{"$a*", "$a $ab", "a ab"},
		{"$a.#", "$a $a.b $a.b.c", "a a.b $ab"},
		{"$a>", "$a.b $ab.c", "$a a.b"},
	} {
		p := mustParse(t, tc.pattern)
		for name := range strings.FieldsSeq(tc.yes) {
			if !p.Matches(name) {
				t.Errorf("%q does not match %q", p, name)
			}
		}
		for name := range strings.FieldsSeq(tc.no) {
			if p.Matches(name) {
				t.Errorf("%q matches %q", p, name)
			}
		}
	}
}

func TestParsePattern(t *testing.T) {
	long := strings.Repeat("p", 255)
	for _, in := range []string{
		"a", "a.b.c", "*", "#", ">", "a*", "a#", "a>", "a.*", "*.*.*", "a*.b*.c#", "*.#", "*.>", "~.@", "A-z_0.9*",
		long + "*", deepName(127) + ".*", strings.Repeat("*.", 127) + "#",
	} {
		p, err := ParsePattern(in)
		if err != nil || p.String() != in {
			t.Errorf("ParsePattern(%q) = %q, %v", in, p, err)
		}
	}
	for _, in := range []string{
		"", ".", "a.", ".a", "a..b", "a..#", "#.", "a*b", "*a", "#.a", ">.a", "a#.b", "a>.b", "**", "##", ">>", "a**", "a*#",
		"a#*", "*>", "a#b", "#a", ">a", "a.*b.c", "a b", "a:b", "a,b", "a?", "$", "$$a", "$*", "$#", "$>", "$.a", "a.$b", "a$*", "*$", "é", "a\x00", "\xff*", long + "p*",
		deepName(128) + ".*",
	} {
		p, err := ParsePattern(in)
		if !errors.Is(err, ErrPattern) || p != (Pattern{}) {
			t.Errorf("ParsePattern(%q) = %q, %v; want ErrPattern", in, p, err)
		}
	}
}

func TestLiteralPrefix(t *testing.T) {
	for _, tc := range []struct {
		pattern, prefix string
		exact           bool
	}{
		{"a", "a", true},
		{"a.b.c", "a.b.c", true},
		{"a.b.#", "a.b", false},
		{"a.b.>", "a.b", false},
		{"a.*.c", "a", false},
		{"a.b*", "a", false},
		{"a.b#", "a", false},
		{"a.b>", "a", false},
		{"a.b*.c.d", "a", false},
		{"#", "", false},
		{">", "", false},
		{"*", "", false},
		{"a*", "", false},
		{"*.a.b", "", false},
		{"abc.def.g*.h#", "abc.def", false},
		{"$a.b", "$a.b", true},
		{"$a.#", "$a", false},
		{"$a*", "", false},
	} {
		prefix, exact := mustParse(t, tc.pattern).LiteralPrefix()
		if prefix != tc.prefix || exact != tc.exact {
			t.Errorf("LiteralPrefix of %q = %q, %v; want %q, %v", tc.pattern, prefix, exact, tc.prefix, tc.exact)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		want    []Token
	}{
		{"a", []Token{{"a", 0}}},
		{"*", []Token{{"", '*'}}},
		{"#", []Token{{"", '#'}}},
		{"ab.*.c*.>", []Token{{"ab", 0}, {"", '*'}, {"c", '*'}, {"", '>'}}},
		{"a.b#", []Token{{"a", 0}, {"b", '#'}}},
		{"a.b>", []Token{{"a", 0}, {"b", '>'}}},
	} {
		p := mustParse(t, tc.pattern)
		if got := slices.Collect(p.Tokens()); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %v", p, got)
		}
		for range p.Tokens() {
			break // must not go on
		}
	}
	if got := slices.Collect(Pattern{}.Tokens()); got != nil {
		t.Errorf("the zero Pattern has tokens %v", got)
	}
}

func TestTokensMakeUpTheText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPattern(t)
		var parts []string
		for token := range p.Tokens() {
			if token.Wildcard != 0 {
				token.Word += string(rune(token.Wildcard))
			}
			parts = append(parts, token.Word)
		}
		if got := strings.Join(parts, "."); got != p.String() {
			t.Fatalf("%q has the tokens of %q", p, got)
		}
	})
}

func TestZeroPattern(t *testing.T) {
	var none Pattern
	for _, name := range []string{"", "a", "a.b"} {
		if none.Matches(name) {
			t.Errorf("the zero Pattern matches %q", name)
		}
	}
	if prefix, exact := none.LiteralPrefix(); prefix != "" || !exact || none.String() != "" {
		t.Errorf("LiteralPrefix %q %v, String %q", prefix, exact, none)
	}
}

func TestPatternsCompareByText(t *testing.T) { // invariant 2
	first, again, other := mustParse(t, "a.b*"), mustParse(t, strings.Clone("a.b*")), mustParse(t, "a.b#")
	if first != again || first == other {
		t.Errorf("%q == %q: %v, %q == %q: %v", first, again, first == again, first, other, first == other)
	}
}

func TestPatternKeepsNoCallersMemory(t *testing.T) {
	const lineLen = 1 << 16
	before := heapInUse()
	patterns := make([]Pattern, 100)
	for i := range patterns {
		line := strings.Repeat("a", lineLen)
		patterns[i] = mustParse(t, line[:10])
	}
	if held := heapInUse() - before; held > 10*lineLen {
		t.Errorf("%d short patterns hold %d bytes", len(patterns), held)
	}
	runtime.KeepAlive(patterns)
}

func TestMatchesAgreesWithNaiveMatcher(t *testing.T) { // invariant 4: no backtracking is no loss
	rapid.Check(t, func(t *rapid.T) {
		p, name := drawPattern(t), drawName(t)
		if got, want := p.Matches(name), naiveMatches(p.String(), name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", p, name, got, want)
		}
	})
}

func TestMatchesStaysBelowLiteralPrefix(t *testing.T) { // invariant 3
	rapid.Check(t, func(t *rapid.T) {
		p, name := drawPattern(t), drawName(t)
		prefix, exact := p.LiteralPrefix()
		if exact != !strings.ContainsAny(p.String(), "*#>") {
			t.Fatalf("%q: exact %v", p, exact)
		}
		if !p.Matches(name) {
			return
		}
		if exact && (prefix != name || p.String() != name) {
			t.Fatalf("exact %q has prefix %q and matches %q", p, prefix, name)
		}
		if !exact && prefix != "" && name != prefix && !strings.HasPrefix(name, prefix+".") {
			t.Fatalf("%q has prefix %q and matches %q", p, prefix, name)
		}
	})
}

func TestMatchesAllocatesNothing(t *testing.T) { // invariant 4
	name := deepName(128)
	for _, text := range []string{name, strings.Repeat("*.", 127) + "#", "a.a>", "b"} {
		p := mustParse(t, text)
		if n := testing.AllocsPerRun(100, func() { p.Matches(name) }); n != 0 {
			t.Errorf("%q: %v allocations", p, n)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{
		"a", "a.*", "a.b*", "a.b.#", "a.b>", "#", "*.*", "a..b", "a*b", "#.a", "a:b", "\xff", strings.Repeat("*.", 128), "$a.#", "$*",
	} {
		f.Add(seed, "a.b")
		f.Add(seed, "$a.b")
		f.Add(seed, seed) // names that are none: wildcards, empty tokens, bytes outside ASCII
		f.Add("*", seed)
	}
	f.Fuzz(func(t *testing.T, in, name string) {
		p, err := ParsePattern(in)
		if naivePattern(in) != (err == nil) { // invariant 1
			t.Fatalf("ParsePattern(%q) = %v, the grammar says %v", in, err, naivePattern(in))
		}
		if err != nil {
			return
		}
		if p.String() != in {
			t.Fatalf("%q reads back as %q", in, p)
		}
		matches := p.Matches(name) // any name: must not panic
		if want := naiveMatches(in, name); naiveChannel(name) && matches != want {
			t.Fatalf("%q matches %q: %v, want %v", in, name, matches, want)
		}
		var trie Trie[int]
		trie.Put(p, 0)
		if visits := matched(&trie, name); (len(visits) == 1) != matches || len(visits) > 1 {
			t.Fatalf("Matches says %v, Trie.Match visits %q", matches, visits)
		}
	})
}

// naiveMatches is the package comment's section on matching: "$" first, then tokens.
func naiveMatches(pattern, name string) bool {
	if strings.HasPrefix(name, "$") && !strings.HasPrefix(pattern, "$") {
		return false
	}
	return naiveMatch(tokens(pattern), tokens(name))
}

// naiveMatch is the token table of the package comment, read token by token.
func naiveMatch(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] == "#" {
		return true
	}
	if len(name) == 0 {
		return false
	}
	word := strings.TrimRight(pattern[0], "*#>")
	starts := strings.HasPrefix(name[0], word)
	switch symbol := pattern[0][len(word):]; {
	case pattern[0] == ">":
		return true
	case symbol == ">":
		return starts && len(name) > 1
	case symbol == "#":
		return starts
	case symbol == "*":
		return starts && naiveMatch(pattern[1:], name[1:])
	default:
		return word == name[0] && naiveMatch(pattern[1:], name[1:])
	}
}

func tokens(s string) []string { return strings.Split(s, ".") }

// The vocabulary of the generators is small so that random names and patterns meet, and share parts of tokens.
var words = []string{"a", "b", "aa", "ab", "abb", "ba"}

func drawName(t *rapid.T) string {
	return drawReserved(t) + strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 5).Draw(t, "name"), ".")
}

// drawReserved is "$" now and then, else nothing.
func drawReserved(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "$"}).Draw(t, "reserved")
}

func drawPattern(t *rapid.T) Pattern {
	word := rapid.SampledFrom(append([]string{""}, words...))
	var text []string
	for range rapid.IntRange(0, 3).Draw(t, "depth") {
		text = append(text, word.Draw(t, "word")+rapid.SampledFrom([]string{"", "*"}).Draw(t, "symbol"))
	}
	text = append(text, word.Draw(t, "word")+rapid.SampledFrom([]string{"", "*", "#", ">"}).Draw(t, "symbol"))
	for i := range text {
		if text[i] == "" {
			text[i] = "a"
		}
	}
	if !isWildcard(text[0][0]) {
		text[0] = drawReserved(t) + text[0]
	}
	p, err := ParsePattern(strings.Join(text, "."))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
