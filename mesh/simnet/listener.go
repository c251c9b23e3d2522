package simnet

import (
	"net"
	"net/netip"
	"sync"
)

// listener is a listening TCP socket.
type listener struct {
	host  *Host
	port  uint16
	local *net.TCPAddr

	// All below is guarded by host.net.mu.
	closed  bool
	ready   *sync.Cond
	backlog []*stream
}

func newListener(h *Host, port uint16) *listener {
	return &listener{
		host:  h,
		port:  port,
		local: net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.addr, port)),
		ready: sync.NewCond(&h.net.mu),
	}
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for len(l.backlog) == 0 {
		if l.closed {
			return nil, l.failed("accept")
		}
		l.ready.Wait()
	}
	s := l.backlog[0]
	l.backlog[0] = nil
	l.backlog = l.backlog[1:]
	return s, nil
}

// Close frees the port, ends Accept, and resets the connections that nobody accepted.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return l.failed("close")
	}
	for _, s := range l.backlog {
		s.reset()
	}
	l.end()
	return nil
}

// end closes the listener and says nothing to its peers. The caller holds net.mu.
func (l *listener) end() {
	l.closed = true
	l.backlog = nil
	l.ready.Broadcast()
	delete(l.host.listeners, l.port)
}

// Addr is a *net.TCPAddr with the address of the host.
func (l *listener) Addr() net.Addr { return l.local }

func (l *listener) failed(op string) error {
	return &net.OpError{Op: op, Net: "tcp", Source: l.local, Err: net.ErrClosed}
}
