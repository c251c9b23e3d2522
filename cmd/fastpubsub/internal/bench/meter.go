package bench

import (
	"math"
	"time"
)

// meter measures from its beginning what is delivered and what that costs.
type meter struct {
	audience    *audience
	at          time.Duration
	delivered   uint64
	nodes, self float64 // processor seconds
}

// usage is what a meter measured. What is not known is NaN.
type usage struct {
	seconds     float64
	delivered   float64 // messages to subscribers
	nodes, self float64 // processor seconds
	largest     float64 // bytes of the node that takes most
}

// meter starts to measure.
func (a *audience) meter() *meter {
	return &meter{audience: a, at: a.rig.now(), delivered: a.delivered.Load(), nodes: nodeCPU(a.rig.pids), self: ownCPU()}
}

// read is what was measured so far; a meter that never began knows nothing.
func (m *meter) read() usage {
	if m == nil {
		nan := math.NaN()
		return usage{nan, nan, nan, nan, nan}
	}
	a := m.audience
	return usage{
		seconds: (a.rig.now() - m.at).Seconds(), delivered: float64(a.delivered.Load()-m.delivered) * float64(a.each),
		nodes: nodeCPU(a.rig.pids) - m.nodes, self: ownCPU() - m.self, largest: largest(a.rig.pids),
	}
}

// rate is deliveries a second.
func (u usage) rate() float64 { return u.delivered / u.seconds }

// perMillion is the nodes' processor seconds for a million deliveries.
func (u usage) perMillion() float64 { return known(u.nodes/u.delivered*1e6, u.delivered > 0) }

// costs are the figures that end every row.
func (u usage) costs() []figure {
	return append([]figure{{"node_cpu_s_per_million", "NODE CPU s/M", 2, u.perMillion()}}, u.load()...)
}

// load is costs of what delivers nothing.
func (u usage) load() []figure {
	return []figure{
		{"node_cores", "NODE CORES", 2, u.nodes / u.seconds},
		{"node_rss_mb", "NODE RSS MB", 1, u.largest / 1e6},
		{"client_cores", "CLIENT CORES", 2, u.self / u.seconds},
		{"client_cpu_percent", "CLIENT CPU %", 0, 100 * u.self / (u.self + u.nodes)},
	}
}
