package scale

import "time"

// pair is two nodes, the smaller number first.
type pair struct{ a, b int }

func pairOf(i, j int) pair { return pair{min(i, j), max(i, j)} }

// faults are what is wrong with the network.
type faults struct {
	delays map[pair]time.Duration // added, one way
	cuts   map[pair]bool
	island []bool // nodes cut off from all others together; nil: none
}

// delay is the one-way delay of the path between two nodes as it is now.
func (w *World) delay(from, to int) time.Duration {
	d := w.cfg.Delay(from, to)
	if len(w.faults.delays) > 0 {
		d += w.faults.delays[pairOf(from, to)]
	}
	return d
}

// cut reports whether nothing passes directly between two nodes.
func (w *World) cut(i, j int) bool {
	f := &w.faults
	return f.island != nil && f.island[i] != f.island[j] || len(f.cuts) > 0 && f.cuts[pairOf(i, j)]
}

// Slow adds to the delay of the path between two nodes, each way; 0 heals it.
func (w *World) Slow(i, j int, by time.Duration) {
	if by == 0 {
		delete(w.faults.delays, pairOf(i, j))
	} else {
		w.faults.delays[pairOf(i, j)] = by
	}
}

// Cut ends all that passes directly between two nodes. A connection that it outlasts ends.
func (w *World) Cut(i, j int) {
	w.faults.cuts[pairOf(i, j)] = true
	w.After(idleOut, func() {
		if w.cut(i, j) {
			w.nodes[i].closeTo(j)
			w.nodes[j].closeTo(i)
		}
	})
}

// Heal ends a Cut.
func (w *World) Heal(i, j int) {
	delete(w.faults.cuts, pairOf(i, j))
	if l := w.nodes[i].links[j]; l != nil {
		l.release()
	}
}

// Isolate cuts these nodes off from all others, though not from one another; none heals that.
func (w *World) Isolate(nodes []int) {
	if len(nodes) == 0 {
		w.faults.island = nil
		for _, n := range w.nodes {
			for _, l := range n.sorted {
				l.release()
			}
		}
		return
	}
	w.faults.island = make([]bool, len(w.nodes))
	for _, i := range nodes {
		w.faults.island[i] = true
	}
	w.After(idleOut, func() {
		for _, n := range w.nodes {
			for _, l := range append([]*link(nil), n.sorted...) {
				if j := l.peerOf(n); w.cut(n.i, j) {
					n.closeTo(j)
				}
			}
		}
	})
}
