package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
)

func (c Config) load(size int) scenario {
	most := c.throughput(size)
	return scenario{
		name: "load", what: fmt.Sprintf("%d B, at %v of the greatest throughput, one subscriber", size, c.Load.Share),
		load: map[string]float64{"size_bytes": float64(size), "share": c.Load.Share, "messages_in_flight": most.load["messages_in_flight"]},
		play: func(ctx context.Context, r *rig) (outcome, error) {
			before, playing := r.another(ctx)
			defer before.close()
			greatest, counts, err := most.playOut(playing, before)
			if err != nil {
				return outcome{}, err
			}
			rate := shareOf(greatest, c.Load.Share)
			a, h := c.single(r, rate)
			o, err := r.paced(ctx, a, h, pacing{size: size, rate: rate})
			if err != nil {
				return outcome{}, err
			}
			o.figures = slices.Concat([]figure{
				{"rate_per_s", "RATE/s", 0, rate}, {"p99_to_p50", "P99/P50", 1, h.quantile(99) / h.quantile(50)},
			}, o.figures)
			count := o.count
			o.count = func() Counts {
				all := count()
				all.add(counts, 1)
				return all
			}
			return o, nil
		},
	}
}

// shareOf is a share of the messages a second that throughput measured. It is one at least: where that is not known, messages are lost, and to be counted.
func shareOf(throughput []figure, share float64) float64 {
	i := slices.IndexFunc(throughput, func(f figure) bool { return f.key == "messages_per_s" })
	if rate := throughput[i].value * share; !math.IsNaN(rate) {
		return max(rate, 1)
	}
	return 1
}
