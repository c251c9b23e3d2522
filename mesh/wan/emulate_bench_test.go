package wan

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// square is a network of n sites with the same delay between any two.
type square struct {
	n             int
	delay, jitter time.Duration
}

func (s square) Len() int { return s.n }

func (s square) OneWay(from, to int) (time.Duration, bool) { return s.delay, true }

func (s square) Jitter(from, to int) time.Duration { return s.jitter }

// BenchmarkEmulator measures how late packets between 36 sites are, at a steady rate: late-µs and worst-µs beyond the
// due time. One operation is one packet; ns/op is the pace, not the cost.
func BenchmarkEmulator(b *testing.B) {
	for _, perSecond := range []int{200, 2_000, 20_000} {
		b.Run(fmt.Sprintf("rate=%d", perSecond), func(b *testing.B) { benchmarkRate(b, perSecond) })
	}
}

func benchmarkRate(b *testing.B, perSecond int) {
	const sites = 36
	e, err := NewEmulator(square{sites, 40 * time.Millisecond, 2 * time.Millisecond}, 1)
	if err != nil {
		b.Fatal(err)
	}
	var readers sync.WaitGroup
	sockets := make([]net.PacketConn, sites)
	for i := range sockets {
		c, err := e.Site(i).ListenPacket("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		sockets[i] = c
		readers.Go(func() {
			p := make([]byte, 2000)
			for {
				if _, _, err := c.ReadFrom(p); err != nil {
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 1))
	payload := make([]byte, 1200)
	pace := max(time.Second/time.Duration(perSecond), time.Millisecond)
	burst := perSecond * int(pace/time.Microsecond) / 1e6
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for sent := 0; b.Loop(); sent++ {
		if sent%burst == 0 {
			<-ticker.C
		}
		from := random.IntN(sites)
		to := (from + 1 + random.IntN(sites-1)) % sites
		if _, err := sockets[from].WriteTo(payload, sockets[to].LocalAddr()); err != nil {
			b.Fatal(err)
		}
	}
	stats := e.Stats()
	e.Close()
	readers.Wait()
	b.ReportMetric(float64(stats.LateTotal.Microseconds())/float64(max(stats.Delivered, 1)), "late-µs")
	b.ReportMetric(float64(stats.LateMax.Microseconds()), "worst-µs")
}
