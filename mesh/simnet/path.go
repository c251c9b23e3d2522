package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Block says what a path does not let through.
type Block uint8

// The kinds of Block. BlockAll is both others together.
const (
	BlockNone Block = 0
	BlockUDP  Block = 1 << 0
	BlockTCP  Block = 1 << 1
	BlockAll        = BlockUDP | BlockTCP
)

// Path is the condition of the network from one host to another.
type Path struct {
	// Delay is the one-way delay.
	Delay time.Duration
	// Jitter is the bound of an additional delay, drawn uniformly for each packet and stream segment.
	Jitter time.Duration
	// Loss, Duplicate and Reorder are the shares, 0 to 1, of datagrams that are lost, arrive twice, or are held back
	// so that later ones pass them.
	Loss, Duplicate, Reorder float64
	// Block is what does not pass at all.
	Block Block
}

// check panics on values that can only be a mistake in a test.
func (p Path) check() {
	for _, share := range []float64{p.Loss, p.Duplicate, p.Reorder} {
		if !(share >= 0 && share <= 1) {
			panic(fmt.Sprintf("simnet: path: share %v is not between 0 and 1", share))
		}
	}
	if p.Delay < 0 || p.Jitter < 0 || p.Block > BlockAll {
		panic(fmt.Sprintf("simnet: path: negative time or unknown block in %+v", p))
	}
}

// Counters tell what happened on an ordered pair of hosts since the start.
type Counters struct {
	Sent      uint64 // datagrams
	Bytes     uint64 // payload of the datagrams sent
	Delivered uint64 // datagrams put into a receive queue; copies count

	Duplicated uint64 // datagrams that a copy was made of
	Reordered  uint64 // datagrams held back

	// Datagrams dropped, by reason.
	Lost        uint64 // by Path.Loss
	Blocked     uint64 // by a fault
	Unreachable uint64 // no such host, or no socket at the port; copies count
	Overflow    uint64 // receive queue full; copies count
	Oversize    uint64 // longer than MaxDatagram; refused, not in Sent

	Segments    uint64 // parts of streams sent, control segments included
	StreamBytes uint64 // payload of the segments sent
}

type pairKey struct{ from, to netip.Addr }

// pair is the state of one ordered pair of hosts.
type pair struct {
	pairKey
	path     Path
	cut      bool
	random   *rand.Rand
	last     time.Time // due time of the last datagram in order
	stalled  []*stream // with segments that wait for the path to open
	counters Counters
}

// pair returns the state of an ordered pair, made on first use. The caller holds n.mu.
func (n *Net) pair(from, to netip.Addr) *pair {
	key := pairKey{from, to}
	if p := n.pairs[key]; p != nil {
		return p
	}
	name := fnv.New64a()
	fmt.Fprintf(name, "%v>%v", from, to)
	p := &pair{
		pairKey: key,
		random:  rand.New(rand.NewPCG(n.cfg.Seed, name.Sum64())),
	}
	if from != to {
		p.path = n.cfg.Path
	}
	n.pairs[key] = p
	return p
}

// draws are the random numbers of one packet: always all of them, so that the next packet's do not depend on the
// settings (invariant 8).
type draws struct {
	loss, duplicate, reorder float64
	jitter, holdBack, lag    float64
	tick                     time.Duration
}

func (p *pair) draw() draws {
	r := p.random
	return draws{
		loss: r.Float64(), duplicate: r.Float64(), reorder: r.Float64(),
		jitter: r.Float64(), holdBack: r.Float64(), lag: r.Float64(),
		tick: time.Duration(1 + r.IntN(999)),
	}
}

// delay is how long the packet with these draws is under way when nothing is before it.
func (p *pair) delay(d draws) time.Duration {
	return p.path.Delay + scale(p.path.Jitter, d.jitter) + d.tick
}

// datagram decides when a datagram sent now arrives: never (none), once, or twice.
func (p *pair) datagram(now time.Time, blocked bool) (arrivals []time.Time) {
	d := p.draw()
	switch {
	case blocked:
		p.counters.Blocked++
		return nil
	case d.loss < p.path.Loss:
		p.counters.Lost++
		return nil
	}
	due := now.Add(p.delay(d))
	if d.reorder < p.path.Reorder {
		p.counters.Reordered++
		due = due.Add(scale(p.path.Delay/2+time.Millisecond, d.holdBack))
	} else {
		due = notBefore(due, p.last.Add(1))
		p.last = due
	}
	arrivals = append(arrivals, due)
	if d.duplicate < p.path.Duplicate {
		p.counters.Duplicated++
		arrivals = append(arrivals, due.Add(1+scale(time.Millisecond, d.lag)))
	}
	return arrivals
}

// SetPath sets the path from one host to another, for what is sent from now on; the way back is a path of its own. It
// panics if an address is not an IP address or the path has shares outside 0 to 1 or negative times.
func (n *Net) SetPath(from, to string, path Path) {
	path.check()
	n.change(from, to, func(p *pair) { p.path, p.last = path, time.Time{} })
}

// Path is the path from one host to another as it is set, without the effect of Cut and Isolate.
func (n *Net) Path(from, to string) Path {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pair(mustAddr(from), mustAddr(to)).path
}

// Cut blocks everything between two hosts, both ways, until Heal.
func (n *Net) Cut(a, b string) {
	n.change(a, b, func(p *pair) { p.cut = true })
	n.change(b, a, func(p *pair) { p.cut = true })
}

// Heal undoes Cut. It leaves Isolate and Path.Block as they are.
func (n *Net) Heal(a, b string) {
	n.change(a, b, func(p *pair) { p.cut = false })
	n.change(b, a, func(p *pair) { p.cut = false })
}

// Isolate blocks everything between a host and all others, also those that come later, until Rejoin.
func (n *Net) Isolate(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolated[mustAddr(host)] = true
}

// Rejoin undoes Isolate.
func (n *Net) Rejoin(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.isolated, mustAddr(host))
	n.resumeAll()
}

// Counters are the counters from one host to another.
func (n *Net) Counters(from, to string) Counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pair(mustAddr(from), mustAddr(to)).counters
}

// change applies a change to an ordered pair and lets go what it held if the path is open afterwards.
func (n *Net) change(from, to string, apply func(*pair)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pair(mustAddr(from), mustAddr(to))
	apply(p)
	n.resume(p)
}

// blocked tells whether the path does not let a kind of traffic through. The caller holds n.mu.
func (n *Net) blocked(p *pair, kind Block) bool {
	if p.cut || p.path.Block&kind != 0 {
		return true
	}
	return p.from != p.to && (n.isolated[p.from] || n.isolated[p.to])
}

// resume sends the segments that waited for the path to open and its far end to be alive, if both are so now.
// The caller holds n.mu.
func (n *Net) resume(p *pair) {
	far := n.hosts[p.to]
	if n.blocked(p, BlockTCP) || far == nil || far.dead {
		return
	}
	streams := p.stalled
	p.stalled = nil
	for _, s := range streams {
		s.resume()
	}
}

func (n *Net) resumeAll() {
	for _, p := range n.pairs {
		n.resume(p)
	}
}

// scale is the share of a duration.
func scale(d time.Duration, share float64) time.Duration { return time.Duration(float64(d) * share) }

// notBefore is the later of two times.
func notBefore(t, floor time.Time) time.Time {
	if t.Before(floor) {
		return floor
	}
	return t
}
