package wsgate

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// stormer is a client that does everything at once, and checks every byte it gets (invariants 1 to 3).
type stormer struct {
	c      *rawClient
	ending string // how its connection is to end

	pings, pongs    []string // payloads sent and answered
	requests, lines []string
	acked           map[string]bool
	last            map[string]uint64 // sequence number by channel
	deliveries      int
	delivered       chan struct{} // closed at the first delivery, or when there will be none
	afterClose      error
	status          uint16
}

// write sends a mix of requests and then ends the connection in the stormer's way.
func (s *stormer) write(rnd *rand.Rand) error {
	send := func(op byte, payload string) error {
		_, err := s.c.conn.Write(maskedFrame(op, []byte(payload)))
		return err
	}
	for i := range 60 {
		var err error
		switch n := rnd.IntN(4); n {
		case 0:
			s.pings = append(s.pings, strings.Repeat("x", rnd.IntN(122))+fmt.Sprint(i))
			err = send(opPing, s.pings[len(s.pings)-1])
		case 1:
			s.requests = append(s.requests, "PONG")
			err = send(opText, "PING")
		default:
			p := []string{"c0", "c1", "c*", "#"}[rnd.IntN(4)]
			word := []string{"SUB", "UNSUB"}[rnd.IntN(8)/7]
			s.requests = append(s.requests, "OK:"+word+":t:"+p)
			err = send(opText, word+":t:"+p)
		}
		if err != nil {
			return err
		}
		if i == 30 { // what follows has deliveries around it, however the publishers are scheduled
			s.requests = append(s.requests, "OK:SUB:t:#")
			if err := send(opText, "SUB:t:#"); err != nil {
				return err
			}
			<-s.delivered
		}
	}
	switch s.ending {
	case "client":
		return send(opClose, "\x03\xe8")
	case "library": // 1002
		return send(11, "")
	case "too big": // 1009; the server resets what it does not read, so an error here is fair
		_ = send(opBinary, strings.Repeat("x", readLimit+1))
		return nil
	default: // policy
		for range 16 {
			if err := send(opBinary, ""); err != nil {
				return err
			}
		}
		return nil
	}
}

// read checks all that comes in, to the end of the connection.
func (s *stormer) read() error {
	s.acked, s.last = map[string]bool{}, map[string]uint64{}
	defer func() {
		if s.deliveries == 0 {
			close(s.delivered)
		}
	}()
	for {
		f, err := s.c.readFrame()
		if err != nil {
			return err
		}
		switch f.op {
		case opPong:
			s.pongs = append(s.pongs, string(f.payload))
		case opText:
			s.lines = append(s.lines, string(f.payload))
			if p, ok := strings.CutPrefix(string(f.payload), "OK:SUB:t:"); ok {
				s.acked[p] = true
			}
		case opBinary:
			if err := s.delivery(f.payload); err != nil {
				return err
			}
		case opClose:
			if len(f.payload) >= 2 {
				s.status = binary.BigEndian.Uint16(f.payload)
			}
			if s.ending != "client" {
				// Answer, so that both sides of the handshake are run through. The server may be gone already.
				_, _ = s.c.conn.Write(maskedFrame(opClose, f.payload[:2]))
			}
			n, err := io.Copy(io.Discard, s.c.in)
			if n != 0 {
				return fmt.Errorf("invariant 1: %d bytes after the close frame", n)
			}
			s.afterClose = err
			return nil
		}
	}
}

func (s *stormer) delivery(body []byte) error {
	m, err := client.ParseDelivery(body)
	if err != nil {
		return err
	}
	if s.deliveries++; s.deliveries == 1 {
		close(s.delivered)
	}
	for i, p := range m.Patterns {
		if !s.acked[p] {
			return fmt.Errorf("invariant 3: %q before its OK", p)
		}
		if slices.Contains(m.Patterns[:i], p) {
			return fmt.Errorf("invariant 2: %q", m.Patterns)
		}
	}
	seq := binary.BigEndian.Uint64(m.Payload)
	if seq <= s.last[m.Channel] {
		return fmt.Errorf("invariant 2: %s: %d after %d", m.Channel, seq, s.last[m.Channel])
	}
	s.last[m.Channel] = seq
	for _, b := range m.Payload[8:] {
		if b != byte(seq) {
			return errors.New("payload mixed up")
		}
	}
	return nil
}

