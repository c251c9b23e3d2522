package simnet

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCutAndHeal(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		a, b, c := n.Host(ipA), n.Host(ipB), n.Host(ipC)
		ua, ub, uc := listenPacket(t, a, ":1"), listenPacket(t, b, ":1"), listenPacket(t, c, ":1")
		client, server := connect(t, a, b)
		n.Cut(ipA, ipB)
		send(t, ua, ub, "lost")
		send(t, ub, ua, "lost")
		send(t, ua, uc, "through")
		write(t, client, "held ") // nobody is told
		write(t, server, "held ")
		if receive(t, ub) != "" || receive(t, ua) != "" || receive(t, uc) != "through" {
			t.Error("the cut is not between a and b")
		}
		server.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := server.Read(make([]byte, 1))
		wantErr(t, err, os.ErrDeadlineExceeded)
		server.SetReadDeadline(time.Time{})
		write(t, client, "bytes")
		client.Close()

		n.Heal(ipA, ipB)
		start := time.Now()
		if got, err := io.ReadAll(server); string(got) != "held bytes" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		wantTook(t, start, delay, 1)
		if c := n.Counters(ipA, ipB); c.Blocked != 1 || c.Sent != 1 || c.Delivered != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

// Path.Block works on one direction and one kind of traffic.
func TestBlockKinds(t *testing.T) {
	for _, test := range []struct {
		block    Block
		udp, tcp bool // what passes
	}{
		{BlockNone, true, true},
		{BlockUDP, false, true},
		{BlockTCP, true, false},
		{BlockAll, false, false},
	} {
		for _, way := range [][2]string{{ipA, ipB}, {ipB, ipA}} {
			bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
				a, b := n.Host(ipA), n.Host(ipB)
				ua, ub := listenPacket(t, a, ":1"), listenPacket(t, b, ":1")
				if _, err := b.Listen(":1"); err != nil {
					t.Fatal(err)
				}
				n.SetPath(way[0], way[1], Path{Block: test.block})
				send(t, ua, ub, "x")
				send(t, ub, ua, "x")
				forth, back := receive(t, ub) == "x", receive(t, ua) == "x"
				if way[0] == ipB {
					forth, back = back, forth
				}
				if forth != test.udp || !back {
					t.Errorf("block %d on %v: UDP passes %v, %v back", test.block, way, forth, back)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := a.DialContext(ctx, "tcp", ipB+":1"); (err == nil) != test.tcp {
					t.Errorf("block %d on %v: dialled, %v", test.block, way, err)
				}
			})
		}
	}
}

func TestIsolateAndRejoin(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Net) {
		a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		n.Isolate(ipA)
		late := listenPacket(t, n.Host(ipC), ":1") // a host that comes later is cut off from it too
		send(t, a, b, "x")
		send(t, late, a, "x")
		if receive(t, b) != "" || receive(t, a) != "" {
			t.Error("not isolated")
		}
		send(t, a, a, "self")
		send(t, late, b, "others")
		if receive(t, a) != "self" || receive(t, b) != "others" {
			t.Error("isolated too much")
		}
		write(t, client, "x")
		n.Rejoin(ipA)
		readFull(t, server, 1)
		send(t, a, b, "back")
		if receive(t, b) != "back" {
			t.Error("not back")
		}
	})
}

// Invariants 4 and 6: the killed host's own calls end, its peers hear nothing.
func TestKillIsSilent(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		a, b := n.Host(ipA), n.Host(ipB)
		ua, ub := listenPacket(t, a, ":1"), listenPacket(t, b, ":1")
		client, server := connect(t, a, b)
		listener, _ := b.Listen(":2")
		outcomes := make(chan error, 3)
		go func() { _, err := server.Read(make([]byte, 1)); outcomes <- err }()
		go func() { _, _, err := ub.ReadFrom(nil); outcomes <- err }()
		go func() { _, err := listener.Accept(); outcomes <- err }()
		synctest.Wait()
		n.Kill(ipB)
		n.Kill(ipC) // nobody
		for range cap(outcomes) {
			wantErr(t, <-outcomes, net.ErrClosed)
		}
		_, err := b.ListenPacket(":1")
		wantErr(t, err, net.ErrClosed)
		_, err = b.DialContext(t.Context(), "tcp", ipA+":1")
		wantErr(t, err, net.ErrClosed)

		write(t, client, "into the void")
		send(t, ua, ub, "into the void")
		client.SetReadDeadline(time.Now().Add(time.Hour))
		_, err = client.Read(make([]byte, 1))
		wantErr(t, err, os.ErrDeadlineExceeded) // not EOF, not reset
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = a.DialContext(ctx, "tcp", ipB+":2")
		wantErr(t, err, context.DeadlineExceeded) // not refused
		if c := n.Counters(ipA, ipB); c.Unreachable != 1 {
			t.Errorf("counters %+v", c)
		}
	})
}

// A new host at the address of a killed one has none of its sockets and resets its streams.
func TestRestart(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		a, b := n.Host(ipA), n.Host(ipB)
		waiting, _ := connect(t, a, b) // has sent something to the dead host
		write(t, waiting, "early")
		idle, _ := connect(t, a, b) // sends after the restart
		n.Kill(ipB)
		write(t, waiting, "late")
		time.Sleep(time.Second)
		dialled := make(chan error)
		go func() { // the request waits for the restart
			conn, err := a.DialContext(t.Context(), "tcp", ipB+":2")
			if err == nil {
				conn.Close()
			}
			dialled <- err
		}()
		time.Sleep(time.Second)
		again := n.Host(ipB)
		if again == b {
			t.Fatal("the dead host came back")
		}
		if _, err := again.Listen(":2"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		wantErr(t, <-dialled, nil)
		_, err := waiting.Read(make([]byte, 1))
		wantErr(t, err, syscall.ECONNRESET)
		wantTook(t, start, 2*delay, 2)
		write(t, idle, "x")
		_, err = idle.Read(make([]byte, 1))
		wantErr(t, err, syscall.ECONNRESET)
		socket := listenPacket(t, again, ":1")
		send(t, listenPacket(t, a, ":1"), socket, "hello")
		if receive(t, socket) != "hello" {
			t.Error("the new host does not receive")
		}
	})
}

// What a blocked stream holds is bounded, also where credit is what waits (invariant 5).
func TestStalledIsBounded(t *testing.T) {
	const window = 100
	bubble(t, Config{StreamBuffer: window}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		n.SetPath(ipB, ipA, Path{Block: BlockTCP})
		client.SetWriteDeadline(time.Now().Add(time.Second))
		go io.Copy(io.Discard, server)
		size, err := client.Write([]byte(strings.Repeat("x", 10*window)))
		wantErr(t, err, os.ErrDeadlineExceeded)
		if size != window {
			t.Errorf("wrote %d bytes", size)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if held := server.(*stream).stalled; len(held) != 1 || held[0].credit > window {
			t.Errorf("held: %+v", held)
		}
	})
}
