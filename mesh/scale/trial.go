package scale

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Trial is what a mesh of one size is put through.
type Trial struct {
	Nodes    int
	FullMesh int // up to how many nodes all are linked; 0: as nodes do
	Seed     uint64
	Sites    *Sites
	Jitter   float64
	Loss     float64
	Timing   latency.Config
	Clock    func() time.Duration // see Config
	Workers  int                  // see Config
	Progress func(what string)    // nil: nobody wants to know
	Stop     func() error         // the trial ends early, its row of no worth, once it returns an error; nil: it does not
	// Memory tells how much the whole world takes now; nil: it is not measured.
	Memory func() uint64
}

// Row is what came of a Trial: one row of the table. Rates are per node and second.
type Row struct {
	Nodes        int
	Links        float64 // per node
	Join         Spread  // until a new node and all others have routes to each other
	Down         Spread  // from the cut of a link in use until a node routes around it
	Slow         Spread  // from the slowing down of a link in use until a node routes by it
	SlowTold     Spread  // of that, since an end of the link told it: which it cannot before an echo has come back late
	Window       Spread  // from a subscription until a node sends what it is for to its node
	Idle, Loaded Usage
	Busy         Usage         // with traffic, as in Stretch
	SPF          time.Duration // anew
	SPFChange    time.Duration // after one link has changed
	Memory       float64       // bytes per node; records are shared between the simulated nodes, see TestMemoryOfANode
	Stretch      Stretch
}

// Usage is what control costs.
type Usage struct {
	Bytes   float64 // sent
	Most    float64 // by the node that sends most
	Kinds   [traffics]float64
	CPU     float64 // ms of a core
	Records float64 // received
	Checks  float64 // signatures checked
	Tables  float64
}

// Spread are times in order.
type Spread []time.Duration

