package demo

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseScript(t *testing.T) {
	for text, want := range map[string]string{
		"":          "",
		" ; ;\n\n":  "",
		"# nothing": "",
		"10s slow Tokyo London 80ms; 20s block Paris Toronto; 30s kill Dubai; 40s heal": "10s slow Tokyo London 80ms; 20s block Paris Toronto; 30s kill Dubai; 40s heal",
		"40s heal # all of it; 50s kill X\n\t1m30s   block  a\tb\r\n 0s kill c":         "0s kill c; 40s heal; 1m30s block a b",
		"5s kill b; 5s kill a": "5s kill b; 5s kill a", // at the same time: as written
		"24h slow a b 10s":     "24h0m0s slow a b 10s",
		"1s block slow block":  "1s block slow block", // metros may be called anything
	} {
		s, err := ParseScript(text)
		if err != nil || s.String() != want {
			t.Errorf("%q: %q, %v, want %q", text, s, err, want)
		}
	}
}

func TestParseScriptRefuses(t *testing.T) {
	for text, reason := range map[string]string{
		"heal":                     "not a time",
		"10 heal":                  "not a time",
		"-1s heal":                 "not a time",
		"25h heal":                 "not a time",
		"10s":                      "want TIME ACTION",
		"10s explode London":       `no action "explode"`,
		"10s Heal":                 `no action "Heal"`,
		"10s heal London":          "want TIME heal",
		"10s kill":                 "want TIME kill METRO",
		"10s kill a b":             "want TIME kill METRO",
		"10s block a":              "want TIME block METRO METRO",
		"10s block a A":            "no link to itself",
		"10s slow a b":             "want TIME slow METRO METRO EXTRA",
		"10s slow a b c 80ms":      "want TIME slow METRO METRO EXTRA",
		"10s slow a b 0s":          "not a time",
		"10s slow a b 11s":         "not a time",
		"1s heal; 2s heal; 3s hel": `"3s hel"`,
		strings.Repeat("1s heal;", scriptSteps+1): "more than 1000 steps",
		strings.Repeat(" ", scriptBytes+1):        "more than 65536 bytes",
	} {
		_, err := ParseScript(text)
		if !errors.Is(err, ErrScript) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.40q: %v, want %q", text, err, reason)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func TestScriptCheck(t *testing.T) {
	s, err := ParseScript("1s block tokyo LONDON; 2s heal")
	if err != nil {
		t.Fatal(err)
	}
	checked, err := s.check([]string{"London", "Tokyo"})
	if err != nil || checked.String() != "1s block Tokyo London; 2s heal" {
		t.Errorf("%q, %v", checked, err)
	}
	if s.String() != "1s block tokyo LONDON; 2s heal" {
		t.Errorf("check changed the script to %q", s)
	}
	if _, err := s.check([]string{"London", "Paris"}); !errors.Is(err, ErrScript) || !strings.Contains(err.Error(), "tokyo is not in the cluster") {
		t.Errorf("%v", err)
	}
}

func TestScriptJoin(t *testing.T) {
	a, _ := ParseScript("1s heal; 9s heal")
	b, _ := ParseScript("5s kill x")
	if got := a.Join(b).String(); got != "1s heal; 5s kill x; 9s heal" {
		t.Error(got)
	}
}

// Invariant 4.
func FuzzParseScript(f *testing.F) {
	f.Add("10s slow Tokyo London 80ms; 20s block Paris Toronto; 30s kill Dubai; 40s heal")
	f.Add("1m slow a b 1.5s\n# x\n0 heal")
	f.Add("9s kill \xff")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScript(text)
		if err != nil {
			if !errors.Is(err, ErrScript) {
				t.Fatalf("%v", err)
			}
			return
		}
		var last time.Duration
		for _, step := range s.steps {
			if step.at < last {
				t.Fatalf("%q is not in order", s)
			}
			last = step.at
		}
		again, err := ParseScript(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q became %q, %v", s, again, err)
		}
	})
}
