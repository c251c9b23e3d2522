package demo

import (
	"math/rand/v2"
	"testing"
	"time"
)

// drive runs a pace from one time to another as a publisher would, and counts what it sends to each site.
func drive(t *testing.T, p *pace, now, until time.Duration) map[int]int {
	t.Helper()
	sent := map[int]int{}
	for {
		to, at, ok := p.next()
		if !ok || at > until {
			return sent
		}
		now = max(now, at)
		p.sent(now, to)
		sent[to]++
		if len(sent) > 1e6 {
			t.Fatal("it never ends")
		}
	}
}

func TestPace(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	p := newPace(3)
	if _, _, ok := p.next(); ok {
		t.Error("something is due at rest")
	}
	p.set(0, 1, time.Second, random)
	p.set(0, 2, 100*time.Millisecond, random)
	if sent := drive(t, p, 0, 10*time.Second-1); sent[0] != 0 || sent[1] != 10 || sent[2] != 100 {
		t.Errorf("in 10 s: %v", sent)
	}
	p.set(10*time.Second, 2, 0, random)
	p.set(10*time.Second, 1, 50*time.Millisecond, random)
	select {
	case <-p.changed:
	default:
		t.Error("nobody is told of the change")
	}
	if sent := drive(t, p, 10*time.Second, 11*time.Second-1); sent[2] != 0 || sent[1] != 20 {
		t.Errorf("in the second after: %v", sent)
	}
}

// A publisher that could not send for a while does not make up for it.
func TestPaceDoesNotCatchUp(t *testing.T) {
	p := newPace(2)
	p.set(0, 1, time.Second, rand.New(rand.NewPCG(1, 1)))
	p.sent(100*time.Second, 1)
	if _, at, _ := p.next(); at != 100*time.Second {
		t.Errorf("the next is due at %v", at)
	}
	p.sent(100*time.Second, 1)
	if _, at, _ := p.next(); at != 101*time.Second {
		t.Errorf("and the one after at %v", at)
	}
}
