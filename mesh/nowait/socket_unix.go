//go:build unix

package nowait

import (
	"errors"
	"os"
	"syscall"
)

const supported = true

func (w *Writer) write(fd uintptr) bool {
	n, err := syscall.Write(int(fd), w.bytes)
	if w.n = n; err != nil {
		w.n = 0
	}
	return true
}

// read reports false to be called again when there is something to read.
func (r *Reader) read(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), r.bytes)
		switch {
		case err == nil:
			r.n = n
			return true
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			if !r.told {
				r.told = true
				r.before()
			}
			return false
		default:
			r.err = os.NewSyscallError("read", err)
			return true
		}
	}
}
