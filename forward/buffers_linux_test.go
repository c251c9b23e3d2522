package forward

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestWarnOfBuffers(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := socket.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if receive, send := BufferSizes(socket); receive != 64<<10 || send <= 0 {
		t.Errorf("receive %d, send %d", receive, send)
	}
	var out bytes.Buffer
	warnOfBuffers(zerolog.New(&out), socket)
	if !strings.Contains(out.String(), `"receive":65536`) || !strings.Contains(out.String(), "sysctl") {
		t.Errorf("logged %q", out.String())
	}
}
