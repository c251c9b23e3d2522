package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// clusterConfig is what a cluster is made of.
type clusterConfig struct {
	matrix *wan.Matrix // of the cluster's metros alone: site i of the emulation is metro i
	places map[string]wan.Place
	ledger *ledger
	timing latency.Config
	seed   uint64
	log    zerolog.Logger

	browsers string // TCP address at which the first metro's node takes browsers; empty: none does
}

// cluster is a node at every metro, the emulated network between them, and what was done to it. One goroutine, the conductor's, owns it.
type cluster struct {
	clusterConfig
	names    []string // by site, as all slices here
	addrs    []string // UDP, the same in each life of a node
	keys     []ed25519.PrivateKey
	sites    map[wire.NodeID]int // never changes
	emulator *wan.Emulator
	stations []*station
	paces    []*pace
	interval time.Duration // between the messages of a pair
	random   *rand.Rand
	dead     []bool
	links    []linkFault   // standing
	startAt  time.Duration // of the next node
	group    sync.WaitGroup

	mu     sync.Mutex // guards failed, and keeps Kill and Revive of a site in order
	failed []error
}

// linkFault is what stands against the link of two sites.
type linkFault struct {
	a, b int
	what string
}

func newCluster(cfg clusterConfig, interval time.Duration) (*cluster, error) {
	emulator, err := wan.NewEmulator(cfg.matrix, cfg.seed)
	if err != nil {
		return nil, err
	}
	n := cfg.matrix.Len()
	c := &cluster{
		clusterConfig: cfg, names: cfg.matrix.Names(), sites: make(map[wire.NodeID]int, n), emulator: emulator,
		stations: make([]*station, n), dead: make([]bool, n), interval: interval,
		random: rand.New(rand.NewPCG(cfg.seed, 1)),
	}
	for i, name := range c.names {
		key := keyOf(cfg.seed, name)
		c.keys = append(c.keys, key)
		c.sites[wire.IDOf(key.Public().(ed25519.PublicKey))] = i
		c.paces = append(c.paces, newPace(n))
	}
	return c, nil
}

// keyOf makes a node's key from the seed, so that a run can be repeated with the same nodes. Such a key is good for a demo only.
func keyOf(seed uint64, name string) ed25519.PrivateKey {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64([]byte("fastpubsub demo"), seed), name...))
	return ed25519.NewKeyFromSeed(sum[:])
}

const (
	// startGap is the least time between the start of one node and the next.
	startGap = 100 * time.Millisecond
	// startLinks is how many links may be missing when the next node starts, and startPatience how long one waits for others.
	startLinks    = 150
	startPatience = 3 * time.Second
)

// startDue starts the next node when it is time; each joins one of those before it. Every new node opens a link to each that runs, and
// handshakes cost a computer more than anything that follows. All at once they would time out, and begin again, for want of processor time; so a
// node waits until the links of those before it are up, but for a few.
func (c *cluster) startDue(now time.Duration, linksUp int) error {
	n := len(c.addrs)
	if n == len(c.names) || now < c.startAt || now < c.startAt+startPatience && n*(n-1)/2-linksUp > startLinks {
		return nil
	}
	s := c.newStation(n)
	if n > 0 {
		s.join = []string{c.addrs[c.random.IntN(n)]}
	}
	if err := s.open(); err != nil {
		return fmt.Errorf("demo: node %s: %w", s.name, err)
	}
	c.addrs = append(c.addrs, s.node.Addr().String())
	c.launch(s)
	c.repace(n)
	c.startAt = now + startGap
	return nil
}

// newStation is a station at rest.
func (c *cluster) newStation(site int) *station {
	return &station{
		site: site, name: c.names[site], key: c.keys[site], cluster: c, network: c.emulator.Site(site), pace: c.paces[site],
		boot: uint64(time.Now().UnixMilli()), listen: "127.0.0.1:0", done: make(chan struct{}),
	}
}

// launch runs a station.
func (c *cluster) launch(s *station) {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	c.stations[s.site] = s
	c.group.Go(func() {
		defer close(s.done)
		defer stop()
		err := s.run(ctx)
		if ctx.Err() != nil { // it was to end; what else a node that is cut off may say is not news
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = append(c.failed, fmt.Errorf("demo: node %s: %w", s.name, err))
	})
}

// failures are what made nodes fail so far.
func (c *cluster) failures() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.failed)
}

// stopPatience is how long nodes may take to leave the mesh and end.
const stopPatience = 15 * time.Second

