package scale

import (
	"maps"
	"slices"
	"time"
)

// Times of package gossip's joiner.
const (
	joinTick     = 250 * time.Millisecond
	retryFirst   = time.Second
	retrySlowing = 120
	retryMost    = time.Minute
	rejoinFirst  = time.Second
	rejoinMost   = 30 * time.Second
	joinsAtOnce  = 4
	metKept      = 10 * time.Second
)

// joins is who is to be joined: seeds and members that died, until they are members again.
type joins struct {
	seeds   []int
	missing map[int]bool // nodes
	targets map[int]*target
	busy    int
	ticking bool
}

type target struct {
	since, next, again time.Duration
	busy               bool
}

func newJoins() joins { return joins{missing: map[int]bool{}, targets: map[int]*target{}} }

// found says that a node is a member.
func (j *joins) found(node int) {
	delete(j.missing, node)
	if t := j.targets[node]; t != nil && !t.busy {
		delete(j.targets, node)
	}
}

// miss says that a run has died. It is no longer missed if a later run of the node is a member.
func (j *joins) miss(m *members, of run) {
	if m.has(of.node) {
		return
	}
	j.missing[of.node] = true
	j.try(m)
}

// meet says that a node which is no member has a working link.
func (m *members) meet(node int) {
	j := &m.joins
	if j.missing[node] || m.has(node) {
		return
	}
	j.missing[node] = true
	m.n.later(metKept, func() {
		if !slices.Contains(j.seeds, node) {
			delete(j.missing, node)
		}
	})
	j.try(m)
}

// try starts the joins that are due, and again after a tick while somebody is missing.
func (j *joins) try(m *members) {
	if j.ticking {
		return
	}
	j.ticking = true
	j.tick(m)
}

func (j *joins) tick(m *members) {
	n := m.n
	wanted := slices.Sorted(maps.Keys(j.missing))
	for _, s := range j.seeds {
		if s != n.i && !m.has(s) && !j.missing[s] {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) == 0 && j.busy == 0 {
		j.ticking = false
		return
	}
	n.later(joinTick, func() { j.tick(m) })
	n.rnd.Shuffle(len(wanted), func(a, b int) { wanted[a], wanted[b] = wanted[b], wanted[a] })
	for _, node := range wanted {
		t := j.targets[node]
		if t == nil {
			t = &target{since: n.now, next: n.now, again: rejoinFirst}
			j.targets[node] = t
		}
		if t.busy || n.now < t.next || j.busy >= joinsAtOnce {
			continue
		}
		t.busy = true
		j.busy++
		m.exchange(n.nodes[node], func(ok bool) { j.ended(m, t, ok) })
	}
}

func (j *joins) ended(m *members, t *target, ok bool) {
	j.busy--
	t.busy = false
	pause := min(retryFirst+(m.n.now-t.since)/retrySlowing, retryMost)
	if ok {
		t.since = m.n.now
		pause = t.again
		t.again = min(2*t.again, rejoinMost)
	}
	t.next = m.n.now + pause + m.n.upTo(pause/2)
}

// has reports whether a run of the node is a member.
func (m *members) has(node int) bool {
	return slices.ContainsFunc(m.alive, func(run int32) bool { return m.n.runs[run].node == node })
}
