package core

import (
	"math"
	"slices"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Light in vacuum crosses so many km in a µs, and the Earth is so large. Nothing real comes near: light in glass takes half as long again.
const (
	lightKM = 0.299792458
	earthKM = 6371.0
)

// spot is where a node says that it is, as a point on the unit sphere; the zero spot is unknown.
type spot [3]float64

func spotOf(m wire.Meta) spot {
	if !m.Located {
		return spot{}
	}
	sinLat, cosLat := math.Sincos(m.Lat * math.Pi / 180)
	sinLon, cosLon := math.Sincos(m.Lon * math.Pi / 180)
	return spot{cosLat * cosLon, cosLat * sinLon, sinLat}
}

// light is the µs that light takes between two spots; 0 if one is unknown.
func light(a, b spot) uint32 {
	if a == (spot{}) || b == (spot{}) {
		return 0
	}
	chord := math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
	return uint32(2 * math.Asin(min(chord/2, 1)) * earthKM / lightKM)
}

// least is the least cost that a link between two nodes can have, by where they say that they are.
func (c *Core) least(a, b wire.NodeID) uint32 { return light(c.spotOf(a), c.spotOf(b)) }

func (c *Core) spotOf(id wire.NodeID) spot {
	if id == c.self {
		return c.spot
	}
	if p := c.peers[id]; p != nil {
		return p.spot
	}
	return spot{}
}

// relocated takes note of where a node says that it is, and looks again at the links to and from it.
func (c *Core) relocated(p *peer) {
	at := spotOf(p.meta)
	if at == p.spot {
		return
	}
	p.spot = at
	var origins []wire.NodeID
	for origin := range c.db.Origins() {
		if origin == p.id || slices.ContainsFunc(c.db.Links(origin), func(l route.Link) bool { return l.To == p.id }) {
			origins = append(origins, origin)
		}
	}
	for _, origin := range origins {
		if origin == c.self {
			c.setLinks(c.self, c.vector)
		} else if chain := c.store.entries[RecordKey{origin, wire.RecordLinks}]; chain != nil {
			c.use(chain.records)
		}
	}
	c.costsDirty = true
}

// measured is what the link to a node costs; no less than light takes, whatever its echoes say.
func (c *Core) measured(id wire.NodeID) uint32 {
	cost, least := c.prober.Link(id).Cost(), c.least(c.self, id)
	if cost < least {
		c.do(TooFast{Origin: id, Links: 1})
	}
	return max(cost, least)
}
