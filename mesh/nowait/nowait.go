// Package nowait writes to sockets without ever waiting for room.
package nowait

import (
	"net"
	"syscall"
)

// Writer writes to one socket. It is for one goroutine at a time.
type Writer struct {
	raw   syscall.RawConn
	bytes []byte
	n     int
	run   func(fd uintptr) bool // write, made once: a closure for each write would be garbage
}

// New is a Writer to a connection, or nil if that is not a TCP socket of the system.
func New(conn net.Conn) *Writer {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !supported {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Writer{raw: raw}
	w.run = w.write
	return w
}

// Write writes what of b the socket has room for now, and says how much that was. An error is no room: whoever writes next, and waits, finds it.
func (w *Writer) Write(b []byte) int {
	w.bytes, w.n = b, 0
	if err := w.raw.Write(w.run); err != nil {
		w.n = 0
	}
	w.bytes = nil
	return w.n
}
