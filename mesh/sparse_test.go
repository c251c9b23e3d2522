package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// peersOf are the nodes that a node has working links to.
func (n *clusterNode) peersOf() (peers []wire.NodeID) {
	v, _ := n.View()
	for _, l := range v.Links {
		if l.State == "up" {
			peers = append(peers, l.Peer)
		}
	}
	return peers
}

// A mesh too large for links between all, on measured latencies: everybody reaches everybody over few links; messages come once and in order; the direct
// link to where they go is opened and used; and when relays die at once, they find another way.
func TestSparseMesh(t *testing.T) {
	inBubble(t, simnet.Path{}, func(c *cluster) {
		c.adjust = func(_ int, cfg *Config) { cfg.FullMesh = 6 }
		delays := chaosMetros(t)
		size := len(delays)
		for i := range size {
			for j := range size {
				if i != j {
					c.net.SetPath(ipOf(i), ipOf(j), simnet.Path{Delay: delays[i][j], Jitter: time.Millisecond, Loss: 0.001})
				}
			}
		}
		for i := range size {
			if i == 0 {
				c.start(0, 1)
			} else {
				c.start(i, 1, 0)
			}
		}
		c.meshed(15 * time.Second)
		time.Sleep(90 * time.Second) // neighbours are settled on
		links := 0
		for _, n := range c.nodes {
			links += len(n.peersOf())
		}
		if links > size*(size-1)-4 || links < 3*size {
			t.Errorf("%d ends of links among %d nodes", links, size)
		}
		from, to := strangers(t, c)
		to.subscribe(t, "far")
		time.Sleep(time.Second)
		stop := c.stream(from, "far", 20*time.Millisecond)
		took := c.eventually(5*time.Second, "the direct link is opened", func() bool { return slices.Contains(from.peersOf(), to.ID()) })
		time.Sleep(2 * time.Second)
		_, last := to.longestGap(time.Time{})
		for _, via := range last.trace.Via { // it is relayed even so: whoever does, dies
			for _, n := range c.nodes {
				if n.ID() == via {
					c.net.Kill(n.ip)
				}
			}
		}
		time.Sleep(3 * time.Second)
		sent := stop()
		time.Sleep(time.Second)
		got := to.received()
		for i, r := range got {
			if r.payload != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, r.payload)
			}
		}
		gap, _ := to.longestGap(got[0].at)
		if len(got) != sent || gap > 1500*time.Millisecond {
			t.Errorf("%d of %d messages, the longest pause %v", len(got), sent, gap)
		}
		t.Logf("%.1f links a node, a direct one after %v, relayed by %v, the longest pause %v", float64(links)/float64(size), took, last.trace.Via, gap)
	})
}

// strangers are two nodes without a link between them, as far apart as any.
func strangers(t *testing.T, c *cluster) (a, b *clusterNode) {
	t.Helper()
	most := 0.0
	for _, from := range c.nodes {
		v, _ := from.View()
		for _, r := range v.Routes {
			for _, n := range c.nodes {
				if n.ID() == r.To && r.Direct == 0 && r.Cost > most {
					a, b, most = from, n, r.Cost
				}
			}
		}
	}
	if a == nil {
		t.Fatal("every node is linked to every other")
	}
	return a, b
}
