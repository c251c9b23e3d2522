package forward

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	coalescedBytes = 64 << 10 // the longest UDP payload, which is what the kernel coalesces up to
	coalescedReads = 4        // in one system call
	controlSize    = 256      // of the control messages of a read: packet info, ECN, segment size
)

// coalescing is a UDP socket whose kernel hands successive packets of one sender over as one (UDP_GRO, udp(7)): quic-go knows of sending so, not of receiving so.
// It takes them apart again. ReadBatch is for one goroutine at a time.
type coalescing struct {
	*net.UDPConn
	packets *ipv4.PacketConn // of either family: it only makes the system calls

	reads []ipv4.Message
	sizes [coalescedReads]int // of the packets in each read; 0: it is one
	have  int                 // of reads
	next  int                 // read to take from
	at    int                 // byte in it
}

// coalesce has a socket receive coalesced packets if it can.
func coalesce(socket net.PacketConn) net.PacketConn {
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		return socket
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return socket
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if err != nil || refused != nil {
		return socket // Linux before 5.0
	}
	c := &coalescing{UDPConn: udp, packets: ipv4.NewPacketConn(udp), reads: make([]ipv4.Message, coalescedReads)}
	for i := range c.reads {
		c.reads[i].Buffers = [][]byte{make([]byte, coalescedBytes)}
		c.reads[i].OOB = make([]byte, controlSize)
	}
	return c
}

// ReadBatch fills messages with one packet each, of those read before if there are any left.
func (c *coalescing) ReadBatch(messages []ipv4.Message, flags int) (n int, err error) {
	if c.next == c.have {
		c.have, c.next, c.at = 0, 0, 0
		k, err := c.packets.ReadBatch(c.reads, flags)
		if err != nil {
			return 0, err
		}
		c.have = k
		for i := range k {
			r := &c.reads[i]
			c.sizes[i], r.NN = cutSegmentSize(r.OOB[:r.NN])
		}
	}
	for n < len(messages) && c.next < c.have {
		c.split(&messages[n])
		n++
	}
	return n, nil
}

// split takes the next packet off the present read.
func (c *coalescing) split(m *ipv4.Message) {
	r := &c.reads[c.next]
	rest := r.Buffers[0][c.at:r.N]
	if size := c.sizes[c.next]; size > 0 && size < len(rest) {
		rest = rest[:size]
	}
	m.N = copy(m.Buffers[0], rest)
	m.NN = copy(m.OOB, r.OOB[:r.NN])
	m.Addr, m.Flags = r.Addr, r.Flags
	if c.at += len(rest); c.at >= r.N {
		c.next, c.at = c.next+1, 0
	}
}

// cutSegmentSize takes the length of the packets that a read was put together from out of its control messages; 0: it is one packet. Quic-go has room
// for just the others.
func cutSegmentSize(control []byte) (size, length int) {
	for rest := control; len(rest) >= unix.CmsgLen(0); {
		h, body, after, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(body) >= 4 {
			size = int(binary.NativeEndian.Uint32(body))
			return size, len(control) - len(rest) + copy(rest, after)
		}
		rest = after
	}
	return 0, len(control)
}
