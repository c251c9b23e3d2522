//go:build !race

// One goroutine, and no races to look for in what takes ten times as long with them.

package scale_test

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// Meshes come through storms: small ones here, large ones by fastpubsub simulate.
func TestStorms(t *testing.T) {
	storm := scale.Storm{Nodes: 30, FullMesh: 16, Seed: 3, Sites: sites(t), Jitter: 0.01}
	for _, c := range []struct {
		run     func() scale.Outcome
		settled time.Duration
		reached float64
	}{
		{func() scale.Outcome { return storm.Join(2 * time.Second) }, 20 * time.Second, 0.4},
		{func() scale.Outcome { return storm.Churn(0.2, 30*time.Second) }, 30 * time.Second, 0.95},
		{func() scale.Outcome { return storm.Region(10, 40*time.Second) }, 30 * time.Second, 0.3},
	} {
		o := c.run()
		t.Logf("%+v", o)
		if o.Settled > c.settled || o.Reached < c.reached {
			t.Errorf("%s: settled after %v, want at most %v; %.3f of pairs reached, want %.3f", o.What, o.Settled, c.settled, o.Reached, c.reached)
		}
	}
}
