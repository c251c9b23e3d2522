package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/simulate"
)

// simulateCommand runs meshes in virtual time.
type simulateCommand struct {
	Scenario string        `arg:"" optional:"" default:"growth" help:"growth: what a mesh of each size costs and how fast it is; storms: many nodes join, restart or are cut off at once; paths: how well paths follow latencies that change; processes: the largest mesh as processes on this computer, and the model beside."`
	Nodes    []int         `default:"10,50,100,250" help:"Sizes of the mesh, 3 to 4000; storms and processes take the largest."`
	FullMesh int           `help:"Up to how many nodes all are linked to each other; as a node has it without it."`
	Seed     uint64        `default:"1" help:"Seed of all that is random: the same gives the same run."`
	Latency  string        `help:"File of measured latencies that nodes are placed on; 36 cities without it." placeholder:"FILE"`
	Series   string        `default:"testdata/latency/planetlab64_series18.csv" help:"File of measured slices, for paths." placeholder:"FILE"`
	Jitter   float64       `default:"0.01" help:"What packets are late on average, as a share of their delay."`
	Loss     float64       `help:"Share of packets that are lost."`
	Rest     time.Duration `default:"30s" help:"How long processes are measured at rest, and with traffic."`
	Plot     string        `help:"Directory to write plots to, as SVG and PNG: convergence, control traffic and stretch over the number of nodes." placeholder:"DIR"`
	With     string        `help:"Report of other sizes, as --json printed it: the table, the growth and the plots have its rows, too. Large meshes take long." placeholder:"FILE"`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Run simulates and prints the report.
func (c *simulateCommand) Run(ctx context.Context, std streams) error {
	err := simulate.Run(ctx, simulate.Config{
		Scenario: c.Scenario, Nodes: c.Nodes, FullMesh: c.FullMesh, Seed: c.Seed, Latency: c.Latency, Series: c.Series,
		Jitter: c.Jitter, Loss: c.Loss, Rest: c.Rest, Plot: c.Plot, With: c.With, JSON: c.JSON, Out: std.out, Err: std.err,
	})
	if errors.Is(err, simulate.ErrConfig) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}
