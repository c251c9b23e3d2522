package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchFaults(t *testing.T) {
	for args, want := range map[string]string{
		"speed":                           `no scenario "speed"`,
		"latency --rate 1e9":              "a rate of 1e+09",
		"--size 10":                       "a size of 10 bytes",
		"--size many":                     "--size",
		"--url http://127.0.0.1:1":        "is not an address",
		"--sub-url ws://127.0.0.1:1/ws":   "none of the publisher's",
		"load --share 2":                  "a share of 2",
		"slow --slow=-1":                  "-1 slow subscribers",
		"slow --connections 7":            "cannot be shared out evenly",
		"fanout --connections 7":          "cannot be shared out evenly",
		"--tenant a/b --url ws://[::1]/w": "tenant",
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"bench"}, strings.Fields(args)...), streams{strings.NewReader(""), &out, &errs})
		if code != exitUsage || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit %d, stderr %q, want %q in it", args, code, errs.String(), want)
		}
	}
	var out, errs bytes.Buffer
	args := strings.Fields("bench latency --url ws://127.0.0.1:1/ws")
	if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); code != exitFailure || !strings.Contains(errs.String(), "connection refused") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
}

// A bench as one would run it, on node processes of this program. The report is one JSON document, and nothing else is printed.
func TestBench(t *testing.T) {
	cmd := program(t.Context(), "bench", "--json", "--duration", "300ms", "--warm-up", "50ms", "--repetitions", "2", "--size", "200",
		"--subscribers", "60", "--connections", "30", "--channels", "200")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	var report struct {
		Machine struct{ CPUs int }
		Mesh    string
		Results []struct {
			Scenario    string
			Repetitions int
			Median      map[string]float64
			Messages    struct {
				Sent, Delivered, Lost, Duplicates uint64
				OutOfOrder                        uint64 `json:"out_of_order"`
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || errs.Len() > 0 {
		t.Fatalf("%v: %s%s", err, out.String(), errs.String())
	}
	if len(report.Results) != 8 || report.Machine.CPUs < 1 || !strings.HasPrefix(report.Mesh, "2 nodes") {
		t.Fatalf("%+v", report)
	}
	for _, r := range report.Results {
		if m := r.Messages; r.Repetitions != 2 || m.Sent == 0 || m.Delivered != m.Sent || m.Lost+m.Duplicates+m.OutOfOrder > 0 || len(r.Median) == 0 {
			t.Errorf("%+v", r)
		}
	}
}
