package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/proc"
	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	goodRate   = 100           // messages a second that are not to suffer
	attackRate = 10 * goodRate // what an attack does a second, if the machine lets it
	attackRoom = 128 << 20     // bytes that a node may grow by under any attack: the collector lets garbage be half of what lives and its floor before it runs
	attackLog  = 10            // lines that a node may log under one
)

// attack is what somebody who does not belong to the mesh does to a node.
type attack struct {
	name    string
	run     func(ctx context.Context, v *victim)
	counter string                  // which counter of /v1/mesh tells of it
	count   func(v nodeView) uint64 // what it says
}

// victim is the node under attack. beat waits for the next turn of the attack's rate and is false at its end.
type victim struct {
	*process
	pace *rate.Limiter
}

func (v *victim) beat(ctx context.Context) bool { return v.pace.Wait(ctx) == nil }

// TestAttack attacks a node in every way that outsiders have, at ten times the rate of what passes through it meanwhile, and prints what happened. Whatever
// comes, nothing that passes is lost, doubled or out of order, memory stays bounded, the log is not filled, and counters tell of it. How long messages take is for
// the reader to judge: the attacker runs on the same processors. TEST_ATTACK is how long each takes; default 500ms.
func TestAttack(t *testing.T) {
	each := 500 * time.Millisecond
	if text := os.Getenv("TEST_ATTACK"); text != "" {
		var err error
		if each, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	node := startProcess(t, "victim", "--handshake-timeout=500ms")
	other := startProcess(t, "other", "--join", node.node)
	wholeMesh(t, []*process{node, other})
	good := startGood(t, node, other)
	time.Sleep(time.Second)
	good.take(t)
	began := resident(t, node)
	rows := []string{fmt.Sprintf("%-30s %8s %8s %8s %8s %5s  %s", "ATTACK", "P50 ms", "P99 ms", "CORES", "+MB", "LOG", "COUNTER, AND WHAT THE LOG SAID FIRST")}
	calm := attack{name: "none", run: func(ctx context.Context, _ *victim) { <-ctx.Done() }, count: func(nodeView) uint64 { return 0 }}
	for _, a := range append([]attack{calm}, attacks(t)...) {
		before, cpu, lines := node.viewOf(t), cpuOf(t, node), node.logLines()
		ctx, cancel := context.WithTimeout(t.Context(), each)
		v := &victim{node, rate.NewLimiter(attackRate, 20)}
		start := time.Now()
		most := int64(0)
		var group sync.WaitGroup
		group.Go(func() { a.run(ctx, v) })
		group.Go(func() {
			for ctx.Err() == nil {
				most = max(most, resident(t, node))
				time.Sleep(20 * time.Millisecond)
			}
		})
		group.Wait()
		cancel()
		cores := float64(cpuOf(t, node)-cpu) / float64(time.Since(start))
		got := good.take(t)
		said := node.logLines() - lines
		moved := uint64(0)
		if a.counter != "" {
			waitFor(t, a.name+" counts as "+a.counter, func() bool {
				if moved = a.count(node.viewOf(t)) - a.count(before); moved == 0 { // a busy machine may have let nothing through
					more, done := context.WithTimeout(t.Context(), each)
					a.run(more, v)
					done()
				}
				return moved > 0
			})
		}
		grown := max(most-began, 0)
		rows = append(rows, fmt.Sprintf("%-30s %8.2f %8.2f %8.2f %8.1f %5d  %s %d", a.name, ms(got, 50), ms(got, 99), cores, float64(grown)/(1<<20), said, a.counter, moved)+node.firstLine(lines))
		if grown > attackRoom && !raced() {
			t.Errorf("%s: the node grew by %d bytes", a.name, grown)
		}
		if said > attackLog {
			t.Errorf("%s: %d lines logged", a.name, said)
		}
	}
	if good.end(t); good.excused > 0 {
		t.Logf("the machine stood still for seconds, and %d messages were dropped", good.excused)
	}
	roundTrip(t, node, other)
	roundTrip(t, other, node)
	t.Logf("%d messages a second pass, each attack does %d a second:\n%s", goodRate, attackRate, strings.Join(rows, "\n"))
}

func resident(t *testing.T, p *process) int64 {
	bytes, err := proc.Resident(p.cmd.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	return bytes
}

func cpuOf(t *testing.T, p *process) time.Duration {
	took, err := proc.CPU(p.cmd.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	return took
}

func ms(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[(len(sorted)-1)*percent/100]) / float64(time.Millisecond)
}

// good is what passes from the victim's clients to another node's, and is not to suffer.
type good struct {
	stop context.CancelFunc
	done chan struct{}
	from *client.Client
	to   *client.Client

	mu            sync.Mutex // guards what follows
	sent          uint64
	next          uint64 // number of the next to come
	took          []time.Duration
	fault         error
	ticked, stood time.Time // when the publisher last had its turn, and when it last had to wait for too long
	excused       uint64    // messages lost to that
}

// stoodStill is how long the publisher waits for its turn before the machine counts as standing still: whatever is late for mesh.DefaultDeadline by that is dropped,
// attack or not.
const stoodStill = 2 * time.Second

func startGood(t *testing.T, from, to *process) *good {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	g := &good{stop: stop, done: make(chan struct{})}
	dial := func(p *process) *client.Client {
		c, err := client.Dial(t.Context(), client.Config{URL: "ws://" + p.gate + "/ws", Handler: g.came, Measure: -1, Pong: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	g.from, g.to = dial(from), dial(to)
	if err := g.to.SubscribeEverywhere(t.Context(), "", "good"); err != nil {
		t.Fatal(err)
	}
	go g.publish(ctx)
	return g
}

func (g *good) publish(ctx context.Context) {
	defer close(g.done)
	tick := time.NewTicker(time.Second / goodRate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		g.mu.Lock()
		number, now := g.sent, time.Now()
		g.sent++
		if !g.ticked.IsZero() && now.Sub(g.ticked) > stoodStill {
			g.stood = now
		}
		g.ticked = now
		g.mu.Unlock()
		b := binary.BigEndian.AppendUint64(nil, number)
		b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
		if err := g.from.Publish(context.WithoutCancel(ctx), "", "good", b); err != nil {
			g.fail(err)
			return
		}
	}
}

func (g *good) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		g.fault = err
	}
}

func (g *good) came(m client.Message) {
	number, at := binary.BigEndian.Uint64(m.Payload), binary.BigEndian.Uint64(m.Payload[8:])
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case number == g.next:
	case number > g.next && time.Since(g.stood) < mesh.DefaultDeadline+patience:
		g.excused += number - g.next
	case g.fault == nil:
		g.fault = fmt.Errorf("message %d came when %d was due", number, g.next)
	}
	g.next = number + 1
	g.took = append(g.took, time.Duration(time.Now().UnixNano()-int64(at)))
}

// take waits until all that was sent up to now has come, and returns how long what came since the last time took, shortest first.
func (g *good) take(t *testing.T) []time.Duration {
	t.Helper()
	g.mu.Lock()
	due := g.sent
	g.mu.Unlock()
	waitFor(t, "good messages come", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.next >= due || g.fault != nil
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		t.Fatalf("good traffic: %v", g.fault)
	}
	took := g.took
	g.took = nil
	slices.Sort(took)
	return took
}

func (g *good) end(t *testing.T) {
	t.Helper()
	g.stop()
	<-g.done
	g.take(t)
}

// logLines is how many lines the process has logged.
func (p *process) logLines() int {
	return strings.Count(p.stderr.String(), "\n")
}

// firstLine is the text of the first line logged after so many, if there is one.
func (p *process) firstLine(after int) string {
	lines := strings.Split(p.stderr.String(), "\n")
	var line struct{ Message string }
	if len(lines) <= after+1 || json.Unmarshal([]byte(lines[after]), &line) != nil {
		return ""
	}
	return "; " + line.Message
}

// viewOf is what the process shows of itself.
func (p *process) viewOf(t *testing.T) (v nodeView) {
	t.Helper()
	response, err := http.Get("http://" + p.gate + "/v1/mesh")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
