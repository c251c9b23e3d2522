package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/bench"
)

// benchCommand measures a mesh.
type benchCommand struct {
	Scenarios     []string      `arg:"" optional:"" help:"What to measure: latency, throughput, load, fanout, slow, idle, channels; all without it."`
	URL           string        `name:"url" help:"WebSocket address of the publisher's node; without it nodes are started on this computer." placeholder:"URL"`
	SubURL        string        `name:"sub-url" help:"WebSocket address of the subscribers' node; --url without it." placeholder:"URL"`
	Token         string        `help:"Access token, good for bench.#." placeholder:"AT_..."`
	Tenant        string        `default:"~" help:"Tenant of the channels."`
	Nodes         int           `default:"2" help:"Number of nodes to start: the publisher's is the first, the subscribers' the second."`
	Size          []int         `help:"Bytes of a message, 24 to 65535; 128 without it, for throughput also 16384." placeholder:"BYTES,..."`
	Rate          float64       `help:"Messages per second at an even rate; 1000 for latency, 20 for fanout and 100 for slow without it." placeholder:"RATE"`
	Share         float64       `default:"0.5" help:"Share of the greatest throughput, at which load measures latency."`
	Subscribers   int           `default:"1000" help:"Subscribers of fanout and slow."`
	Slow          int           `default:"1" help:"Slow subscribers of slow."`
	Connections   int           `help:"Connections of fanout and slow, idle and channels; one a subscriber, 2000 and 100 without it." placeholder:"N"`
	Channels      int           `default:"10000" help:"Channels of channels."`
	InFlight      int           `default:"4096" help:"Messages in flight at most, where as many as possible are sent."`
	InFlightBytes int           `default:"524288" help:"Bytes of them at most. A node drops what it cannot queue for a subscriber, 16 MiB by default."`
	Duration      time.Duration `default:"3s" help:"Time of a measurement."`
	WarmUp        time.Duration `default:"1s" help:"Time before it that does not count."`
	Repetitions   int           `default:"3" help:"How often each is measured; medians are reported."`
	JSON          bool          `name:"json" help:"Print the report as JSON."`
}

// Run measures; an error also says that a message was lost, came twice or out of order.
func (c *benchCommand) Run(ctx context.Context, std streams) error {
	err := bench.Run(ctx, bench.Config{
		Scenarios: c.Scenarios,
		Target:    bench.Target{URL: c.URL, SubURL: c.SubURL, Token: c.Token, Tenant: c.Tenant, Nodes: c.Nodes},
		Load: bench.Load{
			Sizes: c.Size, Rate: c.Rate, Share: c.Share, Subscribers: c.Subscribers, Slow: c.Slow, Connections: c.Connections, Channels: c.Channels,
			InFlight: c.InFlight, InFlightBytes: c.InFlightBytes,
		},
		Duration: c.Duration, WarmUp: c.WarmUp, Repetitions: c.Repetitions, JSON: c.JSON, Version: versionText(), Out: std.out, Err: std.err,
	})
	if errors.Is(err, bench.ErrConfig) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}
