package bench

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

const (
	// queueBytes and queueMessages are what a node queues for a connection by default.
	queueBytes    = 16 << 20
	queueMessages = 32 << 10
	// systemBytes is more than what the system holds of a slow connection, and what a node is about to write.
	systemBytes = 512 << 10
)

// backlog is how many messages of a size have the queue of a subscriber overflow that reads none.
func (c Config) backlog(size int) int {
	return cmp.Or(c.Load.Backlog, min(queueBytes/size, queueMessages)+systemBytes/size)
}

func (c Config) slow(size int) scenario {
	rate := cmp.Or(c.Load.Rate, 100)
	load := c.crowdLoad(size)
	load["rate_per_s"], load["slow"] = rate, float64(c.Load.Slow)
	return scenario{
		name: "slow", load: load,
		what: fmt.Sprintf("%d B, %v messages/s, %s, without and then with %d slow ones", size, rate, c.crowdText(), c.Load.Slow),
		play: func(ctx context.Context, r *rig) (outcome, error) {
			n := newNuisance(c.crowd(r, 3), size, rate)
			p, err := r.stage(ctx, n.crowd, size, func() error { return n.gather(ctx) })
			if err != nil {
				return outcome{}, err
			}
			return n.play(ctx, p)
		},
	}
}

// nuisance is the scenario slow. Subscribers listen to the first channel. The other two only fill the queues of slow ones: in turn, as messages of
// one channel can be put together and dropped together, so that those after them would find room. At the node, one further connection listens to each
// of them, and tells when they have come.
type nuisance struct {
	crowd     *audience
	rate      float64
	filling   *window
	latencies [2]*histogram // without and with slow subscribers
}

// newNuisance is for a crowd of three channels.
func newNuisance(crowd *audience, size int, rate float64) *nuisance {
	c := crowd.rig.cfg
	n := &nuisance{crowd: crowd, rate: rate, filling: c.window(size), latencies: [2]*histogram{newHistogram(), newHistogram()}}
	crowd.hearers[1], crowd.hearers[2] = 1, 1
	count, warm := uint64(c.pacedCount(rate)), uint64(c.warmUpCount(rate))
	crowd.taken = func(s stamp, at time.Duration) {
		switch phase := min(s.number/count, 1); {
		case s.channel != 0:
			n.filling.give(1)
		case s.number-phase*count >= warm:
			n.latencies[phase].record(at - s.due)
		}
	}
	return n
}

// gather connects the crowd, and those who listen to what only fills queues.
func (n *nuisance) gather(ctx context.Context) error {
	others := n.crowd.hearers[0]
	return n.crowd.gather(ctx, others+2, func(i int) (first, count int) { return max(i-others+1, 0), 1 }, n.crowd.crowdPatterns)
}

// play measures without slow subscribers, fills the queues of some, and measures again.
func (n *nuisance) play(ctx context.Context, p *publisher) (outcome, error) {
	r, late := p.rig, newHistogram()
	without, err := p.pace(ctx, n.crowd, n.rate, late)
	if err != nil {
		return outcome{}, err
	}
	if err := n.crowd.drain(ctx, p.sent); err != nil {
		return outcome{}, err
	}
	slow, err := n.disturb(ctx, p)
	if err != nil {
		return outcome{}, err
	}
	with, err := p.pace(ctx, n.crowd, n.rate, late)
	if err != nil {
		return outcome{}, err
	}
	r.progress.say("slow subscribers catch up")
	became, err := slow.catchUp(ctx, p.sent)
	if err != nil {
		return outcome{}, err
	}
	o, err := r.finish(ctx, n.crowd, p, func() []figure {
		cost := figure{"cpu_ratio", "CPU RATIO", 2, with.perMillion() / without.perMillion()}
		return slices.Concat(n.figures(), []figure{cost}, became.figures(), []figure{late.lateness()}, with.costs())
	})
	if err != nil {
		return outcome{}, err
	}
	others := o.count
	o.count = func() Counts {
		all := others()
		all.add(slow.counts(p.sent, became), 1)
		return all
	}
	return o, nil
}

// disturb adds slow subscribers and fills their queues.
func (n *nuisance) disturb(ctx context.Context, p *publisher) (*stragglers, error) {
	r := p.rig
	r.progress.say("filling the queues of slow subscribers")
	slow := newStragglers(ctx, r, n.crowd.channels, p.sent)
	if err := slow.audience.gather(ctx, len(slow.all), slow.audience.inTurn(len(n.crowd.channels)), itself); err != nil {
		return nil, err
	}
	if err := slow.audience.tune(ctx, p); err != nil {
		return nil, err
	}
	close(slow.begin)
	if err := p.round(ctx, n.filling, r.cfg.backlog(len(p.payload)), func(i int) int { return 1 + i%2 }); err != nil {
		return nil, err
	}
	if err := n.crowd.drain(ctx, p.sent); err != nil {
		return nil, err
	}
	runtime.GC() // what filling has left
	return slow, nil
}

// figures are those of the latencies of the others.
func (n *nuisance) figures() []figure {
	without, with := n.latencies[0], n.latencies[1]
	return []figure{
		{"without_p50_us", "P50 µs", 0, without.quantile(50)},
		{"without_p99_us", "P99 µs", 0, without.quantile(99)},
		{"with_p50_us", "SLOW: P50 µs", 0, with.quantile(50)},
		{"with_p99_us", "P99 µs", 0, with.quantile(99)},
		{"p50_ratio", "P50 RATIO", 2, with.quantile(50) / without.quantile(50)},
		{"p99_ratio", "P99 RATIO", 2, with.quantile(99) / without.quantile(99)},
	}
}

// figures are those of the slow ones.
func (t tale) figures() []figure {
	return []figure{
		{"slow_missed", "SLOW MISSED", 0, float64(t.missed)},
		{"slow_told", "TOLD OF", 0, float64(t.told)},
		{"slow_cut", "CUT OFF", 0, float64(t.cut)},
	}
}
