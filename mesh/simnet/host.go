package simnet

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// firstEphemeral is the lowest port given to sockets that ask for none (RFC 6335, section 6).
const firstEphemeral = 49152

// Host is a computer on the network: a place for sockets, and an implementation of package mesh's network seam.
// Addresses given to it are "ip:port" with a numeric port; names are not resolved.
type Host struct {
	net  *Net
	addr netip.Addr

	// All below is guarded by net.mu.
	dead      bool
	packets   map[uint16]*packetConn
	listeners map[uint16]*listener
	dialled   map[uint16]bool // local ports of dialled streams
	streams   map[*stream]bool
	lastPort  uint16
}

func newHost(n *Net, addr netip.Addr) *Host {
	return &Host{
		net:       n,
		addr:      addr,
		packets:   make(map[uint16]*packetConn),
		listeners: make(map[uint16]*listener),
		dialled:   make(map[uint16]bool),
		streams:   make(map[*stream]bool),
	}
}

// Addr is the IP address of the host.
func (h *Host) Addr() netip.Addr { return h.addr }

// ListenPacket opens a UDP socket. The address must be the host's own or unspecified ("", "0.0.0.0", "::"); port 0
// takes a free one. The socket lives until its Close, Kill or Net.Close.
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.bind(addr, func(port uint16) bool { return h.packets[port] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	c := newPacketConn(h, port)
	h.packets[port] = c
	return c, nil
}

// Listen opens a TCP listener; the address is as for ListenPacket.
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.bind(addr, func(port uint16) bool { return h.listeners[port] != nil || h.dialled[port] })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := newListener(h, port)
	h.listeners[port] = l
	return l, nil
}

// DialContext opens a TCP stream; network is "tcp", "tcp4" or "tcp6". It takes one round trip, and fails with
// ECONNREFUSED after one where nobody listens or the backlog is full, with EHOSTUNREACH at once where the network never
// had such a host, and with the context's error where nothing comes back in time.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	s, err := h.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	select {
	case err = <-s.dialled:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.abort()
		return nil, &net.OpError{Op: "dial", Net: network, Source: s.local, Addr: s.remote, Err: err}
	}
	return s, nil
}

// dial sends the first segment of a new stream.
func (h *Host) dial(ctx context.Context, addr string) (*stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	remote := h.addr
	if !host.IsUnspecified() {
		remote = host
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.dead {
		return nil, net.ErrClosed
	}
	if h.net.hosts[remote] == nil {
		return nil, os.NewSyscallError("connect", syscall.EHOSTUNREACH)
	}
	local, err := h.ephemeral(func(port uint16) bool { return h.listeners[port] != nil || h.dialled[port] })
	if err != nil {
		return nil, err
	}
	h.dialled[local] = true
	s := newStream(h, local, netip.AddrPortFrom(remote, port))
	s.ownPort = true
	s.send(segment{kind: segmentSYN})
	return s, nil
}

// bind finds the port for a listening address. The caller holds net.mu.
func (h *Host) bind(addr string, taken func(uint16) bool) (uint16, error) {
	if h.dead {
		return 0, net.ErrClosed
	}
	host, port, err := splitAddr(addr)
	if err != nil {
		return 0, err
	}
	if !host.IsUnspecified() && host != h.addr {
		return 0, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	if port == 0 {
		return h.ephemeral(taken)
	}
	if taken(port) {
		return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	return port, nil
}

// ephemeral finds a free port, going round so that ports are not used again soon. The caller holds net.mu.
func (h *Host) ephemeral(taken func(uint16) bool) (uint16, error) {
	for range 1<<16 - firstEphemeral {
		h.lastPort = max(h.lastPort+1, firstEphemeral) // wraps from 65535 to the first
		if !taken(h.lastPort) {
			return h.lastPort, nil
		}
	}
	return 0, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
}

// vanish ends all sockets of the host in silence. The caller holds net.mu.
func (h *Host) vanish() {
	h.dead = true
	for _, port := range slices.Sorted(maps.Keys(h.packets)) {
		h.packets[port].end()
	}
	for _, port := range slices.Sorted(maps.Keys(h.listeners)) {
		h.listeners[port].end()
	}
	byID := func(a, b *stream) int { return cmp.Compare(a.id, b.id) }
	for _, s := range slices.SortedFunc(maps.Keys(h.streams), byID) {
		s.end()
	}
}

// connect is the arrival of the first segment of a stream. The caller holds net.mu.
func (h *Host) connect(client *stream) {
	l := h.listeners[uint16(client.remote.Port)]
	if l == nil || len(l.backlog) >= h.net.cfg.Backlog {
		client.refuse(h)
		return
	}
	server := newStream(h, l.port, client.local.AddrPort())
	server.peer, client.peer = client, server
	l.backlog = append(l.backlog, server)
	l.ready.Broadcast()
	server.send(segment{kind: segmentSYNACK})
}

// refuse answers a segment of s for which the far host has no socket, with RST. The answer is lost if the way back is
// blocked. The caller holds net.mu.
func (s *stream) refuse(far *Host) {
	n := s.net
	back := n.pair(far.addr, s.host.addr)
	back.counters.Segments++
	delay := back.delay(back.draw())
	if !n.blocked(back, BlockTCP) {
		n.schedule(time.Now().Add(delay), func() { s.receive(segment{kind: segmentRST}) })
	}
}

// splitAddr reads "ip:port"; no IP is the unspecified address.
func splitAddr(addr string) (netip.Addr, uint16, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.Addr{}, 0, &net.AddrError{Err: "port is not a number below 65536", Addr: addr}
	}
	if host == "" {
		return netip.IPv4Unspecified(), uint16(port), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, &net.AddrError{Err: "host is not an IP address", Addr: addr}
	}
	return ip.Unmap().WithZone(""), uint16(port), nil
}
