package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/client"
	"github.com/fastpubsub/fastpubsub/wsgate/handover"
)

// crowd is clients that follow the contract, all subscribed to the same, and what each got of the messages that they publish in turn.
type crowd struct {
	t          *testing.T
	clients    []*handover.Client
	running    sync.WaitGroup
	stop       context.CancelFunc
	reconnects atomic.Int64

	mu        sync.Mutex // guards what follows
	published int
	got       [][]byte // by client and number of the message: how often it came
	behind    int      // messages that have not come to somebody
}

func startCrowd(t *testing.T, count int, gates []string) *crowd {
	t.Helper()
	c := &crowd{t: t, got: make([][]byte, count)}
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	for i := range count {
		h := handover.New(handover.Config{
			URL:        "ws://" + gates[i%len(gates)] + "/ws",
			Subscribe:  []string{"t:crowd.#", fmt.Sprint("t:own.", i)},
			Reconnects: &c.reconnects,
			Faults:     func(err error) { t.Errorf("client %d: %v", i, err) },
			On:         func(m client.Message) { c.take(i, m) },
		})
		c.clients = append(c.clients, h)
		c.running.Go(func() { h.Run(ctx) })
		if i%20 == 19 {
			c.await(ctx, c.clients[i-19:])
		}
	}
	c.await(ctx, c.clients)
	t.Cleanup(c.end)
	return c
}

func (c *crowd) await(ctx context.Context, some []*handover.Client) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, h := range some {
		if err := h.Ready(ctx); err != nil {
			c.t.Fatalf("a client does not connect: %v", err)
		}
	}
}

func (c *crowd) take(i int, m client.Message) {
	n := int(binary.BigEndian.Uint32(m.Payload))
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.got[i]) <= n {
		c.got[i] = append(c.got[i], 0)
	}
	if c.got[i][n]++; c.got[i][n] == 1 {
		c.behind--
	}
}

// publish has the clients publish in turn until ctx ends.
func (c *crowd) publish(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		n := c.published
		c.published++
		c.behind += len(c.clients)
		c.mu.Unlock()
		payload := binary.BigEndian.AppendUint32(nil, uint32(n))
		// Not with ctx, which may end after the message was counted.
		if err := c.clients[n*37%len(c.clients)].Publish(c.t.Context(), "t", "crowd.x", payload); err != nil {
			c.t.Errorf("publish %d: %v", n, err)
		}
	}
}

func (c *crowd) caughtUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.behind == 0
}

func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// raced tells whether the race detector is on.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestRollingDrain: while the three nodes of a mesh are replaced one after the other, each by a new process at the same client port, a thousand clients
// that follow the contract get every message once.
func TestRollingDrain(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	start := func(name string, args ...string) *process {
		return startProcess(t, name, append(args, "--drain-spread", "4s", "--drain", "2m")...)
	}
	nodes := []*process{start("a0")}
	nodes = append(nodes, start("b0", "--join", nodes[0].node), start("c0", "--join", nodes[0].node))
	wholeMesh(t, nodes)
	var gates []string
	for _, p := range nodes {
		gates = append(gates, p.gate)
	}
	count := 1000
	if raced() {
		count = 100 // it makes all processes several times as slow, and this test is about what they do, not how fast
	}
	c := startCrowd(t, count, gates)
	ctx, cancel := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() { c.publish(ctx) })

	for i, old := range nodes {
		fresh := start(strings.Replace(old.name, "0", "1", 1), "--ws", old.gate, "--join", nodes[(i+1)%3].node)
		if fresh.gate != old.gate {
			t.Fatalf("took over %s instead of %s", fresh.gate, old.gate)
		}
		nodes[i] = fresh
		if err := old.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := old.cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", old.name, err, old.stderr)
		}
		if text := old.stderr.String(); !strings.Contains(text, `"clients_left":0`) {
			t.Errorf("%s drained: %s", old.name, text)
		}
	}
	cancel()
	publishing.Wait()
	for began := time.Now(); !c.caughtUp() && time.Since(began) < patience; { // else what is missing is told below
		runtime.Gosched()
	}
	c.end()
	if n := int(c.reconnects.Load()); n != count {
		t.Errorf("%d reconnects of %d clients", n, count)
	}
	missed, doubled := map[int]int{}, map[int]int{} // by number of the message
	for _, got := range c.got {
		for n := range c.published {
			switch {
			case n >= len(got) || got[n] == 0:
				missed[n]++
			case got[n] > 1:
				doubled[n]++
			}
		}
	}
	if len(missed) != 0 || len(doubled) != 0 {
		t.Errorf("of %d messages to each of %d clients these were missed and these came twice, by so many clients: %v, %v", c.published, count, missed, doubled)
	}
	t.Logf("%d messages to each of %d clients", c.published, count)
	wholeMesh(t, slices.Clone(nodes))
}
