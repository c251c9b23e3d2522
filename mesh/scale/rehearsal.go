package scale

import (
	"fmt"
	"time"
)

// Rehearsal is what a mesh is put through that can be had for real as well, so that the model can be held against real nodes.
type Rehearsal struct {
	Nodes, Subscriptions, Cuts, Joins int

	Every  time.Duration // between the starts of two nodes, all through the first
	Settle time.Duration // once all have routes to all
	Rest   time.Duration // in which traffic is counted
	Delay  Delay
	Seed   uint64

	FullMesh int // up to how many nodes all are linked; 0: as nodes do
}

// Figures are what came of it.
type Figures struct {
	Formed time.Duration   // until every node of a mesh that joins through one has a route to every other
	Idle   float64         // bytes per second and node on the wire, when all is at rest
	SWIM   float64         // of these, SWIM's packets
	Spread []time.Duration // until a node knows that all know of its new interest
	Cut    []time.Duration // until no node's route takes a link that was cut
	Joined []time.Duration // until a new node and all others have routes to each other
}

const (
	rehearsalPoll  = 20 * time.Millisecond
	rehearsalPause = time.Second // between two changes
)

// CutOf is the link that the k-th cut cuts.
func (r *Rehearsal) CutOf(k int) (a, b int) { return k % (r.Nodes / 2), r.Nodes - 1 - k%(r.Nodes/2) }

// Run plays it in the model.
func (r *Rehearsal) Run() (f Figures) {
	w := New(Config{Nodes: r.Nodes + r.Joins, Seed: r.Seed, Delay: r.Delay, Jitter: 0.01, FullMesh: r.FullMesh})
	until := func(holds func() bool) time.Duration {
		began := w.Now()
		for !holds() && w.Now()-began < time.Minute {
			w.Run(rehearsalPoll)
		}
		return w.Now() - began
	}
	for i := range r.Nodes {
		if i == 0 {
			w.Start(i)
		} else {
			w.Start(i, 0)
		}
		w.Run(r.Every)
	}
	f.Formed = time.Duration(r.Nodes)*r.Every + until(func() bool { return w.Routed(r.Nodes) })
	w.Run(r.Settle)
	before, _ := w.Cost()
	w.Run(r.Rest)
	after, _ := w.Cost()
	d := after.Minus(before)
	per := 1 / r.Rest.Seconds() / float64(r.Nodes)
	f.Idle, f.SWIM = float64(d.Total())*per, float64(d.Bytes[SWIM])*per
	for k := range r.Subscriptions {
		var took time.Duration
		at := w.Now()
		w.Subscribe(k, fmt.Sprint("s.", k), true)
		w.AfterSpread(k, func() { took = w.Now() - at })
		until(func() bool { return took > 0 })
		f.Spread = append(f.Spread, took)
		w.Run(rehearsalPause)
	}
	for k := range r.Cuts {
		a, b := r.CutOf(k)
		w.Cut(a, b)
		f.Cut = append(f.Cut, until(func() bool { return !w.Uses(a, b) }))
		w.Run(rehearsalPause)
	}
	for k := range r.Joins {
		w.Start(r.Nodes+k, 0)
		f.Joined = append(f.Joined, until(func() bool { return w.Routed(r.Nodes + k + 1) }))
		w.Run(rehearsalPause)
	}
	return f
}
