//go:build unix

package bench

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// narrow makes a socket that is yet to connect take in little, and makes the other side think of segments as they are across the Internet: on
// loopback, where they have 64 KiB, the system would let a node write megabytes ahead, and nothing would wait in the node.
func narrow(_, _ string, raw syscall.RawConn) error {
	var buffer, segment error
	err := raw.Control(func(fd uintptr) {
		buffer = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, narrowBuffer)
		segment = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, narrowSegment)
	})
	return errors.Join(err, buffer, segment)
}
