package latency

import (
	"testing"
	"time"
)

func TestIdleInterval(t *testing.T) {
	c := mustNormal(Config{})
	for links, want := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 20: 2 * time.Second, 30: 3 * time.Second, 49: 4900 * ms, 50: 5 * time.Second, 1000: 5 * time.Second} {
		if got := c.idleInterval(links); got != want {
			t.Errorf("%d links: %v, want %v", links, got, want)
		}
	}
}
