package scale

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"
	"runtime"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

func TestDev(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SCALE_N"))
	if n == 0 {
		n = 30
	}
	csv, err := os.ReadFile("../../testdata/latency/wonderproxy245_2020-07.csv")
	if err != nil {
		t.Fatal(err)
	}
	m, err := wan.ParseMatrix(bytes.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w := New(Config{Nodes: n, Seed: 1, Delay: SitesOf(m).Draw(n, 1), Jitter: 0.01, Clock: func() time.Duration { return time.Since(began) }})
	w.StartKnown(2 * time.Second)
	show := func(what string, before Cost, over time.Duration) Cost {
		c, _ := w.Cost()
		d := c.Minus(before)
		per := func(b uint64) float64 { return float64(b) / over.Seconds() / float64(n) }
		t.Logf("%s: wall %v, virtual %v: %.0f B/s per node", what, time.Since(began).Round(time.Millisecond), w.Now(), per(d.Total()))
		for k := range traffics {
			t.Logf("    %-11v %8.0f B/s %8.2f /s", k, per(d.Bytes[k]), per(d.Frames[k]))
		}
		t.Logf("    steps/s %.1f tables/s %.2f checks/s %.2f records/s %.2f cpu %.3f ms/s longest %v ups %d downs %d", per(d.Steps), per(d.Tables), per(d.Checks), per(d.Records), d.CPU.Seconds()*1000/over.Seconds()/float64(n), d.Longest, d.Ups, d.Downs)
		return c
	}
	c := show("start", Cost{}, time.Second)
	warm := 15
	if x, _ := strconv.Atoi(os.Getenv("SCALE_WARM")); x > 0 {
		warm = x
	}
	for range 5 {
		w.Run(time.Duration(warm) * time.Second / 5)
		c = show("warm", c, time.Duration(warm) * time.Second / 5)
	}
	w.Run(20 * time.Second)
	c = show("idle", c, 20*time.Second)
	var ms runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&ms)
	t.Logf("heap %.0f MB, %.2f MB/node", float64(ms.HeapAlloc)/1e6, float64(ms.HeapAlloc)/1e6/float64(n))
	var x []*Watch
	for i := range 10 {
		x = append(x, w.WatchInterest(i))
		w.Subscribe(i, "a.b", true)
		w.Run(300 * time.Millisecond)
	}
	w.Run(2*time.Second)
	c = show("subs", c, 5*time.Second)
	for _, x := range x {
		most := time.Duration(0)
		for _, v := range x.Took {
			most = max(most, v)
		}
		t.Log("interest", most, "left", x.left)
	}
	l := w.nodes[0].sorted[0]
	for _, m := range w.nodes[0].sorted { m.used[m.end(w.nodes[0])] = w.now + time.Hour }
	w.Run(2*time.Second)
	y := w.WatchLinks(0, l.peerOf(w.nodes[0]))
	w.Cut(0, l.peerOf(w.nodes[0]))
	w.Run(3 * time.Second)
	most := time.Duration(0)
	for _, v := range y.Took {
		most = max(most, v)
	}
	t.Log("link", most, y.Told, "left", y.left)
	c = show("cut", c, 5*time.Second)
}
