package wan

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a UDP socket that stands at a site. It is not embedded in anything and embeds nothing: whatever method of
// the real socket it had besides those of net.PacketConn would be a way past the emulation.
type socket struct {
	emulator *Emulator
	site     int
	key      netip.AddrPort // in emulator.sockets
	real     *net.UDPConn
	shutOnce sync.Once

	// Guarded by emulator.mu.
	underWay int  // packets in the queue
	lingers  bool // closed; the real socket only waits for what is under way

	mu      sync.Mutex // keeps stopReading and SetReadDeadline apart
	closed  atomic.Bool
	writeBy atomic.Pointer[time.Time] // the write deadline; nil: none
}

// listen opens a socket.
func (e *Emulator) listen(site int, addr string) (net.PacketConn, error) {
	wanted, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	e.mu.Lock()
	old := e.sockets[registryKey(wanted)]
	evict := old != nil && old.lingers
	e.mu.Unlock()
	if evict {
		old.shut()
	}
	var config net.ListenConfig
	real, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	c := &socket{emulator: e, site: site, real: real.(*net.UDPConn)}
	c.key = registryKey(c.real.LocalAddr().(*net.UDPAddr))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = c.real.Close()
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: net.ErrClosed}
	}
	e.sockets[c.key] = c
	return c, nil
}

// registryKey is the address under which a socket is known; all unspecified addresses are the same.
func registryKey(addr *net.UDPAddr) netip.AddrPort {
	key := addr.AddrPort()
	ip := key.Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(ip, key.Port())
}

// find is the site that a packet to this address reaches: that of a socket bound to it, or, on loopback, to all addresses, or that of a node of
// another process.
func (e *Emulator) find(to netip.AddrPort) (site int, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if site, known := e.foreign[to]; known {
		return site, true
	}
	c := e.sockets[to]
	if c == nil && to.Addr().IsLoopback() {
		c = e.sockets[netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())]
	}
	if c == nil {
		return 0, false
	}
	return c.site, true
}

// WriteTo sends a copy of p: later, if the address is that of a socket at another site. It tells nothing of what
// becomes of the packet.
func (c *socket) WriteTo(p []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.failed("write", addr, &net.AddrError{Err: "not a UDP address", Addr: addr.String()})
	}
	if c.closed.Load() {
		return 0, c.failed("write", addr, net.ErrClosed)
	}
	if by := c.writeBy.Load(); by != nil && time.Until(*by) <= 0 {
		return 0, c.failed("write", addr, os.ErrDeadlineExceeded)
	}
	key := registryKey(udp)
	far, known := c.emulator.find(key)
	switch {
	case !known && c.emulator.dropsOutside(c.site):
		return len(p), nil
	case !known || far == c.site:
		return c.real.WriteTo(p, addr)
	case len(p) > MaxDatagram:
		return 0, c.failed("write", addr, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	parcel := c.emulator.parcels.Get().(*parcel)
	parcel.from, parcel.toSite, parcel.to = c, far, key
	parcel.size = copy(parcel.payload[:], p)
	c.emulator.accept(parcel)
	return len(p), nil
}

// ReadFrom reads from the real socket. What reaches a killed site is dropped here, wherever it came from.
func (c *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.real.ReadFrom(p)
		switch {
		case c.closed.Load():
			return 0, nil, c.failed("read", nil, net.ErrClosed)
		case err != nil:
			return 0, nil, err
		case !c.emulator.dropsOutside(c.site):
			return n, from, nil
		}
	}
}

// Close ends the socket for its owner. The real one stays open until what was written is sent, since the last packets
// tell the peers goodbye; Emulator.Close, and ListenPacket for the same address, end that.
func (c *socket) Close() error {
	if !c.stopReading() {
		return c.failed("close", nil, net.ErrClosed)
	}
	e := c.emulator
	e.mu.Lock()
	c.lingers = true
	idle := c.underWay == 0
	e.mu.Unlock()
	if idle {
		c.shut()
	}
	return nil
}

// stopReading ends ReadFrom; it reports false if that was done before.
func (c *socket) stopReading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Swap(true) {
		return false
	}
	_ = c.real.SetReadDeadline(time.Unix(1, 0))
	return true
}

// shut closes the real socket. It returns when the port is free, also if another goroutine came first.
func (c *socket) shut() {
	c.shutOnce.Do(func() {
		_ = c.real.Close()
		e := c.emulator
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.sockets[c.key] == c {
			delete(e.sockets, c.key)
		}
	})
}

// LocalAddr is the address of the real socket, a *net.UDPAddr.
func (c *socket) LocalAddr() net.Addr { return c.real.LocalAddr() }

// SetDeadline sets both deadlines.
func (c *socket) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when ReadFrom gives up; the zero time means never.
func (c *socket) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() { // the deadline that ends ReadFrom must stay
		return c.failed("set", nil, net.ErrClosed)
	}
	return c.real.SetReadDeadline(t)
}

// SetWriteDeadline sets from when on WriteTo fails; the zero time means never. The real socket must not have it: what
// was accepted in time is sent later.
func (c *socket) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return c.failed("set", nil, net.ErrClosed)
	}
	if t.IsZero() {
		c.writeBy.Store(nil)
	} else {
		c.writeBy.Store(&t)
	}
	return nil
}

// SetReadBuffer sets the size of the kernel's receive buffer, in bytes.
func (c *socket) SetReadBuffer(size int) error { return c.real.SetReadBuffer(size) }

// SetWriteBuffer sets the size of the kernel's send buffer, in bytes.
func (c *socket) SetWriteBuffer(size int) error { return c.real.SetWriteBuffer(size) }

func (c *socket) failed(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.real.LocalAddr(), Addr: to, Err: err}
}
