package demo

import (
	"slices"
	"testing"
)

func TestParseKeys(t *testing.T) {
	for input, want := range map[string]struct {
		keys []key
		rest string
	}{
		"":                        {nil, ""},
		"sbkhq":                   {[]key{keySlow, keyBlock, keyKill, keyHeal, keyQuit}, ""},
		"SBKHQ":                   {[]key{keySlow, keyBlock, keyKill, keyHeal, keyQuit}, ""},
		"\x03\x04":                {[]key{keyQuit, keyQuit}, ""},
		"x1 é\n":                  {nil, ""},
		"\x1b[A\x1b[B":            {[]key{keyUp, keyDown}, ""},
		"\x1bOA\x1bOB":            {[]key{keyUp, keyDown}, ""},
		"\x1b[5~\x1b[6~q":         {[]key{keyPageUp, keyPageDown, keyQuit}, ""},
		"\x1b[1;5Aq":              {[]key{keyQuit}, ""}, // with Ctrl
		"\x1b":                    {nil, "\x1b"},
		"\x1b[":                   {nil, "\x1b["},
		"h\x1b[5":                 {[]key{keyHeal}, "\x1b[5"},
		"\x1bq":                   {[]key{keyQuit}, ""},
		"\x1b\x1b[A":              {[]key{keyUp}, ""},
		"\x1b[0000000000000000":   {nil, ""}, // no terminal sends that
		"\x1b[0000000000000b":     {nil, ""}, // the longest sequence
		"\x1b[00000000000000000b": {[]key{keyBlock}, ""},
	} {
		keys, rest := parseKeys([]byte(input))
		if !slices.Equal(keys, want.keys) || string(rest) != want.rest {
			t.Errorf("%q: %v and %q, want %v and %q", input, keys, rest, want.keys, want.rest)
		}
	}
}

// However the input is cut into pieces, the keys are the same, and what is kept back is short.
func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("sb\x1b[A\x1b[5~q\x03"), 3)
	f.Add([]byte("\x1b[1;5A\x1bOB\x1b"), 1)
	f.Add([]byte("\x1b[00000000000000000b"), 17)
	f.Fuzz(func(t *testing.T, input []byte, at int) {
		whole, _ := parseKeys(slices.Clone(input))
		at = min(max(at, 0), len(input))
		first, rest := parseKeys(slices.Clone(input[:at]))
		if len(rest) >= sequenceLimit {
			t.Fatalf("%d bytes kept", len(rest))
		}
		second, _ := parseKeys(append(rest, input[at:]...))
		if pieces := append(first, second...); !slices.Equal(pieces, whole) {
			t.Fatalf("%v in pieces, %v whole", pieces, whole)
		}
	})
}
