package mesh

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// TestClientMoves: a client of a real mesh moves to a node that has become nearer, in the middle of a stream, and misses and
// doubles nothing; when that node stops it is back at the former one.
func TestClientMoves(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		t := c.t
		w := &world{cluster: c, got: map[[2]int][]delivery{}}
		for i := range 3 {
			w.startSite(i)
		}
		w.meshed(5 * time.Second)
		const home = "10.9.9.9"
		place := func(i int, delay time.Duration) {
			c.net.SetPath(home, ipOf(i), simnet.Path{Delay: delay})
			c.net.SetPath(ipOf(i), home, simnet.Path{Delay: delay})
		}
		place(0, 5*time.Millisecond)
		place(1, 40*time.Millisecond)
		url := func(i int) string { return "ws://" + ipOf(i) + ":8080/ws" }
		var mu sync.Mutex
		var got []string
		conn, err := client.Dial(t.Context(), client.Config{
			URLs: []string{url(0), url(1)}, DialContext: c.net.Host(home).DialContext, Reconnect: true, Measure: 10 * time.Second,
			Handler: func(m client.Message) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(m.Payload))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SubscribeEverywhere(t.Context(), "t", "s"); err != nil || conn.State().URL != url(0) {
			t.Fatalf("%v, %+v", err, conn.State())
		}
		var want []string
		stream := func(long time.Duration) {
			for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				w.nodes[2].publish(t, "s", fmt.Sprint(len(want)))
				want = append(want, fmt.Sprint(len(want)))
			}
		}
		stream(5 * time.Second)
		place(0, 60*time.Millisecond)
		place(1, 5*time.Millisecond)
		stream(time.Minute)
		time.Sleep(time.Second)
		if s := conn.State(); s.URL != url(1) || s.Moves != 1 || s.Reconnects != 0 || s.Duplicates < 500 {
			t.Errorf("%+v", s)
		}
		mu.Lock()
		if !slices.Equal(got, want) {
			t.Errorf("%d messages of %d, or not in order", len(got), len(want))
		}
		mu.Unlock()
		w.nodes[1].stop()
		time.Sleep(10 * time.Second)
		before := len(want)
		stream(time.Second)
		time.Sleep(time.Second)
		mu.Lock()
		if i := slices.Index(got, fmt.Sprint(before)); i < 0 || !slices.Equal(got[i:], want[before:]) {
			t.Errorf("after a loss: %d messages, want %d", len(got)-i, len(want)-before)
		}
		mu.Unlock()
		if s := conn.State(); s.URL != url(0) || s.Reconnects != 1 {
			t.Errorf("%+v", s)
		}
		_ = conn.Close()
	})
}
