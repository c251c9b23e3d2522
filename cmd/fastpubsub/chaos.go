package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/chaos"
)

// chaosCommand drills a cluster of processes on this machine.
type chaosCommand struct {
	Metros   []string      `help:"Cities of the nodes, 3 to 16; eight on all continents without it." placeholder:"NAME,..."`
	Drill    []string      `help:"What breaks: quiet, kill, block, one-way, slow, loss, pause, freeze, partition, rolling, rotate; all without it." placeholder:"NAME,..."`
	Times    int           `default:"1" help:"How often each drill is played."`
	Duration time.Duration `help:"Play the drills over and over for so long." placeholder:"TIME"`
	Channels int           `default:"10" help:"Number of channels, each with two publishers and up to three subscribers."`
	Rate     float64       `default:"100" help:"Messages per second and channel."`
	Seed     uint64        `default:"1" help:"Seed of who publishes what, and of the network."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Run plays the drills; an error says that a promise was broken.
func (c *chaosCommand) Run(ctx context.Context, std streams) error {
	err := chaos.Run(ctx, chaos.Config{
		Metros: c.Metros, Drills: c.Drill, Times: c.Times, Duration: c.Duration, Channels: c.Channels, Rate: c.Rate, Seed: c.Seed,
		JSON: c.JSON, Out: std.out, Err: std.err,
	})
	if errors.Is(err, chaos.ErrConfig) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}
