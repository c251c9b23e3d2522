package mesh

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fastpubsub/fastpubsub"

// arrows are the only imports allowed among this module's packages; mesh/doc.go and README tell why.
var arrows = map[string][]string{
	"cmd/fastpubsub":                   {"cmd/fastpubsub/internal/bench", "cmd/fastpubsub/internal/chaos", "cmd/fastpubsub/internal/complete", "cmd/fastpubsub/internal/demo", "cmd/fastpubsub/internal/doctor", "cmd/fastpubsub/internal/metrics", "cmd/fastpubsub/internal/otlp", "cmd/fastpubsub/internal/top", "mesh", "mesh/channel", "mesh/report", "mesh/trace", "mesh/trust", "mesh/watch", "wsgate", "wsgate/access", "wsgate/cert", "wsgate/client", "wsgate/token", "wsgate/web", "testdata", "cmd/fastpubsub/internal/simulate"},
	"cmd/fastpubsub/internal/bench":    {"cmd/fastpubsub/internal/proc", "mesh/channel", "wsgate/client"},
	"cmd/fastpubsub/internal/chaos":    {"cmd/fastpubsub/internal/fleet", "mesh/trust", "mesh/wan", "wsgate/client", "testdata"},
	"cmd/fastpubsub/internal/complete": {},
	"cmd/fastpubsub/internal/fleet":    {"cmd/fastpubsub/internal/proc", "mesh/trust", "mesh/wan"},
	"cmd/fastpubsub/internal/demo":     {"latency", "mesh", "mesh/channel", "mesh/report", "mesh/wan", "mesh/wire", "wsgate", "wsgate/client", "wsgate/web", "testdata"},
	"cmd/fastpubsub/internal/doctor":   {"forward", "mesh", "mesh/trust"},
	"cmd/fastpubsub/internal/metrics":  {"mesh/core", "mesh/wire", "wsgate"},
	"cmd/fastpubsub/internal/otlp":     {"mesh/trace", "mesh/wire"},
	"cmd/fastpubsub/internal/proc":     {},
	"cmd/fastpubsub/internal/simulate": {"cmd/fastpubsub/internal/fleet", "mesh/scale", "mesh/trust", "mesh/wan", "wsgate/client", "testdata"},
	"cmd/fastpubsub/internal/top":      {"mesh/report", "mesh/wire", "wsgate/client"},
	"forward":                          {"mesh/nowait", "mesh/trust", "mesh/wire", "forward/flight", "forward/route"},
	"forward/flight":                   {"mesh/wire"},
	"forward/route":                    {"mesh/wire"},
	"gossip":                           {"mesh/wire", "gossip/interest", "gossip/rumour"},
	"gossip/interest":                  {"mesh/wire", "mesh/channel"},
	"gossip/rumour":                    {"mesh/wire"},
	"latency":                          {"mesh/wire"},
	"mesh":                             {"forward", "gossip", "gossip/interest", "latency", "mesh/channel", "mesh/core", "mesh/trace", "mesh/trust", "mesh/wire"},
	"mesh/alloc":                       {},
	"mesh/channel":                     {},
	"mesh/core":                        {"forward/route", "gossip/interest", "latency", "mesh/channel", "mesh/wire"},
	"mesh/nowait":                      {},
	"mesh/report":                      {"mesh/channel", "mesh/core", "mesh/wire"},
	"mesh/scale":                       {"forward/route", "gossip/interest", "gossip/rumour", "latency", "mesh/channel", "mesh/core", "mesh/wan", "mesh/wire"},
	"mesh/simnet":                      {},
	"mesh/trace":                       {"mesh/channel", "mesh/wire"},
	"mesh/trust":                       {"mesh/wire"},
	"mesh/wan":                         {},
	"mesh/watch":                       {},
	"mesh/wire":                        {},
	"wsgate":                           {"mesh/channel", "mesh/nowait", "wsgate/access"},
	"wsgate/access":                    {"mesh/channel", "wsgate/token"},
	"wsgate/cert":                      {"mesh/watch"},
	"wsgate/client":                    {"mesh/channel"},
	"wsgate/conformance":               {"wsgate/conformance/suite"},
	"wsgate/conformance/suite":         {},
	"wsgate/handover":                  {"mesh/channel", "wsgate/client"},
	"wsgate/token":                     {"mesh/channel"},
	"wsgate/web":                       {},
}

// pure packages may not reach for these: time and randomness are arguments, and there is nothing to lock or wait for.
var (
	pure      = []string{"forward/flight", "forward/route", "gossip/interest", "gossip/rumour", "latency", "mesh/channel", "mesh/core", "mesh/trace", "mesh/wire", "wsgate/token"}
	forbidden = []string{"context", "crypto/rand", "io", "log", "net", "os", "sync"}
)

func TestImportArrows(t *testing.T) {
	for name, imports := range listPackages(t) {
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s is not on the list of arrows", name)
		}
		for _, path := range imports {
			if ours, found := strings.CutPrefix(path, module+"/"); found && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", name, ours)
			}
			if slices.Contains(pure, name) && slices.Contains(forbidden, path) {
				t.Errorf("%s is pure and must not import %s", name, path)
			}
		}
	}
}

// listPackages are this module's packages and what they import outside their tests.
func listPackages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(p.ImportPath, module+"/")] = p.Imports
	}
	if len(found) < 10 {
		t.Fatalf("only %d packages found", len(found))
	}
	return found
}
