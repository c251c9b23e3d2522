//go:build unix

package nowait

import "syscall"

const supported = true

func (w *Writer) write(fd uintptr) bool {
	n, err := syscall.Write(int(fd), w.bytes)
	if w.n = n; err != nil {
		w.n = 0
	}
	return true
}
