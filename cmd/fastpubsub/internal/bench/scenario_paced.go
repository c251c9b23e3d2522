package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// pacedMost is how many messages of fanout at an even rate can be told apart while they are under way.
const pacedMost = 64 << 10

func (c Config) latency(size int) scenario {
	rate := cmp.Or(c.Load.Rate, 1000)
	return scenario{
		name: "latency", what: fmt.Sprintf("%d B, %v messages/s, one subscriber", size, rate),
		load: map[string]float64{"size_bytes": float64(size), "rate_per_s": rate},
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a, h := c.single(r, rate)
			return r.paced(ctx, a, h, pacing{size: size, rate: rate})
		},
	}
}

// single is the audience of one subscriber, and the latencies that it will have measured at a rate.
func (c Config) single(r *rig, rate float64) (*audience, *histogram) {
	a := newAudience(r, []string{r.channelName(0)}, 1, 1)
	h, measured := newHistogram(), c.measured(rate)
	a.taken = func(s stamp, at time.Duration) {
		if measured(s) {
			h.record(at - s.due)
		}
	}
	return a, h
}

func (c Config) fanoutPaced(size int) scenario {
	rate := cmp.Or(c.Load.Rate, 20)
	load := c.crowdLoad(size)
	load["rate_per_s"] = rate
	return scenario{
		name: "fanout", load: load,
		what: fmt.Sprintf("%d B, %v messages/s, until the last of %s has one", size, rate, c.crowdText()),
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a := c.crowd(r, 1)
			h, measured, roll := newHistogram(), c.measured(rate), newRollCall(pacedMost, a.hearers[0])
			a.taken = func(s stamp, _ time.Duration) {
				if roll.complete(s.number) && measured(s) {
					h.record(r.now() - s.due)
				}
			}
			return r.paced(ctx, a, h, pacing{size: size, rate: rate})
		},
	}
}

// warmUpCount is how many messages at a rate belong to the warm-up.
func (c Config) warmUpCount(rate float64) int { return int(rate * c.WarmUp.Seconds()) }

// pacedCount is how many messages at a rate there are, the warm-up's included.
func (c Config) pacedCount(rate float64) int {
	return c.warmUpCount(rate) + max(int(rate*c.Duration.Seconds()), 1)
}

// measured reports whether a message comes after the warm-up.
func (c Config) measured(rate float64) func(stamp) bool {
	warm := uint64(c.warmUpCount(rate))
	return func(s stamp) bool { return s.number >= warm }
}

// pacing is how messages are published at an even rate.
type pacing struct {
	size int
	rate float64
}

// paced publishes to the first channel as its schedule says, whatever is delivered, and measures from the first message on, but for the
// latencies, which the audience takes.
func (r *rig) paced(ctx context.Context, a *audience, latencies *histogram, how pacing) (outcome, error) {
	p, err := r.stage(ctx, a, how.size, func() error { return a.gather(ctx, a.hearers[0], a.inTurn(1), a.crowdPatterns) })
	if err != nil {
		return outcome{}, err
	}
	late := newHistogram()
	u, err := p.pace(ctx, a, how.rate, late)
	if err != nil {
		return outcome{}, err
	}
	return r.finish(ctx, a, p, func() []figure { return slices.Concat(latencies.figures(), []figure{late.lateness()}, u.costs()) })
}

// pace publishes to the first channel as a schedule says, whatever is delivered, and notes how late it does after the warm-up.
func (p *publisher) pace(ctx context.Context, a *audience, rate float64, late *histogram) (usage, error) {
	r := p.rig
	r.progress.say("measuring")
	defer beExact()()
	warm := r.cfg.warmUpCount(rate)
	m := a.meter()
	s := schedule{start: r.now() + coarse, rate: rate, count: r.cfg.pacedCount(rate)}
	err := s.play(r.now, func(d time.Duration) error { return wait(ctx, d) }, func(from, to int) error {
		for i := from; i < to; i++ {
			p.next(0, s.due(i))
			if i >= warm {
				late.record(r.now() - s.due(i))
			}
		}
		return p.conn.flush()
	})
	return m.read(), err
}

// histogram is durations up to a minute, to three digits. It is safe for concurrent use.
type histogram struct {
	mu sync.Mutex // guards h
	h  *hdrhistogram.Histogram
}

const (
	histogramLeast = 100 * time.Nanosecond
	histogramMost  = time.Minute
)

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(int64(histogramLeast), int64(histogramMost), 3)}
}

// record takes note of a duration; one over the limit counts as the limit.
func (h *histogram) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Nothing within the limits is refused.
	_ = h.h.RecordValue(int64(min(max(d, 0), histogramMost)))
}

// quantile is in microseconds; NaN without a record.
func (h *histogram) quantile(percent float64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return known(float64(h.h.ValueAtPercentile(percent))/1e3, h.h.TotalCount() > 0)
}

// figures are those of a latency.
func (h *histogram) figures() []figure {
	return []figure{
		{"p50_us", "P50 µs", 0, h.quantile(50)},
		{"p90_us", "P90 µs", 0, h.quantile(90)},
		{"p99_us", "P99 µs", 0, h.quantile(99)},
		{"p99_9_us", "P99.9 µs", 0, h.quantile(99.9)},
		{"max_us", "MAX µs", 0, h.quantile(100)},
	}
}

// lateness is the figure that says how late messages were sent.
func (h *histogram) lateness() figure {
	return figure{"publisher_late_p99_us", "SENT LATE P99 µs", 0, h.quantile(99)}
}
