package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Nodes as processes go through what the model does: they come together through one seed, all messages arrive, a cut link is left, and one more joins.
func TestSimulateProcesses(t *testing.T) {
	cmd := program(t.Context(), "simulate", "processes", "--nodes", "4", "--rest", "2s", "--json")
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	type figures struct {
		Formed              int64
		Idle, SWIM          float64
		Spread, Cut, Joined []int64
	}
	var got struct {
		Nodes            int
		Processes, Model figures
		IdleCPU          float64 `json:"idle_cpu_ms_per_s"`
		Memory           float64 `json:"megabytes"`
		Traffic          struct{ Sent, Delivered, Lost int }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	for who, f := range map[string]figures{"processes": got.Processes, "model": got.Model} {
		if f.Formed <= 0 || f.Idle <= 0 || f.SWIM <= 0 || f.SWIM >= f.Idle || len(f.Spread) != 4 || len(f.Cut) != 6 || len(f.Joined) != 2 {
			t.Errorf("%s: %+v", who, f)
		}
	}
	if tr := got.Traffic; got.Nodes != 4 || tr.Sent != 4*2 || tr.Delivered != 4*2*4 || tr.Lost != 0 || got.IdleCPU < 0 || got.Memory < 0 {
		t.Errorf("%+v", got)
	}
}
