package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

const (
	ipA = "10.0.0.1"
	ipB = "10.0.0.2"
	ipC = "10.0.0.3"

	// tick bounds what the network adds to a delay to avoid round numbers.
	tick = time.Microsecond
)

// bubble runs a test in virtual time on a network that is closed at the end.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(cfg)
		defer n.Close()
		test(t, n)
	})
}

func listenPacket(t *testing.T, h *Host, addr string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connect opens a stream from a to b and returns both ends, the dialled one first.
func connect(t *testing.T, a, b *Host) (client, server net.Conn) {
	t.Helper()
	l, err := b.Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = a.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func send(t *testing.T, from, to net.PacketConn, payload string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(payload), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// receive reads one datagram, at the latest after a virtual second; "" means that none came.
func receive(t *testing.T, c net.PacketConn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	p := make([]byte, 2000)
	n, _, err := c.ReadFrom(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(p[:n])
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

func readFull(t *testing.T, r io.Reader, size int) string {
	t.Helper()
	p := make([]byte, size)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error %v, want %v", got, want)
	}
}

// wantTook checks that d passed since start, with up to one tick per way.
func wantTook(t *testing.T, start time.Time, d time.Duration, ways int) {
	t.Helper()
	if took := time.Since(start); took < d || took >= d+time.Duration(ways)*tick {
		t.Fatalf("took %v, want %v", took, d)
	}
}

func wantPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	f()
}

// The network works with real time too, and leaves no goroutine behind (invariant 7).
func TestRealTime(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := New(Config{Path: Path{Delay: 2 * time.Millisecond}})
	a, b := listenPacket(t, n.Host(ipA), ":1"), listenPacket(t, n.Host(ipB), ":1")
	start := time.Now()
	send(t, a, b, "x")
	p := make([]byte, 10)
	if size, _, err := b.ReadFrom(p); err != nil || string(p[:size]) != "x" {
		t.Fatalf("read %q, %v", p[:size], err)
	}
	if took := time.Since(start); took < 2*time.Millisecond {
		t.Errorf("arrived after %v", took)
	}
	client, server := connect(t, n.Host(ipA), n.Host(ipB))
	write(t, client, "hello")
	if got := readFull(t, server, 5); got != "hello" {
		t.Errorf("read %q", got)
	}
	n.Close()
	n.Close()
}

// Everything that waits ends with the network, and nothing works after it (invariants 6 and 7).
func TestCloseEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{})
		a, b := n.Host(ipA), n.Host(ipB)
		socket := listenPacket(t, a, ":1")
		listener, _ := b.Listen(":1")
		client, server := connect(t, a, b)
		full := make(chan error)
		outcomes := make(chan error, 4)
		go func() { _, _, err := socket.ReadFrom(make([]byte, 1)); outcomes <- err }()
		go func() { _, err := listener.Accept(); outcomes <- err }()
		go func() { _, err := server.Write(make([]byte, 1<<20)); outcomes <- err }()
		go func() { _, err := server.Read(make([]byte, 1)); outcomes <- err }()
		n.Cut(ipA, ipB)
		go func() { _, err := a.DialContext(t.Context(), "tcp", ipB+":1"); full <- err }()
		synctest.Wait()
		n.Close()
		for range cap(outcomes) {
			wantErr(t, <-outcomes, net.ErrClosed)
		}
		wantErr(t, <-full, net.ErrClosed)
		_, err := a.ListenPacket(":2")
		wantErr(t, err, net.ErrClosed)
		_, err = n.Host(ipC).Listen(":2")
		wantErr(t, err, net.ErrClosed)
		_, err = a.DialContext(t.Context(), "tcp", ipB+":1")
		wantErr(t, err, net.ErrClosed)
		wantErr(t, client.Close(), net.ErrClosed)
		wantErr(t, listener.Close(), net.ErrClosed)
	})
}

func TestAddresses(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Net) {
		h := n.Host(ipA)
		if h.Addr().String() != ipA || n.Host(ipA) != h {
			t.Error("not the same host")
		}
		for _, test := range []struct {
			addr  string
			local string // "" means an error
		}{
			{":7946", ipA + ":7946"},
			{"0.0.0.0:7947", ipA + ":7947"},
			{"[::]:7948", ipA + ":7948"},
			{ipA + ":7949", ipA + ":7949"},
			{":7946", ""},    // in use
			{ipB + ":1", ""}, // another host's
			{"name:1", ""},   // not an IP
			{":65536", ""},   // not a port
			{":http", ""},    // not a number
			{"10.0.0.1", ""}, // no port
			{":0", ipA + ":49152"},
			{":0", ipA + ":49153"},
		} {
			c, err := h.ListenPacket(test.addr)
			if (err == nil) != (test.local != "") || err == nil && c.LocalAddr().String() != test.local {
				t.Errorf("%q: %v, want %q", test.addr, err, test.local)
			}
		}
		for _, addr := range []string{"name:1", "10.0.0.9:1", ":x"} { // no name, no such host, no port
			if _, err := h.DialContext(t.Context(), "tcp", addr); err == nil {
				t.Errorf("dialled %q", addr)
			}
		}
		if _, err := h.DialContext(t.Context(), "udp", ipA+":1"); err == nil {
			t.Error("dialled UDP")
		}
		wantPanic(t, func() { n.Host("name") })
		wantPanic(t, func() { n.SetPath(ipA, ipB, Path{Loss: 1.5}) })
		wantPanic(t, func() { n.SetPath(ipA, ipB, Path{Delay: -1}) })
	})
}

func TestEphemeralPortsRunOut(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Net) {
		h := n.Host(ipA)
		var last net.PacketConn
		for range 1<<16 - firstEphemeral {
			last = listenPacket(t, h, ":0")
		}
		if _, err := h.ListenPacket(":0"); err == nil {
			t.Fatal("a port too many")
		}
		last.Close()
		if c := listenPacket(t, h, ":0"); c.LocalAddr().String() != last.LocalAddr().String() {
			t.Errorf("port %v, want the one that was freed", c.LocalAddr())
		}
	})
}
