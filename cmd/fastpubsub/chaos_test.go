//go:build chaos

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	rough    = 5 // processes
	steady   = 2 // of them, the first, live through the test
	channels = 3
)

// exchange is the traffic between processes that go through trouble, and what came of it.
type exchange struct {
	t     *testing.T
	all   []*process
	runs  [rough]int // how often each was started
	group sync.WaitGroup

	mu     sync.Mutex // guards what follows
	sent   map[stream]int
	next   map[receiver]int // number after the last that came
	gaps   map[receiver]int // numbers that were passed over
	change chan struct{}    // closed when something comes
	faults []string
}

// stream is what one run of a process publishes to one channel; receiver is a run of a process that gets it.
type (
	stream   struct{ from, run, channel int }
	receiver struct {
		stream
		to, toRun int
	}
)

// TestProcessesInTrouble kills processes without warning, starts them again, and stops one for a second, under traffic. Between those that live
// through it nothing is lost; nobody gets a message twice or out of order.
func TestProcessesInTrouble(t *testing.T) {
	x := &exchange{t: t, sent: map[stream]int{}, next: map[receiver]int{}, gaps: map[receiver]int{}, change: make(chan struct{})}
	dirs := [rough]string{}
	for i := range rough {
		dirs[i] = t.TempDir()
		args := []string{"--data-dir", dirs[i]}
		if i > 0 {
			args = append(args, "--join", x.all[(i-1)/2].node)
		}
		x.all = append(x.all, startProcess(t, fmt.Sprint("p", i), args...))
	}
	wholeMesh(t, x.all)
	ctx, stop := context.WithCancel(t.Context())
	defer x.group.Wait()
	defer stop()
	for i := range rough {
		x.subscribe(i)
	}
	var hangUp [rough]func()
	for i := range rough {
		hangUp[i] = x.publish(ctx, i)
	}
	x.progress(10)
	for i := steady; i < rough; i++ {
		victim := x.all[i]
		_ = victim.cmd.Process.Kill()
		_ = victim.cmd.Wait()
		hangUp[i]()
		x.progress(50)
		x.all[i] = startProcess(t, victim.name, "--data-dir", dirs[i], "--join", x.all[0].node)
		x.runs[i]++
		wholeMesh(t, x.all)
		x.subscribe(i)
		hangUp[i] = x.publish(ctx, i)
		x.progress(10)
	}
	x.pause(x.all[1], 1200*time.Millisecond)
	x.progress(50)
	stop()
	x.group.Wait()
	x.judge()
}

// subscribe opens a client at process i that takes everything.
func (x *exchange) subscribe(i int) {
	x.t.Helper()
	run := x.runs[i]
	c, err := client.Dial(x.t.Context(), client.Config{
		URL: "ws://" + x.all[i].gate + "/ws", Handler: func(m client.Message) { x.came(i, run, string(m.Payload)) },
	})
	if err == nil {
		err = c.Subscribe(x.t.Context(), "t", "chaos.*")
	}
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Close() })
}

func (x *exchange) came(to, toRun int, payload string) {
	r := receiver{to: to, toRun: toRun}
	var number int
	if _, err := fmt.Sscan(payload, &r.from, &r.run, &r.channel, &number); err != nil {
		x.t.Errorf("p%d got %q", to, payload)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	next, known := x.next[r]
	switch {
	case !known: // its interest had to spread first
	case number < next:
		x.faults = append(x.faults, fmt.Sprintf("%+v: message %d came when %d was due", r, number, next))
		return
	default:
		x.gaps[r] += number - next
	}
	x.next[r] = number + 1
	close(x.change)
	x.change = make(chan struct{})
}

// publish publishes to every channel at process i until ctx ends or stop is called, which waits.
func (x *exchange) publish(ctx context.Context, i int) (stop func()) {
	x.t.Helper()
	c, err := client.Dial(x.t.Context(), client.Config{URL: "ws://" + x.all[i].gate + "/ws"})
	if err != nil {
		x.t.Fatal(err)
	}
	run := x.runs[i]
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	x.group.Go(func() {
		defer close(done)
		defer c.Close()
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			s := stream{i, run, n % channels}
			x.mu.Lock()
			number := x.sent[s]
			x.sent[s]++
			x.mu.Unlock()
			payload := fmt.Sprintf("%d %d %d %d", s.from, s.run, s.channel, number)
			// Half a message cannot be taken back, so the end of ctx must not end a write.
			if c.Publish(context.WithoutCancel(ctx), "t", fmt.Sprint("chaos.", s.channel), []byte(payload)) != nil {
				return // killed
			}
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
		}
	})
	return func() { cancel(); <-done }
}

// progress waits until every process has got so many more messages of every stream from the others that live now.
func (x *exchange) progress(more int) {
	x.t.Helper()
	goal := map[receiver]int{}
	x.mu.Lock()
	for s, sent := range x.sent {
		for to := range rough {
			if r := (receiver{s, to, x.runs[to]}); s.run == x.runs[s.from] && to != s.from && x.alive(to) && x.alive(s.from) {
				goal[r] = sent + more
			}
		}
	}
	x.mu.Unlock()
	x.await(goal)
}

// alive reports whether a process has not been killed; its successor has taken its place by the time it matters.
func (x *exchange) alive(i int) bool { return x.all[i].cmd.ProcessState == nil }

// await waits until the numbers of goal have come.
func (x *exchange) await(goal map[receiver]int) {
	x.t.Helper()
	late := time.After(patience)
	for {
		x.mu.Lock()
		change := x.change
		for r, number := range goal {
			if x.next[r] >= number {
				delete(goal, r)
			}
		}
		x.mu.Unlock()
		if len(goal) == 0 {
			return
		}
		select {
		case <-change:
		case <-late:
			x.t.Fatalf("never came: %v", goal)
		}
	}
}

// pause stops a process for a while, as a laptop's lid or a busy hypervisor does.
func (x *exchange) pause(p *process, lasting time.Duration) {
	x.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		x.t.Fatal(err)
	}
	<-time.After(lasting)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		x.t.Fatal(err)
	}
}

// judge waits for the last message of every stream between processes that lived all the time, and looks for any missing before it.
func (x *exchange) judge() {
	x.t.Helper()
	last := map[receiver]int{}
	for s, sent := range x.sent {
		for to := range steady {
			if s.from < steady && to != s.from {
				last[receiver{s, to, 0}] = sent
			}
		}
	}
	among := len(last)
	x.await(last)
	x.mu.Lock()
	defer x.mu.Unlock()
	total := 0
	for r, lost := range x.gaps {
		if lost > 0 && r.from < steady && r.to < steady {
			x.t.Errorf("%+v: %d messages never came", r, lost)
		}
	}
	for _, next := range x.next {
		total += next
	}
	slices.Sort(x.faults)
	for _, fault := range x.faults[:min(len(x.faults), 20)] {
		x.t.Error(fault)
	}
	x.t.Logf("%d streams between processes that lived, %d messages to all; %d faults", among, total, len(x.faults))
}
