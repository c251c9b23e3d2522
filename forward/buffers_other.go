//go:build !linux

package forward

import "net"

// bufferSizes are the socket's receive and send buffers in bytes; zeros, since only Linux tells here.
func bufferSizes(net.PacketConn) (receive, send int) { return 0, 0 }
