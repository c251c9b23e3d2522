package latency

import (
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// path is what a simulated link does to packets.
type path struct {
	rtt   func(at time.Duration) time.Duration
	loss  float64                     // of a packet, each way
	dead  func(at time.Duration) bool // packets on the way and sent are gone
	used  func(at time.Duration) bool // the link carries messages, of which the prober hears nothing
	peers time.Duration               // the peer's own probes come at this interval; 0 none
	heard time.Duration               // when the peer's next probe leaves it
}

func steady(rtt time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return rtt }
}

func always(time.Duration) bool { return true }

func unused(time.Duration) bool { return false }

// jittery is an RTT of mean rtt with a normal jitter of this mean deviation.
func jittery(r *rand.Rand, rtt, dev time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration {
		return max(time.Microsecond, rtt+time.Duration(r.NormFloat64()*float64(dev)*1.2533)) // σ = √(π/2) mean deviations
	}
}

type flight struct {
	at    time.Duration
	id    wire.NodeID
	seq   uint32
	rtt   time.Duration
	heard bool // not an echo but some frame of the peer
}

type stamped struct {
	at time.Duration
	Change
}

type sent struct {
	at time.Duration
	Probe
}

// world runs a Prober against simulated paths, event by event.
type world struct {
	rnd     *rand.Rand
	start   time.Time
	now     time.Duration
	prober  *Prober
	paths   map[wire.NodeID]*path
	ids     []wire.NodeID
	flights []flight
	sent    []sent
	ticks   int
	changes []stamped
}

func newWorld(cfg Config, seed uint64) *world {
	rnd := rand.New(rand.NewPCG(seed, 7))
	return &world{
		rnd: rnd, start: time.Unix(1_700_000_000, 0), prober: NewProber(cfg, rand.New(rand.NewPCG(seed, 8))),
		paths: map[wire.NodeID]*path{},
	}
}

func (w *world) time() time.Time { return w.start.Add(w.now) }

func (w *world) add(id wire.NodeID, p *path) *Link {
	w.paths[id] = p
	w.ids = append(w.ids, id)
	p.heard = w.now + time.Duration(w.rnd.Float64()*float64(p.peers))
	w.prober.Add(id, w.time())
	return w.prober.Link(id)
}

// run goes on until the time said, or until stop says so.
func (w *world) run(until time.Duration, stop func() bool) {
	for w.now < until && (stop == nil || !stop()) {
		w.step()
		next := until
		if at := w.prober.Next(); !at.IsZero() {
			next = min(next, max(at.Sub(w.start), w.now+time.Microsecond))
		}
		for _, f := range w.flights {
			next = min(next, f.at)
		}
		for _, id := range w.ids {
			if p := w.paths[id]; p.peers > 0 {
				next = min(next, p.heard)
			}
		}
		w.now = max(next, w.now+1)
	}
}

func (w *world) step() {
	w.deliver()
	now := w.time()
	for _, id := range w.ids {
		p := w.paths[id]
		if p.used != nil && p.used(w.now) {
			w.prober.Link(id).Used(now)
		}
		for p.peers > 0 && p.heard <= w.now {
			w.peerProbes(id, p)
		}
	}
	for _, c := range w.prober.Advance(now) {
		w.changes = append(w.changes, stamped{w.now, c})
	}
	due := w.prober.Due(now)
	if len(due) > 0 {
		w.ticks++
	}
	for _, d := range due {
		w.sent = append(w.sent, sent{w.now, d})
		w.send(d)
	}
}

func (w *world) gone(p *path, from, to time.Duration) bool {
	return w.rnd.Float64() < p.loss || p.dead != nil && (p.dead(from) || p.dead(to))
}

func (w *world) send(d Probe) {
	p := w.paths[d.ID]
	rtt := p.rtt(w.now)
	there, back := w.now+rtt/2, w.now+rtt
	if w.gone(p, w.now, there) || w.gone(p, there, back) {
		return
	}
	w.flights = append(w.flights, flight{at: back, id: d.ID, seq: d.Seq, rtt: rtt})
}

func (w *world) peerProbes(id wire.NodeID, p *path) {
	arrives := p.heard + p.rtt(p.heard)/2
	if !w.gone(p, p.heard, arrives) {
		w.flights = append(w.flights, flight{at: arrives, id: id, heard: true})
	}
	p.heard += p.peers - time.Duration(w.rnd.Float64()*0.1*float64(p.peers))
}

func (w *world) deliver() {
	kept := w.flights[:0]
	for _, f := range w.flights {
		switch {
		case f.at > w.now:
			kept = append(kept, f)
		case f.heard:
			w.prober.Link(f.id).Heard(w.start.Add(f.at))
		default:
			w.prober.Link(f.id).Echo(w.start.Add(f.at), f.seq, f.rtt)
		}
	}
	w.flights = kept
}

func (w *world) downs() (n int) {
	for _, c := range w.changes {
		if c.State == Down {
			n++
		}
	}
	return n
}

func wireID(i int) wire.NodeID { return wire.NodeID(i + 1) }
