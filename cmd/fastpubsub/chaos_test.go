package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A drill with real processes: a relay killed, a link blocked one way, the mesh secret changed. Nothing is lost, and things did happen.
func TestChaosDrill(t *testing.T) {
	cmd := program(t.Context(), "chaos", "--metros", "London,Lagos,Toronto,Singapore", "--drill", "kill,one-way,rotate", "--rate", "20", "--channels", "4", "--json")
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var results []struct {
		Drill                       string
		Delivered, Lost, Duplicates uint64
		OutOfOrder                  uint64  `json:"out_of_order"`
		Gap                         float64 `json:"longest_gap_ms"`
		Recovery                    float64 `json:"recovery_ms"`
	}
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 3 {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	for _, r := range results {
		if r.Delivered < 100 || r.Lost+r.Duplicates+r.OutOfOrder > 0 || r.Recovery <= 0 || r.Gap <= 0 {
			t.Errorf("%+v", r)
		}
	}
}
