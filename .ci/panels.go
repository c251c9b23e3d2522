//go:build ignore

// Prints what the panels of a Grafana dashboard, given on standard input, ask Prometheus for, as a file of rules: promtool check rules parses each expression.
// JSON is YAML.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type rule struct {
	Record string `json:"record"`
	Expr   string `json:"expr"`
}

func main() {
	var dashboard struct {
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.NewDecoder(os.Stdin).Decode(&dashboard); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
	var rules []rule
	for _, p := range dashboard.Panels {
		for i, t := range p.Targets {
			rules = append(rules, rule{fmt.Sprintf("panel_%d:target_%d", p.ID, i), t.Expr})
		}
	}
	if len(rules) < 20 {
		fmt.Fprintf(os.Stderr, "dashboard: only %d expressions found in its panels\n", len(rules))
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}}); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}
