package simnet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
)

// selfSigned makes a TLS configuration for both roles. It is made inside the bubble, whose clock starts in 2000.
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

// quicNode is a quic.Transport that listens and dials on one socket.
func quicNode(t *testing.T, h *Host, config *tls.Config) (*quic.Transport, *quic.Listener) {
	t.Helper()
	transport := &quic.Transport{Conn: listenPacket(t, h, ":7946")}
	listener, err := transport.Listen(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport, listener
}

// TestQUICHandshakeDelay: one round trip and nothing else.
func TestQUICHandshakeDelay(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: 40 * time.Millisecond}}, func(t *testing.T, n *Net) {
		config := selfSigned(t)
		a, _ := quicNode(t, n.Host(ipA), config)
		defer a.Close()
		b, _ := quicNode(t, n.Host(ipB), config)
		defer b.Close()
		start := time.Now()
		conn, err := a.Dial(t.Context(), b.Conn.LocalAddr(), config, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantTook(t, start, 80*time.Millisecond, 20)
		conn.CloseWithError(0, "")
	})
}

// Two nodes dial each other on the sockets they listen on, and each sends 1 MB over a path that loses 1 %.
func TestQUICTransfer(t *testing.T) {
	path := Path{Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Duplicate: 0.01, Reorder: 0.01}
	bubble(t, Config{Seed: 1, Path: path}, func(t *testing.T, n *Net) {
		const size = 1 << 20
		config := selfSigned(t)
		a, listenA := quicNode(t, n.Host(ipA), config)
		defer a.Close()
		b, listenB := quicNode(t, n.Host(ipB), config)
		defer b.Close()

		var all sync.WaitGroup
		receiveAll := func(l *quic.Listener) {
			conn, err := l.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			stream, err := conn.AcceptStream(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := io.Copy(io.Discard, stream); got != size || err != nil {
				t.Errorf("received %d bytes, %v", got, err)
			}
			stream.Close()
		}
		sendAll := func(from, to *quic.Transport) {
			conn, err := from.Dial(t.Context(), to.Conn.LocalAddr(), config, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseWithError(0, "")
			stream, err := conn.OpenStreamSync(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			stream.Write(make([]byte, size))
			stream.Close()
			if _, err := io.ReadAll(stream); err != nil { // the receiver has all
				t.Error(err)
			}
		}
		all.Go(func() { receiveAll(listenA) })
		all.Go(func() { receiveAll(listenB) })
		all.Go(func() { sendAll(a, b) })
		all.Go(func() { sendAll(b, a) })
		all.Wait()
		if c := n.Counters(ipA, ipB); c.Lost == 0 || c.Overflow > 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestHTTP(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		l, err := n.Host(ipB).Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, r.Body)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		transport := &http.Transport{DialContext: n.Host(ipA).DialContext}
		client := http.Client{Transport: transport}
		for i, roundTrips := range []time.Duration{2, 1} { // dial and request, then request
			start := time.Now()
			response, err := client.Post("http://"+ipB+"/", "text/plain", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if string(got) != "hello" || err != nil {
				t.Errorf("request %d: %q, %v", i, got, err)
			}
			wantTook(t, start, roundTrips*2*delay, 10)
		}
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

func TestWebSocket(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		l, err := n.Host(ipB).Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(echo)}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		transport := &http.Transport{DialContext: n.Host(ipA).DialContext}
		options := &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}
		conn, _, err := websocket.Dial(t.Context(), "ws://"+ipB+"/", options)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"one", strings.Repeat("x", 30_000)} {
			start := time.Now()
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			_, got, err := conn.Read(t.Context())
			if string(got) != text || err != nil {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			wantTook(t, start, 2*delay, 40)
		}
		// A peer that falls silent is noticed by a ping.
		n.Kill(ipB)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		reading := make(chan error)
		go func() { _, _, err := conn.Read(t.Context()); reading <- err }()
		if err := conn.Ping(ctx); err == nil {
			t.Error("a dead peer answered")
		}
		conn.CloseNow()
		if err := <-reading; err == nil {
			t.Error("read from a dead peer")
		}
		server.Close()
		serving.Wait()
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, p, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, p) != nil {
			return
		}
	}
}

// BenchmarkDatagrams is the cost of one datagram from WriteTo to ReadFrom, the scheduler included.
func BenchmarkDatagrams(b *testing.B) {
	n := New(Config{})
	defer n.Close()
	from, _ := n.Host(ipA).ListenPacket(":1")
	to, _ := n.Host(ipB).ListenPacket(":1")
	p := make([]byte, 1200)
	b.ReportAllocs()
	for b.Loop() {
		from.WriteTo(p, to.LocalAddr())
		if _, _, err := to.ReadFrom(p); err != nil {
			b.Fatal(err)
		}
	}
}

var _ interface { // what package mesh asks of a network
	ListenPacket(addr string) (net.PacketConn, error)
	Listen(addr string) (net.Listener, error)
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
} = (*Host)(nil)
