//go:build !linux

package forward

import "net"

// coalesce has a socket receive coalesced packets if it can, which only Linux can.
func coalesce(socket net.PacketConn) net.PacketConn { return socket }
