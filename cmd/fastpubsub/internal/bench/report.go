package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// busyShare is the part of the processors from which on they count as taken up.
const busyShare = 0.9

// Machine is where it was measured.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	CPUs       int    `json:"cpus"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	Version    string `json:"fastpubsub"`
}

// Result is what came out of a scenario. Maps are by the figures' keys; a figure that is not known is left out.
type Result struct {
	Scenario    string             `json:"scenario"`
	What        string             `json:"what"`
	Load        map[string]float64 `json:"load"`
	Repetitions int                `json:"repetitions"`
	Median      map[string]float64 `json:"median"`
	Lowest      map[string]float64 `json:"lowest"`
	Highest     map[string]float64 `json:"highest"`
	Counts      Counts             `json:"messages"` // of all repetitions

	heads  []figure // without values
	values [][]float64
}

// Report is all results.
type Report struct {
	Machine Machine  `json:"machine"`
	Mesh    string   `json:"mesh"`
	Seconds float64  `json:"duration_s"`
	WarmUp  float64  `json:"warm_up_s"`
	Results []Result `json:"results"`
}

// add adds a repetition.
func (r *Result) add(figures []figure, counts Counts) {
	r.Repetitions++
	r.Counts.add(counts, 1)
	r.heads = figures
	r.values = append(r.values, nil)
	for _, f := range figures {
		r.values[len(r.values)-1] = append(r.values[len(r.values)-1], f.value)
	}
}

// of is a figure of all repetitions, ascending; empty if it is not known of all.
func (r *Result) of(column int) (all []float64) {
	for _, row := range r.values {
		if math.IsNaN(row[column]) || math.IsInf(row[column], 0) {
			return nil
		}
		all = append(all, row[column])
	}
	slices.Sort(all)
	return all
}

// median of ascending values.
func median(all []float64) float64 {
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// summarize fills in the maps.
func (r *Result) summarize() {
	r.Median, r.Lowest, r.Highest = map[string]float64{}, map[string]float64{}, map[string]float64{}
	for i, f := range r.heads {
		if all := r.of(i); len(all) > 0 {
			r.Median[f.key], r.Lowest[f.key], r.Highest[f.key] = median(all), all[0], all[len(all)-1]
		}
	}
}

// newReport is the report of results.
func newReport(cfg Config, results []Result) Report {
	r := Report{
		Machine: Machine{
			OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
			Go: runtime.Version(), Version: cfg.Version,
		},
		Mesh: cfg.Target.describe(), Seconds: cfg.Duration.Seconds(), WarmUp: cfg.WarmUp.Seconds(), Results: results,
	}
	for i := range r.Results {
		r.Results[i].summarize()
	}
	return r
}

// describe says which mesh it is.
func (t Target) describe() string {
	switch {
	case t.URL == "" && t.Nodes == 1:
		return "1 node on this computer, for publisher and subscribers"
	case t.URL == "":
		return fmt.Sprintf("%d nodes on this computer, publisher at the first, subscribers at the second", t.Nodes)
	case t.URL == t.SubURL:
		return "publisher and subscribers at " + t.URL
	default:
		return "publisher at " + t.URL + ", subscribers at " + t.SubURL
	}
}

// print prints the report as configured.
func (r Report) print(cfg Config) error {
	if cfg.JSON {
		encoder := json.NewEncoder(cfg.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	var text strings.Builder
	m := r.Machine
	fmt.Fprintf(&text, "fastpubsub %s, %s, %s/%s, %d processors, GOMAXPROCS %d\n%s\n", m.Version, m.Go, m.OS, m.Arch, m.CPUs, m.GOMAXPROCS, r.Mesh)
	fmt.Fprintf(&text, "measured for %v after %v of warm-up; a message is charged from when it was due\n", cfg.Duration, cfg.WarmUp)
	for i := range r.Results {
		r.Results[i].write(&text, m)
	}
	_, err := io.WriteString(cfg.Out, text.String())
	return err
}

// write writes a result as a table, with what must be said about it.
func (r *Result) write(text *strings.Builder, m Machine) {
	fmt.Fprintf(text, "\n%s: %s\n", r.Scenario, r.What)
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")+"\t") }
	heads := []string{""}
	for _, f := range r.heads {
		heads = append(heads, f.head)
	}
	row(heads...)
	rows := []struct {
		name   string
		values map[string]float64
	}{{"median of " + strconv.Itoa(r.Repetitions), r.Median}, {"lowest", r.Lowest}, {"highest", r.Highest}}
	if r.Repetitions == 1 {
		rows = rows[:1]
		rows[0].name = "once"
	}
	for _, some := range rows {
		cells := []string{some.name}
		for _, f := range r.heads {
			cell := "-"
			if value, ok := some.values[f.key]; ok {
				cell = strconv.FormatFloat(value, 'f', f.digits, 64)
			}
			cells = append(cells, cell)
		}
		row(cells...)
	}
	_ = table.Flush() // a strings.Builder takes everything
	c := r.Counts
	fmt.Fprintf(text, "  %d of %d delivered, %d lost, %d twice, %d out of order\n", c.Delivered, c.Sent, c.Lost, c.Duplicates, c.OutOfOrder)
	if c.broken() {
		fmt.Fprintln(text, "  BROKEN: the figures above do not count")
	}
	if cores := min(m.CPUs, m.GOMAXPROCS); r.Median["node_cores"]+r.Median["client_cores"] > busyShare*float64(cores) {
		fmt.Fprintf(text, "  The processors were taken up, %.0f %% of that by this client: with the client elsewhere the nodes could do more.\n",
			r.Median["client_cpu_percent"])
	}
}
