//go:build unix

package wsgate

import "syscall"

func (a *attempt) write(fd uintptr) bool {
	n, err := syscall.Write(int(fd), a.bytes)
	if a.n = n; err != nil {
		a.n = 0 // no room; any other error the next write finds, too
	}
	return true
}
