package mesh

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// View is what a node knows and does, as GET /v1/mesh shows it. Times in ms are one way unless named rtt.
type View struct {
	Node     NodeView          `json:"node"`
	Members  []MemberView      `json:"members"`
	Links    []LinkView        `json:"links"`
	Routes   []RouteView       `json:"routes"`
	Counters map[string]uint64 `json:"counters"`
	Dropped  map[string]uint64 `json:"dropped"`
}

// NodeView describes a node.
type NodeView struct {
	ID     wire.NodeID `json:"id"`
	Name   string      `json:"name"`
	Region string      `json:"region,omitempty"`
	Addr   string      `json:"addr"`
	Client string      `json:"client,omitempty"`
	Lat    *float64    `json:"lat,omitempty"`
	Lon    *float64    `json:"lon,omitempty"`
	Boot   uint64      `json:"boot"`
	Uptime float64     `json:"uptime_s,omitempty"`
}

// MemberView is another node of the mesh.
type MemberView struct {
	NodeView
	State string `json:"state"` // alive; or unreachable: SWIM has given it up but its link works
}

// LinkView is a link of this node.
type LinkView struct {
	Peer        wire.NodeID `json:"peer"`
	Name        string      `json:"name"`
	State       string      `json:"state"` // up or down, as probes say
	RTT         float64     `json:"rtt_ms"`
	Deviation   float64     `json:"deviation_ms"`
	Loss        float64     `json:"loss"`
	Cost        float64     `json:"cost_ms"`                 // as measured now
	Advertised  float64     `json:"advertised_ms,omitempty"` // as told to the mesh
	Downs       int         `json:"downs"`                   // how often it went down
	Dialed      bool        `json:"dialed"`                  // opened by this end
	Twin        bool        `json:"twin,omitempty"`          // doubled, since it loses packets
	Near        bool        `json:"near,omitempty"`          // messages go by TCP, since it is short
	BytesIn     uint64      `json:"bytes_in"`
	BytesOut    uint64      `json:"bytes_out"`
	MessagesIn  uint64      `json:"messages_in"`
	MessagesOut uint64      `json:"messages_out"`
}

// RouteView is how messages go to a node. Costs are one way.
type RouteView struct {
	To            wire.NodeID  `json:"to"`
	Name          string       `json:"name"`
	NextHop       wire.NodeID  `json:"next_hop"`
	NextName      string       `json:"next_name"`
	Cost          float64      `json:"cost_ms"`
	Alternate     *wire.NodeID `json:"alternate,omitempty"`
	AlternateName string       `json:"alternate_name,omitempty"`
	AlternateCost float64      `json:"alternate_ms,omitempty"`
	Direct        float64      `json:"direct_ms,omitempty"` // cost of the direct link, absent without one
	Path          []string     `json:"path"`                // names from this node to the destination, as predicted
}

