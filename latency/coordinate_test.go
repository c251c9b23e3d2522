package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Nodes in a space of five axes with heights, as wide as the globe, that know the round trips to sixteen others each: after some seconds any two know how
// far they are from each other, within an eighth at the median. That is enough to choose neighbours by, which are then measured.
func TestCoordinatesPredict(t *testing.T) {
	const nodes, degree, rounds = 200, 16, 300
	rnd := rand.New(rand.NewPCG(1, 2))
	truth := make([]wire.Place, nodes)
	for i := range truth {
		for k := range truth[i].Axes {
			truth[i].Axes[k] = int16(rnd.IntN(1500))
		}
		truth[i].Height, truth[i].Error = uint16(rnd.IntN(50)), 1
	}
	known, peers := make([]Coordinate, nodes), make([][]int, nodes)
	for i := range peers {
		peers[i] = rnd.Perm(nodes)[:degree]
	}
	for range rounds {
		for i := range known {
			for range 2 {
				j := peers[i][rnd.IntN(degree)]
				if j == i {
					continue
				}
				noise := 1 + 0.02*rnd.ExpFloat64()
				known[i].Observe(known[j].Place(), time.Duration(noise*float64(RoundTrip(truth[i], truth[j]))), rnd)
			}
		}
	}
	var off []float64
	for i := range known {
		for j := range i {
			want := RoundTrip(truth[i], truth[j])
			off = append(off, math.Abs(float64(RoundTrip(known[i].Place(), known[j].Place())-want))/float64(want))
		}
	}
	slices.Sort(off)
	if median, most := off[len(off)/2], off[len(off)*95/100]; median > 0.125 || most > 0.6 {
		t.Errorf("off by %.3f at the median, %.3f at the 95th percentile", median, most)
	}
}

// Whatever others claim, a place stays one.
func TestCoordinateSurvivesLies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Coordinate
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(1, 50).Draw(t, "samples") {
			p := wire.Place{Height: rapid.Uint16().Draw(t, "height"), Error: rapid.Uint8().Draw(t, "error")}
			for i := range p.Axes {
				p.Axes[i] = rapid.Int16().Draw(t, "axis")
			}
			before := c
			c.Observe(p, time.Duration(rapid.Int64Range(-1, int64(20*time.Second)).Draw(t, "rtt")), rnd)
			if moved, _ := c.apart(&before); moved > stepMost*1.001 || math.IsNaN(moved) || math.IsNaN(c.height) || c.err < 0 || c.err > errorFirst {
				t.Fatalf("moved by %v ms to %+v", moved, c)
			}
		}
		if p := c.Place(); c.err > 0 && p.Error == 0 {
			t.Fatalf("%+v tells no place", c)
		}
	})
}

func TestRoundTripOfTheUnknown(t *testing.T) {
	a, b := wire.Place{Axes: [wire.PlaceAxes]int16{30}, Height: 10, Error: 1}, wire.Place{Axes: [wire.PlaceAxes]int16{0, 40}, Height: 20, Error: 200}
	if got := RoundTrip(a, b); got != 8*time.Millisecond {
		t.Errorf("3 by 4 ms apart and 3 ms high: %v", got)
	}
	if RoundTrip(a, wire.Place{}) != 0 || RoundTrip(wire.Place{}, b) != 0 {
		t.Error("a distance to nowhere")
	}
}
