package mesh

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

// How many seeds TestChaos runs, and which is the first.
const (
	chaosSeedsEnv = "FASTPUBSUB_CHAOS_SEEDS"
	chaosSeedEnv  = "FASTPUBSUB_CHAOS_SEED"
	chaosSeeds    = 4
)

func fromEnv(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// chaos is a mesh that goes through a script.
type chaos struct {
	*cluster
	script  *script
	ledger  *ledger
	boots   []uint64 // by node
	dead    []bool
	stops   []context.CancelFunc // of publishers, by node
	traffic sync.WaitGroup
}

// TestChaos breaks whole meshes by scripts made from seeds, with traffic on them. Between nodes that live through it every message
// comes once and in order, and none is lost that a working path was there for; at the end one mesh is left, with nothing under way.
func TestChaos(t *testing.T) {
	first := fromEnv(t, chaosSeedEnv, 1)
	metros := chaosMetros(t)
	for seed := first; seed < first+fromEnv(t, chaosSeedsEnv, chaosSeeds); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			s := newScript(seed, metros)
			defer func() {
				if t.Failed() {
					t.Logf("%s=%d repeats this:\n%v", chaosSeedEnv, seed, s)
				}
			}()
			synctest.Test(t, func(t *testing.T) { runScript(t, s) })
		})
	}
}

// The same seed is the same script.
func TestChaosScriptRepeats(t *testing.T) {
	metros := chaosMetros(t)
	for seed := range uint64(50) {
		a, b := newScript(seed, metros), newScript(seed, metros)
		if a.String() != b.String() {
			t.Fatalf("seed %d is two scripts:\n%v\n%v", seed, a, b)
		}
		for i := range a.size {
			if _, owed := a.due(i, (i+1)%a.size, 0, a.traffic()+backLate); !owed {
				t.Errorf("seed %d: at the end nothing is owed:\n%v", seed, a)
			}
		}
	}
}

func chaosMetros(t *testing.T) [][]time.Duration {
	m := loadMetros(t)
	out := make([][]time.Duration, m.Len())
	for i := range out {
		out[i] = make([]time.Duration, m.Len())
		for j := range out {
			out[i][j], _ = m.OneWay(i, j)
		}
	}
	return out
}

func runScript(t *testing.T, s *script) {
	c := &chaos{
		cluster: &cluster{t: t, net: simnet.New(simnet.Config{Seed: s.seed})}, script: s, ledger: newLedger(),
		boots: make([]uint64, s.size), dead: make([]bool, s.size), stops: make([]context.CancelFunc, s.size),
	}
	if s.seed%5 == 0 { // neighbours are chosen, as in a large mesh
		c.adjust = func(_ int, cfg *Config) { cfg.FullMesh = 3 }
	}
	defer c.end()
	c.setPaths(0)
	for i := range s.size {
		c.join(i)
	}
	c.meshed(10 * time.Second)
	time.Sleep(time.Second) // interest spreads
	c.ledger.began = time.Now()
	for i := range s.size {
		c.populate(i)
	}
	c.play()
	for _, stop := range c.stops {
		stop()
	}
	c.traffic.Wait()
	time.Sleep(DefaultDeadline)
	c.meshed(5 * time.Second)
	c.optimal()
	c.exam()
	c.idle()
	sum := c.ledger.judge(s)
	t.Logf("%d nodes, %d faults: %d messages came, %d had no path; the slowest took %v once there was one",
		s.size, len(s.faults), sum.came, sum.excused, sum.slowest)
	for i, fault := range c.ledger.faults {
		if i == 20 {
			t.Errorf("and %d faults more", len(c.ledger.faults)-i)
			break
		}
		t.Error(fault)
	}
	if t.Failed() {
		for i := range c.nodes {
			t.Log(c.describe(i))
		}
	}
}

func (c *chaos) end() {
	for _, stop := range c.stops {
		if stop != nil {
			stop()
		}
	}
	for _, n := range c.nodes {
		n.stop()
	}
	c.traffic.Wait()
	c.group.Wait()
	time.Sleep(30 * time.Second) // memberlist's streams end by themselves
	c.net.Close()
}

// join starts a node's next run, with its subscriptions.
func (c *chaos) join(i int) {
	c.boots[i]++
	var joins []int
	if i > 0 {
		joins = append(joins, (i-1)/2)
	}
	if c.boots[i] > 1 { // any other will do, and one of them may be dead
		joins = []int{(i + 1) % c.script.size, (i + 2) % c.script.size, (i + 3) % c.script.size}
	}
	n := c.startTapped(i, c.boots[i], c.ledger.receiver(run{i, c.boots[i]}, c.script.wants[i]), joins...)
	if c.boots[i] > 1 {
		c.nodes = slices.Delete(c.nodes, len(c.nodes)-1, len(c.nodes))
		c.nodes[i] = n
	}
	for channel, wanted := range c.script.wants[i] {
		if wanted {
			n.subscribe(c.t, fmt.Sprint("c", channel))
		}
	}
	c.dead[i] = false
}

