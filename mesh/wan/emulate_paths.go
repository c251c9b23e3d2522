package wan

import (
	"math"
	"math/rand/v2"
	"time"
)

// paths is the state of the emulated network between sites, and decides what becomes of each packet: the pure part of
// the Emulator. Site numbers must be in range.
type paths struct {
	delays Delays
	random *rand.Rand
	faults []fault // from*Len()+to
	dead   []bool
	last   []time.Time // due time of the last packet of the ordered pair
}

// fault is what was done to one direction of a path at run time.
type fault struct {
	extra   time.Duration
	loss    float64
	blocked bool
}

// fate says what becomes of a packet.
type fate uint8

const (
	fateDelayed fate = iota
	fateBlocked      // a fault, or no path is known
	fateLost         // by chance
)

func newPaths(delays Delays, seed uint64) *paths {
	n := delays.Len()
	return &paths{
		delays: delays,
		random: rand.New(rand.NewPCG(seed, 0x77616e)), // the second word only keeps it apart from other users of the seed
		faults: make([]fault, n*n),
		dead:   make([]bool, n),
		last:   make([]time.Time, n*n),
	}
}

func (p *paths) at(from, to int) int { return from*len(p.dead) + to }

// send decides the fate of a packet sent now, and when it is due.
func (p *paths) send(now time.Time, from, to int) (time.Time, fate) {
	oneWay, known := p.delays.OneWay(from, to)
	if !known || !p.open(from, to) {
		return time.Time{}, fateBlocked
	}
	f := p.faults[p.at(from, to)]
	if f.loss > 0 && p.random.Float64() < f.loss {
		return time.Time{}, fateLost
	}
	deviation := p.delays.Jitter(from, to)
	due := now.Add(leastDelay(oneWay, deviation) + f.extra + p.jitter(deviation))
	// First in, first out: jitter is a queue on the way, and nothing overtakes in a queue.
	last := &p.last[p.at(from, to)]
	*last = later(*last, due)
	return *last, fateDelayed
}

// leastDelay is what jitter comes on top of, for the delays to have the mean that was measured; half of that at least.
func leastDelay(mean, deviation time.Duration) time.Duration {
	return max(mean-time.Duration(float64(deviation)*math.E/2), mean/2)
}

// jitter draws an exponential delay, which has the long tail of queues and the mean deviation 2/e of its mean; the tail
// is cut at ten means.
func (p *paths) jitter(deviation time.Duration) time.Duration {
	mean := float64(deviation) * math.E / 2
	return time.Duration(mean * min(p.random.ExpFloat64(), 10))
}

// open tells whether packets of an ordered pair get through now, those under way too.
func (p *paths) open(from, to int) bool {
	return !p.dead[from] && !p.dead[to] && !p.faults[p.at(from, to)].blocked
}

// change applies a change to both directions between two sites. The order of packets starts anew, so that those on a
// path that became faster overtake those still on the slow one.
func (p *paths) change(a, b int, apply func(*fault)) {
	p.changeOneWay(a, b, apply)
	p.changeOneWay(b, a, apply)
}

func (p *paths) changeOneWay(from, to int, apply func(*fault)) {
	i := p.at(from, to)
	apply(&p.faults[i])
	p.last[i] = time.Time{}
}

// heal undoes all faults.
func (p *paths) heal() {
	clear(p.faults)
	clear(p.dead)
	clear(p.last)
}