// View is the node's state now; ok is false once it has stopped.
func (n *Node) View() (v View, ok bool) {
	ok = n.ask(func(c *core) { v = c.view() })
	v.Node = describe(n.meta, n.advertise.String())
	v.Node.Client = *n.client.Load()
	if !ok {
		return v, false
	}
	v.Node.Uptime = time.Since(n.began).Seconds()
	for i := range v.Links {
		if l := n.endpoint.Link(v.Links[i].Peer); l != nil {
			t := l.Traffic()
			link := &v.Links[i]
			link.Dialed, link.Twin, link.Near = l.Dialed(), l.Twin(), l.Near()
			link.BytesIn, link.BytesOut, link.MessagesIn, link.MessagesOut = t.BytesIn, t.BytesOut, t.MessagesIn, t.MessagesOut
		}
	}
	counters := n.endpoint.Counters()
	flights := n.endpoint.Flights()
	stats := n.gossip.Stats()
	v.Dropped = counters.Drops()
	v.Dropped["spread_waits"] = n.spreads.refused.Load()
	v.Dropped["swim_garbage"] = stats.Garbage.Load()
	v.Dropped["swim_queue"] = stats.PacketsDropped.Load()
	v.Dropped["swim_refused"] = stats.Refused.Load()
	v.Dropped["swim_malformed"] = stats.Malformed.Load()
	maps.Copy(v.Counters, map[string]uint64{
		"originated": counters.Originated.Load(), "relayed": counters.Relayed.Load(), "delivered": counters.Delivered.Load(),
		"resent": counters.Resent.Load(), "reaimed": counters.Reaimed.Load(), "duplicates": counters.Duplicates.Load(), "acks": counters.Acks.Load(), "twin_copies": counters.TwinCopies.Load(),
		"in_flight": uint64(flights.Outgoing), "in_flight_bytes": uint64(flights.OutgoingBytes), "held": uint64(flights.Held), "held_bytes": uint64(flights.HeldBytes),
		"handshakes": counters.Handshakes.Load(), "connections": counters.Accepted.Load(),
		"swim_packets_in": stats.PacketsIn.Load(), "swim_packets_out": stats.PacketsOut.Load(),
		"swim_bytes_in": stats.BytesIn.Load(), "swim_bytes_out": stats.BytesOut.Load(), "swim_problems": stats.Problems.Load(),
	})
	return v, ok
}

// Describe is View for GET /v1/mesh.
func (n *Node) Describe() any {
	v, _ := n.View()
	return v
}

func describe(m wire.Meta, addr string) NodeView {
	v := NodeView{ID: m.ID, Name: m.Name, Region: m.Region, Addr: addr, Client: m.Client, Boot: m.Boot}
	if m.Located {
		v.Lat, v.Lon = &m.Lat, &m.Lon
	}
	return v
}

// view is the core's part of View.
func (c *core) view() View {
	v := View{Counters: map[string]uint64{"route_computations": c.computations, "records": uint64(len(c.store.entries))}}
	for _, p := range c.peers {
		if !p.active() {
			continue
		}
		m := MemberView{NodeView: describe(p.meta, p.addrs.addr.String()), State: "alive"}
		if !p.member {
			m.State = "unreachable"
		}
		v.Members = append(v.Members, m)
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, p := range c.peers {
		if p.link != 0 {
			v.Links = append(v.Links, c.linkView(p))
		}
	}
	slices.SortFunc(v.Links, func(a, b LinkView) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Peer, b.Peer)) })
	for to, r := range c.table.All() {
		v.Routes = append(v.Routes, c.routeView(to, r))
	}
	slices.SortFunc(v.Routes, func(a, b RouteView) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.To, b.To)) })
	return v
}

func (c *core) linkView(p *peer) LinkView {
	link := c.prober.Link(p.id)
	stats := link.Stats()
	l := LinkView{
		Peer: p.id, Name: c.name(p.id), State: "down", RTT: ms(stats.SRTT), Deviation: ms(stats.Deviation), Loss: stats.Loss,
		Cost: float64(link.Cost()) / 1000, Downs: p.downs,
	}
	if p.up {
		l.State = "up"
	}
	for _, told := range c.vector {
		if told.To == p.id {
			l.Advertised = float64(told.Cost) / 1000
		}
	}
	return l
}

func (c *core) routeView(to wire.NodeID, r route.Route) RouteView {
	v := RouteView{
		To: to, Name: c.name(to), NextHop: r.NextHop, NextName: c.name(r.NextHop),
		Cost: float64(r.Cost) / 1000, Direct: float64(r.DirectCost) / 1000,
	}
	if r.Alternate != 0 {
		v.Alternate, v.AlternateName, v.AlternateCost = &r.Alternate, c.name(r.Alternate), float64(r.AlternateCost)/1000
	}
	for _, id := range c.table.Path(to) {
		v.Path = append(v.Path, c.name(id))
	}
	return v
}

// name is a node's name, or its ID's first digits.
func (c *core) name(id wire.NodeID) string {
	if p := c.peers[id]; p != nil && p.meta.Name != "" {
		return p.meta.Name
	}
	if id == c.self {
		return c.meta.Name
	}
	return id.Short()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
