package bench

import (
	"context"
	"runtime"
	"slices"
)

// scenario is something to measure, with a certain load.
type scenario struct {
	name, what string
	load       map[string]float64 // what describes it in numbers
	play       func(ctx context.Context, r *rig) (outcome, error)
}

// playOut plays it on a rig of its own, given with the context that ends with it, and closes that.
func (s scenario) playOut(playing context.Context, r *rig) ([]figure, Counts, error) {
	o, err := s.play(playing, r)
	if err != nil {
		if cause := context.Cause(playing); cause != nil {
			err = cause // a connection that failed makes others fail
		}
		return nil, Counts{}, err
	}
	r.close()
	return o.figures, o.count(), nil
}

// outcome is what one repetition measured, and how to count what became of its messages once its rig is closed.
type outcome struct {
	figures []figure
	count   func() Counts
}

// figure is a number in the report, under a heading or, in JSON, a key. NaN is not known.
type figure struct {
	key, head string
	digits    int
	value     float64
}

// Names are all scenarios, in the order of a tour.
func Names() []string {
	return []string{"latency", "throughput", "load", "fanout", "slow", "idle", "channels"}
}

// scenarios are those configured, one for each size where that matters.
func (c Config) scenarios() (all []scenario) {
	for _, name := range Names() {
		if !slices.Contains(c.Scenarios, name) {
			continue
		}
		for _, size := range c.sizes(name) {
			switch name {
			case "latency":
				all = append(all, c.latency(size))
			case "throughput":
				all = append(all, c.throughput(size))
			case "load":
				all = append(all, c.load(size))
			case "fanout":
				all = append(all, c.fanoutPaced(size), c.fanoutWindowed(size))
			case "slow":
				all = append(all, c.slow(size))
			case "idle":
				all = append(all, c.idle())
			case "channels":
				all = append(all, c.manyChannels(size))
			}
		}
	}
	return all
}

// sizes are the sizes of messages of a scenario.
func (c Config) sizes(name string) []int {
	switch {
	case name == "idle":
		return []int{minSize}
	case len(c.Load.Sizes) > 0:
		return c.Load.Sizes
	case name == "throughput":
		return []int{128, 16 << 10}
	default:
		return []int{128}
	}
}

// stage has the audience gather, connects a publisher and tunes them.
func (r *rig) stage(ctx context.Context, a *audience, size int, gather func() error) (*publisher, error) {
	r.progress.say("connecting")
	if err := gather(); err != nil {
		return nil, err
	}
	p, err := newPublisher(ctx, a, size)
	if err != nil {
		return nil, err
	}
	r.progress.say("waiting for interest to spread")
	if err := a.tune(ctx, p); err != nil {
		return nil, err
	}
	runtime.GC() // what setting up has left
	return p, nil
}

// finish waits for what is under way and then asks for the figures.
func (r *rig) finish(ctx context.Context, a *audience, p *publisher, figures func() []figure) (outcome, error) {
	r.progress.say("waiting for the last messages")
	if err := a.drain(ctx, p.sent); err != nil {
		return outcome{}, err
	}
	return outcome{figures(), func() Counts { return a.count(p.sent) }}, nil
}

// channelNames are those of the first so many channels of this repetition.
func (r *rig) channelNames(count int) (all []string) {
	for i := range count {
		all = append(all, r.channelName(i))
	}
	return all
}

// itself is the pattern of a single subscriber of a channel.
func itself(name string) []string { return []string{name} }