// At is the quantile q; 0 if there is nothing.
func (s Spread) At(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// Stretch compares the delays of paths taken by pairs that carry traffic with those of the shortest paths there are over any links, and with direct.
type Stretch struct {
	Pairs     int
	Mean, P99 float64
	Slower    float64 // share of pairs slower than direct by more than 1 ms
	Longest   time.Duration
}

// How a trial goes.
const (
	trialJoins    = 3
	trialWarm     = 4 * time.Minute // until nearness has settled
	trialIdle     = 20 * time.Second
	trialSubs     = 20
	trialFlows    = 4 // nodes that each node sends to
	trialFlowing  = 20 * time.Second
	trialCuts     = 10
	trialSlows    = 5
	trialLoad     = 4 * time.Second
	trialLoadWarm = time.Second
	trialSubRate  = 10                    // changes per node and second
	trialSlowBy   = 40 * time.Millisecond // or half of its delay, if that is more: what is too little to tell converges to nothing
)

// trial is a Trial that runs.
type trial struct {
	*Trial
	w   *World
	rnd *rand.Rand
	row Row
}

// Run puts a mesh through it all.
func (t Trial) Run() Row {
	total := t.Nodes + trialJoins
	w := New(Config{
		Nodes: total, FullMesh: t.FullMesh, Seed: t.Seed, Delay: t.Sites.Draw(total, t.Seed), Jitter: t.Jitter, Loss: t.Loss, Timing: t.Timing, Clock: t.Clock, Workers: t.Workers,
	})
	r := &trial{Trial: &t, w: w, rnd: rand.New(rand.NewPCG(t.Seed, 0x7a1a)), row: Row{Nodes: t.Nodes}}
	w.StartKnown(t.Nodes, 2*time.Second)
	for _, part := range []struct {
		what string
		run  func()
	}{
		{"start", func() { w.Run(trialWarm) }},
		{"idle", func() { r.row.Idle = r.usage(trialIdle, func() { w.Run(trialIdle) }); r.size() }},
		{"subscriptions", r.subscriptions},
		{"joins", r.joins},
		{"traffic", r.traffic},
		{"links", r.changes},
		{"load", r.load},
		{"routes", func() { r.row.SPF, r.row.SPFChange = r.spf() }},
	} {
		if t.Stop != nil && t.Stop() != nil {
			break
		}
		r.say(part.what)
		part.run()
	}
	return r.row
}

func (r *trial) say(what string) {
	if r.Progress != nil {
		r.Progress(what)
	}
}

// usage is what control costs while f lets so much time pass.
func (r *trial) usage(d time.Duration, f func()) (u Usage) {
	before := make([]uint64, len(r.w.nodes))
	for i, n := range r.w.nodes {
		before[i] = n.cost.Total()
	}
	sum, _ := r.w.Cost()
	f()
	after, _ := r.w.Cost()
	c := after.Minus(sum)
	per := func(x float64) float64 { return x / d.Seconds() / float64(r.alive()) }
	u = Usage{Bytes: per(float64(c.Total())), CPU: per(c.CPU.Seconds() * 1000), Records: per(float64(c.Records)), Checks: per(float64(c.Checks)), Tables: per(float64(c.Tables))}
	for k := range c.Bytes {
		u.Kinds[k] = per(float64(c.Bytes[k]))
	}
	for i, n := range r.w.nodes {
		u.Most = max(u.Most, float64(n.cost.Total()-before[i])/d.Seconds())
	}
	return u
}

func (r *trial) alive() (count int) {
	for _, n := range r.w.nodes {
		if n.alive {
			count++
		}
	}
	return count
}

// size is how many links and how much memory a node takes.
func (r *trial) size() {
	links := 0
	for _, n := range r.w.nodes {
		links += len(n.links)
	}
	r.row.Links = float64(links) / float64(r.alive())
	if r.Memory != nil {
		r.row.Memory = float64(r.Memory()) / float64(r.alive())
	}
}

// follow runs until all nodes go by a change, and adds when they did.
func (r *trial) follow(x *Watch, into *Spread, most time.Duration) {
	for end := r.w.now + most; !x.Done() && r.w.now < end; {
		r.w.Run(20 * time.Millisecond)
	}
	x.End()
	for i, took := range x.Took {
		if took < 0 && r.w.nodes[i].alive {
			took = most // or longer
		}
		if took >= 0 && !slices.Contains(x.origins, i) {
			*into = append(*into, took)
		}
	}
}

func (r *trial) subscriptions() {
	for k := range trialSubs {
		i := r.rnd.IntN(r.Nodes)
		x := r.w.WatchInterest(i)
		r.w.Subscribe(i, channelName("s", k), true)
		r.follow(x, &r.row.Window, 5*time.Second)
		r.w.Run(200 * time.Millisecond)
	}
	slices.Sort(r.row.Window)
}

func (r *trial) joins() {
	for k := range trialJoins {
		i, seed := r.Nodes+k, r.rnd.IntN(r.Nodes)
		began := r.w.now
		r.w.Start(i, seed)
		for r.w.now-began < time.Minute && !r.w.met(i, nil) {
			r.w.Run(20 * time.Millisecond)
		}
		r.row.Join = append(r.row.Join, r.w.now-began)
		r.w.Run(2 * time.Second)
	}
	slices.Sort(r.row.Join)
}

// met reports whether a node has routes to all others, knows their interest, and they have routes to it; but for those that are coming themselves.
func (w *World) met(i int, coming map[int]time.Duration) bool {
	n := w.nodes[i]
	if n.table == nil {
		return false
	}
	for j, m := range w.nodes {
		if _, comes := coming[j]; comes || !m.alive || m == n {
			continue
		}
		if m.table == nil || n.core.Held(core.RecordKey{Origin: m.id, Kind: wire.RecordInterest}).Boot != m.boot {
			return false
		}
		_, there := n.table.Lookup(m.id)
		_, back := m.table.Lookup(n.id)
		if !there || !back {
			return false
		}
	}
	return true
}

// traffic has all nodes send, and looks at the paths taken when links have opened where they are needed.
func (r *trial) traffic() {
	for i := range r.Nodes {
		for range trialFlows {
			if to := r.rnd.IntN(r.Nodes); to != i {
				r.w.Send(i, to)
			}
		}
	}
	r.w.Run(trialFlowing)
	r.row.Busy = r.usage(trialFlowing, func() { r.w.Run(trialFlowing) })
	r.row.Stretch = r.w.stretch(r.w.hop())
}

// hop is a relay's own work.
func (w *World) hop() time.Duration { return cmp.Or(w.cfg.Timing.HopCost, 500*time.Microsecond) }

// changes cuts links in use, one after another, and slows others down.
func (r *trial) changes() {
	for range trialCuts {
		a, b := r.used()
		x := r.w.WatchLinks(a, b)
		r.w.Cut(a, b)
		r.follow(x, &r.row.Down, 5*time.Second)
		r.w.Run(time.Second)
		r.w.Heal(a, b)
	}
	slices.Sort(r.row.Down)
	for range trialSlows {
		a, b := r.used()
		x := r.w.WatchLinks(a, b)
		r.w.Slow(a, b, slowed(r.w.delay(a, b)))
		before := len(r.row.Slow)
		r.follow(x, &r.row.Slow, 10*time.Second)
		for _, took := range r.row.Slow[before:] {
			r.row.SlowTold = append(r.row.SlowTold, took-x.Since())
		}
		r.w.Slow(a, b, 0)
		r.w.Run(time.Second)
	}
	slices.Sort(r.row.Slow)
	slices.Sort(r.row.SlowTold)
}

func slowed(delay time.Duration) time.Duration { return delay + max(trialSlowBy, delay/2) }

// used is a link that carries traffic and has carried it for a while.
func (r *trial) used() (a, b int) {
	for {
		from := r.rnd.IntN(r.Nodes)
		dests := r.w.flows.to[from]
		if len(dests) == 0 {
			continue
		}
		path := r.w.path(from, dests[r.rnd.IntN(len(dests))])
		if len(path) > 1 {
			k := 1 + r.rnd.IntN(len(path)-1)
			return path[k-1], path[k]
		}
	}
}

// load changes subscriptions at every node and, once a second, a link.
func (r *trial) load() {
	stop := r.w.now + trialLoadWarm + trialLoad
	for i := range r.Nodes {
		count := 0
		var change func()
		change = func() {
			if r.w.now >= stop {
				return
			}
			r.w.Subscribe(i, channelName("l", count%40), count/40%2 == 0)
			count++
			r.w.After(time.Second/trialSubRate+time.Duration(i), change)
		}
		r.w.After(r.w.upTo(time.Second/trialSubRate), change)
	}
	var slow func()
	slow = func() {
		if r.w.now >= stop {
			return
		}
		a, b := r.used()
		r.w.Slow(a, b, slowed(r.w.delay(a, b)))
		r.w.After(time.Second, slow)
	}
	slow()
	r.w.Run(trialLoadWarm)
	r.row.Loaded = r.usage(trialLoad, func() { r.w.Run(trialLoad) })
}

func channelName(prefix string, k int) string {
	return prefix + "." + string(rune('a'+k%26)) + string(rune('a'+k/26%26))
}

// spf is how long routes take to compute over what the nodes have told: anew, and when one link has changed. The least of several times.
func (r *trial) spf() (whole, change time.Duration) {
	if r.Clock == nil {
		return 0, 0
	}
	db := route.NewDatabase()
	links := map[wire.NodeID][]route.Link{}
	for _, n := range r.w.nodes {
		if !n.alive {
			continue
		}
		for _, l := range n.core.Advertised() {
			links[n.id] = append(links[n.id], route.Link{To: l.To, Cost: l.Cost})
		}
		db.Set(n.id, links[n.id])
	}
	self, other := r.w.nodes[0].id, r.w.nodes[r.Nodes/2].id
	whole, change = time.Hour, time.Hour
	planner := route.NewPlanner(self)
	planner.Compute(db)
	for k := range 7 {
		began := r.Clock()
		route.Compute(self, db)
		whole = min(whole, r.Clock()-began)
		vector := slices.Clone(links[other])
		vector[k%len(vector)].Cost *= 2
		db.Set(other, vector)
		began = r.Clock()
		planner.Compute(db)
		change = min(change, r.Clock()-began)
	}
	return whole, change
}
