package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/fleet"
	"github.com/fastpubsub/fastpubsub/mesh/scale"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// ErrBroken says that real nodes did not do what they promise.
var ErrBroken = errors.New("simulate: promise broken")

// MaxProcesses bounds a mesh of processes: each takes memory and a share of the processors.
const MaxProcesses = 200

const (
	processPatience = 2 * time.Minute
	processPoll     = 50 * time.Millisecond
	processEvery    = time.Second           // between two starts, at least: each costs this computer a process
	processEach     = 50 * time.Millisecond // for each node, since each that is there shakes hands with the new one and tells all others of it
	watchedNodes    = 8                     // whose routes are looked at after a cut, besides those at its ends: a look at all takes long
	udpHead         = 28
	subscribers     = 4 // whose subscriptions are timed
)

// Real is what came of nodes that are processes, and of the model that went through the same.
type Real struct {
	Nodes     int           `json:"nodes"`
	Processes scale.Figures `json:"processes"`
	Model     scale.Figures `json:"model"`
	IdleCPU   float64       `json:"idle_cpu_ms_per_s"` // of a process
	BusyCPU   float64       `json:"busy_cpu_ms_per_s"` // with traffic
	Memory    float64       `json:"megabytes"`         // resident, of a process
	Traffic   traffic       `json:"traffic"`
}

// delays are those between the nodes of a fleet.
type delays struct {
	nodes  int
	delay  scale.Delay
	jitter float64
}

func (d delays) Len() int { return d.nodes }

func (d delays) OneWay(from, to int) (time.Duration, bool) { return d.delay(from, to), true }

func (d delays) Jitter(from, to int) time.Duration {
	return time.Duration(float64(d.delay(from, to)) * d.jitter)
}

// processes puts the largest mesh through a rehearsal twice: as processes on this computer, and as the model.
func processes(ctx context.Context, cfg *Config, sites *scale.Sites) error {
	n := slices.Max(cfg.Nodes)
	if n > MaxProcesses || cfg.Rest < time.Second {
		return fmt.Errorf("%w: %d processes and %v of rest, want at most %d and at least 1 s", ErrConfig, n, cfg.Rest, MaxProcesses)
	}
	play := scale.Rehearsal{
		Nodes: n, Subscriptions: subscribers, Cuts: 6, Joins: 2, Every: max(processEvery, time.Duration(n)*processEach), Settle: cfg.Rest, Rest: cfg.Rest, Seed: cfg.Seed,
		FullMesh: cfg.FullMesh,
	}
	play.Delay = sites.Draw(n+play.Joins, cfg.Seed)
	r := &reality{Config: cfg, play: &play, out: Real{Nodes: n}}
	if err := r.run(ctx); err != nil {
		return err
	}
	r.say("model")
	r.out.Model = play.Run()
	if cfg.JSON {
		return encode(cfg.Out, r.out)
	}
	r.out.print(cfg.Out)
	return nil
}

// reality is a rehearsal of processes.
type reality struct {
	*Config

	play    *scale.Rehearsal
	fleet   *fleet.Fleet
	clients []*client.Client
	tally   *tally
	out     Real
}

func (r *reality) say(what string) { fmt.Fprintf(r.Err, "%5d processes: %s\n", r.play.Nodes, what) }

func (r *reality) run(ctx context.Context) (err error) {
	all := r.play.Nodes + r.play.Joins
	names := make([]string, all)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	r.fleet, err = fleet.New(fleet.Config{
		Names: names, Delays: delays{all, r.play.Delay, r.Jitter}, Seed: r.Seed, Secret: trust.NewSecret(), FullMesh: r.FullMesh, Threads: 1, // they have too few processors as it is, and each more thread costs switches
		Over: func(site int) int { return min(site, 1) - 1 }, // all through the first, as simulated
	})
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range r.clients {
			err = errors.Join(err, c.Close())
		}
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w; logs are in %s", err, r.fleet.Dir)
		}
		err = errors.Join(err, r.fleet.Close(err != nil && ctx.Err() == nil))
	}()
	for _, part := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"start", r.form}, {"idle", r.idle}, {"subscriptions", r.subscribe}, {"traffic", r.traffic}, {"cuts", r.cut}, {"joins", r.join},
	} {
		r.say(part.what)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
	}
	return nil
}

// form starts all nodes but those that join later.
func (r *reality) form(ctx context.Context) error {
	began := time.Now()
	for i := range r.play.Nodes {
		if err := r.fleet.Nodes[i].Start(); err != nil {
			return err
		}
		if err := sleep(ctx, time.Until(began.Add(time.Duration(i+1)*r.play.Every))); err != nil {
			return err
		}
	}
	if err := r.routed(ctx, r.play.Nodes); err != nil {
		return err
	}
	r.out.Processes.Formed = time.Since(began)
	return nil
}

// nodeState is what is wanted of a node's own view.
type nodeState struct {
	Routes []struct {
		Path []string `json:"path"`
	} `json:"routes"`
	Counters map[string]uint64 `json:"counters"`
}

// routed waits until so many nodes have routes to each other.
func (r *reality) routed(ctx context.Context, count int) error {
	for _, n := range r.fleet.Nodes[:count] {
		var s nodeState
		err := r.until(ctx, func() (bool, error) {
			err := n.Look(ctx, &s)
			return err == nil && len(s.Routes) >= count-1, ctx.Err() // it may not listen yet
		})
		if err != nil {
			return fmt.Errorf("%s has routes to %d of %d: %w", n.Name, len(s.Routes), count-1, err)
		}
	}
	return nil
}