// stopAll stops all nodes, which leave the mesh in good order, and waits for them. A node that does not end is an error, and left behind.
func (c *cluster) stopAll() error {
	for _, s := range c.stations {
		if s != nil {
			s.stop()
		}
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	defer c.emulator.Close()
	for _, s := range c.stations {
		if s == nil {
			continue
		}
		select {
		case <-s.done:
		case <-patience.C:
			return fmt.Errorf("demo: node %s has not ended after %v", s.name, stopPatience)
		}
	}
	c.group.Wait()
	return nil
}

// pace lets a pair send as it should: at the usual interval, or not at all while an end is dead.
func (c *cluster) pace(from, to int) { c.setPace(from, to, c.interval) }

// hasten lets pairs send at a short interval.
func (c *cluster) hasten(pairs []pair, interval time.Duration) {
	for _, p := range pairs {
		from, to := c.ledger.ends(p)
		c.setPace(from, to, min(interval, c.interval))
	}
}

// relax undoes hasten.
func (c *cluster) relax(pairs []pair) {
	for _, p := range pairs {
		c.pace(c.ledger.ends(p))
	}
}

// quiet ends all sending.
func (c *cluster) quiet() {
	c.interval = 0
	for _, p := range c.ledger.pairs() {
		c.pace(c.ledger.ends(p))
	}
}

func (c *cluster) setPace(from, to int, interval time.Duration) {
	switch {
	case from == to:
		return
	case c.stations[from] == nil || c.stations[to] == nil || c.dead[from] || c.dead[to]:
		interval = 0
	}
	c.paces[from].set(c.ledger.now(), to, interval, c.random)
}

// up tells whether a node runs and its clients are connected.
func (c *cluster) up(site int) bool {
	s := c.stations[site]
	return s != nil && !c.dead[site] && s.up.Load()
}

// slow adds a delay to the path between two sites.
func (c *cluster) slow(a, b int, extra time.Duration) {
	c.emulator.SetExtra(a, b, extra)
	c.note(a, b, "slowed by "+extra.String())
}

// block blocks the path between two sites.
func (c *cluster) block(a, b int) {
	c.emulator.Block(a, b, true)
	c.note(a, b, "blocked")
}

func (c *cluster) note(a, b int, what string) {
	c.links = append(c.links, linkFault{a, b, what})
}

// kill stops a node without a goodbye: first nothing gets in or out any more, then it ends. It reports false if there is none to kill.
func (c *cluster) kill(site int) bool {
	if c.dead[site] || c.stations[site] == nil {
		return false
	}
	c.dead[site] = true
	c.mu.Lock()
	c.emulator.Kill(site)
	c.stations[site].stop()
	c.mu.Unlock()
	c.repace(site)
	c.ledger.cut(site)
	return true
}

// connect puts a node that was killed back on the network, unless it has been killed again.
func (c *cluster) connect(ctx context.Context, site int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.emulator.Revive(site)
	return nil
}

// repace sets the pace of all pairs that a site is an end of.
func (c *cluster) repace(site int) {
	for other := range c.names {
		c.pace(site, other)
		c.pace(other, site)
	}
}

// heal undoes all faults. Nodes that were killed start again as soon as what was left of them has ended.
func (c *cluster) heal() {
	for _, l := range c.links {
		c.emulator.Block(l.a, l.b, false)
		c.emulator.SetExtra(l.a, l.b, 0)
	}
	c.links = nil
	for site, dead := range c.dead {
		if dead {
			c.revive(site)
		}
	}
}

func (c *cluster) revive(site int) {
	old := c.stations[site]
	s := c.newStation(site)
	s.boot = max(s.boot, old.boot+1)
	s.listen, s.after = c.addrs[site], old.done
	for other, addr := range c.addrs {
		if !c.dead[other] && len(s.join) < 2 {
			s.join = append(s.join, addr)
		}
	}
	c.dead[site] = false
	c.launch(s)
	c.repace(site)
}

// name is a site's name, also of none: nodes that others have started may have joined.
func (c *cluster) name(site int) string {
	if site < 0 {
		return "?"
	}
	return c.names[site]
}

// nameOf is a node's name.
func (c *cluster) nameOf(id wire.NodeID) string {
	site, known := c.sites[id]
	if !known {
		return id.Short()
	}
	return c.names[site]
}

// isFaulty tells whether a fault stands against the link of two metros.
func (c *cluster) isFaulty(a, b string) bool {
	return slices.ContainsFunc(c.links, func(l linkFault) bool {
		x, y := c.names[l.a], c.names[l.b]
		return x == a && y == b || x == b && y == a
	})
}

// faults are those that stand.
func (c *cluster) faults() []string {
	var all []string
	for _, l := range c.links {
		all = append(all, fmt.Sprintf("%s - %s %s", c.names[l.a], c.names[l.b], l.what))
	}
	for site, dead := range c.dead {
		if dead {
			all = append(all, c.names[site]+" killed")
		}
	}
	return all
}
