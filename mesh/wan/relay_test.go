package wan

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// process stands for a node of another process: a plain socket that knows nothing of the emulation.
type process struct {
	*net.UDPConn
	t *testing.T
}

func newProcess(t *testing.T) process {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return process{c, t}
}

func (p process) addr() netip.AddrPort { return p.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p process) send(text string, to netip.AddrPort) {
	p.t.Helper()
	if _, err := p.WriteToUDPAddrPort([]byte(text), to); err != nil {
		p.t.Fatal(err)
	}
}

// next is what came next, and from where.
func (p process) next() (string, netip.AddrPort) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 100)
	n, from, err := p.ReadFromUDPAddrPort(buffer)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(buffer[:n]), from
}

func TestRelay(t *testing.T) {
	const oneWay = 10 * time.Millisecond
	e := emulate(t, square{2, oneWay, 0})
	a, b, stranger := newProcess(t), newProcess(t), newProcess(t)
	r, err := NewRelay(e, []netip.AddrPort{a.addr(), b.addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stranger.send("let me in", r.Door(1))
	began := time.Now()
	a.send("hello", r.Door(1))
	text, from := b.next()
	if text != "hello" || from != r.Door(0) {
		t.Errorf("got %q from %v, want it from the sender's door %v", text, from, r.Door(0))
	}
	b.send("answer", from)
	if text, from := a.next(); text != "answer" || from != r.Door(1) {
		t.Errorf("got %q from %v", text, from)
	}
	if took := time.Since(began); took < 2*oneWay {
		t.Errorf("there and back in %v", took)
	}
	e.BlockOneWay(0, 1, true)
	a.send("lost", r.Door(1))
	b.send("one way", r.Door(0))
	if text, _ := a.next(); text != "one way" {
		t.Errorf("got %q", text)
	}
	e.BlockOneWay(0, 1, false)
	a.send("again", r.Door(1))
	if text, _ := b.next(); text != "again" {
		t.Errorf("got %q", text)
	}
	if s := e.Stats(); s.Blocked != 1 || r.Strange() != 1 {
		t.Errorf("%d blocked, %d from strangers", s.Blocked, r.Strange())
	}
}
