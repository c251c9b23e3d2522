package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Run measures and prints a report. ErrBroken says that a message was lost, came twice or out of order. What was measured before an error is
// reported nonetheless.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.normal()
	if err != nil {
		return err
	}
	if cfg.Target.Program == "" {
		if cfg.Target.Program, err = os.Executable(); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	show := newProgress(cfg.Err)
	results, err := runAll(ctx, cfg, show)
	show.close()
	for _, r := range results {
		if err == nil && r.Counts.broken() {
			err = fmt.Errorf("%w in %s", ErrBroken, r.Scenario)
		}
	}
	if len(results) == 0 {
		return err
	}
	return errors.Join(err, newReport(cfg, results).print(cfg))
}

// runAll plays all scenarios until one fails.
func runAll(ctx context.Context, cfg Config, show *progress) (results []Result, err error) {
	for _, s := range cfg.scenarios() {
		result := Result{Scenario: s.name, What: s.what, Load: s.load}
		for i := range cfg.Repetitions {
			show.begin(fmt.Sprintf("%s, %s: %d of %d", s.name, s.what, i+1, cfg.Repetitions))
			if err = repeat(ctx, cfg, s, show, &result); err != nil {
				err = fmt.Errorf("%w (%s, %s)", err, s.name, s.what)
				break
			}
		}
		if result.Repetitions > 0 {
			results = append(results, result)
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// repeat plays a scenario once, on nodes of its own if there are no addresses, and adds what came out to its result.
func repeat(ctx context.Context, cfg Config, s scenario, show *progress, result *Result) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		// Ctrl-C reaches the nodes too: what they then do is not the cause.
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	pub, sub, pids, subPID := cfg.Target.URL, cfg.Target.SubURL, []int(nil), 0
	if pub == "" {
		show.say("starting nodes")
		c, err := startCluster(ctx, cfg.Target.Program, cfg.Target.Nodes)
		if err != nil {
			return err
		}
		defer c.end()
		second := min(1, len(c.nodes)-1)
		pub, sub, pids = c.nodes[0].gate, c.nodes[second].gate, c.pids()
		subPID = pids[second]
	}
	r, playing := newRig(ctx, cfg, pub, sub)
	defer r.close()
	r.pids, r.subPID, r.progress = pids, subPID, show
	figures, counts, err := s.playOut(playing, r)
	if err != nil {
		return err
	}
	result.add(figures, counts)
	return nil
}
