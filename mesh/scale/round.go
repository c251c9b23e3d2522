package scale

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/core"
)

// never is when a node is stepped that has no need of it.
const never = time.Duration(math.MaxInt64)

// round is the nodes that are to be stepped at one time. What each of them does follows from what it knew before, so they may do it at the same time;
// what comes of it is carried out one after another, in the order in which they were planned.
type round struct {
	steps []*step
}

// step is one round of a node's loop.
type step struct {
	*node
	run     int // of the node; it is void in another
	batch   []core.Event
	effects []core.Effect
	next    time.Duration
	took    time.Duration
}

// wake has the node stepped then, unless it is before.
func (n *node) wake(at time.Duration) {
	at = (at + gather - 1) / gather * gather
	if at >= n.wakeAt {
		return
	}
	n.wakeAt = at
	r := n.rounds[at]
	if r == nil {
		r = new(round)
		n.rounds[at] = r
		n.After(at-n.now, func() { n.step(r) })
	}
	r.steps = append(r.steps, &step{node: n, run: n.run})
}

// step takes the nodes of a round through their loops.
func (w *World) step(r *round) {
	delete(w.rounds, w.now)
	due := r.steps[:0]
	for _, s := range r.steps {
		if s.node.run == s.run && s.wakeAt == w.now {
			s.wakeAt = never
			s.batch, s.inbox = s.inbox, nil
			due = append(due, s)
		}
	}
	w.together(len(due), func(i int) { due[i].take() })
	for _, s := range due {
		s.finish()
	}
}

// together calls f with all numbers below n, by as many goroutines as are to work, and returns when all is done.
func (w *World) together(n int, f func(int)) {
	var next atomic.Int64
	work := func() {
		runtime.LockOSThread() // whose time may be measured
		defer runtime.UnlockOSThread()
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var others sync.WaitGroup
	for range min(w.cfg.Workers, n) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// take steps the core. It touches nothing but its own node.
func (s *step) take() {
	if len(s.batch) == 0 || s.now >= s.due { // a stream of events must not put it off
		s.polled = s.now
		for _, l := range s.sorted {
			s.batch = append(s.batch, l.activity(s.node))
		}
		s.batch = append(s.batch, core.Polled{})
	}
	now := s.time()
	began := s.clock()
	s.effects = s.core.Step(now, s.batch)
	s.next = s.core.Next(now).Sub(epoch())
	s.took = s.clock() - began
}

// finish carries out what came of it.
func (s *step) finish() {
	n := s.node
	n.steps++
	n.cost.Steps++
	n.cost.CPU += s.took
	n.cost.Longest = max(n.cost.Longest, s.took)
	if n.spins++; len(s.effects) > 0 || s.next > n.now {
		n.spins = 0
	} else if n.spins > 1000 {
		panic(fmt.Sprintf("scale: node %d asks at %v to be stepped at once, again and again", n.i, n.now))
	}
	n.due = max(s.next, n.polled+minNap)
	n.wake(max(n.due, n.now))
	for _, e := range s.effects {
		n.carryOut(e)
	}
	n.observe()
}
