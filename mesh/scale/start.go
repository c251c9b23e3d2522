package scale

import "time"

// StartKnown starts the first so many nodes within a time, each knowing all others as members, as after a long time.
func (w *World) StartKnown(count int, within time.Duration) {
	started := 0
	for _, n := range w.nodes[:count] {
		w.After(w.upTo(within), func() {
			n.begin()
			if started++; started == count {
				w.acquaint(w.nodes[:count])
			}
		})
	}
}

// acquaint has every node take every other for a member.
func (w *World) acquaint(nodes []*node) {
	for _, n := range nodes {
		for _, other := range nodes {
			n.swim.learn(other)
		}
		n.swim.start(nil)
	}
}

// learn takes a node for a member without telling anybody.
func (m *members) learn(other *node) {
	if other == m.n {
		return
	}
	m.hear(news{run: int32(other.run), belief: belief{aliveNow, 0}})
	m.queue = newsQueue{}
}

// Start starts a node that joins through others.
func (w *World) Start(i int, seeds ...int) {
	w.nodes[i].begin()
	w.nodes[i].swim.start(seeds)
}

// Crash ends a node's run without a word.
func (w *World) Crash(i int) {
	if w.nodes[i].alive {
		w.nodes[i].crash()
	}
}

// Alive reports whether a node runs.
func (w *World) Alive(i int) bool { return w.nodes[i].alive }
