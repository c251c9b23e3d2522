package latency

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Constants of the coordinate, of Dabek et al. (Vivaldi, SIGCOMM 2004) where nothing else is said.
const (
	coordinateGain = 0.25 // share of the error that a sample corrects
	errorGain      = 0.25
	errorFirst     = 1.5
	heightLeast    = 0.05  // ms
	stepMost       = 100.0 // ms that one sample moves a node: one that lies must not throw others far
	placeUnit      = 0.1   // ms in the unit of a wire.Place
)

// Coordinate is where a node is in a space in which round trips are distances, as its own links' round trips and the places that their far ends told let
// it believe. One goroutine owns it. The zero value is nowhere yet.
type Coordinate struct {
	axes   [wire.PlaceAxes]float64 // ms
	height float64                 // ms above the space: what the node's own access costs
	err    float64                 // share of a round trip that it is off by; 0: nowhere yet
}

// Observe takes a round trip to a node of which this is the place; one that is not known says nothing.
func (c *Coordinate) Observe(other wire.Place, rtt time.Duration, rnd *rand.Rand) {
	sample := float64(rtt) / float64(time.Millisecond)
	if sample <= 0 {
		return
	}
	if c.err == 0 { // even where nobody knows a place yet: somebody must begin
		c.height, c.err = heightLeast, errorFirst
	}
	if other.Error == 0 {
		return
	}
	o := coordinateOf(other)
	apart, towards := c.apart(&o)
	total := apart + c.height + o.height
	weight := c.err / (c.err + o.err)
	off := min(math.Abs(total-sample)/sample, errorFirst)
	c.err = min(max(off*errorGain*weight+c.err*(1-errorGain*weight), 0.01), errorFirst)
	push := min(max(coordinateGain*weight*(sample-total), -stepMost), stepMost)
	if apart > 0 {
		c.height = max(heightLeast, c.height+(c.height+o.height)*push/apart)
	} else {
		towards = anyDirection(rnd) // of two nodes at one point each goes its way
	}
	for i := range c.axes {
		c.axes[i] += towards[i] * push
	}
}

// apart is the distance of two points, and the direction from the other's to c's.
func (c *Coordinate) apart(o *Coordinate) (distance float64, direction [wire.PlaceAxes]float64) {
	for i := range c.axes {
		direction[i] = c.axes[i] - o.axes[i]
		distance += direction[i] * direction[i]
	}
	if distance = math.Sqrt(distance); distance > 0 {
		for i := range direction {
			direction[i] /= distance
		}
	}
	return distance, direction
}

func anyDirection(rnd *rand.Rand) (direction [wire.PlaceAxes]float64) {
	length := 0.0
	for i := range direction {
		direction[i] = rnd.NormFloat64()
		length += direction[i] * direction[i]
	}
	for i := range direction {
		direction[i] /= max(math.Sqrt(length), 1e-9)
	}
	return direction
}

// Place is the coordinate as it is told; of one that is nowhere yet it has no Error.
func (c *Coordinate) Place() (p wire.Place) {
	if c.err == 0 {
		return p
	}
	for i, v := range c.axes {
		p.Axes[i] = int16(min(max(math.Round(v/placeUnit), math.MinInt16), math.MaxInt16))
	}
	p.Height = uint16(min(math.Round(c.height/placeUnit), math.MaxUint16))
	p.Error = uint8(min(max(math.Round(100*c.err), 1), math.MaxUint8))
	return p
}

func coordinateOf(p wire.Place) (c Coordinate) {
	for i, v := range p.Axes {
		c.axes[i] = float64(v) * placeUnit
	}
	c.height = max(float64(p.Height)*placeUnit, heightLeast)
	c.err = float64(p.Error) / 100
	return c
}

// RoundTrip is the round trip between two places, as far as they tell; 0 if one of them is not known.
func RoundTrip(a, b wire.Place) time.Duration {
	if a.Error == 0 || b.Error == 0 {
		return 0
	}
	square := 0.0
	for i := range a.Axes {
		d := float64(a.Axes[i]) - float64(b.Axes[i])
		square += d * d
	}
	units := math.Sqrt(square) + max(float64(a.Height), 1) + max(float64(b.Height), 1)
	return time.Duration(units * placeUnit * float64(time.Millisecond))
}
