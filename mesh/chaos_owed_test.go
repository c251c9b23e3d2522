package mesh

import "time"

// What is owed: a message must arrive if, for long enough within its deadline, one and the same path between its two nodes worked, and
// it must arrive by then. What is long enough follows from how nodes find out: these times are the promise that the chaos tests
// hold the mesh to.
const (
	noticeTime     = 200 * time.Millisecond  // and one round trip, to notice that a link in use broke (latency, invariant L1)
	slowestPath    = 10_000                  // bytes/s that a path with loss carries, its congestion window being small
	backSoon       = 500 * time.Millisecond  // until a link works again after a fault that its connection outlived
	backLate       = 6 * time.Second         // and after one that ended the connection or, longer, membership
	connectionMost = 2500 * time.Millisecond // a connection surely outlives a silence as long as this
	memberMost     = 5 * time.Second         // membership surely outlives a silence as long as this (gossip: suspicion)
	restartTime    = 5 * time.Second         // until a restarted node can be a relay
	repairs        = 3                       // of one message, on a network that loses packets: more in a row are too rare to meet
	tolerable      = 0.03                    // loss at which a link still counts as working
	changeTime     = 2 * time.Second         // until a link that became slower is trusted at its new pace
)

// outage is a time in which a fault makes links fail, and in which nodes find that out and recover.
type outage struct{ from, to time.Duration }

func (f fault) outages() []outage {
	switch f.kind {
	case badLink:
		if f.worse.Loss <= tolerable {
			return nil
		}
	case slowLink:
		return []outage{{f.from, f.from + changeTime}, {f.to, f.to + changeTime}}
	case kill:
		return []outage{{f.from, f.to + restartTime}}
	default:
	}
	if f.to-f.from > connectionMost {
		return []outage{{f.from, f.to + backLate}}
	}
	return []outage{{f.from, f.to + backSoon}}
}

// works reports whether the link between two nodes carries messages all the time.
func (s *script) works(i, j int, from, to time.Duration, parting bool) bool {
	for _, f := range s.faults {
		if !f.hits(i, j) && !f.hits(j, i) || !parting && (f.kind == split || f.kind == lonely) {
			continue
		}
		for _, o := range f.outages() {
			if o.from < to && from < o.to {
				return false
			}
		}
	}
	return true
}

// reach is the set of nodes that a node has a path to which works all the time. Without parting, splits and lonely nodes do not count.
func (s *script) reach(node int, from, to time.Duration, parting bool) uint {
	set, next := uint(1)<<node, []int{node}
	for len(next) > 0 {
		i := next[0]
		next = next[1:]
		for j := range s.size {
			if set>>j&1 == 0 && s.works(i, j, from, to, parting) {
				set |= 1 << j
				next = append(next, j)
			}
		}
	}
	return set
}

// holds reports whether at any time all nodes that survive have a working path to each other, but for splits and lonely nodes.
func (s *script) holds() bool {
	var alive uint
	some := -1
	for i := range s.size {
		if s.survives(i) {
			alive |= 1 << i
			some = i
		}
	}
	if some < 0 {
		return false
	}
	for from := time.Duration(0); from < s.traffic(); from += 100 * time.Millisecond {
		if s.reach(some, from, from+s.settle(), false)&alive != alive {
			return false
		}
	}
	return true
}

// settle is how long a path must work to carry what waits: time to notice what broke before, twice in a row, to send once more by way of a relay,
// and to repair what is lost on the way, repairs too.
func (s *script) settle() time.Duration {
	var longest time.Duration
	lossy := false
	for _, row := range s.base {
		for _, p := range row {
			longest = max(longest, p.Delay)
			lossy = lossy || p.Loss > 0
		}
	}
	settle := 2*(noticeTime+2*longest) + 2*longest
	if lossy {
		settle += repairs * 3 * longest
	}
	return settle
}

// due is when a message published at a time must have arrived: the end of the first time within its deadline that was long enough and in
// which one and the same path worked. There may be none. Where membership was lost, the publisher must first learn again that there is interest.
func (s *script) due(from, to, bytes int, at time.Duration) (by time.Duration, owed bool) {
	enough := s.settle() + time.Duration(bytes)*time.Second/slowestPath
	last := at + DefaultDeadline - enough
	if s.estranged(from, to, at) {
		last = at
	}
	for begin := at; begin <= last; begin += 50 * time.Millisecond {
		if s.reach(from, begin, begin+enough, true)>>to&1 != 0 {
			return begin + enough, true
		}
	}
	return 0, false
}

// estranged reports whether two nodes may hold each other for dead at a time.
func (s *script) estranged(a, b int, at time.Duration) bool {
	for _, f := range s.faults {
		parts := (f.kind == split || f.kind == lonely) && f.hits(a, b)
		if parts && f.to-f.from > memberMost && f.from <= at && at < f.to+backLate {
			return true
		}
	}
	return false
}
