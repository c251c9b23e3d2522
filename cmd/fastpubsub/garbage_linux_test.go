package main

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/proc"
)

// TestGarbage: connections that send nonsense, at whatever stage, leave no memory behind. TEST_GARBAGE is how many there are, if it is set.
func TestGarbage(t *testing.T) {
	count := 2000
	if text := os.Getenv("TEST_GARBAGE"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, options := range map[string][]string{"limits": nil, "no limits": {"--max-per-address=0", "--rate-connections=0"}} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, "target", options...)
			var failed atomic.Int64
			wave := func(count int) {
				work := make(chan int)
				var workers sync.WaitGroup
				for range 64 {
					workers.Go(func() {
						for i := range work {
							if !throw(p.gate, i) {
								failed.Add(1)
							}
						}
					})
				}
				for i := range count {
					work <- i
				}
				close(work)
				workers.Wait()
			}
			resident := func() int64 {
				waitFor(t, "all connections are gone", func() bool { return openSockets(t, p) < 30 })
				bytes, err := proc.Resident(p.cmd.Process.Pid)
				if err != nil {
					t.Fatal(err)
				}
				return bytes
			}
			started := resident()
			wave(1000) // what the first connections need stays: pools, stacks, the heap's own room
			before := resident()
			wave(count)
			after := resident()
			t.Logf("%d connections, %d failed: resident %d KiB at first, %d KiB after 1000, %d KiB after all", count, failed.Load(), started>>10, before>>10, after>>10)
			if !raced() && after > before+heapFloor+16<<20 { // the collector lets the heap grow by its floor and what lives before it runs
				t.Errorf("resident memory grew from %d to %d KiB", before>>10, after>>10)
			}
			roundTrip(t, p, p)
		})
	}
}

// throw makes one connection and sends something that is no use. It tells whether it could connect.
func throw(gate string, i int) bool {
	conn, err := net.Dial("tcp", gate)
	if err != nil {
		return false
	}
	defer conn.Close()
	garbage := make([]byte, rand.IntN(2000))
	for j := range garbage {
		garbage[j] = byte(rand.Uint32())
	}
	const upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	switch i % 4 {
	case 0: // nothing
	case 1:
		_, _ = conn.Write(garbage)
	case 2: // garbage in place of frames
		_, _ = io.WriteString(conn, upgrade)
		_, _ = conn.Write(garbage)
	case 3: // half a request
		_, _ = io.WriteString(conn, upgrade[:len(upgrade)/2])
	}
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = io.Copy(io.Discard, conn)
	return true
}

// openSockets is how many file descriptors the process has open.
func openSockets(t *testing.T, p *process) int {
	t.Helper()
	list, err := os.ReadDir("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
