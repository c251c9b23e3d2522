package channel

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestNormalizeTenant(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "~"},
		{"~", "~"},
		{"acme", "acme"},
		{"A-z_0.9~@", "A-z_0.9~@"},
		{"..", ".."}, // a tenant has no tokens
		{strings.Repeat("t", 128), strings.Repeat("t", 128)},
	} {
		got, err := NormalizeTenant(tc.in)
		if got != tc.want || err != nil {
			t.Errorf("NormalizeTenant(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
	for _, in := range []string{"a b", "a:b", "a/b", "a*", "#", ">", "$", "é", "\x00", "\xff", strings.Repeat("t", 129)} {
		if got, err := NormalizeTenant(in); got != "" || !errors.Is(err, ErrTenant) {
			t.Errorf("NormalizeTenant(%q) = %q, %v; want ErrTenant", in, got, err)
		}
	}
}

func TestValidateChannel(t *testing.T) {
	for _, in := range []string{
		"a", "a.b.c", "A.b", "a-b_c~d@e.0", "a._contrl.0123456789abcdef",
		strings.Repeat("c", 256), deepName(128),
	} {
		if err := ValidateChannel(in); err != nil {
			t.Errorf("ValidateChannel(%q) = %v", in, err)
		}
	}
	for _, in := range []string{
		"", ".", "..", ".a", "a.", "a..b", "a.*", "a*", "a.#", "a.>", "#", ">", "*",
		"a b", " a", "a:b", "a,b", "a/b", "$", "$$a", "$.a", "a.$b", "a$", "a\n", "é", "a.\x00", "\xff", strings.Repeat("c", 257),
	} {
		if err := ValidateChannel(in); !errors.Is(err, ErrChannel) {
			t.Errorf("ValidateChannel(%q) = %v, want ErrChannel", in, err)
		}
	}
}

func TestErrorTextIsShortPrintableASCII(t *testing.T) {
	for _, in := range []string{"", "a..b", "\xff", "é", "\x1b[31m", strings.Repeat("x", 100_000)} {
		_, patternErr := ParsePattern(in + "*.")
		for _, err := range []error{ValidateChannel(in), validateTenant(in + "\x00"), patternErr} {
			if text := err.Error(); len(text) > 80 || !regexp.MustCompile(`^[ -~]+$`).MatchString(text) {
				t.Errorf("error for %.20q: %q", in, text)
			}
		}
	}
	if got, want := ValidateChannel("a.b:c").Error(), `channel: invalid channel: byte ":" not allowed here`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzNormalizeTenant(f *testing.F) {
	for _, seed := range []string{"", "~", "a.b", "a:b", "\xff", strings.Repeat("t", 129)} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`^[a-zA-Z0-9_\-~@.]{1,128}$`)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := NormalizeTenant(in)
		want := in
		if in == "" {
			want = DefaultTenant
		}
		if accept := grammar.MatchString(want); accept != (err == nil) {
			t.Fatalf("NormalizeTenant(%q) = %v, the grammar says %v", in, err, accept)
		}
		if err == nil && got != want {
			t.Fatalf("NormalizeTenant(%q) = %q", in, got)
		}
	})
}

func FuzzValidateChannel(f *testing.F) {
	for _, seed := range []string{"a", "a.b.c", "a..b", ".a", "a.", "a.*", "a:b", "\xff", deepName(128), deepName(129)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if err := ValidateChannel(in); naiveChannel(in) != (err == nil) {
			t.Fatalf("ValidateChannel(%q) = %v, the grammar says %v", in, err, naiveChannel(in))
		}
		// A channel is a pattern that matches itself.
		if p, err := ParsePattern(in); naiveChannel(in) && (err != nil || !p.Matches(in)) {
			t.Fatalf("ParsePattern(%q) = %q, %v", in, p, err)
		}
	})
}

func TestValidateChannelAllocatesNothing(t *testing.T) {
	name := deepName(128)
	if n := testing.AllocsPerRun(100, func() { _ = ValidateChannel(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// deepName is a.a.…a, depth tokens.
func deepName(depth int) string { return strings.TrimSuffix(strings.Repeat("a.", depth), ".") }

// The grammar of the package comment as regular expressions: an oracle that shares nothing with the parsers.
var (
	channelGrammar = regexp.MustCompile(strings.ReplaceAll(`^\$?W(\.W)*$`, "W", `[a-zA-Z0-9_\-~@]+`))
	patternGrammar = regexp.MustCompile(strings.ReplaceAll(`^(((\$?W|\*|\$?W\*)\.)((W|\*|W\*)\.)*(W|\*|W\*|>|#|W>|W#)|\$?W|\*|>|#|\$?W\*|\$?W>|\$?W#)$`, "W", `[a-zA-Z0-9_\-~@]+`))
)

func naiveChannel(s string) bool { return len(s) <= 256 && channelGrammar.MatchString(s) }

func naivePattern(s string) bool { return len(s) <= 256 && patternGrammar.MatchString(s) }
