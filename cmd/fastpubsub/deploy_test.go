package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// deployed reads a file for operators.
func deployed(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMetricsOfAlertsAndDashboardExist: what the alert rules and the Grafana dashboard ask for is what a node in a mesh shows.
func TestMetricsOfAlertsAndDashboardExist(t *testing.T) {
	a := startProcess(t, "a")
	b := startProcess(t, "b", "--join", a.node)
	wholeMesh(t, []*process{a, b})
	_, body := a.fetch(t, "/metrics", "")
	shown := map[string]bool{ // these only once they have happened
		"fastpubsub_faults_total": true, "fastpubsub_client_errors_total": true,
	}
	for line := range strings.Lines(string(body)) {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		shown[name] = true
	}
	source := deployed(t, "cmd/fastpubsub/internal/metrics/metrics.go")
	used := 0
	for _, file := range []string{".deploy/alerts.yaml", ".deploy/grafana.json"} {
		for _, name := range regexp.MustCompile(`\b(?:fastpubsub|process|go)_[a-z0-9_]+`).FindAllString(deployed(t, file), -1) {
			used++
			if !shown[name] {
				t.Errorf("%s: a node shows no %s", file, name)
			}
			if own, is := strings.CutPrefix(name, "fastpubsub_"); is && (strings.HasSuffix(own, "faults_total") || strings.HasSuffix(own, "errors_total")) && !strings.Contains(source, `"`+own+`"`) {
				t.Errorf("%s: %s is none of the metrics", file, name)
			}
		}
	}
	if used < 40 {
		t.Errorf("only %d uses found", used)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal([]byte(deployed(t, ".deploy/grafana.json")), &dashboard); err != nil || len(dashboard.Panels) < 20 {
		t.Errorf("%d panels, %v", len(dashboard.Panels), err)
	}
	seen := map[int]bool{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %s, is not in its place", p.ID, p.Title)
		}
		seen[p.ID] = true
	}
}

// TestDeployedCommandLines: the command lines and the environment in files for operators are ones that the program takes.
func TestDeployedCommandLines(t *testing.T) {
	config := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(config, []byte("[node]\nlisten = \"0.0.0.0:7946\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for _, file := range []string{".deploy/compose.yaml", ".deploy/kubernetes.yaml"} {
		for _, found := range regexp.MustCompile(`(?:command|args): \[(node, [^]]*)\]`).FindAllStringSubmatch(deployed(t, file), -1) {
			line := strings.Split(regexp.MustCompile(`"([^"]*)"`).ReplaceAllStringFunc(found[1], func(s string) string { return strings.ReplaceAll(strings.Trim(s, `"`), ",", "\x00") }), ", ")
			for i := range line {
				line[i] = strings.ReplaceAll(line[i], "\x00", ",")
			}
			lines = append(lines, line)
		}
	}
	if len(lines) != 6 {
		t.Errorf("%d command lines found", len(lines))
	}
	unit := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/fastpubsub (.*)$`).FindStringSubmatch(deployed(t, ".deploy/fastpubsub.service"))
	lines = append(lines, strings.Fields(strings.NewReplacer("/etc/fastpubsub/node.toml", config, "%S", t.TempDir(), "%d", t.TempDir()).Replace(unit[1])))
	for _, line := range lines {
		var c commands
		parser, err := kong.New(&c, options(streams{})...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(line); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if _, err := parseGeo(c.Node.Geo); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	var c commands
	parser, err := kong.New(&c, options(streams{})...)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, command := range parser.Model.Children {
		for _, flag := range command.Flags {
			for _, env := range flag.Envs {
				known[env] = true
			}
		}
	}
	for _, env := range regexp.MustCompile(`FASTPUBSUB_[A-Z_]+`).FindAllString(deployed(t, "Dockerfile"), -1) {
		if !known[env] {
			t.Errorf("Dockerfile: there is no %s", env)
		}
	}
}
