package simnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Invariant 1: a datagram takes the delay of its direction.
func TestDatagramDelay(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: 10 * time.Millisecond}}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":2")
		n.SetPath(ipB, ipA, Path{Delay: 30 * time.Millisecond})
		start := time.Now()
		payload := []byte("ping")
		if _, err := a.WriteTo(payload, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		copy(payload, "xxxx") // WriteTo must have copied
		p := make([]byte, 3)
		size, from, err := b.ReadFrom(p)
		if err != nil || string(p[:size]) != "pin" || from.String() != ipA+":1" {
			t.Fatalf("read %q from %v: %v", p[:size], from, err)
		}
		wantTook(t, start, 10*time.Millisecond, 1)
		send(t, b, a, "pong")
		if got := receive(t, a); got != "pong" {
			t.Fatalf("read %q", got)
		}
		wantTook(t, start, 40*time.Millisecond, 2)
		start = time.Now()
		send(t, a, a, "self")
		if got := receive(t, a); got != "self" {
			t.Fatalf("read %q", got)
		}
		wantTook(t, start, 0, 1)
	})
}

// Invariants 1 and 2: jitter spreads arrivals within its bound and leaves the order alone.
func TestJitterKeepsOrder(t *testing.T) {
	const count = 1000
	path := Path{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond}
	bubble(t, Config{Seed: 1, Path: path}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		start := time.Now()
		go func() {
			for i := range count {
				a.WriteTo(fmt.Append(nil, i), b.LocalAddr())
				time.Sleep(time.Millisecond)
			}
		}()
		var sum time.Duration
		for i := range count {
			if got := receive(t, b); got != fmt.Sprint(i) {
				t.Fatalf("packet %d is %q", i, got)
			}
			took := time.Since(start) - time.Duration(i)*time.Millisecond
			if took < path.Delay || took > path.Delay+path.Jitter+tick {
				t.Fatalf("packet %d took %v", i, took)
			}
			sum += took
		}
		// Drawn uniformly, and waiting for those before it: between the middle and the end of the range.
		if mean := sum / count; mean < 25*time.Millisecond || mean > 29*time.Millisecond {
			t.Errorf("mean delay %v", mean)
		}
	})
}

func TestLossDuplicationReordering(t *testing.T) {
	const count = 4_000
	for _, test := range []struct {
		name string
		path Path
		// expected shares of count
		delivered, reordered float64
	}{
		{"clean", Path{}, 1, 0},
		{"loss", Path{Loss: 0.1}, 0.9, 0},
		{"all lost", Path{Loss: 1}, 0, 0},
		{"duplicates", Path{Duplicate: 0.2}, 1.2, 0},
		{"all twice", Path{Duplicate: 1}, 2, 0},
		{"reordering", Path{Reorder: 0.3}, 1, 0.3},
		{"all", Path{Loss: 0.5, Duplicate: 0.5, Reorder: 0.5}, 0.75, 0.25},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.path.Delay = 5 * time.Millisecond
			bubble(t, Config{Seed: 7, Path: test.path, ReceiveBuffer: 4 << 20}, func(t *testing.T, n *Net) {
				a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
				for range count {
					send(t, a, b, "x")
				}
				time.Sleep(time.Second)
				c := n.Counters(ipA, ipB)
				if c.Sent != count || c.Bytes != count || c.Delivered+c.Lost != count+c.Duplicated {
					t.Errorf("counters do not add up: %+v", c)
				}
				if share := float64(c.Delivered) / count; share < test.delivered-0.04 || share > test.delivered+0.04 {
					t.Errorf("delivered %v, want %v", share, test.delivered)
				}
				if share := float64(c.Reordered) / count; share < test.reordered-0.04 || share > test.reordered+0.04 {
					t.Errorf("reordered %v, want %v", share, test.reordered)
				}
			})
		})
	}
}

// Invariant 2: only what Reorder picked is out of order; it is what comes late.
func TestReorderOvertakes(t *testing.T) {
	const count = 200
	bubble(t, Config{Seed: 3, Path: Path{Delay: 20 * time.Millisecond, Reorder: 0.1}}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		for i := range count {
			send(t, a, b, fmt.Sprintf("%04d", i))
			time.Sleep(time.Millisecond)
		}
		var late uint64
		highest := ""
		for range count {
			got := receive(t, b)
			if got < highest {
				late++
			}
			highest = max(highest, got)
		}
		if c := n.Counters(ipA, ipB); late == 0 || late > c.Reordered {
			t.Errorf("%d late, %d reordered", late, c.Reordered)
		}
	})
}

// Packets on a faster route overtake those on the old one.
func TestSetPathAppliesAfterwards(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: 100 * time.Millisecond}}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		start := time.Now()
		send(t, a, b, "old")
		n.SetPath(ipA, ipB, Path{Delay: 10 * time.Millisecond})
		send(t, a, b, "new")
		n.SetPath(ipA, ipB, Path{Block: BlockUDP})
		send(t, a, b, "blocked")
		if got := receive(t, b); got != "new" {
			t.Fatalf("read %q", got)
		}
		wantTook(t, start, 10*time.Millisecond, 1)
		if got := receive(t, b); got != "old" {
			t.Fatalf("read %q", got)
		}
		wantTook(t, start, 100*time.Millisecond, 1)
		if got := receive(t, b); got != "" {
			t.Fatalf("read %q", got)
		}
		if p := n.Path(ipA, ipB); p != (Path{Block: BlockUDP}) {
			t.Errorf("path %+v", p)
		}
	})
}

