//go:build unix

package demo

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hasKeys tells whether waitReadable works.
const hasKeys = true

// waitReadable waits until there is something to read from in; false once the other end of the pipe stopped is closed. A read could not be
// interrupted: the runtime's poller does not take terminals that other processes share.
func waitReadable(in, stopped *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(stopped.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || fds[1].Revents != 0:
			return false
		default:
			return fds[0].Revents != 0
		}
	}
}
