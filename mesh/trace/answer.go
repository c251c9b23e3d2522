package trace

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Answer is what came of a Request. Times in ms are one way.
type Answer struct {
	Node     Node      `json:"node"`     // that traced
	Messages []Message `json:"messages"` // that were traced
}

// Node names a node.
type Node struct {
	ID   wire.NodeID `json:"id"`
	Name string      `json:"name"`
}

// Message is one message that was traced.
type Message struct {
	Trace   string    `json:"trace"` // 16 hexadecimal digits
	At      time.Time `json:"at"`    // when it began, by the clock of the node that traced
	Tenant  string    `json:"tenant,omitempty"`
	Channel string    `json:"channel,omitempty"`
	Sampled bool      `json:"sampled"` // a client published it
	Local   bool      `json:"local"`   // the channel has subscribers at the node that traced, which is no path
	Paths   []Path    `json:"paths"`   // one for each destination
}

// Path is the way of a message to one destination.
type Path struct {
	To         Node     `json:"to"`
	Arrived    bool     `json:"arrived"`
	Complete   bool     `json:"complete"`                 // every node on the way has told of the message
	Missing    []Node   `json:"missing,omitempty"`        // nodes on the way that have not, or not in time
	Took       *float64 `json:"took_ms,omitempty"`        // until it arrived
	Direct     *float64 `json:"direct_ms,omitempty"`      // half of the round trip of the direct link at the time; absent: there is none
	DirectCost *float64 `json:"direct_cost_ms,omitempty"` // what routes count for the direct link, with loss and the work of a hop
	Saved      *float64 `json:"saved_ms,omitempty"`       // what direct takes more than the way over relays took
	Hops       []Hop    `json:"hops"`                     // every node on the way, the one that traced first
}

// Hop is a node on the way of a message.
type Hop struct {
	Node
	Told   bool    `json:"told"`    // it has told of the message; else nothing more is known
	At     float64 `json:"at_ms"`   // when the message came there
	Link   float64 `json:"link_ms"` // what the link to it takes
	Held   float64 `json:"held_ms"` // until it had left
	Queued float64 `json:"queued_ms"`
	End    string  `json:"end,omitempty"` // sent, delivered, no_route, queue_full, hop_limit, expired
	Ways   []Way   `json:"ways,omitempty"`
}

// Way is a next hop that the node had, and why it did not take it.
type Way struct {
	Hop     Node    `json:"hop"`
	Cost    float64 `json:"cost_ms,omitempty"` // to the destination by way of it, as routes count
	Verdict string  `json:"verdict"`           // taken, dearer, no_link, passed, avoided
	Why     string  `json:"why"`               // for people
}

// Directs is the half of the round trip of the direct links that there were when a message began.
type Directs map[wire.NodeID]time.Duration

// Paths are the ways of the message to all destinations known, named.
func (c *Collection) Paths(directs Directs, name func(wire.NodeID) string) []Path {
	paths := make([]Path, 0, len(c.to))
	for _, to := range c.to {
		w := c.way(to)
		paths = append(paths, w.path(to, directs, name))
	}
	slices.SortStableFunc(paths, func(a, b Path) int {
		if a.To.Name != b.To.Name {
			if a.To.Name < b.To.Name {
				return -1
			}
			return 1
		}
		return 0
	})
	return paths
}

func (w *way) path(to wire.NodeID, directs Directs, name func(wire.NodeID) string) Path {
	p := Path{To: Node{to, name(to)}, Arrived: w.arrived, Complete: w.complete()}
	known, at := true, 0.0 // when the message left the node before, if that has told
	for i, id := range w.nodes {
		h := w.hops[i]
		node := Node{id, name(id)}
		if h == nil {
			p.Missing = append(p.Missing, node)
			p.Hops = append(p.Hops, Hop{Node: node})
			known = false
			continue
		}
		hop := Hop{Node: node, Told: true, Link: millis(h.Link), Held: millis(h.Held), Queued: millis(h.Queued), End: h.End.String()}
		hop.At = round(at + hop.Link)
		if i == 0 || !known {
			hop.At = millis(h.Age)
		}
		hop.Ways = ways(choiceOf(h, to), to, name)
		p.Hops = append(p.Hops, hop)
		known, at = true, hop.At+hop.Held
	}
	if w.arrived {
		took := p.Hops[len(p.Hops)-1].At
		p.Took = &took
	}
	p.compare(to, w.hops[0], directs)
	return p
}

// compare fills in what direct would have been.
func (p *Path) compare(to wire.NodeID, first *wire.Hop, directs Directs) {
	for _, c := range choiceOf(first, to).Candidates {
		if c.Hop == to && c.Cost > 0 {
			cost := millis(c.Cost)
			p.DirectCost = &cost
		}
	}
	half, ok := directs[to]
	if !ok {
		return
	}
	direct := round(float64(half) / float64(time.Millisecond))
	p.Direct = &direct
	if p.Took != nil && len(p.Hops) > 2 {
		saved := round(direct - *p.Took)
		p.Saved = &saved
	}
}

// ways are the candidates of a choice, the one taken first, the others by cost.
func ways(c wire.Choice, to wire.NodeID, name func(wire.NodeID) string) []Way {
	taken := uint32(0)
	for _, n := range c.Candidates {
		if n.Verdict == wire.VerdictTaken {
			taken = n.Cost
		}
	}
	sorted := slices.Clone(c.Candidates)
	slices.SortStableFunc(sorted, func(a, b wire.Candidate) int {
		if (a.Verdict == wire.VerdictTaken) != (b.Verdict == wire.VerdictTaken) {
			return int(min(a.Verdict, 1)) - int(min(b.Verdict, 1))
		}
		return int(int64(a.Cost) - int64(b.Cost))
	})
	var out []Way
	for _, n := range sorted {
		out = append(out, Way{Hop: Node{n.Hop, name(n.Hop)}, Cost: millis(n.Cost), Verdict: n.Verdict.String(), Why: why(n, taken, n.Hop == to)})
	}
	return out
}

// why is a verdict in words.
func why(n wire.Candidate, taken uint32, direct bool) string {
	switch n.Verdict {
	case wire.VerdictTaken:
		return "taken"
	case wire.VerdictDearer:
		if n.Cost == 0 || taken == 0 {
			return "costs more"
		}
		return fmt.Sprintf("costs %.1f ms more", millis(n.Cost)-millis(taken))
	case wire.VerdictNoLink:
		if direct {
			return "no direct link that works"
		}
		return "the link to it is down"
	case wire.VerdictPassed:
		return "the message came from there"
	case wire.VerdictAvoided:
		return "suspected: messages were not acknowledged over that way"
	default:
		return n.Verdict.String()
	}
}

// millis is µs in ms.
func millis(us uint32) float64 { return float64(us) / 1000 }

// round rounds to the microsecond.
func round(ms float64) float64 { return math.Round(ms*1000) / 1000 }
