package nowait

import (
	"io"
	"net"
	"testing"
)

// TestWriteStopsWhereThereIsNoRoom: a peer that does not read takes some, then nothing, and nobody waits.
func TestWriteStopsWhereThereIsNoRoom(t *testing.T) {
	if !supported {
		t.Skip("needs a system whose sockets can be written to directly")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	w, piece, written := New(client), make([]byte, 64<<10), 0
	for n := w.Write(piece); n > 0; n = w.Write(piece) {
		written += n
	}
	_ = client.Close()
	if n := w.Write(piece); n != 0 {
		t.Errorf("%d bytes written to a closed socket", n)
	}
	if got, err := io.Copy(io.Discard, server); err != nil || got != int64(written) || written == 0 {
		t.Errorf("%d bytes came of %d: %v", got, written, err)
	}
}

// TestOtherConnections have no Writer.
func TestOtherConnections(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	if New(a) != nil {
		t.Error("a pipe can be written to without waiting")
	}
}