// until waits until something holds.
func (r *reality) until(ctx context.Context, holds func() (bool, error)) error {
	for began := time.Now(); time.Since(began) < processPatience; {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		if err := sleep(ctx, processPoll); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: not within %v", ErrBroken, processPatience)
}

// idle counts what goes over the network at rest.
func (r *reality) idle(ctx context.Context) error {
	if err := sleep(ctx, r.play.Settle); err != nil {
		return err
	}
	swim, err := r.swim(ctx)
	if err != nil {
		return err
	}
	before, cpu := r.fleet.Emulator.Stats(), r.cpu()
	if err := sleep(ctx, r.play.Rest); err != nil {
		return err
	}
	after, cpuAfter := r.fleet.Emulator.Stats(), r.cpu()
	swimAfter, err := r.swim(ctx)
	if err != nil {
		return err
	}
	per := 1 / r.play.Rest.Seconds() / float64(r.play.Nodes)
	f := &r.out.Processes
	f.Idle = float64(after.SentBytes-before.SentBytes+udpHead*(after.Sent-before.Sent)) * per
	f.SWIM = float64(swimAfter-swim) * per
	r.out.IdleCPU = (cpuAfter - cpu).Seconds() * 1000 * per
	return nil
}

// swim is what SWIM's packets have taken at all nodes.
func (r *reality) swim(ctx context.Context) (bytes uint64, err error) {
	for _, n := range r.fleet.Nodes[:r.play.Nodes] {
		var s nodeState
		if err := n.Look(ctx, &s); err != nil {
			return 0, err
		}
		bytes += s.Counters["swim_bytes_out"] + udpHead*s.Counters["swim_packets_out"]
	}
	return bytes, nil
}

func (r *reality) cpu() (sum time.Duration) {
	for _, n := range r.fleet.Nodes[:r.play.Nodes] {
		sum += n.CPU()
	}
	return sum
}

// cut cuts links, one after another.
func (r *reality) cut(ctx context.Context) error {
	for k := range r.play.Cuts {
		a, b := r.play.CutOf(k)
		began := time.Now()
		r.fleet.Emulator.Block(a, b, true)
		err := r.until(ctx, func() (bool, error) {
			uses, err := r.uses(ctx, a, b)
			return !uses, err
		})
		if err != nil {
			return fmt.Errorf("a link that was cut is in use: %w", err)
		}
		r.out.Processes.Cut = append(r.out.Processes.Cut, time.Since(began))
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// uses reports whether a route of one of the nodes looked at takes the link between two.
func (r *reality) uses(ctx context.Context, a, b int) (bool, error) {
	from, to := r.fleet.Nodes[a].Name, r.fleet.Nodes[b].Name
	for i, n := range r.fleet.Nodes[:r.play.Nodes] {
		if i%(1+r.play.Nodes/watchedNodes) != 0 && i != a && i != b {
			continue
		}
		var s nodeState
		if err := n.Look(ctx, &s); err != nil {
			return false, err
		}
		for _, route := range s.Routes {
			for k := 1; k < len(route.Path); k++ {
				x, y := route.Path[k-1], route.Path[k]
				if x == from && y == to || x == to && y == from {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// join starts the last nodes.
func (r *reality) join(ctx context.Context) error {
	for k := range r.play.Joins {
		began := time.Now()
		if err := r.fleet.Nodes[r.play.Nodes+k].Start(); err != nil {
			return err
		}
		if err := r.routed(ctx, r.play.Nodes+k+1); err != nil {
			return err
		}
		r.out.Processes.Joined = append(r.out.Processes.Joined, time.Since(began))
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// print prints both beside each other.
func (r *Real) print(out io.Writer) {
	fmt.Fprintf(out, "%d nodes as processes on %d processors, and as the model has it\n", r.Nodes, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "PROCESSES\tMODEL\t  ")
	p, m := &r.Processes, &r.Model
	row := func(format string, real, model float64, what string) {
		fmt.Fprintf(w, format+"\t"+format+"\t  %s\n", real, model, what)
	}
	row("%.1f", p.Formed.Seconds(), m.Formed.Seconds(), "s from the first start until all have routes to all")
	row("%.0f", p.Idle, m.Idle, "B/s sent by a node at rest")
	row("%.0f", p.SWIM, m.SWIM, "B/s of these by SWIM")
	row("%.0f", median(p.Spread), median(m.Spread), "ms from a subscription until all nodes are known to know of it, median")
	row("%.0f", median(p.Cut), median(m.Cut), "ms from the cut of a link until no route takes it, median")
	row("%.0f", most(p.Cut), most(m.Cut), "ms, the longest")
	row("%.0f", median(p.Joined), median(m.Joined), "ms from a node's start until it and all others have routes to each other, median")
	_ = w.Flush()
	t := &r.Traffic
	fmt.Fprintf(out, "a process takes %.1f MB, and %.1f ms of processor time a second at rest, %.1f with traffic\n", r.Memory, r.IdleCPU, r.BusyCPU)
	fmt.Fprintf(out, "traffic: %d sent, %d delivered, %d lost, %d twice, %d out of order; mean delay %.1f ms, the direct paths' %.1f\n",
		t.Sent, t.Delivered, t.Lost, t.Twice, t.Disorder, t.Delay, t.Direct)
}

func median(d []time.Duration) (ms float64) {
	if len(d) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(d))[(len(d)-1)/2].Seconds() * 1e3
}

func most(d []time.Duration) (ms float64) {
	if len(d) == 0 {
		return 0
	}
	return slices.Max(d).Seconds() * 1e3
}
