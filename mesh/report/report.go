package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Tenant is the one whose channels carry reports.
const Tenant = channel.DefaultTenant

// Channel is where a node's reports go.
func Channel(id wire.NodeID) string { return channel.MeshPrefix + id.String() }

// Report is what a node says of itself. Rates are per second since its report before.
type Report struct {
	Node    core.NodeView      `json:"node"`
	Every   float64            `json:"every_s"` // until the next one, if nothing happens
	Members int                `json:"members"` // nodes in the mesh as this one sees it, itself included
	Links   []Link             `json:"links"`
	Cut     int                `json:"cut,omitempty"` // links left out
	Routes  int                `json:"routes"`        // nodes that it has a route to
	Rates   Rates              `json:"rates"`
	Drops   map[string]float64 `json:"drops,omitempty"` // messages a second, by reason; those above zero
	Events  []Event            `json:"events,omitempty"`
	Missed  int                `json:"missed,omitempty"` // events left out
}

// Link is one end of a link.
type Link struct {
	To   wire.NodeID `json:"to"`
	Up   bool        `json:"up"`
	RTT  float64     `json:"rtt_ms"`
	Loss float64     `json:"loss,omitempty"`    // share of packets, one way
	Cost float64     `json:"cost_ms,omitempty"` // as told to the mesh, which routes by the higher of both ends'; 0: not told, or not measured yet; nobody routes over it who has another way
	Out  float64     `json:"out,omitempty"`     // messages a second
	In   float64     `json:"in,omitempty"`
	Sent float64     `json:"sent,omitempty"` // bytes a second
}

// Rates are what a node does, per second.
type Rates struct {
	Published   float64 `json:"published"` // by its clients, for other nodes
	Relayed     float64 `json:"relayed"`
	Arrived     float64 `json:"arrived"`   // from other nodes, for its clients
	Delivered   float64 `json:"delivered"` // to its clients
	Resent      float64 `json:"resent"`
	Connections int64   `json:"connections"`   // open now
	CPU         float64 `json:"cpu,omitempty"` // seconds of processor time of the node's process a second; 0: not known
}

// Kind is what happened.
type Kind string

// What is told of.
const (
	LinkUp   Kind = "link-up"
	LinkDown Kind = "link-down"
	Joined   Kind = "joined"
	Left     Kind = "left"
	Rerouted Kind = "rerouted"
)

// Event is something that the node saw happen.
type Event struct {
	Kind Kind        `json:"kind"`
	Node wire.NodeID `json:"node"` // the peer of the link, the node that joined or left, or the destination of the route
	Name string      `json:"name"`
	Path []string    `json:"path,omitempty"` // of a route: names, the node itself first; none where no route is left
	Was  []string    `json:"was,omitempty"`
	Cost float64     `json:"cost_ms,omitempty"`
	Prev float64     `json:"was_ms,omitempty"`
}

const (
	eventsMost  = 40
	reportsMost = 12 // a second, from all nodes together
	firstMost   = 64 // until each has told what it sees: who begins to read wants to see all soon
	lookEvery   = 250 * time.Millisecond
	everyLeast  = time.Second
)

// Every is the time between two reports of a node in a mesh of so many.
func Every(members int) time.Duration { return shared(members, reportsMost) }

// shared is the time between two reports of a node where so many come from all a second.
func shared(members, most int) time.Duration {
	return max(everyLeast, time.Duration(members)*time.Second/time.Duration(most))
}

// state is what a report is made from.
type state struct {
	at          time.Time
	view        core.View
	connections int64
	delivered   uint64
	cpu         time.Duration
}

// events are the differences between two views of one node, first what happened to links and nodes.
func events(before, now *core.View) (all []Event) {
	ups := map[wire.NodeID]bool{}
	for _, l := range before.Links {
		ups[l.Peer] = l.State == "up"
	}
	for _, l := range now.Links {
		if up := l.State == "up"; up != ups[l.Peer] {
			kind := LinkDown
			if up {
				kind = LinkUp
			}
			all = append(all, Event{Kind: kind, Node: l.Peer, Name: l.Name})
		}
		delete(ups, l.Peer)
	}
	for _, l := range before.Links { // in their order
		if ups[l.Peer] {
			all = append(all, Event{Kind: LinkDown, Node: l.Peer, Name: l.Name})
		}
	}
	members := map[wire.NodeID]bool{}
	for _, m := range before.Members {
		members[m.ID] = true
	}
	for _, m := range now.Members {
		if !members[m.ID] {
			all = append(all, Event{Kind: Joined, Node: m.ID, Name: m.Name})
		}
		delete(members, m.ID)
	}
	for _, m := range before.Members {
		if members[m.ID] {
			all = append(all, Event{Kind: Left, Node: m.ID, Name: m.Name})
		}
	}
	return append(all, reroutes(before, now)...)
}

