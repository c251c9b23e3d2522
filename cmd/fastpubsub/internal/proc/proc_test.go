package proc

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseProc(t *testing.T) {
	stat := "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 75 0 0 20 0 9 0"
	if d, err := parseStat(stat); err != nil || d != 2250*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	for _, text := range []string{"", "42 (a) S 1", strings.Replace(stat, "150", "many", 1), strings.Replace(stat, "75", "-75", 1)} {
		if _, err := parseStat(text); !errors.Is(err, ErrText) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if n, err := parseResident("Name:\tx\nVmRSS:\t   26000 kB\nThreads:\t9\n"); err != nil || n != 26000<<10 {
		t.Errorf("%d, %v", n, err)
	}
	for _, text := range []string{"", "Vm", "VmRSS:", "VmRSS: many kB", "VmRSS: -1 kB"} {
		if n, err := parseResident(text); n != 0 || !errors.Is(err, ErrText) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

func TestNoProcess(t *testing.T) {
	if _, err := CPU(0); err == nil {
		t.Error("time of no process")
	}
	if n, err := Resident(0); n != 0 || err == nil {
		t.Errorf("memory of no process: %d, %v", n, err)
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add("42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 75 0 0 20 0 9 0")
	f.Add("0 0 0 0 0 0 0 0 0 0 0 0 200200000000000") // more than a time.Duration holds
	f.Add("VmRSS:\t   26000 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseStat(text); d < 0 || err != nil && !errors.Is(err, ErrText) {
			t.Fatalf("%v, %v", d, err)
		}
		if n, err := parseResident(text); n < 0 || err != nil && !errors.Is(err, ErrText) {
			t.Fatalf("%d, %v", n, err)
		}
	})
}