// Invariant 5: a full queue drops the newest, and counts it.
func TestReceiveQueueBounded(t *testing.T) {
	bubble(t, Config{ReceiveBuffer: 3 * (100 + packetOverhead)}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		for i := range 5 {
			send(t, a, b, strings.Repeat(fmt.Sprint(i), 100))
		}
		time.Sleep(time.Millisecond)
		for i := range 3 {
			if got := receive(t, b); got[:1] != fmt.Sprint(i) {
				t.Errorf("packet %d is %q", i, got)
			}
		}
		if got := receive(t, b); got != "" {
			t.Errorf("read %q", got)
		}
		if c := n.Counters(ipA, ipB); c.Overflow != 2 || c.Delivered != 3 {
			t.Errorf("counters %+v", c)
		}
		send(t, a, b, "again")
		if got := receive(t, b); got != "again" {
			t.Errorf("read %q", got)
		}
	})
}

func TestDatagramErrors(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		_, err := a.WriteTo(make([]byte, MaxDatagram+1), b.LocalAddr())
		wantErr(t, err, syscall.EMSGSIZE)
		send(t, a, b, strings.Repeat("x", MaxDatagram))
		if got := receive(t, b); len(got) != MaxDatagram {
			t.Errorf("read %d bytes", len(got))
		}
		if _, err = a.WriteTo(nil, &net.TCPAddr{}); err == nil {
			t.Error("wrote to a TCP address")
		}
		a.WriteTo(nil, &net.UDPAddr{IP: net.ParseIP(ipB), Port: 9})
		a.WriteTo(nil, &net.UDPAddr{IP: net.ParseIP(ipC), Port: 1})
		a.SetWriteDeadline(time.Now())
		_, err = a.WriteTo(nil, b.LocalAddr())
		wantErr(t, err, os.ErrDeadlineExceeded)
		time.Sleep(time.Millisecond)
		if c := n.Counters(ipA, ipB); c.Oversize != 1 || c.Unreachable != 1 {
			t.Errorf("counters %+v", c)
		}
		if c := n.Counters(ipA, ipC); c.Unreachable != 1 {
			t.Errorf("counters %+v", c)
		}
		a.Close()
		wantErr(t, a.Close(), net.ErrClosed)
		wantErr(t, a.SetDeadline(time.Time{}), net.ErrClosed)
		_, err = a.WriteTo(nil, b.LocalAddr())
		wantErr(t, err, net.ErrClosed)
		_, _, err = a.ReadFrom(nil)
		wantErr(t, err, net.ErrClosed)
	})
}

// Invariant 6: readers leave at their deadline, exactly, also when it is set while they wait, and at Close.
func TestPacketDeadlines(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Net) {
		c := listenPacket(t, n.Host(ipA), ":1")
		outcome := make(chan error)
		read := func() { _, _, err := c.ReadFrom(nil); outcome <- err }
		start := time.Now()

		c.SetReadDeadline(start.Add(time.Second))
		go read()
		time.Sleep(500 * time.Millisecond)
		c.SetReadDeadline(start.Add(2 * time.Second)) // later
		wantErr(t, <-outcome, os.ErrDeadlineExceeded)
		wantTook(t, start, 2*time.Second, 1)
		go read() // it stays expired
		wantErr(t, <-outcome, os.ErrDeadlineExceeded)
		wantTook(t, start, 2*time.Second, 1)

		c.SetReadDeadline(time.Time{})
		go read()
		time.Sleep(time.Hour)
		c.SetDeadline(time.Now()) // what quic-go does to stop its reader
		err := <-outcome
		wantErr(t, err, os.ErrDeadlineExceeded)
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("%v is not a time-out", err)
		}

		c.SetReadDeadline(time.Time{})
		go read()
		synctest.Wait()
		c.Close()
		wantErr(t, <-outcome, net.ErrClosed)
	})
}

// Invariant 8: what happens to the i-th packet of a pair depends on the seed, the pair and i only.
func TestFateIsReproducible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		path := Path{
			Delay:  time.Duration(rapid.IntRange(0, 100).Draw(t, "delay")) * time.Millisecond,
			Jitter: time.Duration(rapid.IntRange(0, 100).Draw(t, "jitter")) * time.Millisecond,
			Loss:   rapid.Float64Range(0, 0.5).Draw(t, "loss"), Duplicate: 0.1, Reorder: 0.1,
		}
		other := rapid.SliceOfN(rapid.Bool(), 50, 50).Draw(t, "traffic of another pair before packet i")
		fates := func(disturbed bool) (all [][]time.Time) {
			n := &Net{cfg: Config{Seed: seed, Path: path}, pairs: make(map[pairKey]*pair)}
			p, q := n.pair(mustAddr(ipA), mustAddr(ipB)), n.pair(mustAddr(ipB), mustAddr(ipA))
			now := time.Unix(0, 0)
			for i := range other {
				if disturbed && other[i] {
					q.datagram(now, false)
				}
				// The settings of a while earlier, blocked or not, leave no trace in the generator.
				p.path = Path{Delay: path.Delay}
				if disturbed {
					p.path.Loss = 1
				}
				p.datagram(now, disturbed && other[i])
				p.path, p.last = path, time.Time{}
				all = append(all, p.datagram(now, false))
			}
			return all
		}
		calm, disturbed := fates(false), fates(true)
		if !slices.EqualFunc(calm, disturbed, slices.Equal) {
			t.Fatalf("fates differ:\n%v\n%v", calm, disturbed)
		}
	})
}
