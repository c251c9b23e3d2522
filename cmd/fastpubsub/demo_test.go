package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte("1s kill Atlantis # nowhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--nodes", "37"}, "37 nodes at 2 metros"},
		{[]string{"--metros", "Tokyo,Atlantis"}, `no metro "Atlantis"`},
		{[]string{"--metros", "Tokyo"}, "named twice"},
		{[]string{"--rate", "1e9"}, "rate"},
		{[]string{"--duration", "-1s"}, "duration"},
		{[]string{"--script", "10s explode Tokyo"}, `no action "explode"`},
		{[]string{"--script", "10s kill Tokyo", "--script", file}, "Atlantis is not in the cluster"},
		{[]string{"--script", filepath.Join(dir, "missing")}, "not a time"},
		{[]string{"--log", dir}, "--log"},
	} {
		var out, errs bytes.Buffer
		// Should a fault not be found, the demo does not go on for ever.
		args := append([]string{"demo", "--metros", "Tokyo,Seoul", "--duration", "1ms"}, test.args...)
		if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); code != exitUsage || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%v: exit %d, stderr %q, want %q in it", test.args, code, errs.String(), test.want)
		}
	}
}

// The report is one JSON document on standard output, and nothing else is.
func TestDemoReport(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	args := []string{
		"demo", "--metros", "london,paris", "--duration", "1500ms", "--json", "--rate", "20", "--seed", "7", "--log", log,
		"--script", "300ms slow London Paris 20ms", "--script", "1s heal",
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("exit %d, %s", code, errs.String())
	}
	var report struct {
		Nodes  []string
		Seed   int
		Pairs  []struct{ From, To string }
		Faults []struct{ What string }
	}
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&report); err != nil || decoder.More() {
		t.Fatalf("%v, more: %v", err, decoder.More())
	}
	if len(report.Nodes) != 2 || report.Nodes[0] != "London" || report.Seed != 7 || len(report.Pairs) != 2 || len(report.Faults) != 2 {
		t.Errorf("%+v", report)
	}
	if !strings.Contains(errs.String(), "slow London Paris 20ms") {
		t.Errorf("progress %q", errs.String())
	}
	if b, err := os.ReadFile(log); err != nil || !bytes.Contains(b, []byte(`"node":"Paris"`)) {
		t.Errorf("log %.200q, %v", b, err)
	}
}
