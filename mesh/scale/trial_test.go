//go:build !race

// One goroutine, and no races to look for in what takes ten times as long with them.

package scale_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

// trialOf is a small mesh's trial, sparse where full is less than its size.
func trialOf(t *testing.T, seed uint64, full int) scale.Row {
	t.Helper()
	return scale.Trial{Nodes: 20, FullMesh: full, Seed: seed, Sites: sites(t), Jitter: 0.01}.Run()
}

// The same seed gives the same run to the last byte, another seed another.
func TestTrialReplays(t *testing.T) {
	first, again, other := trialOf(t, 1, 12), trialOf(t, 1, 12), trialOf(t, 2, 12)
	if !reflect.DeepEqual(first, again) {
		t.Errorf("seed 1 gave %+v, then %+v", first, again)
	}
	if reflect.DeepEqual(first.Idle, other.Idle) {
		t.Error("seeds 1 and 2 gave the same run")
	}
}

// What is promised of large meshes holds for small ones, fully linked and not: fastpubsub simulate shows the large ones.
func TestTrial(t *testing.T) {
	for _, full := range []int{0, 12} {
		r := trialOf(t, 1, full)
		t.Logf("full mesh to %d: links %.1f, join %v, down %v, slow %v, window %v; idle %.0f, busy %.0f, load %.0f B/s; stretch %+v", full,
			r.Links, r.Join.At(0.5), r.Down.At(0.99), r.Slow.At(0.99), r.Window.At(0.99), r.Idle.Bytes, r.Busy.Bytes, r.Loaded.Bytes, r.Stretch)
		for _, c := range []struct {
			what string
			good bool
		}{
			{"all join", r.Join.At(1) < 10*time.Second},
			{"link down within 1 s", r.Down.At(0.99) <= time.Second},
			{"join window 0.5 s and the longest path", r.Window.At(0.99) <= 500*time.Millisecond+r.Stretch.Longest},
			{"idle control traffic at most 6 kB/s", r.Idle.Bytes <= 6000},
			{"stretch 1.05 and 1.25", r.Stretch.Mean <= 1.05 && r.Stretch.P99 <= 1.25},
			{"seldom slower than direct", r.Stretch.Slower <= 0.01},
		} {
			if !c.good {
				t.Errorf("full mesh to %d: not so: %s", full, c.what)
			}
		}
	}
}
