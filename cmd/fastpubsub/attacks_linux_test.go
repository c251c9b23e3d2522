package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const upgradeHead = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

// attacks are all of them.
func attacks(t *testing.T) []attack {
	dropped := func(reason string) func(nodeView) uint64 {
		return func(v nodeView) uint64 { return v.Dropped[reason] }
	}
	counted := func(name string) func(nodeView) uint64 {
		return func(v nodeView) uint64 { return v.Counters[name] }
	}
	useless := func(v nodeView) uint64 { return v.Clients.Useless }
	lost := func(v nodeView) uint64 { return v.Clients.Closed.Lost }
	protocol := func(v nodeView) uint64 { return v.Clients.Closed.Protocol }
	return []attack{
		{"garbage like QUIC, long head", datagrams(0xc0, 1200), "dropped.garbage", dropped("garbage")},
		{"garbage like QUIC, short head", datagrams(0x40, 300), "dropped.garbage", dropped("garbage")},
		{"garbage like SWIM", datagrams(0x00, 900), "dropped.swim_garbage", dropped("swim_garbage")},
		{"empty and tiny datagrams", datagrams(0x40, 3), "dropped.garbage", dropped("garbage")},
		{"first packets, no answers", initials(t), "counters.handshakes+proofs", func(v nodeView) uint64 { return v.Counters["handshakes"] + v.Counters["proofs"] }},
		{"whole handshakes, then nothing", handshakes(t), "counters.connections", counted("connections")},
		{"HTTP/3 header bombs", headers3(t), "counters.connections", counted("connections")},
		{"TCP of nodes, silent", callers(func(v *victim) string { return v.node }, ""), "counters.handshakes", counted("handshakes")},
		{"TCP of nodes, garbage", callers(func(v *victim) string { return v.node }, strings.Repeat("\x16\x03\x01\xff", 500)), "counters.handshakes", counted("handshakes")},
		{"slowloris", slowly, "clients.Useless", useless},
		{"HTTP header bombs", callers(gateOf, "GET / HTTP/1.1\r\nHost: x\r\nA: "+strings.Repeat("b", 64<<10)), "clients.Useless", useless},
		{"HTTP garbage", callers(gateOf, strings.Repeat("\x00\xff", 1000)), "clients.Useless", useless},
		{"decompression bombs by HTTP", gzipBombs(t), "clients.MessagesIn", func(v nodeView) uint64 { return v.Clients.MessagesIn }},
		{"WebSocket, 2^63 bytes claimed", callers(gateOf, upgradeHead+"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff0000"), "clients.Closed.Lost", lost},
		{"WebSocket, endless fragments", fragments, "clients.Closed.Protocol", protocol},
		{"WebSocket, decompression bombs", callers(gateOf, upgradeHead+"\xc2\x8c0000"+string(mask([]byte("\xaa\x54\x04\x00\x00\x00\xff\xff\xff\xff\xff\xff")))), "clients.Closed.Protocol", protocol},
		{"WebSocket, not masked", callers(gateOf, upgradeHead+"\x82\x05hello"), "clients.Closed.Lost", lost},
		{"WebSocket, malformed messages", floods(frame(2, "\xff\xff\xff\xff")), "clients.Closed.Policy", func(v nodeView) uint64 { return v.Clients.Closed.Policy }},
		{"WebSocket, subscriptions", floods(frame(1, "SUB:t:a.*.b.#")), "clients.Opened", func(v nodeView) uint64 { return v.Clients.Opened }},
		{"WebSocket, pings", floods(frame(9, strings.Repeat("p", 125))), "clients.BytesIn", func(v nodeView) uint64 { return v.Clients.BytesIn }},
	}
}

func gateOf(v *victim) string { return v.gate }

// datagrams sends random bytes whose first has these high bits.
func datagrams(first byte, size int) func(context.Context, *victim) {
	return func(ctx context.Context, v *victim) {
		addr, err := net.ResolveUDPAddr("udp", v.node)
		if err != nil {
			return
		}
		conn, err := net.DialUDP("udp", nil, addr)
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, size)
		for v.beat(ctx) {
			_, _ = rand.Read(b)
			b[0] = b[0]&0x3f | first
			if first == 0xc0 { // a version that exists
				binary.BigEndian.PutUint32(b[1:], 1)
			}
			_, _ = conn.Write(b)
		}
	}
}

// nodeTLS is what any node presents.
func nodeTLS(t *testing.T) *tls.Config {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		NextProtos: []string{http3.NextProtoH3}, InsecureSkipVerify: true,
	}
}

// recorder takes the packets that a QUIC client sends, and gives it none.
type recorder struct {
	net.PacketConn
	mu      sync.Mutex // guards what follows
	packets [][]byte
	closed  chan struct{}
}

func (r *recorder) WriteTo(b []byte, _ net.Addr) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, bytes.Clone(b))
	return len(b), nil
}

