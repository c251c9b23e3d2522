package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/demo"
)

// demoCommand shows a mesh at work on this machine.
type demoCommand struct {
	Nodes    int           `help:"Number of nodes, 2 to 36, each at a metro of its own; 8 without --metros." placeholder:"N"`
	Metros   []string      `help:"Metros of the nodes, in place of a choice that shows much." placeholder:"NAME,..."`
	Duration time.Duration `help:"End after this time; without it, at q or Ctrl-C." placeholder:"TIME"`
	JSON     bool          `name:"json" help:"Show nothing live; print a report as JSON at the end, and progress to standard error."`
	Script   []string      `help:"Faults to make: a file, or text such as '10s slow Tokyo London 80ms; 20s block Paris Toronto; 30s kill Dubai; 40s heal'. May be given several times." sep:"none" placeholder:"SCRIPT"`
	Rate     float64       `help:"Messages per second from each metro to each other; by default 5, less with many nodes." placeholder:"RATE"`
	Seed     uint64        `default:"1" help:"Seed of jitter, loss and the nodes' keys."`
	WS       string        `name:"ws" env:"FASTPUBSUB_DEMO_WS" help:"Also serve browsers here: a live map of the mesh, and clients of the first node." placeholder:"HOST:PORT"`
	Log      string        `help:"File for the logs of the nodes." type:"path" placeholder:"FILE"`
}

// Run runs the demo until its time is over, the user quits or the context ends.
func (c *demoCommand) Run(ctx context.Context, std streams) (err error) {
	cfg := demo.Config{
		Nodes: c.Nodes, Metros: c.Metros, Duration: c.Duration, JSON: c.JSON, Rate: c.Rate, Seed: c.Seed, WS: c.WS,
		In: std.in, Out: std.out, Err: std.err,
	}
	for _, given := range c.Script {
		script, err := readScript(given)
		if err != nil {
			return fmt.Errorf("%w: --script: %w", errUsage, err)
		}
		cfg.Script = cfg.Script.Join(script)
	}
	if c.Log != "" {
		file, err := os.Create(c.Log)
		if err != nil {
			return fmt.Errorf("%w: --log: %w", errUsage, err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		cfg.Log = file
	}
	err = demo.Run(ctx, cfg)
	if errors.Is(err, demo.ErrConfig) || errors.Is(err, demo.ErrScript) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

// readScript takes text that is a script for one, and else for the name of a file with a script.
func readScript(given string) (demo.Script, error) {
	script, err := demo.ParseScript(given)
	if err == nil {
		return script, nil
	}
	text, readErr := os.ReadFile(given)
	if readErr != nil {
		return demo.Script{}, err
	}
	return demo.ParseScript(string(text))
}
