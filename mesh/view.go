package mesh

import (
	"maps"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
)

// View is what a node knows and does, as GET /v1/mesh shows it.
type View = core.View

// NodeView describes a node in a View.
type NodeView = core.NodeView

// View is the node's state now; ok is false once it has stopped.
func (n *Node) View() (v View, ok bool) {
	ok = n.ask(func(c *core.Core) { v = c.View() })
	v.Node = core.Describe(n.meta, n.advertise.String())
	v.Node.Client, v.Node.Authority = *n.client.Load(), n.trust.Current().Authority()
	if !ok {
		return v, false
	}
	v.Node.Uptime = time.Since(n.began).Seconds()
	for i := range v.Links {
		if l := n.endpoint.Link(v.Links[i].Peer); l != nil {
			t := l.Traffic()
			link := &v.Links[i]
			link.Dialed, link.Twin, link.Near, link.Authority, link.Queued = l.Dialed(), l.Twin(), l.Near(), l.Authority(), l.Queued()
			link.BytesIn, link.BytesOut, link.MessagesIn, link.MessagesOut = t.BytesIn, t.BytesOut, t.MessagesIn, t.MessagesOut
		}
	}
	counters := n.endpoint.Counters()
	flights := n.endpoint.Flights()
	stats := n.gossip.Stats()
	v.Dropped = counters.Drops()
	v.Faults, v.FaultTotals = n.endpoint.Faults(), n.endpoint.FaultTotals()
	v.Ages = n.ages.view()
	v.Dropped["spread_waits"] = n.spreads.refused.Load()
	v.Dropped["swim_garbage"] = stats.Garbage.Load()
	v.Dropped["swim_unsealed"] = stats.Unsealed.Load()
	v.Dropped["swim_queue"] = stats.PacketsDropped.Load()
	v.Dropped["swim_refused"] = stats.Refused.Load()
	v.Dropped["swim_forged"] = stats.Forged.Load()
	v.Dropped["swim_unchecked"] = stats.Unchecked.Load()
	v.Dropped["swim_crowded"] = stats.Crowded.Load()
	v.Dropped["swim_malformed"] = stats.Malformed.Load()
	maps.Copy(v.Counters, map[string]uint64{
		"originated": counters.Originated.Load(), "relayed": counters.Relayed.Load(), "delivered": counters.Delivered.Load(),
		"resent": counters.Resent.Load(), "reaimed": counters.Reaimed.Load(), "duplicates": counters.Duplicates.Load(), "acks": counters.Acks.Load(), "detours": counters.Detours.Load(), "twin_copies": counters.TwinCopies.Load(),
		"in_flight": uint64(flights.Outgoing), "in_flight_bytes": uint64(flights.OutgoingBytes), "held": uint64(flights.Held), "held_bytes": uint64(flights.HeldBytes),
		"handshakes": counters.Handshakes.Load(), "connections": counters.Accepted.Load(), "strangers": counters.Strangers.Load(), "proofs": counters.Proofs.Load(), "records_checked": n.checked.Load(),
		"unwanted": n.unwanted.Load(), "route_computation_ns": n.computing.Load(),
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