// check is done when the connection has ended.
func (s *stormer) check(t *testing.T) {
	want := map[string]uint16{"client": 1000, "library": 1002, "too big": 1009, "policy": 1008}[s.ending]
	if s.status != want {
		t.Errorf("%s: close status %d, want %d", s.ending, s.status, want)
	}
	if s.ending == "policy" { // our own close frame comes after all replies
		s.lines = slices.DeleteFunc(s.lines, func(l string) bool { return strings.HasPrefix(l, "ERR:") })
		if !slices.Equal(s.lines, s.requests) || !slices.Equal(s.pongs, s.pings) {
			t.Errorf("replies %q, pongs %d; want %q, %d", s.lines, len(s.pongs), s.requests, len(s.pings))
		}
	}
}

// storm runs 16 stormers under heavy fan-out from several publishers.
func storm(t *testing.T, hub *Hub, dial func() *rawClient) {
	rnd := rand.New(rand.NewPCG(1, 2))
	endings := []string{"client", "library", "too big", "policy"}
	stormers := make([]*stormer, 16)
	for i := range stormers {
		stormers[i] = &stormer{c: dial(), ending: endings[i%len(endings)], delivered: make(chan struct{})}
	}
	var clients, publishers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 3 {
		publishers.Go(func() { deliverUntil(stop, hub, fmt.Sprintf("c%d", i)) })
	}
	for _, s := range stormers {
		seed := rnd.Uint64()
		clients.Go(func() {
			if err := s.write(rand.New(rand.NewPCG(seed, 0))); err != nil {
				t.Errorf("%s: write: %v", s.ending, err)
			}
		})
		clients.Go(func() {
			if err := s.read(); err != nil {
				t.Errorf("%s: %v", s.ending, err)
			}
		})
	}
	clients.Wait()
	close(stop)
	publishers.Wait()
	for _, s := range stormers {
		s.check(t)
		s.c.conn.Close()
		if s.deliveries == 0 {
			t.Errorf("%s: no deliveries: nothing was tested", s.ending)
		}
	}
}

// deliverUntil delivers numbered messages of many sizes, small ones and some that are not joined.
func deliverUntil(stop <-chan struct{}, hub *Hub, ch string) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for seq := uint64(1); ; seq++ {
		select {
		case <-stop:
			return
		default:
		}
		payload := binary.BigEndian.AppendUint64(nil, seq)
		n := rnd.IntN(300)
		if n < 10 {
			n = 20_000
		}
		for range n {
			payload = append(payload, byte(seq))
		}
		hub.Deliver(channel.Message{Tenant: "t", Channel: ch, Payload: payload})
	}
}

// TestStormTCP proves invariants 1 to 3 on real sockets, where batches go out by writev.
func TestStormTCP(t *testing.T) {
	stormOn(t, nil, func(c net.Conn) net.Conn { return c })
}

// TestStormTLS does so where a connection has no writev.
func TestStormTLS(t *testing.T) {
	stormOn(t, selfSigned(t), func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) })
}

// selfSigned is TLS that nobody trusts.
func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
}

// onSocket serves cfg, which needs no Hub and no Broker, on a real socket until stop.
func onSocket(t *testing.T, cfg Config) (s *Server, dial func() net.Conn, stop func()) {
	t.Helper()
	hub := NewHub(HubConfig{})
	cfg.Hub, cfg.Broker = hub, &loopback{hub: hub, calls: map[string][]bool{}}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	dial = func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	return s, dial, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func stormOn(t *testing.T, secure *tls.Config, wrapConn func(net.Conn) net.Conn) {
	server, dial, stop := onSocket(t, Config{TLS: secure})
	storm(t, server.hub, func() *rawClient {
		c, response := rawHandshake(t, wrapConn(dial()), "/ws", "llps.v1")
		if response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(response.Status)
		}
		return c
	})
	stop()
	if got, want := server.Stats().Closed, (Closed{Lost: 4, Protocol: 8, Policy: 4}); got != want {
		t.Errorf("connections ended as %+v, want %+v", got, want)
	}
}
