package wan

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// emulate starts an Emulator that is closed at the end of the test, and checks that it leaves no goroutine behind.
func emulate(t *testing.T, delays Delays) *Emulator {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	e, err := NewEmulator(delays, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func open(t *testing.T, e *Emulator, site int) net.PacketConn {
	t.Helper()
	c, err := e.Site(site).ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, from, to net.PacketConn, payload string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(payload), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// want reads one packet, which must be this one. It waits without a limit: that of the test ends it.
func want(t *testing.T, c net.PacketConn, payload string, from net.PacketConn) {
	t.Helper()
	p := make([]byte, 2000)
	n, addr, err := c.ReadFrom(p)
	if err != nil {
		t.Fatal(err)
	}
	if string(p[:n]) != payload || addr.String() != from.LocalAddr().String() {
		t.Fatalf("read %.20q from %v, want %.20q from %v", p[:n], addr, payload, from.LocalAddr())
	}
}

// wantStats checks the counts of what became of packets.
func wantStats(t *testing.T, e *Emulator, want Stats) {
	t.Helper()
	got := e.Stats()
	got.LateTotal, got.LateMax, got.QueuedBytes = 0, 0, 0
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

// Invariants 1 and 2: packets take their delay, in order, and show the sender's address.
func TestEmulatedDelay(t *testing.T) {
	const delay = 20 * time.Millisecond
	e := emulate(t, square{2, delay, time.Millisecond})
	a, b := open(t, e, 0), open(t, e, 1)
	start := time.Now()
	payload := []byte("first")
	if _, err := a.WriteTo(payload, b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	clear(payload) // WriteTo must have copied
	for i := range 20 {
		send(t, a, b, strconv.Itoa(i))
	}
	want(t, b, "first", a)
	if took := time.Since(start); took < delay {
		t.Errorf("arrived after %v", took)
	}
	for i := range 20 {
		want(t, b, strconv.Itoa(i), a)
	}
	e.SetExtra(0, 1, delay)
	start = time.Now()
	send(t, b, a, "back")
	want(t, a, "back", b)
	if took := time.Since(start); took < 2*delay {
		t.Errorf("arrived after %v", took)
	}
}

// What is not between two sites passes: to the own site, and from and to sockets the Emulator does not know.
func TestEmulatorPassesOthers(t *testing.T) {
	e := emulate(t, square{2, time.Hour, 0})
	a, own := open(t, e, 0), open(t, e, 0)
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	send(t, a, own, "own")
	want(t, own, "own", a)
	send(t, a, other, "out")
	want(t, other, "out", a)
	send(t, other, a, "in")
	want(t, a, "in", other)
	wantStats(t, e, Stats{})
}

// A socket bound to all addresses is known by the loopback address.
func TestEmulatorUnspecifiedAddress(t *testing.T) {
	e := emulate(t, square{2, time.Hour, 0})
	a := open(t, e, 0)
	b, err := e.Site(1).ListenPacket(":0")
	if err != nil {
		t.Fatal(err)
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: b.LocalAddr().(*net.UDPAddr).Port}
	if _, err := a.WriteTo([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
	wantStats(t, e, Stats{Sent: 1, SentBytes: 1})
	elapse(e)
	if n, _, err := b.ReadFrom(make([]byte, 10)); n != 1 || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	wantStats(t, e, Stats{Sent: 1, SentBytes: 1, Delivered: 1})
}

// elapse does what the scheduler would do in two hours. Delays of an hour leave it to the test when that is.
func elapse(e *Emulator) { e.sendDue(time.Now().Add(2*time.Hour), nil) }

// Faults drop packets without a word; Block and Kill those under way too.
func TestEmulatedFaults(t *testing.T) {
	for _, test := range []struct {
		name        string
		fault, undo func(*Emulator)
		want        Stats
	}{
		{"block", func(e *Emulator) { e.Block(0, 1, true) }, func(e *Emulator) { e.Block(1, 0, false) }, Stats{Sent: 3, SentBytes: 21, Delivered: 1, Blocked: 2}},
		{"kill the sender", func(e *Emulator) { e.Kill(0) }, func(e *Emulator) { e.Revive(0) }, Stats{Sent: 3, SentBytes: 21, Delivered: 1, Blocked: 2}},
		{"kill the receiver", func(e *Emulator) { e.Kill(1) }, (*Emulator).Heal, Stats{Sent: 3, SentBytes: 21, Delivered: 1, Blocked: 2}},
		{"lose", func(e *Emulator) { e.SetLoss(0, 1, 1) }, func(e *Emulator) { e.SetLoss(0, 1, 0) }, Stats{Sent: 3, SentBytes: 21, Delivered: 2, Lost: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := emulate(t, square{2, time.Hour, 0})
			a, b := open(t, e, 0), open(t, e, 1)
			send(t, a, b, "under way")
			test.fault(e)
			send(t, a, b, "dropped")
			elapse(e)
			test.undo(e)
			send(t, a, b, "after")
			elapse(e)
			if test.want.Delivered == 2 {
				want(t, b, "under way", a)
			}
			want(t, b, "after", a)
			wantStats(t, e, test.want)
			if queued := e.Stats().QueuedBytes; queued != 0 {
				t.Errorf("%d bytes queued", queued)
			}
		})
	}
}

// No path is as good as a blocked one.
func TestEmulatorWithoutPath(t *testing.T) {
	e := emulate(t, line{})
	send(t, open(t, e, 0), open(t, e, 2), "x")
	wantStats(t, e, Stats{Sent: 1, SentBytes: 1, Blocked: 1})
}

// A killed site hears and reaches nobody, known or not.
func TestKillCutsOutsiders(t *testing.T) {
	e := emulate(t, square{2, 0, 0})
	a := open(t, e, 0)
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	e.Kill(0)
	send(t, a, other, "from the dead")
	send(t, other, a, "to the dead")
	heard := make(chan string)
	go func() {
		p := make([]byte, 20)
		n, _, _ := a.ReadFrom(p)
		heard <- string(p[:n])
	}()
	for e.Stats().Blocked < 2 { // until the reader has dropped it
		runtime.Gosched()
	}
	e.Revive(0)
	send(t, a, other, "alive")
	want(t, other, "alive", a)
	send(t, other, a, "alive")
	if got := <-heard; got != "alive" {
		t.Errorf("heard %q", got)
	}
}

// Invariant 4.
func TestEmulatorQueueBounded(t *testing.T) {
	e := emulate(t, square{2, time.Hour, 0})
	a, b := open(t, e, 0), open(t, e, 1)
	const fits = queueLimit / parcelSize
	for range fits + 10 {
		send(t, a, b, "")
	}
	wantStats(t, e, Stats{Sent: fits + 10, Overflow: 10})
	if queued := e.Stats().QueuedBytes; queued > queueLimit {
		t.Errorf("%d bytes queued", queued)
	}
}

// Invariant 5: the last words of a closed socket arrive, unless its port is taken again.
func TestClosedSocketLingers(t *testing.T) {
	e := emulate(t, square{2, time.Hour, 0})
	a, b := open(t, e, 0), open(t, e, 1)
	wantShut := func(c net.PacketConn) {
		t.Helper()
		if _, err := c.(*socket).real.WriteTo(nil, b.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the real socket stays open: %v", err)
		}
	}
	send(t, a, b, "goodbye")
	a.Close()
	elapse(e)
	want(t, b, "goodbye", a)
	wantShut(a)

	listen := func() net.PacketConn {
		t.Helper()
		c, err := e.Site(0).ListenPacket(a.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	second := listen()
	send(t, second, b, "unheard")
	second.Close()
	third := listen()
	wantShut(second)
	if _, err := e.Site(0).ListenPacket(a.LocalAddr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("listening twice: %v", err)
	}
	send(t, third, b, "restarted")
	elapse(e)
	want(t, b, "restarted", third)
	wantStats(t, e, Stats{Sent: 3, SentBytes: 23, Delivered: 2, Failed: 1})
	third.Close() // with nothing under way
	wantShut(third)
}

func TestSocketErrors(t *testing.T) {
	e := emulate(t, square{2, time.Millisecond, 0})
	a, b := open(t, e, 0), open(t, e, 1)
	check := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
	_, err := a.WriteTo(make([]byte, MaxDatagram+1), b.LocalAddr())
	check(err, syscall.EMSGSIZE)
	send(t, a, b, strings.Repeat("x", MaxDatagram))
	want(t, b, strings.Repeat("x", MaxDatagram), a)
	if _, err := a.WriteTo(nil, &net.TCPAddr{}); err == nil {
		t.Error("wrote to a TCP address")
	}
	a.SetDeadline(time.Unix(1, 0))
	_, err = a.WriteTo(nil, b.LocalAddr())
	check(err, os.ErrDeadlineExceeded)
	_, _, err = a.ReadFrom(nil)
	check(err, os.ErrDeadlineExceeded)
	a.SetDeadline(time.Time{})

	outcome := make(chan error)
	go func() { _, _, err := a.ReadFrom(nil); outcome <- err }()
	send(t, a, b, "keeps the real socket open")
	a.Close()
	check(<-outcome, net.ErrClosed)
	check(a.Close(), net.ErrClosed)
	check(a.SetDeadline(time.Time{}), net.ErrClosed)
	check(a.SetWriteDeadline(time.Time{}), net.ErrClosed)
	_, err = a.WriteTo(nil, b.LocalAddr())
	check(err, net.ErrClosed)
	_, _, err = a.ReadFrom(nil)
	check(err, net.ErrClosed)

	if _, err := e.Site(0).ListenPacket("127.0.0.1:x"); err == nil {
		t.Error("listened on a port that is none")
	}
	e.Close()
	e.Close()
	_, _, err = b.ReadFrom(nil)
	check(err, net.ErrClosed)
	_, err = e.Site(0).ListenPacket("127.0.0.1:0")
	check(err, net.ErrClosed)
	b.WriteTo(nil, a.LocalAddr()) // whatever it says, it must not block or panic
}

func TestSiteNumbers(t *testing.T) {
	e := emulate(t, square{2, 0, 0})
	for _, call := range []func(){
		func() { e.Site(2) },
		func() { e.Site(-1) },
		func() { e.Block(0, 2, true) },
		func() { e.SetExtra(2, 0, 0) },
		func() { e.Kill(2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		}()
	}
}

// TCP is there for clients, without delay; only that it works is checked.
func TestSiteTCP(t *testing.T) {
	e := emulate(t, square{2, time.Hour, 0})
	l, err := e.Site(0).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := e.Site(1).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	io.WriteString(client, "hello")
	client.Close()
	if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