func (r *recorder) ReadFrom([]byte) (int, net.Addr, error) { <-r.closed; return 0, nil, net.ErrClosed }
func (r *recorder) Close() error                           { close(r.closed); return nil }
func (r *recorder) SetReadDeadline(time.Time) error        { return nil }
func (r *recorder) SetReadBuffer(int) error                { return nil }
func (r *recorder) SetWriteBuffer(int) error               { return nil }
func (r *recorder) LocalAddr() net.Addr                    { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// initials sends the first packets of handshakes, each of another connection, and does not go on.
func initials(t *testing.T) func(context.Context, *victim) {
	config := nodeTLS(t)
	return func(ctx context.Context, v *victim) {
		r := &recorder{closed: make(chan struct{})}
		transport := &quic.Transport{Conn: r}
		prepare, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		addr, _ := net.ResolveUDPAddr("udp", v.node)
		for prepare.Err() == nil {
			soon, done := context.WithTimeout(prepare, time.Millisecond)
			_, _ = transport.Dial(soon, addr, config, nil)
			done()
		}
		_ = r.Close()
		conn, err := net.DialUDP("udp", nil, addr)
		if err != nil {
			return
		}
		defer conn.Close()
		r.mu.Lock()
		packets := r.packets
		r.mu.Unlock()
		for i := 0; v.beat(ctx) && len(packets) > 0; i++ {
			_, _ = conn.Write(packets[i%len(packets)])
		}
	}
}

// several runs work in so many goroutines.
func several(count int, work func()) {
	var group sync.WaitGroup
	for range count {
		group.Go(work)
	}
	group.Wait()
}

// handshakes opens QUIC connections, and nothing on them, as often as there are answers.
func handshakes(t *testing.T) func(context.Context, *victim) {
	config := nodeTLS(t)
	return func(ctx context.Context, v *victim) {
		several(4, func() {
			for v.beat(ctx) {
				_, _ = quic.DialAddr(ctx, v.node, config, &quic.Config{EnableDatagrams: true, HandshakeIdleTimeout: time.Second})
			}
		})
	}
}

// headers3 sends requests with heads far over the limit.
func headers3(t *testing.T) func(context.Context, *victim) {
	config := nodeTLS(t)
	return func(ctx context.Context, v *victim) {
		transport := &http3.Transport{TLSClientConfig: config}
		defer transport.Close()
		several(4, func() {
			for v.beat(ctx) {
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+v.node+"/", nil)
				request.Header.Set("A", strings.Repeat("b", 200<<10))
				if response, err := transport.RoundTrip(request); err == nil {
					_ = response.Body.Close()
				}
			}
		})
	}
}

// callers opens TCP connections, sends each some text and leaves them open: as many as a process may have.
func callers(to func(*victim) string, text string) func(context.Context, *victim) {
	return func(ctx context.Context, v *victim) {
		var open []net.Conn
		defer func() {
			for _, c := range open {
				_ = c.Close()
			}
		}()
		for v.beat(ctx) {
			conn, err := net.Dial("tcp", to(v))
			if err != nil {
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(conn, text)
			if open = append(open, conn); len(open) > 300 {
				_ = open[0].Close()
				open = open[1:]
			}
		}
	}
}

// slowly sends the heads of requests byte by byte.
func slowly(ctx context.Context, v *victim) {
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := 0; v.beat(ctx); i++ {
		if len(open) < 300 {
			conn, err := net.Dial("tcp", v.gate)
			if err != nil {
				continue
			}
			open = append(open, conn)
		}
		if c := i % len(open); writeByte(open[c], upgradeHead[mathrand.IntN(20)]) != nil {
			_ = open[c].Close()
			open = append(open[:c], open[c+1:]...)
		}
	}
}

func writeByte(conn net.Conn, b byte) error {
	_, err := conn.Write([]byte{b})
	return err
}

// gzipBombs publishes bodies that would be a gigabyte each if anybody unpacked them.
func gzipBombs(t *testing.T) func(context.Context, *victim) {
	var bomb bytes.Buffer
	packer, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		_, _ = packer.Write(make([]byte, 1<<20))
	}
	_ = packer.Close()
	return func(ctx context.Context, v *victim) {
		several(4, func() {
			for v.beat(ctx) {
				request, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+v.gate+"/v1/publish?channel=bomb", bytes.NewReader(bomb.Bytes()))
				request.Header.Set("Content-Encoding", "gzip")
				if response, err := http.DefaultClient.Do(request); err == nil {
					_ = response.Body.Close()
				}
			}
		})
	}
}

func mask(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= '0'
	}
	return out
}

// frame is a WebSocket frame of a client, of less than 126 bytes.
func frame(op byte, payload string) string {
	return string([]byte{0x80 | op, 0x80 | byte(len(payload))}) + "0000" + string(mask([]byte(payload)))
}

// floods sends the same frame over and over, on a new connection once one is closed.
func floods(text string) func(context.Context, *victim) {
	return func(ctx context.Context, v *victim) {
		several(4, func() {
			for ctx.Err() == nil {
				conn, err := net.Dial("tcp", v.gate)
				if err != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = io.WriteString(conn, upgradeHead)
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				for err == nil && v.beat(ctx) {
					_, err = io.WriteString(conn, text)
				}
				_ = conn.Close()
			}
		})
	}
}

// fragments sends a message without an end.
func fragments(ctx context.Context, v *victim) {
	const piece = "\x00\xfe\x40\x000000" // 16 KiB of a message that goes on
	body := strings.Repeat("0", 16<<10)
	several(4, func() {
		for ctx.Err() == nil {
			conn, err := net.Dial("tcp", v.gate)
			if err != nil {
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = io.WriteString(conn, upgradeHead+"\x02\x800000")
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for err == nil && v.beat(ctx) {
				_, err = io.WriteString(conn, piece+body)
			}
			_ = conn.Close()
		}
	})
}
