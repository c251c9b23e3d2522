package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// series is the name of a series, or of a selector of such, and its labels with their values, apart from those by which Prometheus and nodes tell each other apart.
// A selector's alternatives are labels of their own.
func series(text string) (name string, labels []string) {
	name = regexp.MustCompile(`^[a-z0-9_]*`).FindString(text)
	for _, found := range regexp.MustCompile(`([a-z]+)(?:=|!=|=~|!~)"([^"]*)"`).FindAllStringSubmatch(text[len(name):], -1) {
		if slices.Contains([]string{"instance", "job", "peer", "id"}, found[1]) {
			continue
		}
		for value := range strings.SplitSeq(found[2], "|") {
			labels = append(labels, " "+found[1]+"="+value)
		}
	}
	return name, labels
}

// TestMetricsOfAlertsAndDashboardExist: what the alert rules, their tests and the Grafana dashboard ask for is what a node in a mesh shows, with its labels.
func TestMetricsOfAlertsAndDashboardExist(t *testing.T) {
	a := startProcess(t, "a")
	b := startProcess(t, "b", "--join", a.node)
	wholeMesh(t, []*process{a, b})
	_, body := a.fetch(t, "/metrics", "")
	shown := map[string]bool{} // names, and names with each label; at zero, too: Prometheus sees no increase in a series that begins when it has happened
	for line := range strings.Lines(string(body)) {
		name, labels := series(line)
		shown[name] = true
		for _, label := range labels {
			shown[name+label] = true
		}
	}
	used := 0
	for _, file := range []string{".deploy/alerts.yaml", ".deploy/alerts_test.yaml", ".deploy/grafana.json"} {
		text := strings.ReplaceAll(deployed(t, file), `\"`, `"`)
		for _, found := range regexp.MustCompile(`\b((?:fastpubsub|process|go)_[a-z0-9_]+)(\{[^}]*\})?`).FindAllStringSubmatch(text, -1) {
			used++
			name, labels := series(found[0])
			if !shown[name] {
				t.Errorf("%s: a node shows no %s", file, name)
			}
			for _, label := range labels {
				if !shown[name+label] {
					t.Errorf("%s: no %s of a node has %s", file, name, label)
				}
			}
		}
	}
	if used < 100 {
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
