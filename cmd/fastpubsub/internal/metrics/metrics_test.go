package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// made is a node as a test says.
type made struct {
	view    core.View
	ended   bool
	clients wsgate.Stats
}

func (m *made) View() (core.View, bool) { return m.view, !m.ended }
func (m *made) Clients() wsgate.Stats   { return m.clients }

// busy is a node with something of everything, and more links than have series of their own.
func busy() *made {
	m := &made{view: core.View{Counters: map[string]uint64{}, Dropped: map[string]uint64{"no_route": 3}, FaultTotals: map[string]uint64{"forged": 7, "echo": 0}}}
	for i, name := range []string{"originated", "relayed", "in_flight", "held_bytes", "swim_bytes_in"} {
		m.view.Counters[name] = uint64(10 + i)
	}
	for i := range peersMost + 10 {
		m.view.Links = append(m.view.Links, core.LinkView{Peer: wire.NodeID(i + 1), Name: fmt.Sprint("n", i), State: "up", RTT: 20, Loss: 0.01, MessagesOut: uint64(i)})
	}
	m.view.Members = []core.MemberView{{State: "alive"}, {State: "alive"}, {State: "unreachable"}}
	m.view.Routes = []core.RouteView{{Cost: 15, Direct: 40}, {Cost: 30, Direct: 30}, {Cost: 700}}
	m.view.Counters["route_computation_ns"] = 2_500_000_000
	m.view.Links[peersMost+9].Queued = 4096
	m.view.Interest = core.InterestView{Patterns: 7, Nodes: 3, Bytes: 2048, FalsePositive: 0.01}
	m.view.Strain = 2.5
	m.view.Ages = core.Histogram{Bounds: []float64{10, 100}, Counts: []uint64{3, 2, 1}, Sum: 450}
	m.clients = wsgate.Stats{Connections: 4, MessagesIn: 100, Errors: map[string]uint64{"invalid_pattern": 1}}
	return m
}

func scrape(t *testing.T, m *made) string {
	t.Helper()
	res := httptest.NewRecorder()
	Handler(m, "v1").ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, nil))
	if res.Code != http.StatusOK {
		t.Fatalf("%d: %s", res.Code, res.Body)
	}
	return res.Body.String()
}

func TestScrape(t *testing.T) {
	text := scrape(t, busy())
	for _, want := range []string{
		`fastpubsub_build_info{go="go1`,
		`fastpubsub_messages_total{event="originated"} 10`,
		`fastpubsub_kept_messages{why="in_flight"} 12`,
		`fastpubsub_swim_bytes_total{direction="in"} 14`,
		`fastpubsub_dropped_total{reason="no_route"} 3`,
		`fastpubsub_faults_total{kind="forged"} 7`,
		`fastpubsub_faults_total{kind="echo"} 0`,
		`fastpubsub_members{state="alive"} 2`,
		`fastpubsub_links{state="up"} 138`,
		`fastpubsub_link_rtt_seconds{id="000000000000008a",peer="n137"} 0.02`,
		`fastpubsub_route_cost_seconds_bucket{le="0.02"} 1`,
		`fastpubsub_route_cost_seconds_bucket{le="+Inf"} 3`,
		`fastpubsub_route_direct_seconds_count 2`,
		`fastpubsub_routes_faster_than_direct 1`,
		`fastpubsub_routes_gain_seconds 0.025`,
		`fastpubsub_route_computation_seconds_total 2.5`,
		`fastpubsub_link_queue_bytes{id="000000000000008a",peer="n137"} 4096`,
		`fastpubsub_interest_patterns 7`,
		`fastpubsub_interest_nodes 3`,
		`fastpubsub_interest_bytes 2048`,
		`fastpubsub_interest_false_positive_ratio 0.01`,
		`fastpubsub_probe_strain_ratio 2.5`,
		`fastpubsub_message_age_seconds_bucket{le="0.01"} 3`,
		`fastpubsub_message_age_seconds_bucket{le="0.1"} 5`,
		`fastpubsub_message_age_seconds_bucket{le="+Inf"} 6`,
		`fastpubsub_message_age_seconds_sum 0.45`,
		`fastpubsub_client_connections 4`,
		`fastpubsub_client_messages_total{direction="in"} 100`,
		`fastpubsub_client_errors_total{code="invalid_pattern"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	if got := strings.Count(text, "\nfastpubsub_link_up{"); got != peersMost {
		t.Errorf("%d links have series of their own", got)
	}
	if strings.Contains(text, `peer="n0"`) {
		t.Error("a link that carries least is shown, others are not")
	}
}

// TestEnded: a node that is about to end still tells of its clients.
func TestEnded(t *testing.T) {
	m := busy()
	m.ended = true
	if text := scrape(t, m); !strings.Contains(text, "fastpubsub_client_connections 4") || strings.Contains(text, "fastpubsub_links") {
		t.Error(text)
	}
}

// TestNames: they are as Prometheus's own linter wants them.
func TestNames(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&collector{busy(), "v1"})
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Whatever a node calls itself, a scrape shows it and everything else, a line a series.
func TestHostileNames(t *testing.T) {
	m := busy()
	lines := strings.Count(scrape(t, m), "\n")
	for i, name := range []string{"a\"b\\c\nfastpubsub_members 99", "\xff\xfe", "\x00", strings.Repeat("n", 5000), "n137", ""} {
		m.view.Links[peersMost+i].Name = name
	}
	text := scrape(t, m)
	if got := strings.Count(text, "\n"); got != lines {
		t.Errorf("%d lines, want %d", got, lines)
	}
	if strings.Contains(text, "\nfastpubsub_members 99") || !strings.Contains(text, "�") {
		t.Error("a name got out of its label, or is lost")
	}
}