// reroutes are the routes that changed.
func reroutes(before, now *core.View) (all []Event) {
	old := map[wire.NodeID]*core.RouteView{}
	for i := range before.Routes {
		old[before.Routes[i].To] = &before.Routes[i]
	}
	for _, r := range now.Routes {
		was, known := old[r.To]
		delete(old, r.To)
		if known && !slices.Equal(was.Path, r.Path) {
			all = append(all, Event{Kind: Rerouted, Node: r.To, Name: r.Name, Path: r.Path, Cost: r.Cost, Was: was.Path, Prev: was.Cost})
		}
	}
	for _, r := range before.Routes {
		if old[r.To] != nil {
			all = append(all, Event{Kind: Rerouted, Node: r.To, Name: r.Name, Was: r.Path, Prev: r.Cost})
		}
	}
	return all
}

// compose makes the report of what happened between two states.
func compose(before, now *state, happened []Event) Report {
	v := &now.view
	r := Report{Node: v.Node, Every: Every(len(v.Members) + 1).Seconds(), Members: len(v.Members) + 1, Routes: len(v.Routes), Drops: map[string]float64{}}
	rate := rater(now.at.Sub(before.at))
	old := map[wire.NodeID]*core.LinkView{}
	for i := range before.view.Links {
		old[before.view.Links[i].Peer] = &before.view.Links[i]
	}
	for _, l := range v.Links {
		was := old[l.Peer]
		if was == nil {
			was = &core.LinkView{}
		}
		r.Links = append(r.Links, Link{
			To: l.Peer, Up: l.State == "up", RTT: round(l.RTT), Loss: round(l.Loss), Cost: round(l.Advertised),
			Out: rate(was.MessagesOut, l.MessagesOut), In: rate(was.MessagesIn, l.MessagesIn), Sent: rate(was.BytesOut, l.BytesOut),
		})
	}
	count := func(name string) float64 { return rate(before.view.Counters[name], v.Counters[name]) }
	r.Rates = Rates{
		Published: count("originated"), Relayed: count("relayed"), Arrived: count("delivered"), Resent: count("resent"),
		Delivered: rate(before.delivered, now.delivered), Connections: now.connections,
		CPU: round(max(0, (now.cpu-before.cpu).Seconds()) / max(now.at.Sub(before.at).Seconds(), 0.001)),
	}
	for reason, n := range v.Dropped {
		if some := rate(before.view.Dropped[reason], n); some > 0 {
			r.Drops[reason] = some
		}
	}
	r.Missed = max(0, len(happened)-eventsMost)
	r.Events = happened[:len(happened)-r.Missed]
	return r
}

// rater turns two readings of a counter into a rate. One that fell belongs to another link.
func rater(span time.Duration) func(before, now uint64) float64 {
	return func(before, now uint64) float64 {
		if now < before {
			before = 0
		}
		return round(float64(now-before) / max(span.Seconds(), 0.001))
	}
}

// round keeps reports short.
func round(x float64) float64 {
	const parts = 10_000
	return float64(int64(x*parts+0.5)) / parts
}

// encode is the report as a message, with as many links as that holds.
func (r *Report) encode() []byte {
	links := slices.Clone(r.Links)
	slices.SortStableFunc(links, func(a, b Link) int { return cmp.Compare(b.Out+b.In, a.Out+a.In) })
	for {
		b, err := json.Marshal(r)
		if err != nil {
			panic("report: " + err.Error()) // no part of it can fail
		}
		if len(b) <= wire.MaxPayload || len(links) == 0 && len(r.Events) == 0 {
			return b
		}
		if len(links) == 0 {
			r.Missed += len(r.Events)
			r.Events = nil
			continue
		}
		kept := len(links) * min(wire.MaxPayload*9/10, len(b)-1) / len(b)
		r.Cut += len(links) - kept
		links = links[:kept]
		r.Links = links
	}
}
