package core

import (
	"cmp"
	"math"
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
	Interest InterestView      `json:"interest"`
	Strain   float64           `json:"strain"` // how many times less links are probed than they should be, since the node has too little processor time: 1 to 8
	Ages     Histogram         `json:"ages"`   // of clients' messages that came from other nodes, as they came: since they were published

	Faults      map[wire.NodeID]map[string]uint64 `json:"faults,omitempty"` // what other nodes did wrong
	FaultTotals map[string]uint64                 `json:"fault_totals"`     // by all of them since the start, what never happened too
}

// InterestView is what is known of who wants which channels.
type InterestView struct {
	Patterns      int     `json:"patterns"`       // that this node has subscribers of
	Nodes         int     `json:"nodes"`          // others whose interest is known
	Bytes         int     `json:"bytes"`          // that it takes
	FalsePositive float64 `json:"false_positive"` // probability that a node is taken to want what it does not: the mean over all, by how full their filters are
}

// Histogram counts what is no more than each bound, and more than the one before; the last count is what is more than all.
type Histogram struct {
	Bounds []float64 `json:"bounds_ms"`
	Counts []uint64  `json:"counts"`
	Sum    float64   `json:"sum_ms"`
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

	// Authority issued the node's certificate, as that of one mesh secret or another; empty in an open mesh, and for other nodes.
	Authority string `json:"authority,omitempty"`
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
	Cost        float64     `json:"cost_ms"`                 // as measured now; 0: not yet
	Advertised  float64     `json:"advertised_ms,omitempty"` // as told to the mesh, if it was measured by then
	Downs       int         `json:"downs"`                   // how often it went down
	Dialed      bool        `json:"dialed"`                  // opened by this end
	Twin        bool        `json:"twin,omitempty"`          // doubled, since it loses packets
	Near        bool        `json:"near,omitempty"`          // messages go by TCP, since it is short
	Queued      int         `json:"queued_bytes"`            // of messages that wait to be written
	BytesIn     uint64      `json:"bytes_in"`
	BytesOut    uint64      `json:"bytes_out"`
	MessagesIn  uint64      `json:"messages_in"`
	MessagesOut uint64      `json:"messages_out"`
	Authority   string      `json:"authority,omitempty"` // that issued the certificate of the peer
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

// Describe is a node as View shows it.
func Describe(m wire.Meta, addr string) NodeView {
	v := NodeView{ID: m.ID, Name: m.Name, Region: m.Region, Addr: addr, Client: m.Client, Boot: m.Boot}
	if m.Located {
		v.Lat, v.Lon = &m.Lat, &m.Lon
	}
	return v
}

// View is the core's part of View.
func (c *Core) View() View {
	v := View{
		Counters: map[string]uint64{"route_computations": c.computations, "records": uint64(len(c.store.entries))},
		Strain:   c.Strain(),
		Interest: InterestView{c.local.Len(), c.index.Len(), c.index.Bytes(), c.index.FalsePositiveRate()},
	}
	for _, p := range c.peers {
		if !p.active() {
			continue
		}
		m := MemberView{NodeView: Describe(p.meta, p.addrs.Addr.String()), State: "alive"}
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

func (c *Core) linkView(p *peer) LinkView {
	link := c.prober.Link(p.id)
	stats := link.Stats()
	l := LinkView{
		Peer: p.id, Name: c.name(p.id), State: "down", RTT: ms(stats.SRTT), Deviation: ms(stats.Deviation), Loss: stats.Loss,
		Cost: costMS(link.Cost()), Downs: p.downs,
	}
	if p.up {
		l.State = "up"
	}
	for _, told := range c.vector {
		if told.To == p.id {
			l.Advertised = costMS(told.Cost)
		}
	}
	return l
}

// costMS is a link's cost for people: none while nothing is measured, where routes count the greatest number so as to take any other way.
func costMS(cost uint32) float64 {
	if cost == math.MaxUint32 {
		return 0
	}
	return float64(cost) / 1000
}

func (c *Core) routeView(to wire.NodeID, r route.Route) RouteView {
	v := RouteView{
		To: to, Name: c.name(to), NextHop: r.NextHop, NextName: c.name(r.NextHop),
		Cost: float64(r.Cost) / 1000, Direct: costMS(r.DirectCost),
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
func (c *Core) name(id wire.NodeID) string {
	if p := c.peers[id]; p != nil && p.meta.Name != "" {
		return p.meta.Name
	}
	if id == c.self {
		return c.meta.Name
	}
	return id.Short()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
