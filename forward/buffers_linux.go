package forward

import (
	"net"

	"golang.org/x/sys/unix"
)

// BufferSizes are the socket's receive and send buffers in bytes, as asked of the kernel; zeros if it does not tell.
func BufferSizes(socket net.PacketConn) (receive, send int) {
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		return 0, 0
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, 0
	}
	err = raw.Control(func(fd uintptr) {
		// The kernel doubles what it is asked for, and says so: socket(7).
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			receive = n / 2
		}
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
			send = n / 2
		}
	})
	if err != nil {
		return 0, 0
	}
	return receive, send
}
