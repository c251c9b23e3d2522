package simulate

import (
	"fmt"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// Size of a plot.
const (
	plotWidth  = 16 * vg.Centimeter
	plotHeight = 10 * vg.Centimeter
)

// curve is a figure over the number of nodes.
type curve struct {
	name  string
	value func(*scale.Row) float64
}

// chart is one plot.
type chart struct {
	file, title, unit string
	curves            []curve
	logY              bool
}

func charts() []chart {
	return []chart{
		{"convergence", "From a change until nodes go by it", "ms", []curve{
			{"link down, median", func(r *scale.Row) float64 { return r.Down.At(0.5).Seconds() * 1e3 }},
			{"link down, 99 %", func(r *scale.Row) float64 { return r.Down.At(0.99).Seconds() * 1e3 }},
			{"subscription, median", func(r *scale.Row) float64 { return r.Window.At(0.5).Seconds() * 1e3 }},
			{"subscription, 99 %", func(r *scale.Row) float64 { return r.Window.At(0.99).Seconds() * 1e3 }},
		}, false},
		{"control", "Control traffic sent by a node", "kB/s", []curve{
			{"idle", func(r *scale.Row) float64 { return r.Idle.Bytes / 1e3 }},
			{"with traffic", func(r *scale.Row) float64 { return r.Busy.Bytes / 1e3 }},
			{"10 subscriptions a second at each node", func(r *scale.Row) float64 { return r.Loaded.Bytes / 1e3 }},
		}, true},
		{"stretch", "Paths taken over the shortest that a full mesh has", "times", []curve{
			{"mean", func(r *scale.Row) float64 { return r.Stretch.Mean }},
			{"99 %", func(r *scale.Row) float64 { return r.Stretch.P99 }},
		}, false},
	}
}

// plotAll writes each chart as SVG and PNG into a directory, which it makes, and says how the files are called.
func plotAll(dir string, rows []scale.Row) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("simulate: plots: %w", err)
	}
	for _, c := range charts() {
		p, err := c.draw(rows)
		if err != nil {
			return nil, fmt.Errorf("simulate: plot of %s: %w", c.file, err)
		}
		for _, ext := range []string{".svg", ".png"} {
			file := filepath.Join(dir, c.file+ext)
			if err := p.Save(plotWidth, plotHeight, file); err != nil {
				return nil, fmt.Errorf("simulate: plots: %w", err)
			}
			files = append(files, file)
		}
	}
	return files, nil
}

func (c *chart) draw(rows []scale.Row) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, "nodes", c.unit
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, sizes(rows)
	if c.logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		p.Y.Min = 0
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, curve := range c.curves {
		points := make(plotter.XYs, 0, len(rows))
		for k := range rows {
			if v := curve.value(&rows[k]); v > 0 || !c.logY {
				points = append(points, plotter.XY{X: float64(rows[k].Nodes), Y: v})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, dots.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, dots)
		p.Legend.Add(curve.name, line, dots)
	}
	low, high := float64(rows[0].Nodes), float64(rows[0].Nodes)
	for i := range rows {
		low, high = min(low, float64(rows[i].Nodes)), max(high, float64(rows[i].Nodes))
	}
	p.X.Min, p.X.Max = low*0.9, high*1.1
	if c.logY {
		p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	} else {
		p.Y.Max *= 1.3 // room for the legend
	}
	return p, nil
}

// sizes are ticks at the sizes simulated.
func sizes(rows []scale.Row) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i := range rows {
		ticks = append(ticks, plot.Tick{Value: float64(rows[i].Nodes), Label: fmt.Sprint(rows[i].Nodes)})
	}
	return ticks
}
