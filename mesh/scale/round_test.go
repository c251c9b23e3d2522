package scale_test

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// Nodes that are stepped at the same time share nothing: the run is the same to the last byte, and the race detector has nothing to say.
func TestWorkersChangeNothing(t *testing.T) {
	run := func(workers int) (scale.Cost, uint64) {
		w := scale.New(scale.Config{Nodes: 16, FullMesh: 8, Seed: 3, Delay: sites(t).Draw(16, 3), Jitter: 0.01, Workers: workers})
		w.StartKnown(16, time.Second)
		w.Run(4 * time.Second)
		for i := range 16 {
			w.Subscribe(i, "x", true)
			w.Send(i, (i+7)%16)
		}
		w.Cut(1, 2)
		w.Crash(5)
		w.Run(4 * time.Second)
		sum, _ := w.Cost()
		return sum, w.Steps()
	}
	cost, steps := run(1)
	for _, workers := range []int{2, 5} {
		if c, s := run(workers); c != cost || s != steps {
			t.Errorf("%d workers: %d steps, %+v; one: %d steps, %+v", workers, s, c, steps, cost)
		}
	}
}
