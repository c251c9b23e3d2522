package nowait

import (
	"errors"
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

// TestReadTellsBeforeItWaits: once for each wait, and not while something is there to read.
func TestReadTellsBeforeItWaits(t *testing.T) {
	if !supported {
		t.Skip("needs a system whose sockets can be read from directly")
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

	waits := 0
	r := NewReader(server, func() { // the peer writes when the reader is about to wait, and at no other time
		switch waits++; waits {
		case 1:
			_, err = client.Write([]byte("abcdef"))
		case 2:
			_, err = client.Write([]byte("g"))
		default:
			err = client.Close()
		}
		if err != nil {
			t.Error(err)
		}
	})
	buf := make([]byte, 4)
	for _, want := range []struct {
		text  string
		waits int
	}{{"abcd", 1}, {"ef", 1}, {"g", 2}} {
		n, err := r.Read(buf)
		if got := string(buf[:n]); err != nil || got != want.text || waits != want.waits {
			t.Fatalf("read %q, %v after %d waits, want %q after %d", got, err, waits, want.text, want.waits)
		}
	}
	if n, err := r.Read(buf); n != 0 || !errors.Is(err, io.EOF) || waits != 3 {
		t.Errorf("%d bytes, %v after %d waits at the end", n, err, waits)
	}
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Errorf("%d bytes, %v into nothing", n, err)
	}
	_ = server.Close()
	if _, err := r.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v from a closed connection", err)
	}
}

// TestReadOfOtherConnections: any read may wait.
func TestReadOfOtherConnections(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	waits := 0
	r := NewReader(a, func() { waits++ })
	go func() { _, _ = b.Write([]byte("ab")) }()
	for _, want := range []string{"a", "b"} {
		buf := make([]byte, 1)
		if n, err := r.Read(buf); n != 1 || err != nil || string(buf) != want {
			t.Fatalf("%d bytes %q, %v", n, buf, err)
		}
	}
	if waits != 2 {
		t.Errorf("told of %d waits, not of 2", waits)
	}
}
