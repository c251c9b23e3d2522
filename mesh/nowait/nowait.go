// Package nowait writes to sockets without ever waiting for room, and tells before it waits for what is to be read.
package nowait

import (
	"io"
	"net"
	"syscall"
)

// rawOf is how to reach a connection's socket, or nil if it is not a TCP socket of a system where that can be done.
func rawOf(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !supported {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Writer writes to one socket. It is for one goroutine at a time.
type Writer struct {
	raw   syscall.RawConn
	bytes []byte
	n     int
	run   func(fd uintptr) bool // write, made once: a closure for each write would be garbage
}

// New is a Writer to a connection, or nil if that is not a TCP socket of the system.
func New(conn net.Conn) *Writer {
	raw := rawOf(conn)
	if raw == nil {
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

// Reader reads from one connection, and calls before whenever it is about to wait. It is for one goroutine at a time.
type Reader struct {
	conn   net.Conn
	before func()

	raw   syscall.RawConn // nil: whether a read will wait is not known, so each might
	bytes []byte
	n     int
	err   error
	told  bool
	run   func(fd uintptr) bool // read, made once
}

// NewReader is a Reader of any connection.
func NewReader(conn net.Conn, before func()) *Reader {
	r := &Reader{conn: conn, before: before, raw: rawOf(conn)}
	r.run = r.read
	return r
}

// Read is the connection's.
func (r *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if r.raw == nil {
		r.before()
		return r.conn.Read(b)
	}
	r.bytes, r.n, r.err, r.told = b, 0, nil, false
	err := r.raw.Read(r.run)
	r.bytes = nil
	switch {
	case err != nil: // it was closed, or a deadline is over
		return 0, err
	case r.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: r.conn.LocalAddr(), Addr: r.conn.RemoteAddr(), Err: r.err}
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}
