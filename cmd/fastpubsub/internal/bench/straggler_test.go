package bench

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate"
)

// slowOnes is a configuration of the scenario slow with which the queues of slow subscribers overflow, and its nodes say so.
func slowOnes(target Target) Config {
	cfg := small(nil, target)
	cfg.Scenarios, cfg.Patience, cfg.Load.Slow = []string{"slow"}, 10*time.Second, 2
	return cfg
}

// The default backlog is more than a node with its default limits queues, and slow subscribers are told of all that they miss, which so is no loss. They may
// be told of more: of a probe that was published again in vain.
func TestSlowSubscribersMiss(t *testing.T) {
	pub, sub := startMesh(t)
	for _, size := range []int{minSize, 2048} {
		cfg := slowOnes(Target{URL: pub, SubURL: sub})
		cfg.Load.Backlog, cfg.Load.InFlight, cfg.Load.Sizes = 0, 0, []int{size}
		r, err := reported(t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkTour(t, r)
		if m := r.Results[0].Median; m["slow_missed"] == 0 || m["slow_told"] < m["slow_missed"] || m["slow_cut"] != 0 {
			t.Errorf("%d bytes: %v", size, m)
		}
	}
}

// Slow subscribers that the node gives up do not end the measurement, and what it dropped is no loss.
func TestSlowSubscribersAreCutOff(t *testing.T) {
	cfg := slowOnes(Target{URL: gate(t, "none", wsgate.Config{
		Limits: wsgate.Limits{QueueFrames: 500}, Timing: wsgate.Timing{Overflow: time.Millisecond},
	})})
	cfg.Load.Backlog = 10_000
	r, err := reported(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkTour(t, r)
	if m := r.Results[0].Median; m["slow_missed"] == 0 || m["slow_cut"] != 2 {
		t.Errorf("%v", m)
	}
}

func TestSipper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		begin, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s := &sipper{Conn: near, begin: begin, end: end, done: done}
		go func() {
			for {
				if _, err := far.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}()
		defer s.Close()
		read := func(want int, wait time.Duration) {
			t.Helper()
			start := time.Now()
			n, err := s.Read(make([]byte, 300))
			if took := time.Since(start); n != want || err != nil || took != wait {
				t.Errorf("%d bytes after %v, %v; want %d after %v", n, took, err, want, wait)
			}
		}
		read(300, 0)
		s.most = 100
		read(300, 0)
		close(begin)
		read(100, time.Second)
		read(100, time.Second)
		time.AfterFunc(300*time.Millisecond, func() { close(end) })
		read(200, 300*time.Millisecond) // the rest of what one write brought
		read(300, 0)
		// A repetition that ends wakes it.
		stopped := &sipper{Conn: near, begin: begin, end: make(chan struct{}), done: done}
		close(done)
		near.Close()
		if _, err := stopped.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
}
