package wsgate

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestUselessConnections: connections that bring no request, or none that can be read, are counted and cost nothing for long.
func TestUselessConnections(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		for _, text := range []string{
			"", "GET /ws HTT", strings.Repeat("x", 5000) + "\r\n\r\n", "GET /ping HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("y", 40_000) + "\r\n\r\n",
			"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /pi",
		} {
			conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.WriteString(conn, text)
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
		w.dial("llps.v1").ask("PING", "PONG")
		time.Sleep(time.Minute + 10*time.Second)
		w.server.knocks.mu.Lock()
		wait := len(w.server.knocks.waiting)
		w.server.knocks.mu.Unlock()
		if s := w.server.Stats(); s.Useless != 4 || wait != 0 {
			t.Errorf("%d useless, %d wait", s.Useless, wait)
		}
	})
}

// TestKnocksAreBounded: beyond knocksMost connections without a request new ones are closed.
func TestKnocksAreBounded(t *testing.T) {
	useless := 0
	k := newKnocks(func() { useless++ })
	var first net.Conn
	for i := range knocksMost + 10 {
		here, there := net.Pipe()
		k.turned(here, http.StateNew)
		if i == 0 {
			first = here
		}
		if i >= knocksMost {
			if _, err := there.Write([]byte("x")); err == nil {
				t.Error("it is not closed")
			}
		}
	}
	if useless != 10 || len(k.waiting) != knocksMost {
		t.Errorf("%d useless, %d wait", useless, len(k.waiting))
	}
	k.turned(first, http.StateActive)
	k.turned(first, http.StateClosed)
	here, _ := net.Pipe()
	if k.turned(here, http.StateNew); useless != 11 || len(k.waiting) != knocksMost {
		t.Errorf("%d useless, %d wait", useless, len(k.waiting))
	}
}
