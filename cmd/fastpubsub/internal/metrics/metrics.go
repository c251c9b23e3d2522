// Package metrics shows what a node knows and does to Prometheus. It looks only when it is asked: nothing is collected between two scrapes.
package metrics

import (
	"cmp"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Path is where nodes serve them.
const Path = "/metrics"

// peersMost bounds the links that have series of their own, those that carry most; fastpubsub_links counts all.
const peersMost = 128

// Source is a node at the time of a scrape.
type Source interface {
	View() (core.View, bool)
	Clients() wsgate.Stats
}

// Handler serves the metrics of a node, and those of its process.
func Handler(source Source, version string) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{source, version}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// collector makes the metrics of one scrape out of one view, so that they are of one time.
type collector struct {
	source  Source
	version string
}

// Describe says nothing ahead: which counters there are is the view's to say.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector's.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	e := emitter{to}
	e.gauge("build_info", "1; the labels say what runs.", 1, labels{"version": c.version, "go": runtime.Version()})
	clients := c.source.Clients()
	e.clients(&clients)
	v, ok := c.source.View()
	if !ok {
		return // it is about to end
	}
	e.mesh(&v)
	e.links(v.Links)
	e.routes(v.Routes)
	e.counters(&v)
	e.interest(&v.Interest)
	e.ages(&v.Ages)
}

type labels map[string]string

// emitter sends metrics.
type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) send(kind prometheus.ValueType, name, help string, value float64, l labels) {
	names := slices.Sorted(maps.Keys(l))
	values := make([]string, len(names))
	for i, n := range names {
		values[i] = strings.ToValidUTF8(l[n], "\uFFFD") // one bad name is not to cost all the others
	}
	e.to <- prometheus.MustNewConstMetric(prometheus.NewDesc("fastpubsub_"+name, help, names, nil), kind, value, values...)
}

func (e emitter) gauge(name, help string, value float64, l labels) {
	e.send(prometheus.GaugeValue, name, help, value, l)
}

func (e emitter) counter(name, help string, value uint64, l labels) {
	e.send(prometheus.CounterValue, name, help, float64(value), l)
}

func (e emitter) mesh(v *core.View) {
	states := map[string]int{"alive": 0, "unreachable": 0}
	for _, m := range v.Members {
		states[m.State]++
	}
	for state, count := range states {
		e.gauge("members", "Other nodes of the mesh.", float64(count), labels{"state": state})
	}
	e.gauge("uptime_seconds", "Time since the node started.", v.Node.Uptime, nil)
	e.gauge("probe_strain_ratio", "How many times less links are probed than they should be, since the node has too little processor time; 1: it has enough.", v.Strain, nil)
	for kind, count := range v.FaultTotals { // zeros too: Prometheus sees no increase in a series that begins at 1
		e.counter("faults_total", "What other nodes did wrong.", count, labels{"kind": kind})
	}
}

const perLink = " Of the 128 links that carry most."

func (e emitter) links(links []core.LinkView) {
	states := map[string]int{"up": 0, "down": 0}
	for _, l := range links {
		states[l.State]++
	}
	for state, count := range states {
		e.gauge("links", "Links to other nodes.", float64(count), labels{"state": state})
	}
	links = slices.Clone(links)
	slices.SortStableFunc(links, func(a, b core.LinkView) int {
		return cmp.Compare(b.MessagesIn+b.MessagesOut, a.MessagesIn+a.MessagesOut)
	})
	for _, l := range links[:min(len(links), peersMost)] {
		peer := labels{"peer": l.Name, "id": l.Peer.String()}
		with := func(direction string) labels {
			return labels{"peer": l.Name, "id": l.Peer.String(), "direction": direction}
		}
		up := 0.0
		if l.State == "up" {
			up = 1
		}
		e.gauge("link_up", "1 if probes say that the link works."+perLink, up, peer)
		e.gauge("link_rtt_seconds", "Smoothed round trip."+perLink, l.RTT/1000, peer)
		e.gauge("link_rtt_deviation_seconds", "Mean deviation of round trips."+perLink, l.Deviation/1000, peer)
		e.gauge("link_loss_ratio", "Share of packets lost one way."+perLink, l.Loss, peer)
		if l.Cost > 0 { // it is measured
			e.gauge("link_cost_seconds", "What a message over the link takes, one way, losses included."+perLink, l.Cost/1000, peer)
		}
		e.gauge("link_queue_bytes", "Messages that wait to be written to the link."+perLink, float64(l.Queued), peer)
		e.counter("link_downs_total", "Times that the link went down."+perLink, uint64(max(l.Downs, 0)), peer)
		e.counter("link_bytes_total", "Bytes of frames."+perLink, l.BytesIn, with("in"))
		e.counter("link_bytes_total", "Bytes of frames."+perLink, l.BytesOut, with("out"))
		e.counter("link_messages_total", "Messages."+perLink, l.MessagesIn, with("in"))
		e.counter("link_messages_total", "Messages."+perLink, l.MessagesOut, with("out"))
	}
}

