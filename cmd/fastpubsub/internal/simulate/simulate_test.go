package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// A table, exponents and plots come of a small run.
func TestGrowth(t *testing.T) {
	var out, progress bytes.Buffer
	dir := filepath.Join(t.TempDir(), "plots")
	err := Run(t.Context(), Config{Scenario: "growth", Nodes: []int{4, 8}, Seed: 1, Jitter: 0.01, Plot: dir, Out: &out, Err: &progress})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NODES", "\n      4 ", "\n      8 ", "growth from 4 to 8 nodes", "idle bytes N^"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, c := range charts() {
		for ext, magic := range map[string]string{".svg": "<svg", ".png": "\x89PNG"} {
			b, err := os.ReadFile(filepath.Join(dir, c.file+ext))
			if err != nil || !bytes.Contains(b, []byte(magic)) {
				t.Errorf("%s%s: %d bytes, %v", c.file, ext, len(b), err)
			}
		}
	}
}

// What was run before is shown with what is run now, and counted as it; where both have a size, it is the new run's.
func TestGrowthWithEarlierRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	var before, now bytes.Buffer
	cfg := Config{Scenario: "growth", Nodes: []int{4, 8}, Seed: 1, Out: &before, Err: &bytes.Buffer{}, JSON: true}
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, before.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Nodes, cfg.Seed, cfg.With, cfg.Out = []int{4, 5}, 2, file, &now
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var old, got report
	if err := errors.Join(json.Unmarshal(before.Bytes(), &old), json.Unmarshal(now.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 || got.Rows[0].Nodes != 4 || got.Rows[1].Nodes != 5 || !reflect.DeepEqual(got.Rows[2], old.Rows[1]) || got.Exponents[0].To != 8 {
		t.Errorf("got %s\nafter %s", &now, &before)
	}
	if reflect.DeepEqual(got.Rows[0].Join, old.Rows[0].Join) {
		t.Error("the row of 4 nodes is the old one")
	}
}

// Earlier rows stay where a run was interrupted before it came to their sizes.
func TestBeside(t *testing.T) {
	ran := []scale.Row{{Nodes: 50, Links: 1}}
	known := []scale.Row{{Nodes: 100, Links: 2}, {Nodes: 50, Links: 2}, {Nodes: 10, Links: 2}}
	want := []scale.Row{{Nodes: 10, Links: 2}, {Nodes: 50, Links: 1}, {Nodes: 100, Links: 2}}
	if got := beside(ran, known); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// A figure that was not measured at some size is fitted over the others, and says so.
func TestFitsNameWhatTheyAreOf(t *testing.T) {
	for _, f := range fitAll([]scale.Row{{Nodes: 10, Memory: 1, SPF: 1}, {Nodes: 20, Memory: 2, SPF: 2}, {Nodes: 40, Memory: 4}}) {
		if want := map[string]int{"memory": 40, "SPF anew": 20}[f.Name]; f.From != 10 || f.To != want {
			t.Errorf("%+v, want 10 to %d", f, want)
		}
	}
}

func TestRefused(t *testing.T) {
	rows := map[string]string{}
	for name, text := range map[string]string{"empty": `{}`, "twice": `{"rows":[{"Nodes":5},{"Nodes":5}]}`, "small": `{"rows":[{"Nodes":2}]}`, "good": `{"rows":[{"Nodes":5}]}`} {
		rows[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(rows[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, cfg := range []Config{
		{Scenario: "growth", Nodes: []int{4}, With: rows["empty"]},
		{Scenario: "growth", Nodes: []int{4}, With: rows["twice"]},
		{Scenario: "growth", Nodes: []int{4}, With: rows["small"]},
		{Scenario: "storms", Nodes: []int{4}, With: rows["good"]},
		{Scenario: "growth", Nodes: []int{2}},
		{Scenario: "growth", Nodes: []int{MaxNodes + 1}},
		{Scenario: "other", Nodes: []int{4}},
		{Scenario: "growth", Nodes: []int{4}, Jitter: 2},
		{Scenario: "growth", Nodes: []int{4}, Latency: "missing.csv"},
		{Scenario: "growth", Nodes: []int{4}, With: "missing.json"},
		{Scenario: "growth", Nodes: []int{4}, With: "simulate.go"},
		{Scenario: "paths", Nodes: []int{4}, Series: "missing.csv"},
	} {
		cfg.Out, cfg.Err = &bytes.Buffer{}, &bytes.Buffer{}
		if err := Run(t.Context(), cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestExponent(t *testing.T) {
	rows := []scale.Row{{Nodes: 10, Memory: 3 * 100}, {Nodes: 100, Memory: 3 * 10_000}, {Nodes: 1000, Memory: 3 * 1_000_000}}
	if e, ok := exponent(rows, func(r *scale.Row) float64 { return r.Memory }); !ok || math.Abs(e-2) > 1e-9 {
		t.Errorf("exponent %v, %v", e, ok)
	}
	if _, ok := exponent(rows[:1], func(r *scale.Row) float64 { return r.Memory }); ok {
		t.Error("an exponent of one size")
	}
}
