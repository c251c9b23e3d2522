package scale_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/scale"
)

func TestTrialDev(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SCALE_N"))
	if n == 0 {
		n = 30
	}
	began := time.Now()
	row := scale.Trial{Nodes: n, Seed: 1, Sites: sites(t), Jitter: 0.01, Clock: func() time.Duration { return time.Since(began) },
		Progress: func(what string) { t.Logf("%8.1f s  %s", time.Since(began).Seconds(), what) },
		Memory:   func() uint64 { runtime.GC(); var m runtime.MemStats; runtime.ReadMemStats(&m); return m.HeapAlloc }}.Run()
	t.Logf("%8.1f s", time.Since(began).Seconds())
	t.Logf("links %.1f join %v", row.Links, row.Join)
	for _, s := range []scale.Spread{row.Down, row.Slow, row.Window} {
		t.Logf("p50 %v p99 %v max %v", s.At(.5), s.At(.99), s.At(1))
	}
	for _, u := range []scale.Usage{row.Idle, row.Busy, row.Loaded} {
		t.Logf("%.0f B/s (most %.0f) cpu %.2f ms/s records %.2f checks %.2f tables %.2f; kinds %.0f", u.Bytes, u.Most, u.CPU, u.Records, u.Checks, u.Tables, u.Kinds)
	}
	t.Logf("spf %v %v memory %.1f kB stretch %+v", row.SPF, row.SPFChange, row.Memory/1000, row.Stretch)
}
