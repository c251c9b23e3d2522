package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func nan() float64 { return math.NaN() }

// sample is a report of made-up results.
func sample(cfg Config) Report {
	row := func(p50, cpu float64) []figure {
		return []figure{{"p50_us", "P50 µs", 0, p50}, {"node_cpu_s_per_million", "NODE CPU s/M", 2, cpu}, {"node_cores", "NODE CORES", 2, nan()}}
	}
	good := Result{Scenario: "latency", What: "128 B", Load: map[string]float64{"size_bytes": 128}}
	for _, p50 := range []float64{300, 100, 200, 900} {
		good.add(row(p50, 1.256), Counts{Sent: 10, Delivered: 10})
	}
	bad := Result{Scenario: "fanout", What: "to many", Load: map[string]float64{"subscribers": 2}}
	bad.add([]figure{{"node_cores", "NODE CORES", 2, 1.5}, {"client_cores", "CLIENT CORES", 2, 2}, {"client_cpu_percent", "CLIENT CPU %", 0, 57}},
		Counts{Sent: 4, Delivered: 3, Lost: 1, OutOfOrder: 2, Duplicates: 3})
	r := newReport(cfg, []Result{good, bad})
	r.Machine = Machine{OS: "plan9", Arch: "mips", CPUs: 4, GOMAXPROCS: 3, Go: "go1.26", Version: "v1"}
	for i := range r.Results {
		r.Results[i].summarize()
	}
	return r
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	cfg, err := Config{Out: &out, Duration: time.Second}.normal()
	if err != nil {
		t.Fatal(err)
	}
	if err := sample(cfg).print(cfg); err != nil {
		t.Fatal(err)
	}
	want := `fastpubsub v1, go1.26, plan9/mips, 4 processors, GOMAXPROCS 3
2 nodes on this computer, publisher at the first, subscribers at the second
measured for 1s after 1s of warm-up; a message is charged from when it was due

latency: 128 B
               P50 µs  NODE CPU s/M  NODE CORES
  median of 4     250          1.26           -
       lowest     100          1.26           -
      highest     900          1.26           -
  40 of 40 delivered, 0 lost, 0 twice, 0 out of order

fanout: to many
        NODE CORES  CLIENT CORES  CLIENT CPU %
  once        1.50          2.00            57
  3 of 4 delivered, 1 lost, 3 twice, 2 out of order
  BROKEN: the figures above do not count
  The processors were taken up, 57 % of that by this client: with the client elsewhere the nodes could do more.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	cfg, err := Config{Out: &out, JSON: true}.normal()
	if err != nil {
		t.Fatal(err)
	}
	if err := sample(cfg).print(cfg); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine struct {
			CPUs, GOMAXPROCS int
			Go, OS, Arch     string
		}
		Duration float64 `json:"duration_s"`
		Results  []struct {
			Scenario                string
			Repetitions             int
			Load                    map[string]float64
			Median, Lowest, Highest map[string]float64
			Messages                map[string]float64
		}
	}
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&got); err != nil || decoder.More() || len(got.Results) != 2 {
		t.Fatalf("%v, %+v", err, got)
	}
	one, two := got.Results[0], got.Results[1]
	if got.Machine.CPUs != 4 || got.Machine.GOMAXPROCS != 3 || got.Duration != 3 || one.Repetitions != 4 || one.Load["size_bytes"] != 128 {
		t.Errorf("%+v", got)
	}
	if _, known := one.Median["node_cores"]; known || one.Median["p50_us"] != 250 || one.Lowest["p50_us"] != 100 || one.Highest["p50_us"] != 900 {
		t.Errorf("%+v", one)
	}
	if two.Messages["lost"] != 1 || two.Messages["duplicates"] != 3 || two.Messages["out_of_order"] != 2 || two.Messages["delivered"] != 3 {
		t.Errorf("%+v", two)
	}
}

func TestDescribe(t *testing.T) {
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Nodes: 1}, "1 node on this"},
		{Target{Nodes: 3}, "3 nodes on this"},
		{Target{URL: "ws://a", SubURL: "ws://a"}, "publisher and subscribers at ws://a"},
		{Target{URL: "ws://a", SubURL: "ws://b"}, "publisher at ws://a, subscribers at ws://b"},
	} {
		if got := test.target.describe(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestProgress(t *testing.T) {
	silent := newProgress(new(bytes.Buffer))
	silent.begin("latency")
	silent.say("measuring")
	silent.close()
	var p progress
	p.begin("latency, 128 B: 1 of 3")
	p.say("measuring")
	p.started = p.since.Add(-time.Minute)
	if line := p.line(p.since.Add(1500*time.Millisecond), 200); line != " 62 s  latency, 128 B: 1 of 3: measuring 1.5 s" {
		t.Errorf("%q", line)
	}
	if line := p.line(p.since, 10); len(line) != 9 {
		t.Errorf("%q on 10 columns", line)
	}
}

func TestHistogram(t *testing.T) {
	h := newHistogram()
	if !math.IsNaN(h.quantile(50)) {
		t.Error("a figure without records")
	}
	for i := range 1000 {
		h.record(time.Duration(i+1) * time.Millisecond)
	}
	h.record(-time.Second)
	h.record(time.Hour)
	for percent, want := range map[float64]float64{0: 0, 50: 500e3, 99: 990e3, 100: 60e6} {
		if got := h.quantile(percent); math.Abs(got-want) > want*0.005+1 {
			t.Errorf("%v %%: %v µs, want %v", percent, got, want)
		}
	}
}

func TestFiguresOfNoProcess(t *testing.T) {
	if !math.IsNaN(nodeCPU(nil)) || !math.IsNaN(largest(nil)) || !math.IsNaN(resident(0)) || !math.IsNaN((*meter)(nil).read().rate()) {
		t.Error("figures of no process")
	}
}
