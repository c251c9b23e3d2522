package forward

import (
	"net"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/nowait"
)

// sealed is the connection under a TLS connection. Package tls writes each record of at most 16 KiB by itself; here they gather until they are flushed, all in one
// write, or as far as there is room. It reads one record after the other, too, of which many may have come at once: only what is below it knows when no
// more is there.
type sealed struct {
	net.Conn
	in   *nowait.Reader
	room *nowait.Writer // nil: the connection cannot be written to without waiting

	mu        sync.Mutex // guards what follows; never held while waiting
	gathering bool
	records   []byte // not yet written
	spare     []byte // memory of those written before
}

// newSealed is a connection on conn that calls idle before it waits for something to read.
func newSealed(conn net.Conn, idle func()) *sealed {
	return &sealed{Conn: conn, in: nowait.NewReader(conn, idle), room: nowait.New(conn)}
}

// Read is package tls's.
func (s *sealed) Read(b []byte) (int, error) { return s.in.Read(b) }

// gather has what is written from now on wait for flush or try. Until then, in the handshake, it goes at once.
func (s *sealed) gather() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathering = true
}

// Write is package tls's.
func (s *sealed) Write(b []byte) (int, error) {
	s.mu.Lock()
	if !s.gathering {
		s.mu.Unlock()
		return s.Conn.Write(b)
	}
	defer s.mu.Unlock()
	s.records = append(s.records, b...)
	return len(b), nil
}

// flush writes what has gathered. It is for one goroutine at a time, as is try.
func (s *sealed) flush() error {
	s.mu.Lock()
	records := s.records
	s.records = s.spare[:0]
	s.mu.Unlock()
	if len(records) == 0 {
		return nil
	}
	_, err := s.Conn.Write(records)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare = records[:0]; cap(records) > nearFactor*busyBuffer {
		s.spare = nil
	}
	return err
}

// prompt reports whether nothing waits and a write need not, either.
func (s *sealed) prompt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room != nil && len(s.records) == 0
}

// try writes what there is room for and reports whether that was all.
func (s *sealed) try() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.room.Write(s.records)
	s.records = s.records[:copy(s.records, s.records[n:])]
	return len(s.records) == 0
}
