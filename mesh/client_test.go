package mesh

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// TestReadyForClients: a node that joins is ready once it has routes and knows what others subscribe to, and not before; and stays so.
func TestReadyForClients(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 40 * time.Millisecond}, func(c *cluster) {
		a := c.start(0, 1)
		b := c.start(1, 1, 0)
		c.meshed(5 * time.Second)
		c.eventually(time.Second, "both are ready", func() bool { return a.Ready() && b.Ready() })
		b.subscribe(t, "news.#")
		late := c.start(2, 1, 0)
		if late.Ready() {
			t.Error("ready at once")
		}
		c.eventually(5*time.Second, "the newcomer is ready", late.Ready)
		if n := late.routes(); n != 2 {
			t.Errorf("ready with %d routes", n)
		}
		late.publish(t, "news.x", "first")
		time.Sleep(time.Second)
		if got := b.received(); len(got) != 1 || got[0].payload != "first" {
			t.Errorf("got %v", got)
		}
	})
}

// TestReadyInTheEnd: a node whose seed is out of reach serves its clients all the same, after a while.
func TestReadyInTheEnd(t *testing.T) {
	inBubble(t, simnet.Path{}, func(c *cluster) {
		n := c.start(1, 1, 0)
		time.Sleep(readyAfter - time.Second)
		if n.Ready() {
			t.Error("ready with nobody")
		}
		time.Sleep(2 * time.Second)
		if !n.Ready() {
			t.Error("never ready")
		}
	})
}

// TestSetClient: others hear of it, and nothing else changes.
func TestSetClient(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 10 * time.Millisecond}, func(c *cluster) {
		a := c.start(0, 1)
		b := c.start(1, 1, 0)
		c.meshed(5 * time.Second)
		client := func() string {
			v, _ := a.View()
			for _, m := range v.Members {
				if m.ID == b.ID() {
					return m.Client + " " + m.State
				}
			}
			return "gone"
		}
		for _, addr := range []string{"192.0.2.1:8080", ""} {
			if err := b.SetClient(addr); err != nil {
				t.Fatal(err)
			}
			if v, _ := b.View(); v.Node.Client != addr {
				t.Errorf("%q of itself", v.Node.Client)
			}
			c.eventually(5*time.Second, "the other has heard", func() bool { return client() == addr+" alive" })
		}
		if err := b.SetClient(strings.Repeat("x", 1000)); !errors.Is(err, wire.ErrMeta) {
			t.Errorf("got %v", err)
		}
	})
}
