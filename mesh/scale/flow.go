package scale

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
)

const (
	flowTick = 250 * time.Millisecond // flows are looked at so often; between, they run on steadily
	flowTell = time.Second            // between two words to the core about where messages go
	flowRate = 20                     // messages a second of a flow: as many as acknowledge them, so that links are heard all the time
)

// flows are the nodes that each node sends to, steadily.
type flows struct{ to [][]int }

// Send has a node send messages to others from now on, flowRate a second to each, which are acknowledged.
func (w *World) Send(from int, to ...int) {
	if w.flows.to == nil {
		w.flows.to = make([][]int, len(w.nodes))
		w.After(flowTick, w.flow)
		w.After(flowTell, w.tellFlows)
	}
	w.flows.to[from] = append(w.flows.to[from], to...)
}

// flow keeps the links busy that flows go over, there and back.
func (w *World) flow() {
	w.After(flowTick, w.flow)
	for from, dests := range w.flows.to {
		for _, to := range dests {
			if w.nodes[from].alive && w.nodes[to].alive {
				w.occupy(w.path(from, to))
				w.occupy(w.path(to, from))
			}
		}
	}
}

func (w *World) occupy(path []int) {
	until := w.now + flowTick
	for k := 1; k < len(path); k++ {
		from, to := w.nodes[path[k-1]], w.nodes[path[k]]
		l := from.links[to.i]
		end := l.end(from)
		if l.used[end] < w.now-time.Second {
			from.post(core.Activity{Peer: to.id, Link: l.number[end], Heard: w.time(), Used: w.time()}) // it was woken
		}
		l.used[end], l.used[1-end] = until, until
		l.busy[1-end] = until
	}
}

// tellFlows tells cores where their messages have gone.
func (w *World) tellFlows() {
	w.After(flowTell, w.tellFlows)
	came := make([][]core.Flow, len(w.nodes))
	for from, dests := range w.flows.to {
		for _, to := range dests {
			if w.nodes[from].alive {
				came[to] = append(came[to], core.Flow{Peer: w.nodes[from].id, Messages: flowRate})
			}
		}
	}
	for from, dests := range w.flows.to {
		if n := w.nodes[from]; n.alive && n.core.Sparse() && len(dests)+len(came[from]) > 0 {
			t := core.Traffic{Came: came[from]}
			for _, to := range dests {
				t.Sent = append(t.Sent, core.Flow{Peer: w.nodes[to].id, Messages: flowRate})
			}
			n.post(t)
		}
	}
}
