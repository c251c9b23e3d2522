package scale

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Replay is a full mesh of sites between which delays change: how well paths follow, and how often they change. Probes, estimates, damping and routes are
// those of nodes; what is told is known to all at once.
type Replay struct {
	Sites  int
	Length time.Duration
	// Delay is the one-way delay between two sites as it is so long after the start.
	Delay func(from, to int, at time.Duration) time.Duration
	// Spike is what a packet takes more now and then; nil: nothing.
	Spike  func(rnd *rand.Rand) time.Duration
	Jitter float64 // mean of what a packet is late, as a share of its delay
	Load   *Load   // nil: paths do not get slower by what they carry
	Timing latency.Config
	Seed   uint64
	Settle time.Duration // at the start, not judged
}

// Load makes the way out of a site slower the more messages take it. Every pair of sites sends alike.
type Load struct {
	Capacity float64       // of a site's way out, in pairs of sites
	Hub      bool          // only that of the first site is limited
	Service  time.Duration // what a message takes there at half of the load
	Most     time.Duration // what it takes at most
}

// Quality is how well paths followed.
type Quality struct {
	Direct, Taken, Oracle float64 // one-way delay summed over pairs and time, each hop's own work included: over direct links, as taken, with one relay at best
	Gain, Kept            float64 // what the oracle saves, and what the paths taken did, in the same unit
	Switches, Late        float64 // changes of path, and those in the last minute
	Slower                float64 // share of pairs and time in which the path taken was slower than the direct one by more than 1 ms
	Pairs                 int     // ordered
	Told                  float64 // vectors told by a node in a minute
	Time                  time.Duration
}

// Share is the part of the oracle's gain that was kept.
func (q *Quality) Share() float64 {
	if q.Gain == 0 {
		return 1
	}
	return q.Kept / q.Gain
}

const (
	grid     = 25 * time.Millisecond // what happens within one is taken together
	judge    = time.Second           // between two looks at paths
	useParts = 5                     // of it, in each of which a path taken carries something
	slots    = 1024                  // of the grid that echoes wait in
	slowerBy = time.Millisecond
)

// replay is a Replay that runs.
type replay struct {
	*Replay
	rnd     *rand.Rand
	now     time.Duration
	sites   []*site
	waiting [slots][]echo
	db      *route.Database
	dirty   bool
	path    [][][]int // from, to: the sites passed, both ends included
	queue   []time.Duration
	hop     time.Duration
	q       Quality
	told    int
}

type site struct {
	prober  *latency.Prober
	adverts *latency.Advertiser
	heard   bool
}

type echo struct {
	site, peer int
	seq        uint32
	rtt, at    time.Duration
}

func siteID(i int) wire.NodeID { return wire.NodeID(i + 1) }

// Run replays it all.
func (p *Replay) Run() Quality {
	r := &replay{Replay: p, rnd: rand.New(rand.NewPCG(p.Seed, 0x2e91a)), db: route.NewDatabase(), queue: make([]time.Duration, p.Sites)}
	r.hop = cmp.Or(p.Timing.HopCost, 500*time.Microsecond)
	r.path = make([][][]int, p.Sites)
	for i := range p.Sites {
		s := &site{prober: latency.NewProber(p.Timing, rand.New(rand.NewPCG(p.Seed, uint64(i)))), adverts: latency.NewAdvertiser(p.Timing)}
		for j := range p.Sites {
			if j != i {
				s.prober.Add(siteID(j), epoch())
			}
		}
		r.sites = append(r.sites, s)
		r.path[i] = make([][]int, p.Sites)
	}
	for r.now = 0; r.now < p.Length; r.now += grid {
		r.tick()
		if r.now%judge == 0 {
			r.reroute()
			r.judge()
		}
	}
	r.q.Pairs = p.Sites * (p.Sites - 1)
	r.q.Time = p.Length - p.Settle
	r.q.Told = float64(r.told) / float64(p.Sites) / r.q.Time.Minutes()
	return r.q
}

// travel is what a packet takes now.
func (r *replay) travel(i, j int) time.Duration {
	d := r.Delay(i, j, r.now) + r.queue[i]
	d += time.Duration(float64(d) * r.Jitter * r.rnd.ExpFloat64())
	if r.Spike != nil {
		d += r.Spike(r.rnd)
	}
	return d
}

