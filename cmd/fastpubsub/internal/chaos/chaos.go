package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/testdata"
)

// Errors of Run.
var (
	ErrConfig = errors.New("chaos: bad configuration")
	ErrBroken = errors.New("chaos: promise broken") // messages lost, twice or out of order, or no recovery
)

// Config says what to drill. Zero values mean the defaults named.
type Config struct {
	Metros   []string      // where the nodes are, 3 to 16; default eight on all continents
	Drills   []string      // by name; default all
	Times    int           // how often each is played; default 1
	Duration time.Duration // drills are played over and over until this is over; default once
	Channels int           // default 10
	Rate     float64       // messages per second and channel; default 100
	Seed     uint64        // of the cast and the network; default 1
	JSON     bool          // print the report as JSON
	Out, Err io.Writer     // report and progress
}

// Result is how one drill went.
type Result struct {
	Drill string `json:"drill"`
	What  string `json:"what"`
	Counts
	Losses   []Loss  `json:"losses,omitempty"` // the first 100
	Gap      float64 `json:"longest_gap_ms"`   // silence of a flow whose ends lived and were not parted
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Recovery float64 `json:"recovery_ms"` // from the mending until all heard all; negative: not within patience
	Memory   float64 `json:"megabytes"`   // resident, of the largest node; 0 where the system does not tell
}

// broken reports whether the drill broke a promise.
func (r Result) broken() bool {
	return r.Lost > 0 || r.Duplicates > 0 || r.OutOfOrder > 0 || r.Recovery < 0 || r.Delivered == 0
}

func (c Config) normal() (Config, error) {
	if len(c.Metros) == 0 {
		c.Metros = []string{"Toronto", "Bangalore", "London", "Istanbul", "Lagos", "Paris", "Singapore", "Dubai"}
	}
	if c.Times == 0 {
		c.Times = 1
	}
	if c.Channels == 0 {
		c.Channels = 10
	}
	if c.Rate == 0 {
		c.Rate = 100
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	all := drills()
	if len(c.Drills) == 0 {
		for _, d := range all {
			c.Drills = append(c.Drills, d.name)
		}
	}
	for _, name := range c.Drills {
		if !slices.ContainsFunc(all, func(d drill) bool { return d.name == name }) {
			return c, fmt.Errorf("%w: no drill %q", ErrConfig, name)
		}
	}
	switch {
	case len(c.Metros) < 3 || len(c.Metros) > 16:
		return c, fmt.Errorf("%w: %d nodes, want 3 to 16", ErrConfig, len(c.Metros))
	case c.Times < 0 || c.Duration < 0 || c.Channels < 1 || c.Channels > 1000:
		return c, fmt.Errorf("%w: times, duration or channels out of range", ErrConfig)
	case !(c.Rate >= 0.1 && c.Rate <= 10_000):
		return c, fmt.Errorf("%w: a rate of %v messages/s is not from 0.1 to 10000", ErrConfig, c.Rate)
	}
	return c, nil
}

// Run plays the drills and prints a report. ErrBroken says that a promise was broken.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.normal()
	if err != nil {
		return err
	}
	matrix, err := wan.ParseMatrix(bytes.NewReader(testdata.Metro36CSV()))
	if err != nil {
		return err
	}
	if matrix, err = matrix.Subset(cfg.Metros); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	fmt.Fprintf(cfg.Err, "starting %d nodes: %s\n", matrix.Len(), strings.Join(matrix.Names(), ", "))
	c, err := newCluster(ctx, cfg, matrix)
	if err != nil {
		return err
	}
	results, err := c.playAll(ctx)
	for _, r := range results {
		if err == nil && r.broken() {
			err = fmt.Errorf("%w by drill %s; logs are in %s", ErrBroken, r.Drill, c.Dir)
		}
	}
	return errors.Join(err, c.close(err), report(cfg, results))
}

// playAll plays the drills in order as often as is wanted.
func (c *cluster) playAll(ctx context.Context) (results []Result, err error) {
	end := c.ledger.now() + c.cfg.Duration
	for first := true; first || c.ledger.now() < end; first = false {
		for _, d := range drills() {
			if !slices.Contains(c.cfg.Drills, d.name) {
				continue
			}
			for range c.cfg.Times {
				r, err := c.play(ctx, d)
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					return results, err
				}
				fmt.Fprintln(c.cfg.Err, r)
				for _, l := range r.Losses {
					fmt.Fprintln(c.cfg.Err, l)
				}
				results = append(results, r)
			}
		}
	}
	return results, nil
}

// play plays one drill: from rest to rest.
func (c *cluster) play(ctx context.Context, d drill) (Result, error) {
	parted := func(int, int) bool { return false }
	if d.parted != nil {
		parted = d.parted(c)
	}
	c.ledger.begin(parted)
	c.resume()
	sleep(ctx, breath)
	what, recovery, err := d.play(ctx, c)
	if err != nil {
		return Result{}, err
	}
	sleep(ctx, breath)
	c.pause()
	for late := c.ledger.now() + drainPatience; c.ledger.behind() > 0 && c.ledger.now() < late && ctx.Err() == nil; {
		sleep(ctx, 10*time.Millisecond)
	}
	counts, losses, gap, samples := c.ledger.end()
	r := Result{Drill: d.name, What: what, Counts: counts, Losses: losses, Gap: millis(gap), Recovery: millis(recovery)}
	for i, l := range r.Losses {
		r.Losses[i].From, r.Losses[i].To = c.Nodes[l.from].Name, c.Nodes[l.to].Name
	}
	if len(samples) > 0 {
		r.P50, r.P99 = millis(samples[len(samples)/2]), millis(samples[len(samples)*99/100])
	}
	for _, n := range c.Nodes {
		r.Memory = max(r.Memory, float64(n.Memory())/1e6)
	}
	return r, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// String is a line of the report.
func (r Result) String() string {
	return fmt.Sprintf("%-9s  %9d  %4d  %4d  %5d  %7d  %7d  %7.0f  %6.1f  %6.1f  %8.0f  %4.0f  %s", r.Drill, r.Delivered, r.Lost, r.Duplicates,
		r.OutOfOrder, r.Expired, r.CutOff, r.Gap, r.P50, r.P99, r.Recovery, r.Memory, r.What)
}

// report prints all results.
func report(cfg Config, results []Result) error {
	if cfg.JSON {
		return json.NewEncoder(cfg.Out).Encode(results)
	}
	var text strings.Builder
	text.WriteString("DRILL      DELIVERED  LOST  DUPL  ORDER  EXPIRED  CUT OFF   GAP ms  P50 ms  P99 ms  RECOV ms    MB  WHAT\n")
	for _, r := range results {
		text.WriteString(r.String() + "\n")
	}
	_, err := io.WriteString(cfg.Out, text.String())
	return err
}
