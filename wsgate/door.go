package wsgate

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// errDoorShut is what a door says instead of letting somebody in after shut.
var errDoorShut = errors.New("wsgate: no more connections are taken")

// doorLinger is how long a door that is shut goes on taking connections, so that those that wait are among them.
const doorLinger = 20 * time.Millisecond

// door is the listener of a Serve. It can be shut before the end without resetting who waits in front of it.
type door struct {
	net.Listener
	visitors *visitors

	spareLoopback bool // its addresses are not limited

	unheard  func()      // counts a connection that was closed without a word
	shutting atomic.Bool // no longer than the connections that wait
	closed   atomic.Bool
}

// Accept waits for a connection. After shut it takes those that wait, and then ends with errDoorShut.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		switch {
		case err != nil && d.shutting.Load():
			return nil, errDoorShut
		case err != nil || d.visitors.off():
			return c, err
		}
		addr := remoteIP(c)
		if d.spareLoopback && addr.IsLoopback() { // a proxy, or the operator
			return c, nil
		}
		who, said := d.visitors.enter(addr, time.Now())
		if said != unheard {
			return &guest{Conn: c, of: d.visitors, who: who, said: said}, nil
		}
		d.unheard()
		_ = c.Close()
	}
}

// remoteIP is the peer's address; not valid where that is no IP address.
func remoteIP(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// shut has Accept end once it has taken the connections that wait; then its caller closes the socket. The system resets connections that nobody accepted
// when a socket closes. What comes between the last Accept and that, some microseconds, is lost to its client, and so is a connection still in its
// handshake: that takes one round trip.
func (d *door) shut() {
	if d.shutting.Swap(true) {
		return
	}
	l, ok := d.Listener.(interface{ SetDeadline(at time.Time) error })
	if !ok || l.SetDeadline(time.Now().Add(doorLinger)) != nil {
		_ = d.Close()
	}
}

// Close closes the socket.
func (d *door) Close() error {
	err := d.Listener.Close()
	d.closed.Store(true)
	return err
}

// shared tells whether another process takes connections at the same address.
func (d *door) shared() bool {
	l, ok := d.Listener.(interface{ Shared() bool })
	return ok && l.Shared()
}
