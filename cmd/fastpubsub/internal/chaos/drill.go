package chaos

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/fleet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
)

// Times of the drills.
const (
	settlePatience  = 30 * time.Second // for all to hear each other, at first and after a drill
	messageLife     = 5 * time.Second  // as nodes keep to by default (mesh.DefaultDeadline)
	drainPatience   = messageLife + 2*time.Second
	breath          = time.Second // before a drill and after
	downTime        = 2 * time.Second
	blockTime       = 5 * time.Second
	slowTime        = 5 * time.Second
	slowBy          = 80 * time.Millisecond
	lossTime        = 20 * time.Second
	lossShare       = 0.02
	shortPause      = 2 * time.Second
	longPause       = 20 * time.Second
	partitionTime   = 10 * time.Second
	partitionHeal   = 10 * time.Second // for one mesh again
	restartPatience = 15 * time.Second
	rotateTime      = 6 * time.Second // in which nodes cut off who does not show the new secret
)

// drill is something that breaks and is mended. It returns when all is mended, with how long it then took until all heard all again.
type drill struct {
	name   string
	parted func(c *cluster) func(from, to int) bool // for longer than messages live; nil: none
	play   func(ctx context.Context, c *cluster) (what string, recovery time.Duration, err error)
}

// drills are all there are, in the order in which they are played.
func drills() []drill {
	return []drill{
		{name: "quiet", play: func(ctx context.Context, c *cluster) (string, time.Duration, error) {
			sleep(ctx, blockTime)
			return "nothing breaks", 0, nil
		}},
		{name: "kill", play: playKill},
		{name: "block", play: func(ctx context.Context, c *cluster) (string, time.Duration, error) { return playBlock(ctx, c, true) }},
		{name: "one-way", play: func(ctx context.Context, c *cluster) (string, time.Duration, error) { return playBlock(ctx, c, false) }},
		{name: "slow", play: playSlow},
		{name: "loss", play: playLoss},
		{name: "pause", play: func(ctx context.Context, c *cluster) (string, time.Duration, error) {
			return playPause(ctx, c, shortPause)
		}},
		{name: "freeze", parted: frozen, play: func(ctx context.Context, c *cluster) (string, time.Duration, error) {
			return playPause(ctx, c, longPause)
		}},
		{name: "partition", parted: func(c *cluster) func(int, int) bool { return c.divided }, play: playPartition},
		{name: "rolling", play: playRolling},
		{name: "rotate", play: playRotate},
	}
}

// busiest is the node that most routes pass as a relay, and the pair of nodes whose link carried most messages.
func (c *cluster) busiest(ctx context.Context) (relay int, link [2]int, err error) {
	sites := map[string]int{}
	for i, n := range c.Nodes {
		sites[n.Name] = i
	}
	passed, carried := map[int]int{}, map[[2]int]uint64{}
	for i, n := range c.Nodes {
		s, err := look(ctx, n)
		if err != nil {
			return 0, link, err
		}
		for _, r := range s.Routes {
			for _, name := range r.Path[min(1, len(r.Path)):max(len(r.Path)-1, 0)] {
				passed[sites[name]]++
			}
		}
		for _, l := range s.Links {
			j := sites[l.Name]
			carried[[2]int{min(i, j), max(i, j)}] += l.MessagesOut
		}
	}
	if len(carried) == 0 {
		return 0, link, fmt.Errorf("%w: no links", ErrBroken)
	}
	relays := slices.SortedFunc(maps.Keys(passed), func(a, b int) int { return cmp.Or(passed[b]-passed[a], a-b) })
	links := slices.SortedFunc(maps.Keys(carried), func(a, b [2]int) int {
		return cmp.Or(cmp.Compare(carried[b], carried[a]), slices.Compare(a[:], b[:]))
	})
	if len(relays) > 0 {
		relay = relays[0]
	}
	return relay, links[0], nil
}

func playKill(ctx context.Context, c *cluster) (string, time.Duration, error) {
	site, _, err := c.busiest(ctx)
	if err != nil {
		return "", 0, err
	}
	n := c.Nodes[site]
	n.Kill()
	c.ledger.died(site) // not before: what it still delivers is of the old run
	sleep(ctx, downTime)
	recovery, err := c.revive(ctx, site)
	return "kill -9 " + n.Name, recovery, err
}

// revive starts a site's node again and waits until all hear it and it hears all.
func (c *cluster) revive(ctx context.Context, site int) (time.Duration, error) {
	began := c.ledger.now()
	if err := c.Nodes[site].Start(); err != nil {
		return 0, err
	}
	return c.recovered(ctx, began, settlePatience), nil
}

func playBlock(ctx context.Context, c *cluster, both bool) (string, time.Duration, error) {
	_, link, err := c.busiest(ctx)
	if err != nil {
		return "", 0, err
	}
	set := func(blocked bool) {
		c.Emulator.BlockOneWay(link[0], link[1], blocked)
		if both {
			c.Emulator.BlockOneWay(link[1], link[0], blocked)
		}
	}
	set(true)
	sleep(ctx, blockTime)
	set(false)
	what := "blocked " + c.Nodes[link[0]].Name + " > " + c.Nodes[link[1]].Name
	if both {
		what += ", both ways"
	}
	return what, c.recovered(ctx, c.ledger.now(), settlePatience), nil
}

