package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Network is the one seam between a node and the outside: package net by default, an in-memory network or an emulated WAN
// elsewhere. Node code cannot tell which.
type Network interface {
	ListenPacket(addr string) (net.PacketConn, error)
	Listen(addr string) (net.Listener, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// System is the operating system's network.
type System struct{}

// ListenPacket opens a UDP socket.
func (System) ListenPacket(addr string) (net.PacketConn, error) {
	var c net.ListenConfig
	return c.ListenPacket(context.Background(), "udp", addr)
}

// Listen opens a TCP listener.
func (System) Listen(addr string) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(context.Background(), "tcp", addr)
}

// DialContext connects.
func (System) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// call sends one datagram from a socket of its own beside the node's: what no packet of the receiver has opened a way for.
func call(network Network, beside net.Addr, to netip.AddrPort, b []byte) error {
	host, _, err := net.SplitHostPort(beside.String())
	if err != nil {
		return fmt.Errorf("mesh: call: %w", err)
	}
	socket, err := network.ListenPacket(net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Errorf("mesh: call: %w", err)
	}
	defer socket.Close()
	if _, err = socket.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		return fmt.Errorf("mesh: call: %w", err)
	}
	return nil
}
