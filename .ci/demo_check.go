//go:build ignore

// Checks a demo's JSON report, given on standard input, for what must hold on any machine: every pair delivers, each message once and in order.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var report struct {
		Summary struct {
			Pairs      int     `json:"pairs"`
			Delivering int     `json:"pairs_delivering"`
			Direct     float64 `json:"mean_direct_ms"`
			Delivered  float64 `json:"mean_delivered_ms"`
			Lost       int     `json:"lost"`
			Duplicates int     `json:"duplicates"`
			Disorder   int     `json:"out_of_order"`
		} `json:"summary"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&report); err != nil {
		fmt.Fprintln(os.Stderr, "demo report:", err)
		os.Exit(1)
	}
	s := report.Summary
	fmt.Printf("%+v\n", s)
	if s.Pairs != 56 || s.Delivering != s.Pairs || s.Duplicates+s.Disorder != 0 {
		fmt.Fprintln(os.Stderr, "demo report: a pair does not deliver, or not once and in order")
		os.Exit(1)
	}
}
