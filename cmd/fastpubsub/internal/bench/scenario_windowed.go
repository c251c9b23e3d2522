package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fanoutInFlight bounds the deliveries of fanout in flight to all subscribers together.
const fanoutInFlight = 256 << 10

// window is for messages of a size.
func (c Config) window(size int) *window {
	return newWindow(c.Load.InFlight, c.Load.InFlightBytes, size, c.Patience)
}

// first picks the first channel.
func first() int { return 0 }

// flood is how messages are published in a window.
type flood struct {
	by   *publisher
	in   *window
	pick func() int // of a message's channel
}

// windowed publishes as fast as the window lets it, and measures. Figures are those of the scenario; what it costs is added.
func (r *rig) windowed(ctx context.Context, a *audience, how flood, figures func(usage) []figure) (outcome, error) {
	u, err := how.by.drive(ctx, a, how.in, how.pick)
	if err != nil {
		return outcome{}, err
	}
	return r.finish(ctx, a, how.by, func() []figure { return slices.Concat(figures(u), u.costs()) })
}

func (c Config) throughput(size int) scenario {
	limit := c.window(size).limit
	return scenario{
		name: "throughput", what: fmt.Sprintf("%d B, %d messages in flight, one subscriber", size, limit),
		load: map[string]float64{"size_bytes": float64(size), "messages_in_flight": float64(limit)},
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a, w := newAudience(r, []string{r.channelName(0)}, 1, 1), c.window(size)
			a.arrived = w.give
			p, err := r.stage(ctx, a, size, func() error { return a.gather(ctx, 1, a.inTurn(1), itself) })
			if err != nil {
				return outcome{}, err
			}
			return r.windowed(ctx, a, flood{p, w, first}, func(u usage) []figure {
				return []figure{
					{"messages_per_s", "MSG/s", 0, u.rate()},
					{"megabytes_per_s", "MB/s", 1, u.rate() * float64(size) / 1e6},
				}
			})
		},
	}
}

func (c Config) fanoutWindowed(size int) scenario {
	c.Load.InFlight = max(min(c.Load.InFlight, fanoutInFlight/c.Load.Subscribers), 1)
	limit := c.window(size).limit
	load := c.crowdLoad(size)
	load["messages_in_flight"] = float64(limit)
	return scenario{
		name: "fanout", load: load,
		what: fmt.Sprintf("%d B, %d messages in flight, %s", size, limit, c.crowdText()),
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a, w := c.crowd(r, 1), c.window(size)
			roll := newRollCall(limit, a.hearers[0])
			a.taken = func(s stamp, _ time.Duration) {
				if roll.complete(s.number) {
					w.give(1)
				}
			}
			p, err := r.stage(ctx, a, size, func() error { return a.gather(ctx, a.hearers[0], a.inTurn(1), a.crowdPatterns) })
			if err != nil {
				return outcome{}, err
			}
			return r.windowed(ctx, a, flood{p, w, first}, func(u usage) []figure {
				return []figure{
					{"deliveries_per_s", "DELIVERIES/s", 0, u.rate()},
					{"messages_per_s", "MSG/s", 1, u.rate() / float64(c.Load.Subscribers)},
					{"megabytes_per_s", "MB/s", 1, u.rate() / float64(a.each) * float64(size) / 1e6},
				}
			})
		},
	}
}

func (c Config) manyChannels(size int) scenario {
	count, limit := c.Load.Channels, c.window(size).limit
	each := (count + c.connections("channels") - 1) / c.connections("channels")
	connections := (count + each - 1) / each
	return scenario{
		name: "channels", what: fmt.Sprintf("%d B, %d messages in flight, to random ones of %d channels on %d connections", size, limit, count, connections),
		load: map[string]float64{
			"size_bytes": float64(size), "messages_in_flight": float64(limit), "channels": float64(count), "connections": float64(connections),
		},
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a, w := newAudience(r, r.channelNames(count), 1, 1), c.window(size)
			a.arrived = w.give
			before, start := resident(r.subPID), r.now()
			p, err := r.stage(ctx, a, size, func() error { return a.gather(ctx, connections, a.inTurn(each), itself) })
			if err != nil {
				return outcome{}, err
			}
			took, grown := r.now()-start, resident(r.subPID)-before
			random := rand.New(rand.NewPCG(uint64(r.repetition), 0))
			pick := func() int { return random.IntN(count) }
			return r.windowed(ctx, a, flood{p, w, pick}, func(u usage) []figure {
				return []figure{
					{"messages_per_s", "MSG/s", 0, u.rate()},
					{"megabytes_per_s", "MB/s", 1, u.rate() * float64(size) / 1e6},
					{"setup_s", "SET UP s", 2, took.Seconds()},
					{"bytes_per_channel", "B/CHANNEL", 0, grown / float64(count)},
				}
			})
		},
	}
}
