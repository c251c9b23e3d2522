package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

func (c Config) idle() scenario {
	count := c.connections("idle")
	return scenario{
		name: "idle", what: fmt.Sprintf("%d connections with a channel each, idle for %v", count, c.Duration),
		load: map[string]float64{"connections": float64(count)},
		play: func(ctx context.Context, r *rig) (outcome, error) {
			a, w := newAudience(r, r.channelNames(count), 1, 1), c.window(minSize)
			a.arrived = w.give
			r.progress.say("warming up") // a node that has just begun still grows
			if err := sleep(ctx, c.WarmUp); err != nil {
				return outcome{}, err
			}
			before, start := resident(r.subPID), r.now()
			r.progress.say("connecting")
			if err := a.gather(ctx, count, a.inTurn(1), itself); err != nil {
				return outcome{}, err
			}
			took := r.now() - start
			r.progress.say("idle")
			m := a.meter()
			if err := sleep(ctx, c.Duration); err != nil {
				return outcome{}, err
			}
			u, grown := m.read(), resident(r.subPID)-before
			p, err := r.stage(ctx, a, minSize, func() error { return nil })
			if err != nil {
				return outcome{}, err
			}
			if err := p.round(ctx, w, count, func(i int) int { return i }); err != nil {
				return outcome{}, err
			}
			return r.finish(ctx, a, p, func() []figure {
				return slices.Concat([]figure{
					{"kib_per_connection", "KiB/CONNECTION", 1, grown / 1024 / float64(count)},
					{"connections_per_s", "CONNECTED/s", 0, float64(count) / took.Seconds()},
				}, u.load())
			})
		},
	}
}

// round publishes so many messages in a window, each to the channel that its number has.
func (p *publisher) round(ctx context.Context, w *window, count int, channel func(i int) int) error {
	for i := 0; i < count; {
		n, err := w.take(ctx)
		if errors.Is(err, errStalled) {
			return nil // what is lost will be counted
		}
		if err != nil {
			return err
		}
		for end := min(i+n, count); i < end; i++ {
			p.next(channel(i), 0)
		}
		if err := p.conn.flush(); err != nil {
			return err
		}
	}
	return nil
}
