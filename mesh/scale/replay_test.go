package scale

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
)

func TestReplayDev(t *testing.T) {
	f, err := os.Open("../../testdata/latency/planetlab64_series18.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	slices, err := ParseSeries(f)
	if err != nil {
		t.Fatal(err)
	}
	per := 30 * time.Second
	sites, count := 24, 6
	if os.Getenv("SCALE_FULL") != "" {
		sites, count = 64, 18
	}
	jit, _ := strconv.ParseFloat(os.Getenv("SCALE_JITTER"), 64)
	f64 := func(n string) float64 { v, _ := strconv.ParseFloat(os.Getenv(n), 64); return v }
	r := Replay{Timing: latency.Config{AdvertiseMin: time.Duration(f64("AMIN")*1e6), AdvertiseShare: f64("ASHARE"), AdvertiseRise: f64("ARISE"), HopCost: time.Duration(f64("HOP")*1e6)},Sites: sites, Length: time.Duration(count) * per, Settle: 10 * time.Second, Jitter: jit, Seed: 1,
		Delay: func(i, j int, at time.Duration) time.Duration { return slices[at/per].OneWay(i, j) }}
	began := time.Now()
	q := r.Run()
	t.Logf("wall %v kept %.4f switches/pair/slice %.4f slower %.4f told/min/node %.1f", time.Since(began), q.Share(), q.Switches/float64(q.Pairs)/float64(count), q.Slower, q.Told)
}
