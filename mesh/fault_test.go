package mesh

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
)

// stream publishes numbered messages from one node to a channel every so often until its stop is called.
func (c *cluster) stream(from *clusterNode, name string, every time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	sent := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			from.publish(c.t, name, fmt.Sprint(n))
			n++
			time.Sleep(every)
		}
		sent <- n
	}()
	return func() int { cancel(); return <-sent }
}

// longestGap is the longest time between two deliveries since a moment, and the relays of the last one.
func (n *clusterNode) longestGap(since time.Time) (gap time.Duration, last received) {
	at := since
	for _, r := range n.received() {
		if r.at.Before(since) {
			continue
		}
		gap = max(gap, r.at.Sub(at))
		at, last = r.at, r
	}
	return gap, last
}

// triangle is three nodes: a and b 40 ms apart, c 30 ms from both, so that direct is best while it works.
func triangle(c *cluster) (a, b, relay *clusterNode) {
	c.net.SetPath(ipOf(0), ipOf(1), simnet.Path{Delay: 40 * time.Millisecond})
	c.net.SetPath(ipOf(1), ipOf(0), simnet.Path{Delay: 40 * time.Millisecond})
	a, b, relay = c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
	c.meshed(5 * time.Second)
	b.subscribe(c.t, "news")
	time.Sleep(2 * time.Second)
	return a, b, relay
}

var thirty = simnet.Path{Delay: 30 * time.Millisecond}

// A silent blackhole between two nodes is found by probes, and traffic goes by the third; when it heals, direct again.
func TestBlockedPairGoesByRelay(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, relay := triangle(c)
		stop := c.stream(a, "news", 20*time.Millisecond)
		time.Sleep(3 * time.Second)
		if _, last := b.longestGap(time.Time{}); len(last.trace.Via) != 0 {
			t.Fatalf("before the fault messages go via %v", last.trace.Via)
		}
		cut := time.Now()
		c.net.Cut(a.ip, b.ip)
		time.Sleep(4 * time.Second)
		gap, last := b.longestGap(cut)
		if len(last.trace.Via) != 1 || last.trace.Via[0] != relay.ID() {
			t.Fatalf("after the fault messages go via %v", last.trace.Via)
		}
		if bound := 250*time.Millisecond + 60*time.Millisecond; gap > bound {
			t.Errorf("outage of %v, want at most %v", gap, bound)
		}
		t.Logf("outage %v", gap)
		time.Sleep(60 * time.Second) // SWIM's pings go over the mesh, so nobody dies
		if a.routes() != 2 || b.routes() != 2 {
			t.Errorf("%d and %d routes while a pair is blocked, want 2 each", a.routes(), b.routes())
		}
		c.net.Heal(a.ip, b.ip)
		c.eventually(20*time.Second, "direct again", func() bool {
			_, last := b.longestGap(time.Time{})
			return len(last.trace.Via) == 0
		})
		stop()
	})
}

// Two nodes that never could reach each other form a mesh through a third.
func TestPairThatNeverMet(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		c.net.Cut(ipOf(1), ipOf(2))
		_, b, d := c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
		c.meshed(10 * time.Second)
		d.subscribe(t, "x")
		time.Sleep(time.Second)
		b.publish(t, "x", "hello")
		time.Sleep(time.Second)
		if got := d.received(); len(got) != 1 || len(got[0].trace.Via) != 1 {
			t.Fatalf("got %v, want one message by way of the third", got)
		}
		time.Sleep(90 * time.Second)
		for _, n := range c.nodes {
			if n.routes() != 2 {
				t.Errorf("%s has %d routes after a while, want 2", n.Name(), n.routes())
			}
		}
	})
}

// A relay that dies without a word is left within the time that probes take.
func TestRelayDies(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		slow := simnet.Path{Delay: 120 * time.Millisecond}
		c.net.SetPath(ipOf(0), ipOf(1), slow)
		c.net.SetPath(ipOf(1), ipOf(0), slow)
		a, b, relay := c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		b.subscribe(t, "news")
		time.Sleep(2 * time.Second)
		stop := c.stream(a, "news", 20*time.Millisecond)
		time.Sleep(3 * time.Second)
		if _, last := b.longestGap(time.Time{}); len(last.trace.Via) != 1 {
			t.Fatalf("messages go via %v, want the relay", last.trace.Via)
		}
		killed := time.Now()
		c.net.Kill(relay.ip)
		time.Sleep(3 * time.Second)
		gap, last := b.longestGap(killed)
		if len(last.trace.Via) != 0 || gap > 250*time.Millisecond+120*time.Millisecond {
			t.Errorf("outage of %v, then via %v", gap, last.trace.Via)
		}
		t.Logf("outage %v", gap)
		stop()
	})
}

// A slower path is left and a faster one taken within seconds, without losing a message.
func TestSlowedLinkIsLeft(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, _ := triangle(c)
		stop := c.stream(a, "news", 20*time.Millisecond)
		time.Sleep(3 * time.Second)
		c.net.SetPath(a.ip, b.ip, simnet.Path{Delay: 150 * time.Millisecond})
		c.net.SetPath(b.ip, a.ip, simnet.Path{Delay: 150 * time.Millisecond})
		took := c.eventually(5*time.Second, "the relay is taken", func() bool {
			_, last := b.longestGap(time.Time{})
			return len(last.trace.Via) == 1
		})
		t.Logf("left after %v", took)
		time.Sleep(time.Second)
		sent := stop()
		time.Sleep(time.Second)
		if got := len(b.received()); got != sent {
			t.Errorf("%d of %d messages arrived", got, sent)
		}
	})
}

// A restarted node is a member again at once, with what it subscribes to now and nothing of before.
func TestRestart(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b := c.start(0, 1), c.start(1, 1, 0)
		c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		b.subscribe(t, "old")
		time.Sleep(time.Second)
		c.net.Kill(b.ip)
		b.stop()
		<-b.done
		c.nodes = append(c.nodes[:1], c.nodes[2:]...)
		time.Sleep(100 * time.Millisecond)
		again := c.start(1, 2, 0)
		c.meshed(5 * time.Second)
		again.subscribe(t, "new")
		c.eventually(3*time.Second, "its new interest counts", func() bool {
			a.publish(t, "new", "n")
			return len(again.received()) > 0
		})
		time.Sleep(time.Second)
		before := len(again.received())
		a.publish(t, "old", "o")
		time.Sleep(time.Second)
		if got := len(again.received()); got != before {
			t.Error("interest of the earlier run still counts")
		}
		time.Sleep(time.Minute)
		if a.routes() != 2 {
			t.Errorf("%d routes a minute later, want 2", a.routes())
		}
	})
}

// Ctrl-C: others route around a node before it is gone, and nothing is lost.
func TestGracefulStopLosesNothing(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		slow := simnet.Path{Delay: 120 * time.Millisecond}
		c.net.SetPath(ipOf(0), ipOf(1), slow)
		c.net.SetPath(ipOf(1), ipOf(0), slow)
		a, b, relay := c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		b.subscribe(t, "news")
		time.Sleep(2 * time.Second)
		stop := c.stream(a, "news", 10*time.Millisecond)
		time.Sleep(2 * time.Second)
		relay.stop()
		<-relay.done
		time.Sleep(3 * time.Second)
		sent := stop()
		time.Sleep(time.Second)
		if relay.err != nil {
			t.Error(relay.err)
		}
		if got := len(b.received()); got != sent {
			t.Errorf("%d of %d messages arrived", got, sent)
		}
		if a.routes() != 1 {
			t.Errorf("%d routes after one of three left, want 1", a.routes())
		}
	})
}
