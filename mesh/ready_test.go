package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
)

// awaitSpread waits until all nodes know of what a node has subscribed to, and returns how long that took.
func (n *clusterNode) awaitSpread(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	began, done := time.Now(), make(chan struct{})
	n.AfterSpread(func() { close(done) })
	select {
	case <-done:
	case <-time.After(within):
		t.Errorf("%s: not in %v", n.Name(), within)
	}
	return time.Since(began)
}

// Once a node is told that its interest has spread, what any node publishes comes; on a lossy network, and with a pair that cannot talk directly.
func TestSpreadMeansEverywhere(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 30 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.02}, func(c *cluster) {
		const size = 6
		for i := range size {
			if i == 0 {
				c.start(0, 1)
			} else {
				c.start(i, 1, i-1)
			}
		}
		c.meshed(10 * time.Second)
		c.net.Cut(ipOf(0), ipOf(1))
		time.Sleep(3 * time.Second)
		var took []time.Duration
		for round := range 12 {
			n := c.nodes[round%size]
			name := fmt.Sprint("new.", round)
			n.subscribe(t, name)
			took = append(took, n.awaitSpread(t, 3*time.Second))
			before := len(n.received())
			for _, from := range c.nodes {
				from.publish(t, name, "x")
			}
			time.Sleep(time.Second)
			if got := len(n.received()) - before; got != size {
				t.Errorf("round %d: %d of %d came", round, got, size)
			}
		}
		slices.Sort(took)
		if median := took[len(took)/2]; median > 200*time.Millisecond { // gathering, the longest path there and back, and a repair now and then
			t.Errorf("%v at the median", median)
		}
		t.Logf("from %v to %v, median %v", took[0], took[len(took)-1], took[len(took)/2])
	})
}

// Nothing to tell, or nobody to tell it to, is no reason to wait; a node that has died is waited for until SWIM says so.
func TestSpreadEnds(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		a := c.start(0, 1)
		a.subscribe(t, "alone")
		if took := a.awaitSpread(t, time.Second); took > 20*time.Millisecond {
			t.Errorf("alone it took %v", took)
		}
		b := c.start(1, 1, 0)
		c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		a.awaitSpread(t, time.Second)
		if took := a.awaitSpread(t, time.Second); took > time.Millisecond {
			t.Errorf("with nothing new it took %v", took)
		}
		c.net.Kill(ipOf(2))
		b.subscribe(t, "late")
		if took := b.awaitSpread(t, time.Minute); took < time.Second {
			t.Errorf("a dead node knew of it after %v", took)
		}
	})
}