// routeBuckets are upper bounds in ms.
func routeBuckets() []float64 { return []float64{1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500} }

// routes tells how far other nodes are: a distribution over destinations as of now, which does not add up over time.
func (e emitter) routes(routes []core.RouteView) {
	var overlay, direct []float64
	faster, gain := 0, 0.0
	for _, r := range routes {
		overlay = append(overlay, r.Cost)
		if r.Direct <= 0 {
			continue
		}
		direct = append(direct, r.Direct)
		if r.Cost < r.Direct {
			faster++
			gain += r.Direct - r.Cost
		}
	}
	e.spread("route_cost_seconds", "What messages take to each other node, now.", overlay)
	e.spread("route_direct_seconds", "What they would take by the direct link, where there is one, now.", direct)
	e.gauge("routes_faster_than_direct", "Nodes to which the path is faster than the direct link.", float64(faster), nil)
	e.gauge("routes_gain_seconds", "By how much, over all of these.", gain/1000, nil)
}

func (e emitter) spread(name, help string, ms []float64) {
	buckets, sum := map[float64]uint64{}, 0.0
	for _, most := range routeBuckets() {
		buckets[most/1000] = 0
	}
	for _, x := range ms {
		sum += x / 1000
		for _, most := range routeBuckets() {
			if x <= most {
				buckets[most/1000]++
			}
		}
	}
	e.to <- prometheus.MustNewConstHistogram(prometheus.NewDesc("fastpubsub_"+name, help, nil, nil), uint64(len(ms)), sum, buckets)
}

// interest tells of the filters of who wants what.
func (e emitter) interest(v *core.InterestView) {
	e.gauge("interest_patterns", "Patterns that this node has subscribers of.", float64(v.Patterns), nil)
	e.gauge("interest_nodes", "Other nodes whose interest is known.", float64(v.Nodes), nil)
	e.gauge("interest_bytes", "Memory of the filters that say what nodes want.", float64(v.Bytes), nil)
	e.gauge("interest_false_positive_ratio", "Probability that a node is taken to want what it does not, by how full the filters are: the mean over all nodes.", v.FalsePositive, nil)
}

// ages tells how old messages of clients were when they came.
func (e emitter) ages(h *core.Histogram) {
	buckets, count := map[float64]uint64{}, uint64(0)
	for i, n := range h.Counts {
		count += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]/1000] = count
		}
	}
	e.to <- prometheus.MustNewConstHistogram(prometheus.NewDesc("fastpubsub_message_age_seconds",
		"Age of clients' messages as they came from other nodes.", nil, nil), count, h.Sum/1000, buckets)
}

// counted is how a counter of a view is shown.
type counted struct {
	gauge      bool
	name, help string
	labels     labels
	unit       float64 // of the view's counter; 0: 1
}

const (
	messagesHelp = "Messages between nodes, by what became of them: a message counts once for each node that it is for."
	flightHelp   = "Messages kept until acknowledged (in_flight), or until those before them have come (held)."
	flightBytes  = "Bytes of messages kept until acknowledged (in_flight), or until those before them have come (held)."
	swimPackets  = "SWIM packets."
	swimBytes    = "Bytes of SWIM packets."
)

func message(event string) counted {
	return counted{name: "messages_total", help: messagesHelp, labels: labels{"event": event}}
}