func playSlow(ctx context.Context, c *cluster) (string, time.Duration, error) {
	_, link, err := c.busiest(ctx)
	if err != nil {
		return "", 0, err
	}
	c.Emulator.SetExtra(link[0], link[1], slowBy)
	sleep(ctx, slowTime)
	c.Emulator.SetExtra(link[0], link[1], 0)
	return fmt.Sprintf("%v more between %s and %s", slowBy, c.Nodes[link[0]].Name, c.Nodes[link[1]].Name),
		c.recovered(ctx, c.ledger.now(), settlePatience), nil
}

func playLoss(ctx context.Context, c *cluster) (string, time.Duration, error) {
	set := func(share float64) {
		for i := range c.Nodes {
			for j := range i {
				c.Emulator.SetLoss(i, j, share)
			}
		}
	}
	set(lossShare)
	sleep(ctx, lossTime)
	set(0)
	return fmt.Sprintf("%.0f %% lost on all links for %v", lossShare*100, lossTime), c.recovered(ctx, c.ledger.now(), settlePatience), nil
}

// frozenSite is the node that pauses.
func frozenSite(c *cluster) int { return len(c.Nodes) - 1 }

func frozen(c *cluster) func(from, to int) bool {
	return func(from, to int) bool { return from == frozenSite(c) || to == frozenSite(c) }
}

func playPause(ctx context.Context, c *cluster, lasting time.Duration) (string, time.Duration, error) {
	n := c.Nodes[frozenSite(c)]
	if err := n.Signal(fleet.StopSignal); err != nil {
		return "", 0, err
	}
	sleep(ctx, lasting)
	if err := n.Signal(fleet.ContinueSignal); err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("%s stopped for %v", n.Name, lasting), c.recovered(ctx, c.ledger.now(), settlePatience), nil
}

// divided reports whether the partition lies between two sites.
func (c *cluster) divided(from, to int) bool {
	half := len(c.Nodes) / 2
	return (from < half) != (to < half)
}

func playPartition(ctx context.Context, c *cluster) (string, time.Duration, error) {
	set := func(blocked bool) {
		for i := range c.Nodes {
			for j := range i {
				if c.divided(i, j) {
					c.Emulator.Block(i, j, blocked)
				}
			}
		}
	}
	set(true)
	sleep(ctx, partitionTime*3/4)
	late := c.ledger.now()
	within := c.recovered(ctx, late, partitionTime/4, func(from, to int) bool { return !c.divided(from, to) })
	sleep(ctx, partitionTime/4-(c.ledger.now()-late))
	set(false)
	if within < 0 {
		return "", 0, fmt.Errorf("%w: half of a divided mesh does not work alone", ErrBroken)
	}
	return fmt.Sprintf("halves apart for %v", partitionTime), c.recovered(ctx, c.ledger.now(), partitionHeal), nil
}

func playRolling(ctx context.Context, c *cluster) (string, time.Duration, error) {
	longest := time.Duration(0)
	for site, n := range c.Nodes {
		if err := n.Signal(syscall.SIGTERM); err != nil {
			return "", 0, err
		}
		select {
		case <-n.Gone():
		case <-time.After(restartPatience):
			return "", 0, fmt.Errorf("%w: %s does not end", ErrBroken, n.Name)
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
		c.ledger.died(site)
		took, err := c.revive(ctx, site)
		if err != nil || took < 0 {
			return "", took, err
		}
		longest = max(longest, took)
		sleep(ctx, breath)
	}
	return "each node restarted in turn", longest, nil
}

// playRotate changes the mesh secret in three steps, each on every node before the next.
func playRotate(ctx context.Context, c *cluster) (string, time.Duration, error) {
	old, next := c.secret, trust.NewSecret()
	for _, secrets := range [][]trust.Secret{{old, next}, {next, old}, {next}} {
		for _, n := range c.Nodes {
			if err := n.Hold(secrets...); err != nil {
				return "", 0, err
			}
			if err := n.Signal(syscall.SIGHUP); err != nil {
				return "", 0, err
			}
			sleep(ctx, breath/8)
		}
		sleep(ctx, breath)
	}
	c.secret = next
	sleep(ctx, rotateTime)
	for _, n := range c.Nodes {
		if err := shows(ctx, n, next, len(c.Nodes)-1); err != nil {
			return "", 0, err
		}
	}
	return "mesh secret changed on all", c.recovered(ctx, c.ledger.now(), settlePatience), nil
}

// state is what a drill wants to know of a node.
type state struct {
	Node struct {
		Authority string `json:"authority"`
	} `json:"node"`
	Routes []struct {
		Name string   `json:"name"`
		Path []string `json:"path"`
	} `json:"routes"`
	Links []struct {
		Name        string `json:"name"`
		MessagesOut uint64 `json:"messages_out"`
		Authority   string `json:"authority"`
	} `json:"links"`
}

func look(ctx context.Context, n *fleet.Node) (s state, err error) {
	err = n.Look(ctx, &s)
	return s, err
}

// shows is an error unless node and peers all show certificates of the secret.
func shows(ctx context.Context, n *fleet.Node, secret trust.Secret, peers int) error {
	s, err := look(ctx, n)
	if err != nil {
		return err
	}
	shown := map[string]int{s.Node.Authority: 1}
	for _, l := range s.Links {
		shown[l.Authority]++
	}
	for authority, count := range shown {
		if !strings.HasSuffix(authority, secret.String()) || count != 1+peers {
			return fmt.Errorf("%w: after the secret became %v, %s sees certificates by %v", ErrBroken, secret, n.Name, shown)
		}
	}
	return nil
}
