package wan

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// Invariant 3: the socket shows none of the methods that quic-go (sys_conn.go, sys_conn_buffers.go) or anybody else
// could use to get past it.
func TestSocketHidesRealOne(t *testing.T) {
	e := emulate(t, square{2, 0, 0})
	c := open(t, e, 0)
	if _, ok := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	}); ok {
		t.Error("shows the file descriptor")
	}
	if _, ok := c.(quic.OOBCapablePacketConn); ok {
		t.Error("is an OOBCapablePacketConn")
	}
	if _, ok := c.(net.Conn); ok {
		t.Error("is a net.Conn")
	}
	if _, ok := c.(io.Writer); ok {
		t.Error("is a writer")
	}
	if _, ok := c.(interface {
		WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	}); ok {
		t.Error("has WriteMsgUDP")
	}
	buffers, ok := c.(interface { // quic-go logs a warning without these
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	})
	if !ok || buffers.SetReadBuffer(1<<16) != nil || buffers.SetWriteBuffer(1<<16) != nil {
		t.Error("cannot set buffers")
	}
}

// Invariant 1 for real QUIC over real sockets: handshake, request and answer each take what the network asks.
func TestQUICTakesEmulatedDelay(t *testing.T) {
	const oneWay = 15 * time.Millisecond
	least := leastDelay(oneWay, time.Millisecond)
	e := emulate(t, square{2, oneWay, time.Millisecond})
	config := selfSigned(t)
	a, b := &quic.Transport{Conn: open(t, e, 0)}, &quic.Transport{Conn: open(t, e, 1)}
	defer a.Close()
	defer b.Close()
	listener, err := b.Listen(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- echoOnce(t.Context(), listener) }()

	start := time.Now()
	conn, err := a.Dial(t.Context(), b.Conn.LocalAddr(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*least {
		t.Errorf("handshake in %v: past the emulation", took)
	}
	start = time.Now()
	stream, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(stream, "hello")
	stream.Close()
	if got, err := io.ReadAll(stream); string(got) != "hello" || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
	if took := time.Since(start); took < 2*least {
		t.Errorf("answer in %v: past the emulation", took)
	}
	if rtt := conn.ConnectionStats().MinRTT; rtt < 2*least {
		t.Errorf("QUIC measured %v", rtt)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	conn.CloseWithError(0, "")
	if s := e.Stats(); s.Sent < 6 || s.Lost+s.Overflow+s.Failed > 0 {
		t.Errorf("stats %+v", s)
	}
}

func echoOnce(ctx context.Context, listener *quic.Listener) error {
	conn, err := listener.Accept(ctx)
	if err != nil {
		return err
	}
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	_, err = io.Copy(stream, stream)
	return err
}

// selfSigned makes a TLS configuration for both roles.
func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"node"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		RootCAs:      pool,
		ServerName:   "node",
		NextProtos:   []string{"test"},
	}
}

var (
	_ Delays      = (*Matrix)(nil)
	_ interface { // what package mesh asks of a network
		ListenPacket(addr string) (net.PacketConn, error)
		Listen(addr string) (net.Listener, error)
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = (*Site)(nil)
)