// shown is how each counter of a view is shown.
func shown() map[string]counted {
	return map[string]counted{
		"originated":           message("originated"),
		"relayed":              message("relayed"),
		"delivered":            message("delivered"),
		"resent":               message("resent"),
		"reaimed":              message("reaimed"),
		"duplicates":           message("duplicate"),
		"detours":              message("detoured"),
		"twin_copies":          message("doubled"),
		"unwanted":             message("unwanted"),
		"acks":                 {false, "acknowledgements_total", "Acknowledgements that came.", nil, 0},
		"in_flight":            {true, "kept_messages", flightHelp, labels{"why": "in_flight"}, 0},
		"held":                 {true, "kept_messages", flightHelp, labels{"why": "held"}, 0},
		"in_flight_bytes":      {true, "kept_bytes", flightBytes, labels{"why": "in_flight"}, 0},
		"held_bytes":           {true, "kept_bytes", flightBytes, labels{"why": "held"}, 0},
		"handshakes":           {false, "handshakes_total", "Handshakes begun by others.", nil, 0},
		"connections":          {false, "node_connections_total", "Connections of other nodes taken.", nil, 0},
		"strangers":            {false, "strangers_total", "Connections refused since the other end is no node of this mesh.", nil, 0},
		"proofs":               {false, "address_proofs_total", "Callers that had to prove their address first (QUIC Retry).", nil, 0},
		"records":              {true, "records", "Records held: links and interest of nodes.", nil, 0},
		"records_checked":      {false, "record_checks_total", "Signatures of records checked.", nil, 0},
		"route_computations":   {false, "route_computations_total", "Times that routes were computed.", nil, 0},
		"route_computation_ns": {false, "route_computation_seconds_total", "Time of the steps in which routes were computed.", nil, 1e-9},
		"swim_packets_in":      {false, "swim_packets_total", swimPackets, labels{"direction": "in"}, 0},
		"swim_packets_out":     {false, "swim_packets_total", swimPackets, labels{"direction": "out"}, 0},
		"swim_bytes_in":        {false, "swim_bytes_total", swimBytes, labels{"direction": "in"}, 0},
		"swim_bytes_out":       {false, "swim_bytes_total", swimBytes, labels{"direction": "out"}, 0},
		"swim_problems":        {false, "swim_problems_total", "Errors that SWIM logged.", nil, 0},
	}
}

func (e emitter) counters(v *core.View) {
	all := shown()
	for name, value := range v.Counters {
		switch c, known := all[name]; {
		case !known: // a test sees to it that there is none
			e.gauge("unnamed", "What this version has no name for.", float64(value), labels{"counter": name})
		case c.gauge:
			e.gauge(c.name, c.help, float64(value), c.labels)
		default:
			e.send(prometheus.CounterValue, c.name, c.help, float64(value)*cmp.Or(c.unit, 1), c.labels)
		}
	}
	for reason, count := range v.Dropped {
		e.counter("dropped_total", "What came from other nodes, or was for them, and was dropped, by reason.", count, labels{"reason": reason})
	}
}

func (e emitter) clients(s *wsgate.Stats) {
	e.gauge("client_connections", "Connections of clients.", float64(s.Connections), nil)
	e.gauge("client_subscriptions", "Subscriptions of these.", float64(s.Subscriptions), nil)
	e.counter("client_connections_total", "Connections of clients taken.", s.Opened, nil)
	const refused = "Connections of clients refused, by reason."
	e.counter("client_refused_total", refused, s.Refused, labels{"reason": "full"})
	e.counter("client_refused_total", refused, s.AddressOver, labels{"reason": "address"})
	e.counter("client_refused_total", refused, s.Useless, labels{"reason": "useless"})
	const messages, bytes = "Messages from clients (in) and to them (out).", "Bytes from clients (in) and to them (out)."
	e.counter("client_messages_total", messages, s.MessagesIn, labels{"direction": "in"})
	e.counter("client_messages_total", messages, s.MessagesOut, labels{"direction": "out"})
	e.counter("client_bytes_total", bytes, s.BytesIn, labels{"direction": "in"})
	e.counter("client_bytes_total", bytes, s.BytesOut, labels{"direction": "out"})
	e.counter("client_too_fast_total", "Publications refused for their rate.", s.TooFast, nil)
	for reason, count := range map[string]uint64{"slow": s.Drops.Slow, "replaced": s.Drops.Replaced, "too_large": s.Drops.TooLarge, "ended": s.Drops.Ended} {
		e.counter("client_dropped_total", "Deliveries that did not reach a client, by reason.", count, labels{"reason": reason})
	}
	for reason, count := range map[string]uint64{
		"lost": s.Closed.Lost, "protocol": s.Closed.Protocol, "policy": s.Closed.Policy, "rate": s.Closed.Rate, "slow": s.Closed.Slow,
		"stalled": s.Closed.Stalled, "silent": s.Closed.Silent, "revoked": s.Closed.Revoked, "shutdown": s.Closed.Shutdown,
	} {
		e.counter("client_closed_total", "Connections of clients that ended, by reason.", count, labels{"reason": reason})
	}
	for code, count := range s.Errors {
		e.counter("client_errors_total", "Errors told to clients, by code.", count, labels{"code": code})
	}
}
