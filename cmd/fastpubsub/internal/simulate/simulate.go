// Package simulate runs meshes of many sizes in virtual time (package mesh/scale) and shows what their control plane costs, how fast it is, and how each
// figure grows with the number of nodes: as a table, as exponents fitted to it, and as plots.
package simulate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/testdata"
)

// ErrConfig says that what was asked for cannot be simulated.
var ErrConfig = errors.New("simulate")

// MaxNodes bounds a mesh: memory grows with its square.
const MaxNodes = 4000

// Config says what to simulate. All but Plot, With and Latency must be set.
type Config struct {
	Scenario string // growth, storms, paths or processes
	Nodes    []int  // sizes, one after another
	FullMesh int    // see mesh.Config; 0: its default
	Seed     uint64
	Latency  string        // file of measured latencies; "": 36 cities
	Series   string        // file of slices, for paths
	Jitter   float64       // of packets, as a share of their delay
	Loss     float64       // of packets
	Rest     time.Duration // how long processes are measured at rest, and with traffic
	Plot     string        // directory for plots; "": none
	With     string        // file of a report in JSON, whose rows growth shows, too; "": none
	JSON     bool
	Out, Err io.Writer
}

// Run simulates, until ctx ends, and prints what came of it.
func Run(ctx context.Context, cfg Config) error {
	for _, n := range cfg.Nodes {
		if n < 3 || n > MaxNodes {
			return fmt.Errorf("%w: %d nodes, want 3 to %d", ErrConfig, n, MaxNodes)
		}
	}
	if cfg.Jitter < 0 || cfg.Jitter > 1 || cfg.Loss < 0 || cfg.Loss > 0.5 {
		return fmt.Errorf("%w: jitter %v or loss %v out of range", ErrConfig, cfg.Jitter, cfg.Loss)
	}
	if cfg.With != "" && cfg.Scenario != "growth" {
		return fmt.Errorf("%w: earlier rows are for growth, not %s", ErrConfig, cfg.Scenario)
	}
	sites, err := readSites(cfg.Latency)
	if err != nil {
		return err
	}
	switch cfg.Scenario {
	case "growth":
		return growth(ctx, &cfg, sites)
	case "storms":
		return storms(ctx, &cfg, sites)
	case "paths":
		return paths(ctx, &cfg)
	case "processes":
		return processes(ctx, &cfg, sites)
	}
	return fmt.Errorf("%w: scenario %q, want growth, storms, paths or processes", ErrConfig, cfg.Scenario)
}

