package scale

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
)

// Storm is what a mesh goes through when many nodes come, go, or are cut off at once.
type Storm struct {
	Nodes    int // of the mesh
	FullMesh int
	Seed     uint64
	Sites    *Sites
	Jitter   float64
	Timing   latency.Config
	Workers  int // see Config
	Progress func(what string)
}

// Outcome is how a mesh came through a storm.
type Outcome struct {
	What    string
	Nodes   int
	Settled time.Duration // until all nodes had routes to each other and knew each other's interest, once it was over
	Each    Spread        // until that held for each of the nodes that came, since it did, towards those that had not just come
	Reached float64       // share of pairs of living nodes between which messages could go, on average over the storm
	Bytes   float64       // control bytes per node and second during the storm and until it was settled
	Most    float64       // by the node that sent most
}

const (
	stormMost = 5 * time.Minute // until a mesh must have settled
	stormLook = 500 * time.Millisecond
	stormWarm = 60 * time.Second
	seedPairs = 400 // pairs that are looked at
)

// storm is a Storm that runs.
type storm struct {
	*Storm
	w       *World
	rnd     *rand.Rand
	out     Outcome
	looks   int
	began   time.Duration
	before  []uint64
	pending map[int]time.Duration // nodes that are not yet met, since they started
}

func (s Storm) begin(what string) *storm {
	w := New(Config{Nodes: s.Nodes, FullMesh: s.FullMesh, Seed: s.Seed, Delay: s.Sites.Draw(s.Nodes, s.Seed), Jitter: s.Jitter, Timing: s.Timing, Workers: s.Workers})
	if s.Progress != nil {
		s.Progress(what)
	}
	return &storm{Storm: &s, w: w, rnd: rand.New(rand.NewPCG(s.Seed, 0x5702)), out: Outcome{What: what, Nodes: s.Nodes}, pending: map[int]time.Duration{}}
}

// measure starts the count.
func (s *storm) measure() {
	s.began, s.before = s.w.now, nil
	for _, n := range s.w.nodes {
		s.before = append(s.before, n.cost.Total())
	}
}

// look lets time pass and sees who reaches whom.
func (s *storm) look(d time.Duration) {
	for end := s.w.now + d; s.w.now < end; {
		s.w.Run(min(stormLook, end-s.w.now))
		s.looks++
		s.out.Reached += s.w.reached(s.rnd)
		for i, since := range s.pending {
			if s.w.Alive(i) && s.w.met(i, s.pending) {
				s.out.Each = append(s.out.Each, s.w.now-since)
				delete(s.pending, i)
			}
		}
	}
}

// settle waits until all is well.
func (s *storm) settle() Outcome {
	over := s.w.now
	for s.w.now-over < stormMost && !s.w.whole() {
		s.look(stormLook)
	}
	s.out.Settled = s.w.now - over
	took := (s.w.now - s.began).Seconds()
	for i, n := range s.w.nodes {
		rate := float64(n.cost.Total()-s.before[i]) / took
		s.out.Bytes += rate / float64(s.Nodes)
		s.out.Most = max(s.out.Most, rate)
	}
	s.out.Reached /= float64(max(1, s.looks))
	slices.Sort(s.out.Each)
	return s.out
}

// whole reports whether all nodes that live have routes to each other and know each other's interest.
func (w *World) whole() bool {
	alive := 0
	for _, n := range w.nodes {
		if n.alive {
			alive++
		}
	}
	for _, n := range w.nodes {
		if n.alive && (n.table == nil || n.table.Len() != alive-1 || !n.core.Settled() || n.core.Known() < alive-1) {
			return false
		}
	}
	return true
}

// reached is the share of some pairs of living nodes between which a message would arrive.
func (w *World) reached(rnd *rand.Rand) float64 {
	var alive []int
	for i, n := range w.nodes {
		if n.alive {
			alive = append(alive, i)
		}
	}
	if len(alive) < 2 {
		return 1
	}
	good := 0
	for range seedPairs {
		a, b := alive[rnd.IntN(len(alive))], alive[rnd.IntN(len(alive))]
		if a == b || w.path(a, b) != nil {
			good++
		}
	}
	return float64(good) / seedPairs
}

// Join starts all nodes within a time, through one of them.
func (s Storm) Join(within time.Duration) Outcome {
	r := s.begin("join through one seed")
	r.w.Start(0)
	r.w.Run(time.Second)
	r.measure()
	for i := 1; i < s.Nodes; i++ {
		at := r.w.upTo(within)
		r.w.After(at, func() {
			r.w.Start(i, 0)
			r.pending[i] = r.w.now
		})
	}
	r.look(within)
	return r.settle()
}

// Churn restarts a share of the nodes every minute for so long, without a word, each after a few seconds.
func (s Storm) Churn(share float64, length time.Duration) Outcome {
	r := s.begin("restarts without a word")
	r.w.StartKnown(s.Nodes, 2*time.Second)
	r.w.Run(stormWarm)
	r.measure()
	pause := time.Duration(float64(time.Minute) / (share * float64(s.Nodes)))
	for end := r.w.now + length; r.w.now < end; {
		i := r.rnd.IntN(s.Nodes)
		if r.w.Alive(i) {
			r.w.Crash(i)
			delete(r.pending, i)
			r.w.After(2*time.Second+r.w.upTo(3*time.Second), func() {
				r.w.Start(i, (i+1)%s.Nodes, (i+s.Nodes/2)%s.Nodes)
				r.pending[i] = r.w.now
			})
		}
		r.look(pause)
	}
	r.look(6 * time.Second) // whoever was down is back
	return r.settle()
}

// Region cuts so many nodes off from the others for so long.
func (s Storm) Region(count int, length time.Duration) Outcome {
	r := s.begin("a region is cut off and comes back")
	r.w.StartKnown(s.Nodes, 2*time.Second)
	r.w.Run(stormWarm)
	r.measure()
	region := r.rnd.Perm(s.Nodes)[:count]
	r.w.Isolate(region)
	r.w.Run(length) // who can be reached meanwhile is no question
	r.w.Isolate(nil)
	for _, i := range region {
		r.pending[i] = r.w.now
	}
	r.look(stormLook)
	return r.settle()
}
