package mesh

import (
	"fmt"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func TestBudgets(t *testing.T) {
	now := time.Unix(1e9, 0)
	var b budgets
	granted := func(peer wire.NodeID, work, times int) (n int) {
		for range times {
			if b.spend(peer, work, now) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		what        string
		after       time.Duration
		peer        wire.NodeID
		work, times int
		want        int
	}{
		{"all that is saved up", 0, 1, 1, 2 * workSaved, workSaved},
		{"another's is its own", 0, 2, 8, workSaved, workSaved / 8},
		{"what a second brings", time.Second, 1, 1, 5000, int(time.Second / workEach)},
		{"not as much as that", 7 * workEach, 1, 8, 1, 0},
		{"but a little less", 0, 1, 7, 2, 1},
		{"no more than all", time.Hour, 1, 1, 2 * workSaved, workSaved},
		{"more than ever there is", time.Hour, 1, workSaved + 1, 1, 0},
		{"what costs nothing", 0, 1, 0, 100, 100},
	} {
		now = now.Add(tt.after)
		if got := granted(tt.peer, tt.work, tt.times); got != tt.want {
			t.Errorf("%s: %d granted, want %d", tt.what, got, tt.want)
		}
	}
	now = now.Add(time.Hour)
	for i := range 3 * workPeers {
		granted(wire.NodeID(i+1), 1, 1)
		if len(b.peers) > workPeers {
			t.Fatalf("%d peers remembered", len(b.peers))
		}
	}
}

// A member that sends a neighbour control frames without end is heard as far as its budget goes, and no further: what that checks is bounded, messages go on
// arriving, and what changes meanwhile, a node that joins and a subscription, is soon known to all.
func TestFloodOfControl(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		const honest, lasting, records = 3, 2 * time.Second, 4000
		for i := range honest {
			c.start(i, 1, max(0, i-1)).subscribe(t, fmt.Sprint("to.", i))
		}
		c.meshed(5 * time.Second)
		x := c.infiltrate(honest, 0)
		time.Sleep(3 * time.Second)
		before := c.nodes[0].checked.Load()
		raws := make([][]byte, records)
		for i := range raws {
			r := wire.Record{Boot: 1, Kind: wire.RecordInterest, Version: uint64(i + 1), Body: []byte{9, 9}}
			wire.SignRecord(&r, x.key)
			raws[i] = wire.AppendRecords(nil, r.Raw)
		}
		sums := wire.AppendSums(nil, &wire.Sums{From: x.Self(), Records: 1})
		began, target := time.Now(), c.nodes[0].ID()
		c.group.Go(func() { // what is saved up goes on sums; then come four times as many records as a peer may have checked
			for i := 0; x.life.Err() == nil && i < records; i++ {
				if link := x.Link(target); link != nil {
					if i < workSaved/workSums {
						_ = link.SendControl(sums)
					}
					_ = link.SendControl(raws[i])
				}
				time.Sleep(250 * time.Microsecond)
			}
		})
		stop := c.stream(c.nodes[0], "to.1", 50*time.Millisecond)
		time.Sleep(500 * time.Millisecond) // by now all is spent
		late := c.start(honest+1, 1, 2)
		late.subscribe(t, "late")
		c.eventually(3*time.Second, "the newcomer reaches all, and hears all", func() bool {
			for _, n := range c.nodes[:honest] {
				if _, ok := late.route(n.ID()); !ok {
					return false
				}
				n.publish(t, "late", n.Name())
			}
			heard := map[string]bool{}
			for _, r := range late.received() {
				heard[r.payload] = true
			}
			return len(heard) == honest
		})
		time.Sleep(time.Until(began.Add(lasting)))
		for _, n := range c.nodes[:honest] {
			if links := len(n.endpoint.Links()); links != honest+1 {
				t.Errorf("%s has %d links", n.Name(), links)
			}
		}
		sent := stop()
		time.Sleep(time.Second)
		got, gap, _ := c.nodes[1].flowOf(t, c.nodes[0].ID(), began)
		if got != sent || gap > 200*time.Millisecond {
			t.Errorf("%d of %d messages arrived, the longest gap was %v", got, sent, gap)
		}
		checked, flood := c.nodes[0].checked.Load()-before, c.nodes[0].endpoint.Faults()[x.Self()]["flood"]
		t.Logf("checked %d records, dropped %d frames and records", checked, flood)
		if most := uint64((lasting + time.Second) / workEach); flood < records/2 || checked > most {
			t.Errorf("checked %d records, at most %d; dropped %d frames and records", checked, most, flood)
		}
		for _, n := range c.nodes[:honest] {
			for id, faults := range n.endpoint.Faults() {
				if id != x.Self() && faults["flood"] > 0 {
					t.Errorf("%s blames %v: %v", n.Name(), id, faults)
				}
			}
		}
	})
}

// route is how this node reaches another.
func (n *clusterNode) route(to wire.NodeID) (next wire.NodeID, ok bool) {
	v, _ := n.View()
	for _, r := range v.Routes {
		if r.To == to {
			return r.NextHop, true
		}
	}
	return 0, false
}