// readSites reads measured latencies: an edge list, or a square matrix.
func readSites(file string) (*scale.Sites, error) {
	csv := testdata.Metro36CSV()
	if file != "" {
		var err error
		if csv, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if m, err := wan.ParseMatrix(bytes.NewReader(csv)); err == nil {
		return scale.SitesOf(m), nil
	}
	slices, err := scale.ParseSeries(bytes.NewReader(csv))
	if err != nil {
		return nil, fmt.Errorf("%w: %s is neither an edge list nor a matrix: %w", ErrConfig, file, err)
	}
	return slices[0], nil
}

// growth puts meshes of each size through a trial.
func growth(ctx context.Context, cfg *Config, sites *scale.Sites) error {
	var rows []scale.Row
	known, err := readRows(cfg.With)
	if err != nil {
		return err
	}
	for _, n := range cfg.Nodes {
		if ctx.Err() != nil {
			break // what there is shall be shown
		}
		runtime.LockOSThread() // whose time is measured, in route computations
		began := time.Now()
		row := scale.Trial{
			Nodes: n, FullMesh: cfg.FullMesh, Seed: cfg.Seed, Sites: sites, Jitter: cfg.Jitter, Loss: cfg.Loss, Clock: threadTime, Workers: runtime.GOMAXPROCS(0), Memory: heap, Stop: ctx.Err,
			Progress: func(what string) {
				fmt.Fprintf(cfg.Err, "%5d nodes, %6.1f s: %s\n", n, time.Since(began).Seconds(), what)
			},
		}.Run()
		runtime.UnlockOSThread()
		if ctx.Err() == nil {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return context.Cause(ctx)
	}
	rows = beside(rows, known)
	r := report{rows, fitAll(rows)}
	if cfg.JSON {
		err = encode(cfg.Out, r)
	} else {
		printGrowth(cfg.Out, r.Rows, r.Exponents)
	}
	if err != nil || cfg.Plot == "" {
		return err
	}
	files, err := plotAll(cfg.Plot, rows)
	if err == nil {
		fmt.Fprintf(cfg.Err, "plots: %v\n", files)
	}
	return err
}

// beside adds earlier rows of sizes that there are none of, and sorts all.
func beside(rows, known []scale.Row) []scale.Row {
	out := slices.Clone(rows)
	for _, k := range known {
		if !slices.ContainsFunc(rows, func(r scale.Row) bool { return r.Nodes == k.Nodes }) {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b scale.Row) int { return cmp.Compare(a.Nodes, b.Nodes) })
	return out
}

// report is what growth prints as JSON.
type report struct {
	Rows      []scale.Row `json:"rows"`
	Exponents []fit       `json:"exponents"`
}

// readRows reads the rows of a report; none of "".
func readRows(file string) ([]scale.Row, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: %s is no report in JSON: %w", ErrConfig, file, err)
	}
	if len(r.Rows) == 0 {
		return nil, fmt.Errorf("%w: %s is no report of growth: it has no rows", ErrConfig, file)
	}
	sizes := map[int]bool{}
	for i := range r.Rows {
		n := r.Rows[i].Nodes
		if n < 3 || n > MaxNodes {
			return nil, fmt.Errorf("%w: %s: a row of %d nodes, want 3 to %d", ErrConfig, file, n, MaxNodes)
		}
		if sizes[n] {
			return nil, fmt.Errorf("%w: %s: two rows of %d nodes", ErrConfig, file, n)
		}
		sizes[n] = true
	}
	return r.Rows, nil
}

// storms puts the largest mesh through storms.
func storms(ctx context.Context, cfg *Config, sites *scale.Sites) error {
	n := slices.Max(cfg.Nodes)
	began := time.Now()
	storm := scale.Storm{
		Nodes: n, FullMesh: cfg.FullMesh, Seed: cfg.Seed, Sites: sites, Jitter: cfg.Jitter, Workers: runtime.GOMAXPROCS(0),
		Progress: func(what string) {
			fmt.Fprintf(cfg.Err, "%5d nodes, %6.1f s: %s\n", n, time.Since(began).Seconds(), what)
		},
	}
	var out []scale.Outcome
	for _, run := range []func() scale.Outcome{
		func() scale.Outcome { return storm.Join(10 * time.Second) },
		func() scale.Outcome { return storm.Churn(0.1, 2*time.Minute) },
		func() scale.Outcome { return storm.Region(n*2/5, time.Minute) },
	} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		out = append(out, run())
	}
	if cfg.JSON {
		return encode(cfg.Out, out)
	}
	printStorms(cfg.Out, out)
	return nil
}

// paths replays measured slices, and weathers over the first of them.
func paths(ctx context.Context, cfg *Config) error {
	f, err := os.Open(cfg.Series)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer f.Close()
	series, err := scale.ParseSeries(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	const each = 30 * time.Second
	measured := scale.Slices(series, each, cfg.Jitter, cfg.Seed)
	out := []pathRow{{"measured", fmt.Sprintf("%d slices, %v each", len(series), each), measured.Run(), float64(len(series))}}
	for _, w := range scale.Weathers() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fmt.Fprintln(cfg.Err, w.Name)
		q := w.Replay(series[0], cfg.Jitter, cfg.Seed).Run()
		out = append(out, pathRow{w.Name, w.What, q, q.Time.Minutes()})
	}
	if cfg.JSON {
		return encode(cfg.Out, out)
	}
	printPaths(cfg.Out, out)
	return nil
}

// pathRow is how well paths followed what changed.
type pathRow struct {
	Name, What string
	Quality    scale.Quality
	Spans      float64 // slices or minutes
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