// populate starts a node's publishers.
func (c *chaos) populate(i int) {
	ctx, stop := context.WithCancel(context.Background())
	c.stops[i] = stop
	for _, p := range c.script.streams {
		if p.node == i {
			n, f := c.nodes[i], flow{run{i, c.boots[i]}, p.channel}
			c.traffic.Go(func() { c.publish(ctx, n, f, p) })
		}
	}
}

// play lets happen what the script says, up to the end of traffic.
func (c *chaos) play() {
	var turns []time.Duration
	for _, f := range c.script.faults {
		turns = append(turns, f.from, f.to)
	}
	slices.Sort(turns)
	for _, at := range append(slices.Compact(turns), c.script.traffic()) {
		time.Sleep(time.Until(c.ledger.began.Add(at)))
		c.setPaths(at)
		for _, f := range c.script.faults {
			switch {
			case f.kind == kill && f.from == at:
				c.dead[f.a] = true
				c.net.Kill(c.nodes[f.a].ip)
				c.stops[f.a]()
				c.nodes[f.a].stop()
			case f.kind == kill && f.to == at:
				c.join(f.a)
				c.populate(f.a)
			}
		}
	}
}

// setPaths makes the network what it is at a time of the script.
func (c *chaos) setPaths(at time.Duration) {
	for i := range c.script.size {
		for j := range c.script.size {
			if i == j {
				continue
			}
			if p := c.script.path(i, j, at); p != c.net.Path(ipOf(i), ipOf(j)) {
				c.net.SetPath(ipOf(i), ipOf(j), p)
			}
		}
	}
}

// idle checks that nothing is under way any more.
func (c *chaos) idle() {
	for i, n := range c.nodes {
		if f := n.endpoint.Flights(); f != (forward.FlightState{}) {
			c.t.Errorf("n%d has under way at the end: %+v", i, f)
		}
	}
}

// optimal checks that, a while after all is whole again, routes are about as short as they can be, given that costs count loss too.
// Links that went down often are kept out for some time (latency, flaps).
func (c *chaos) optimal() {
	if c.adjust != nil {
		return // not all links that the shortest paths are made of are chosen
	}
	network := c.script.network(c.t)
	shortest := network.Oracle(0)
	var detours []string
	for range 40 {
		if detours = c.detours(network, shortest); len(detours) == 0 {
			return
		}
		time.Sleep(time.Second)
	}
	c.t.Errorf("40 s after the end routes are too long: %v", detours)
}

// detours are the routes that are longer than they need be.
func (c *chaos) detours(network *wan.Matrix, shortest [][]time.Duration) (found []string) {
	number := map[string]int{}
	for i, n := range c.nodes {
		number[n.Name()] = i
	}
	for i, n := range c.nodes {
		view, _ := n.View()
		for _, r := range view.Routes {
			length := time.Duration(0)
			for hop := 1; hop < len(r.Path); hop++ {
				delay, _ := network.OneWay(number[r.Path[hop-1]], number[r.Path[hop]])
				length += delay
			}
			best := shortest[i][number[r.Name]]
			if length > best*5/4+15*time.Millisecond {
				found = append(found, fmt.Sprintf("n%d reaches %s in %v by %v, and could in %v", i, r.Name, length, r.Path, best))
			}
		}
	}
	return found
}

// exam has every node publish once more to every channel, those that were started again too: nobody is left out.
func (c *chaos) exam() {
	last := map[flow]int{}
	for i, n := range c.nodes {
		for ch := range scriptChannels {
			f := flow{run{i, c.boots[i]}, ch}
			last[f] = c.ledger.count(f)
			n.publish(c.t, fmt.Sprint("c", ch), string(c.ledger.publish(f, 0)))
		}
	}
	time.Sleep(2 * time.Second)
	for to := range c.nodes {
		for f, number := range last {
			if f.from.node == to || !c.script.wants[to][f.channel] {
				continue
			}
			if c.ledger.next(run{to, c.boots[to]}, f) <= number {
				c.t.Errorf("the last message of %v did not come to n%d", f, to)
			}
		}
	}
}

// describe is what a node knows that bears on who gets what.
func (c *chaos) describe(i int) string {
	n := c.nodes[i]
	v, ok := n.View()
	if !ok {
		return fmt.Sprintf("n%d has stopped: %v", i, n.err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "n%d: under way %+v; dropped", i, n.endpoint.Flights())
	for reason, count := range v.Dropped {
		if count > 0 {
			fmt.Fprintf(&b, " %d %s", count, reason)
		}
	}
	b.WriteString("; reaches")
	for _, r := range v.Routes {
		fmt.Fprintf(&b, " %s", r.Name)
	}
	for channel := range scriptChannels {
		fmt.Fprintf(&b, "; c%d for", channel)
		ids := n.index.Lookup(nil, interest.AppendQuery(nil, "t", fmt.Sprint("c", channel)))
		for j, other := range c.nodes {
			if slices.Contains(ids, other.ID()) {
				fmt.Fprintf(&b, " n%d", j)
			}
		}
	}
	return b.String()
}
