package mesh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// cluster is a mesh of real nodes on a simulated network, in virtual time.
type cluster struct {
	t     *testing.T
	net   *simnet.Net
	nodes []*clusterNode
	group sync.WaitGroup

	adjust func(i int, cfg *Config) // may be nil
}

type clusterNode struct {
	*Node
	ip   string
	stop context.CancelFunc
	err  error
	done chan struct{}

	tap func(channel.Message, Trace) // takes deliveries instead of got

	subscribed atomic.Bool // a channel has been asked for
	idle       atomic.Bool // yet nobody takes what comes

	mu  sync.Mutex
	got []received
}

type received struct {
	payload string
	at      time.Time
	trace   Trace
}

func ipOf(i int) string { return fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250) }

// inBubble runs a test over a network in virtual time and stops all nodes after it.
func inBubble(t *testing.T, path simnet.Path, test func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: simnet.New(simnet.Config{Seed: 11, Path: path})}
		defer func() {
			for _, n := range c.nodes {
				n.stop()
			}
			c.group.Wait()
			time.Sleep(30 * time.Second) // memberlist's streams end by themselves
			c.net.Close()
		}()
		test(c)
	})
}

// start adds a node that joins through the nodes with the given indices.
func (c *cluster) start(i int, boot uint64, joins ...int) *clusterNode {
	c.t.Helper()
	return c.startTapped(i, boot, nil, joins...)
}

// startTapped is start for a node whose deliveries go to tap.
func (c *cluster) startTapped(i int, boot uint64, tap func(channel.Message, Trace), joins ...int) *clusterNode {
	c.t.Helper()
	n := &clusterNode{ip: ipOf(i), done: make(chan struct{}), tap: tap}
	cfg := Config{
		Identity: Identity{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize)), Boot: boot},
		Listen:   n.ip + ":7946", Name: fmt.Sprint("n", i), Network: c.net.Host(n.ip), Log: zerolog.Nop(), Seed: uint64(i + 1),
		Deliver: n.deliver, Wants: func(string, string) bool { return n.subscribed.Load() && !n.idle.Load() },
	}
	for _, j := range joins {
		cfg.Join = append(cfg.Join, ipOf(j)+":7946")
	}
	if c.adjust != nil {
		c.adjust(i, &cfg)
	}
	node, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n.Node = node
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	c.group.Go(func() {
		defer close(n.done)
		n.err = node.Run(ctx)
	})
	c.nodes = append(c.nodes, n)
	time.Sleep(17*time.Millisecond + 313*time.Nanosecond) // so that nodes do not tick in step
	return n
}

func (n *clusterNode) deliver(m channel.Message, t Trace) (taken bool) {
	if n.tap != nil {
		n.tap(m, t)
		return true
	}
	if n.idle.Load() {
		return false
	}
	t.Via = append([]wire.NodeID(nil), t.Via...)
	r := received{string(m.Payload), time.Now(), t}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, r)
	return true
}

func (n *clusterNode) received() []received {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]received(nil), n.got...)
}

func (n *clusterNode) subscribe(t *testing.T, pattern string) {
	t.Helper()
	p, err := channel.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	n.subscribed.Store(true)
	n.SetInterest("t", p, true)
}

func (n *clusterNode) publish(t *testing.T, name, payload string) {
	t.Helper()
	if err := n.Publish(t.Context(), channel.Message{Tenant: "t", Channel: name, Payload: []byte(payload)}); err != nil {
		t.Error(err)
	}
}

// routes is the number of destinations that a node can reach.
func (n *clusterNode) routes() int {
	v, _ := n.View()
	return len(v.Routes)
}

// eventually waits in virtual time and returns how long it took.
func (c *cluster) eventually(within time.Duration, what string, holds func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for time.Since(began) < within {
		if holds() {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("not within %v: %s", within, what)
	return 0
}

// meshed waits until every node has a route to every other.
func (c *cluster) meshed(within time.Duration) time.Duration {
	c.t.Helper()
	return c.eventually(within, "every node reaches every other", func() bool {
		for _, n := range c.nodes {
			if n.routes() != len(c.nodes)-1 {
				return false
			}
		}
		return true
	})
}

func TestMeshOfThreeDelivers(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		a, b, d := c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 1)
		c.t.Logf("meshed after %v", c.meshed(5*time.Second))
		b.subscribe(t, "x.*")
		d.subscribe(t, "x.y")
		time.Sleep(200 * time.Millisecond)
		sent := time.Now()
		a.publish(t, "x.y", "hello")
		a.publish(t, "z", "nobody")
		time.Sleep(time.Second)
		for _, n := range []*clusterNode{b, d} {
			got := n.received()
			if len(got) != 1 || got[0].payload != "hello" {
				t.Fatalf("%s got %v", n.Name(), got)
			}
			if took := got[0].at.Sub(sent); took < 20*time.Millisecond || took > 21*time.Millisecond {
				t.Errorf("%s: %v, want 20ms", n.Name(), took)
			}
		}
	})
}

// A link may be up before SWIM has told of its peer; what the peer said in between must count.
func TestEveryPairDelivers(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 30 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01}, func(c *cluster) {
		const size = 12
		for i := range size {
			if i == 0 {
				c.start(0, 1)
			} else {
				c.start(i, 1, (i-1)/2)
			}
			c.nodes[i].subscribe(t, fmt.Sprint("to.", i))
		}
		c.meshed(5 * time.Second)
		time.Sleep(time.Second)
		for _, from := range c.nodes {
			for to := range c.nodes {
				from.publish(t, fmt.Sprint("to.", to), "hi")
			}
		}
		time.Sleep(2 * time.Second)
		for _, n := range c.nodes {
			if got := len(n.received()); got < size || got > 2*size { // its own publishes come back to it as well
				t.Errorf("%s got %d messages, want one of each node", n.Name(), got)
			}
		}
	})
}