func (r *replay) tick() {
	slot := &r.waiting[int(r.now/grid)%slots]
	for _, e := range *slot {
		s := r.sites[e.site]
		s.prober.Link(siteID(e.peer)).Echo(epoch().Add(e.at), e.seq, e.rtt)
		s.heard = true
	}
	*slot = (*slot)[:0]
	now := epoch().Add(r.now)
	for i, s := range r.sites {
		if !s.prober.Next().After(now) {
			s.heard = len(s.prober.Advance(now)) > 0 || s.heard
			for _, due := range s.prober.Due(now) {
				j := int(due.ID) - 1
				rtt := r.travel(i, j) + r.travel(j, i)
				at := int((r.now+rtt)/grid) + 1
				r.waiting[at%slots] = append(r.waiting[at%slots], echo{i, j, due.Seq, rtt, r.now + rtt})
			}
		}
		if next, held := s.adverts.Next(); s.heard || held && !now.Before(next) {
			r.advertise(i, s, now)
		}
		s.heard = false
	}
}

func (r *replay) advertise(i int, s *site, now time.Time) {
	var costs []latency.Cost
	for id, l := range s.prober.All() {
		if l.State() == latency.Up {
			costs = append(costs, latency.Cost{To: id, Cost: l.Cost()})
		}
	}
	vector, due := s.adverts.Offer(now, costs, false)
	if !due {
		return
	}
	if r.now >= r.Settle {
		r.told++
	}
	links := make([]route.Link, 0, len(vector))
	for _, v := range vector {
		links = append(links, route.Link{To: v.To, Cost: v.Cost})
	}
	r.dirty = r.db.Set(siteID(i), links) || r.dirty
}

// reroute computes all paths anew if something was told.
func (r *replay) reroute() {
	if !r.dirty {
		return
	}
	r.dirty = false
	for i := range r.Sites {
		table := route.Compute(siteID(i), r.db)
		for j := range r.Sites {
			if i == j {
				continue
			}
			var path []int
			for _, id := range table.Path(siteID(j)) {
				path = append(path, int(id)-1)
			}
			if len(path) == 0 {
				path = []int{i, j} // at the start
			}
			if r.path[i][j] != nil && r.now > r.Settle && !slices.Equal(path, r.path[i][j]) {
				r.q.Switches++
				if r.now >= r.Length-time.Minute {
					r.q.Late++
				}
			}
			r.path[i][j] = path
		}
	}
}

// judge compares the paths taken with the direct and the best ones, and lets queues follow the load.
func (r *replay) judge() {
	if r.path[0][1] == nil {
		return
	}
	n := r.Sites
	cost := make([]float64, n*n)
	for i := range n {
		for j := range n {
			if i != j {
				cost[i*n+j] = float64(r.Delay(i, j, r.now) + r.queue[i] + r.hop)
			}
		}
	}
	load := make([]float64, n)
	slower := 0
	for i := range n {
		for j := range n {
			if i == j {
				continue
			}
			direct, best, taken := cost[i*n+j], cost[i*n+j], 0.0
			for k := range n {
				if k != i && k != j {
					best = min(best, cost[i*n+k]+cost[k*n+j])
				}
			}
			path := r.path[i][j]
			for k := 1; k < len(path); k++ {
				taken += cost[path[k-1]*n+path[k]]
				r.use(path[k-1], path[k])
				load[path[k-1]]++
			}
			if r.now < r.Settle {
				continue
			}
			r.q.Direct, r.q.Taken, r.q.Oracle = r.q.Direct+direct, r.q.Taken+taken, r.q.Oracle+best
			if taken > direct+float64(slowerBy) {
				slower++
			}
		}
	}
	r.q.Gain, r.q.Kept = r.q.Direct-r.q.Oracle, r.q.Direct-r.q.Taken
	looks := float64((r.Length - r.Settle) / judge)
	r.q.Slower += float64(slower) / float64(n*(n-1)) / looks
	if r.Load != nil {
		for i := range n {
			if i == 0 || !r.Load.Hub {
				r.queue[i] = r.Load.delay(load[i])
			}
		}
	}
}

// use has both ends of a link know that it carries messages.
func (r *replay) use(a, b int) {
	for _, end := range [][2]int{{a, b}, {b, a}} {
		l := r.sites[end[0]].prober.Link(siteID(end[1]))
		for at := r.now; at < r.now+judge; at += judge / useParts { // messages are not rare
			l.Used(epoch().Add(at))
		}
		l.Heard(epoch().Add(r.now + judge)) // and until paths are looked at again
	}
}

// delay is that of a queue at which messages come at random (M/M/1), as far as it goes.
func (l *Load) delay(pairs float64) time.Duration {
	rho := pairs / l.Capacity
	if rho >= 1 {
		return l.Most
	}
	return min(l.Most, time.Duration(float64(l.Service)*rho/(1-rho)))
}
