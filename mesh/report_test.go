package mesh

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Who reads the nodes' reports hears within a second of a fault that a path in use leads elsewhere.
func TestReportsTellOfReroutesWithinASecond(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, relay := triangle(c)
		reporting, stopReporting := context.WithCancel(context.Background())
		var group sync.WaitGroup
		defer group.Wait()
		defer stopReporting()
		for _, n := range []*clusterNode{a, b, relay} {
			group.Go(func() {
				if err := report.Run(reporting, report.Config{Node: n, Clients: func() (int64, uint64) { return 0, 0 }}); err != nil {
					t.Error(err)
				}
			})
		}
		all, err := channel.ParsePattern(channel.MeshPrefix + "#")
		if err != nil {
			t.Fatal(err)
		}
		relay.subscribed.Store(true)
		relay.SetInterest(report.Tenant, all, true)
		stop := c.stream(a, "news", 20*time.Millisecond)
		time.Sleep(5 * time.Second)
		heardOf := map[wire.NodeID]bool{}
		for _, r := range relay.received() {
			heardOf[r.trace.Origin] = true
		}
		if len(heardOf) != 3 {
			t.Errorf("reports of %v", heardOf)
		}
		cut := time.Now()
		c.net.Cut(a.ip, b.ip)
		time.Sleep(3 * time.Second)
		var told time.Duration
		for _, r := range relay.received() {
			var said report.Report
			if told == 0 && r.at.After(cut) && r.trace.Origin == a.ID() && json.Unmarshal([]byte(r.payload), &said) == nil &&
				slices.ContainsFunc(said.Events, func(e report.Event) bool { return e.Kind == report.Rerouted && e.Node == b.ID() && len(e.Path) == 3 }) {
				told = r.at.Sub(cut)
			}
		}
		if told == 0 || told > time.Second {
			t.Errorf("told of after %v", told)
		}
		t.Logf("told of after %v", told)
		stop()
	})
}
