package simnet

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// MaxDatagram is the longest payload of a datagram, in bytes: an Ethernet frame less IPv4 and UDP headers. WriteTo
// refuses longer ones with EMSGSIZE, as a socket does that may not fragment.
const MaxDatagram = 1500 - 20 - 8

// packetOverhead is what a packet counts in a receive queue beside its payload, so that empty packets are bounded too.
const packetOverhead = 64

// packetConn is a UDP socket.
type packetConn struct {
	host  *Host
	local *net.UDPAddr // shared with readers of what it sent; never changed

	// All below is guarded by host.net.mu.
	closed        bool
	readable      *sync.Cond
	queue         []packet
	queued        int // bytes, overhead included
	read, written deadline
}

type packet struct {
	from    *net.UDPAddr
	payload []byte
}

func newPacketConn(h *Host, port uint16) *packetConn {
	return &packetConn{
		host:     h,
		local:    net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.addr, port)),
		readable: sync.NewCond(&h.net.mu),
	}
}

// ReadFrom waits for a datagram. What is longer than p is cut off.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, nil, c.failed("read", nil, net.ErrClosed)
		case c.read.expired():
			return 0, nil, c.failed("read", nil, os.ErrDeadlineExceeded)
		case len(c.queue) > 0:
			first := c.queue[0]
			c.queue[0] = packet{}
			c.queue = c.queue[1:]
			c.queued -= len(first.payload) + packetOverhead
			return copy(p, first.payload), first.from, nil
		}
		c.readable.Wait()
	}
}

// WriteTo sends a copy of p. It never blocks, and does not tell what becomes of the datagram.
func (c *packetConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.failed("write", addr, &net.AddrError{Err: "not a UDP address", Addr: addr.String()})
	}
	to := udp.AddrPort()
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return 0, c.failed("write", addr, net.ErrClosed)
	}
	if c.written.expired() {
		return 0, c.failed("write", addr, os.ErrDeadlineExceeded)
	}
	pair := n.pair(c.host.addr, to.Addr())
	if len(p) > MaxDatagram {
		pair.counters.Oversize++
		return 0, c.failed("write", addr, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	pair.counters.Sent++
	pair.counters.Bytes += uint64(len(p))
	sent := packet{c.local, bytes.Clone(p)}
	for _, due := range pair.datagram(time.Now(), n.blocked(pair, BlockUDP)) {
		n.schedule(due, func() { n.deliver(pair, to.Port(), sent) })
	}
	return len(p), nil
}

// deliver puts a packet into the queue of the socket it is for. The caller holds n.mu.
func (n *Net) deliver(path *pair, port uint16, p packet) {
	h := n.hosts[path.to]
	if h == nil || h.packets[port] == nil {
		path.counters.Unreachable++
		return
	}
	c := h.packets[port]
	size := len(p.payload) + packetOverhead
	if c.queued+size > n.cfg.ReceiveBuffer {
		path.counters.Overflow++
		return
	}
	path.counters.Delivered++
	c.queue = append(c.queue, p)
	c.queued += size
	c.readable.Broadcast()
}

// Close ends the socket; readers get net.ErrClosed, and so does a second Close.
func (c *packetConn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.failed("close", nil, net.ErrClosed)
	}
	c.end()
	return nil
}

// end frees the port and wakes readers. The caller holds net.mu.
func (c *packetConn) end() {
	c.closed = true
	c.queue, c.queued = nil, 0
	c.read.stop()
	c.written.stop()
	c.readable.Broadcast()
	delete(c.host.packets, uint16(c.local.Port))
}

// LocalAddr is a *net.UDPAddr with the address of the host, also where the socket was bound to the unspecified one.
func (c *packetConn) LocalAddr() net.Addr { return c.local }

// SetDeadline sets both deadlines.
func (c *packetConn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.read, &c.written)
}

// SetReadDeadline sets when ReadFrom gives up, also for readers that wait already; the zero time means never.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline sets from when on WriteTo fails.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.written) }

func (c *packetConn) setDeadlines(t time.Time, deadlines ...*deadline) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.failed("set", nil, net.ErrClosed)
	}
	for _, d := range deadlines {
		d.set(t, c.readable)
	}
	return nil
}

// SetReadBuffer does nothing: Config.ReceiveBuffer is the bound. It is here because quic-go asks for it.
func (c *packetConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing: writes do not wait.
func (c *packetConn) SetWriteBuffer(int) error { return nil }

func (c *packetConn) failed(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.local, Addr: to, Err: err}
}
