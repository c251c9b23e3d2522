//go:build !linux

package forward

import "net"

// BufferSizes are the socket's receive and send buffers in bytes; zeros, since only Linux tells here.
func BufferSizes(net.PacketConn) (receive, send int) { return 0, 0 }
