package simulate

import (
	"math"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// fit is how a figure grows: with nodes to this power, by least squares over the logarithms.
type fit struct {
	Name     string  `json:"name"`
	Exponent float64 `json:"exponent"`
	From     int     `json:"from"` // sizes that it was fitted over
	To       int     `json:"to"`
}

// figure is a column that grows.
type figure struct {
	name  string
	value func(*scale.Row) float64
}

func figures() []figure {
	return []figure{
		{"join", func(r *scale.Row) float64 { return r.Join.At(0.5).Seconds() }},
		{"link down p99", func(r *scale.Row) float64 { return r.Down.At(0.99).Seconds() }},
		{"join window p99", func(r *scale.Row) float64 { return r.Window.At(0.99).Seconds() }},
		{"idle bytes", func(r *scale.Row) float64 { return r.Idle.Bytes }},
		{"loaded bytes", func(r *scale.Row) float64 { return r.Loaded.Bytes }},
		{"idle CPU", func(r *scale.Row) float64 { return r.Idle.CPU }},
		{"loaded CPU", func(r *scale.Row) float64 { return r.Loaded.CPU }},
		{"memory", func(r *scale.Row) float64 { return r.Memory }},
		{"SPF anew", func(r *scale.Row) float64 { return r.SPF.Seconds() }},
		{"SPF of a change", func(r *scale.Row) float64 { return r.SPFChange.Seconds() }},
	}
}

// fitAll fits all figures over all rows; with fewer than two sizes there is nothing to fit.
func fitAll(rows []scale.Row) (fits []fit) {
	for _, f := range figures() {
		has := slices.Clone(rows)
		has = slices.DeleteFunc(has, func(r scale.Row) bool { return f.value(&r) <= 0 }) // it was not measured
		if e, ok := exponent(has, f.value); ok {
			fits = append(fits, fit{f.name, e, has[0].Nodes, has[len(has)-1].Nodes})
		}
	}
	return fits
}

// exponent is the slope of the logarithm of a figure, positive in all rows, over that of the number of nodes.
func exponent(rows []scale.Row, value func(*scale.Row) float64) (slope float64, ok bool) {
	var n, x, y, xx, xy float64
	for i := range rows {
		a, b := math.Log(float64(rows[i].Nodes)), math.Log(value(&rows[i]))
		n, x, y, xx, xy = n+1, x+a, y+b, xx+a*a, xy+a*b
	}
	if d := n*xx - x*x; n >= 2 && d > 1e-12 {
		return (n*xy - x*y) / d, true
	}
	return 0, false
}
