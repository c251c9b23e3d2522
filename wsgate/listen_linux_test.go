package wsgate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func TestCountListeners(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1 0 100 0 0 10 0
   3: garbage
   4: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 104 1 0 100 0 0 10 0
   5: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 105 1 0 100 0 0 10 0
`
	for _, test := range []struct {
		inode  uint64
		others int
		found  bool
	}{{101, 1, true}, {103, 1, true}, {102, 0, true}, {104, -1, false}, {105, -1, false}} {
		if others, found := countListeners(strings.NewReader(table), test.inode); others != test.others || found != test.found {
			t.Errorf("%d: %d others, found %v", test.inode, others, found)
		}
	}
}

// TestSharedPort: a gateway that drains leaves the port to another at once, and nobody who connects meanwhile is refused. (The system may reset a handshake at the
// very moment when the socket closes; who follows the contract tries again.)
func TestSharedPort(t *testing.T) {
	if Occupied(t.Context(), "127.0.0.1:0") || Occupied(t.Context(), "nowhere") {
		t.Error("occupied")
	}
	old := listen(t, "127.0.0.1:0")
	addr := old.Addr().String()
	if !Occupied(t.Context(), addr) || old.Shared() {
		t.Errorf("shared %v before anybody else listens", old.Shared())
	}
	fresh := listen(t, addr)
	if !old.Shared() || !fresh.Shared() {
		t.Error("two listen, and do not see it")
	}
	oldServer, oldEnd := serveOn(t, old)
	freshServer, freshEnd := serveOn(t, fresh)
	connect := func() *rawClient {
		for {
			conn, err := net.Dial("tcp", addr)
			if errors.Is(err, syscall.ECONNRESET) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			c, response, err := tryRequest(t, conn, "/ws")
			if errors.Is(err, syscall.ECONNRESET) {
				continue
			} else if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(response, err)
			}
			return c
		}
	}
	var early []*rawClient
	for oldServer.Stats().Connections < 5 || freshServer.Stats().Connections < 5 {
		early = append(early, connect())
	}
	drained := make(chan struct{})
	go func() {
		oldServer.Drain(t.Context())
		close(drained)
	}()
	for fresh.Shared() { // the old one still listens
		early = append(early, connect())
	}
	for int(oldServer.Stats().Opened+freshServer.Stats().Opened) < len(early) { // they are counted just after they are answered
	}
	before, told := oldServer.Stats().Opened, 0
	for range 50 {
		c := connect()
		c.ask("PING", "PONG")
		c.conn.Close()
	}
	if n := oldServer.Stats().Opened - before; n != 0 {
		t.Errorf("%d of 50 came to the old gateway", n)
	}
	for _, c := range early {
		c.text("PING")
		line := c.line()
		if line == "RECONNECT" {
			told++
			line = c.line()
		}
		if line != "PONG" {
			t.Errorf("got %q", line)
		}
	}
	for _, c := range early {
		c.conn.Close()
	}
	<-drained
	if n := int(oldServer.Stats().Opened); n < 5 || told > n {
		t.Errorf("%d of %d were told", told, n)
	}
	oldEnd()
	freshEnd()
}

func listen(t *testing.T, addr string) *sharedListener {
	t.Helper()
	l, err := Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return l.(*sharedListener)
}

// serveOn serves on a real listener until end is called.
func serveOn(t *testing.T, l net.Listener) (s *Server, end func()) {
	t.Helper()
	hub := NewHub(HubConfig{})
	s, err := New(Config{Hub: hub, Broker: &loopback{hub: hub, calls: map[string][]bool{}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
