package mesh

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// sealed are the credentials of a node with these secrets; nil, of an open mesh, without any.
func sealed(t *testing.T, id Identity, secrets ...trust.Secret) *trust.Credentials {
	t.Helper()
	if len(secrets) == 0 {
		return nil
	}
	c, err := trust.Sealed(id.Key, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// capture is every datagram that nodes send, as they hand it to their sockets, and what they write to streams.
type capture struct {
	mu        sync.Mutex
	datagrams [][]byte
	streams   []*capturedStream
}

// capturedNetwork is a node's network with a capture in it.
type capturedNetwork struct {
	Network
	c *capture
}

type capturedSocket struct {
	net.PacketConn
	c *capture
}

// capturedStream is one end of a stream.
type capturedStream struct {
	net.Conn
	c     *capture
	wrote []byte
}

type capturedListener struct {
	net.Listener
	c *capture
}

func (n capturedNetwork) ListenPacket(addr string) (net.PacketConn, error) {
	socket, err := n.Network.ListenPacket(addr)
	return &capturedSocket{socket, n.c}, err
}

func (n capturedNetwork) Listen(addr string) (net.Listener, error) {
	l, err := n.Network.Listen(addr)
	return &capturedListener{l, n.c}, err
}

func (n capturedNetwork) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.c.stream(n.Network.DialContext(ctx, network, addr))
}

func (l *capturedListener) Accept() (net.Conn, error) { return l.c.stream(l.Listener.Accept()) }

func (c *capture) stream(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &capturedStream{Conn: conn, c: c}
	c.streams = append(c.streams, s)
	return s, nil
}

func (s *capturedStream) Write(b []byte) (int, error) {
	s.c.mu.Lock()
	s.wrote = append(s.wrote, b...)
	s.c.mu.Unlock()
	return s.Conn.Write(b)
}

func (s *capturedSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	s.c.mu.Lock()
	s.c.datagrams = append(s.c.datagrams, bytes.Clone(b))
	s.c.mu.Unlock()
	return s.PacketConn.WriteTo(b, to)
}

// sealer is memberlist's seal under a key, made by other means.
func sealer(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func isSWIM(key cipher.AEAD, packet []byte) bool {
	if len(packet) < 30 || packet[0] != 1 {
		return false
	}
	_, err := key.Open(nil, packet[1:13], packet[13:], nil)
	return err == nil
}

// isQUIC: RFC 9000, section 17. A long header has the version in it, a short one nothing but the fixed bit.
func isQUIC(packet []byte) bool {
	return packet[0]&0xc0 == 0x40 || packet[0]&0xc0 == 0xc0 && len(packet) > 5 && binary.BigEndian.Uint32(packet[1:]) == 1
}

// isTLS: RFC 8446, section 5.1: records, each with a type, version 3.1 or 3.3 and a length; all but the hellos are sealed. The last may be cut off.
func isTLS(stream []byte) bool {
	sealed := 0
	for len(stream) >= 5 {
		length := int(binary.BigEndian.Uint16(stream[3:]))
		if stream[0] < 20 || stream[0] > 23 || stream[1] != 3 || stream[2] != 1 && stream[2] != 3 || length > 1<<14+256 {
			return false
		}
		if stream[0] == 23 {
			sealed++
		}
		stream = stream[min(len(stream), 5+length):]
	}
	return sealed > 0
}

// Between nodes with a secret there is nothing but QUIC, SWIM packets that the secret's key opens, and between near nodes TLS; and nothing of what they say can
// be read. The same capture of an open mesh shows that it would be seen.
func TestNothingReadableOnTheWire(t *testing.T) {
	secret := trust.NewSecret()
	for _, test := range []struct {
		name    string
		secrets []trust.Secret
		delay   time.Duration
	}{{"secret", []trust.Secret{secret}, 10 * time.Millisecond}, {"near", []trust.Secret{secret}, 100 * time.Microsecond}, {"open", nil, 10 * time.Millisecond}} {
		t.Run(test.name, func(t *testing.T) { readWire(t, secret, test.secrets, test.delay) })
	}
}

func readWire(t *testing.T, secret trust.Secret, secrets []trust.Secret, delay time.Duration) {
	t.Helper()
	const name, region, client, channelName, payload = "mercury-node", "venus-region", "neptune.example:80", "jupiter.channel", "saturn payload"
	wire := new(capture)
	var key cipher.AEAD
	var ids []string
	inBubble(t, simnet.Path{Delay: delay}, func(c *cluster) {
		c.adjust = func(i int, cfg *Config) {
			cfg.Name, cfg.Region, cfg.Client = fmt.Sprint(name, i), region, client
			cfg.Network = capturedNetwork{cfg.Network, wire}
			cfg.Trust = sealed(t, cfg.Identity, secrets...)
			key = sealer(t, sealed(t, cfg.Identity, secret).SWIMKeys()[0])
		}
		a, b := c.start(0, 1), c.start(1, 1, 0)
		ids = []string{a.ID().String(), b.ID().String()}
		c.meshed(5 * time.Second)
		b.subscribe(t, channelName)
		time.Sleep(time.Second)
		for range 50 {
			a.publish(t, channelName, payload)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Minute) // several push/pulls are among it
		if got := b.received(); len(got) != 50 {
			t.Errorf("%d messages came", len(got))
		}
	})
	var quic, swim, tls, other int
	seen := map[string]bool{}
	look := func(b []byte, kind *int) {
		*kind++
		for _, text := range append(ids, name, region, client, channelName, payload) {
			if bytes.Contains(b, []byte(text)) {
				seen[text] = true
			}
		}
	}
	for _, d := range wire.datagrams {
		switch {
		case isQUIC(d):
			look(d, &quic)
		case isSWIM(key, d):
			look(d, &swim)
		default:
			look(d, &other)
		}
	}
	for _, s := range wire.streams {
		if isTLS(s.wrote) {
			look(s.wrote, &tls)
		} else {
			look(s.wrote, &other)
		}
	}
	t.Logf("datagrams: %d QUIC, %d SWIM under the key; %d ends of TLS streams; %d others; readable: %v", quic, swim, tls, other, seen)
	near := delay < time.Millisecond
	if secrets != nil && (quic < 50 || swim < 50 || (tls >= 2) != near || other > 0 || len(seen) > 0) {
		t.Error("something is in the clear")
	}
	if secrets == nil && (quic < 50 || swim > 0 || other < 50 || !seen[name] || !seen[region] || !seen[ids[0]]) {
		t.Error("the capture sees nothing even where all is in the clear")
	}
}

// lines is a log's lines as they come.
type lines struct {
	mu  sync.Mutex
	at  []time.Time
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, time.Now())
	l.all = append(l.all, string(p))
	return len(p), nil
}

// of are the times of lines that contain a text, and the last of these.
func (l *lines) of(text string) (at []time.Time, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, line := range l.all {
		if strings.Contains(line, text) {
			at, last = append(at, l.at[i]), line
		}
	}
	return at, last
}

// seal is a SWIM packet under a key.
func seal(key cipher.AEAD, plain []byte) []byte {
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return key.Seal(append([]byte{1}, nonce...), nonce, plain, nil)
}

// pings sends node 0 pings of SWIM from a host that is no member. Only one under the mesh's own key is answered, and under that key.
func pings(t *testing.T, c *cluster, ours, theirs trust.Secret) {
	t.Helper()
	socket, err := c.net.Host("10.9.9.9").ListenPacket("10.9.9.9:1")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	id := Identity{Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	good, bad := sealer(t, sealed(t, id, ours).SWIMKeys()[0]), sealer(t, sealed(t, id, theirs).SWIMKeys()[0])
	ping := append([]byte{0, 0x82, 0xa5}, "SeqNo\x07\xa4Node\xa0"...)
	to := net.UDPAddrFromAddrPort(c.nodes[0].Addr())
	for _, test := range []struct {
		name    string
		packet  []byte
		answers bool
	}{{"in the clear", ping, false}, {"under another key", seal(bad, ping), false}, {"under the key", seal(good, ping), true}} {
		if _, err := socket.WriteTo(test.packet, to); err != nil {
			t.Fatal(err)
		}
		_ = socket.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 1500)
		n, _, err := socket.ReadFrom(buf)
		if (err == nil) != test.answers || err == nil && !isSWIM(good, buf[:n]) {
			t.Errorf("ping %s: %x, %v", test.name, buf[:n], err)
		}
	}
}

const refusal = "not a node of this mesh"

// A node without the secret, or with another, knows the addresses of all members and tries for five minutes, and they are told of its address, too. It
// never becomes a member, never hears of one, never gets a message, and fills no log. Nor does what it may send raw do anything.
func TestStrangersStayOutside(t *testing.T) {
	ours, theirs := trust.NewSecret(), trust.NewSecret()
	for _, test := range []struct {
		name   string
		secret []trust.Secret
	}{{"no secret", nil}, {"another secret", []trust.Secret{theirs}}} {
		t.Run(test.name, func(t *testing.T) {
			logs := [3]lines{}
			inBubble(t, simnet.Path{Delay: 10 * time.Millisecond}, func(c *cluster) {
				c.adjust = func(i int, cfg *Config) {
					secrets := []trust.Secret{ours}
					if i == 2 {
						secrets = test.secret
					}
					cfg.Trust, cfg.Log = sealed(t, cfg.Identity, secrets...), zerolog.New(&logs[i]).Level(zerolog.InfoLevel)
				}
				members := []*clusterNode{c.start(0, 1, 2), c.start(1, 1, 0, 2)}
				c.meshed(5 * time.Second)
				stranger := c.start(2, 1, 0, 1)
				for _, n := range c.nodes {
					n.subscribe(t, "x")
				}
				pings(t, c, ours, theirs)
				time.Sleep(5 * time.Minute)
				for _, n := range c.nodes {
					n.publish(t, "x", n.Name())
				}
				time.Sleep(10 * time.Second)
				for i, n := range c.nodes {
					v, _ := n.View()
					got, others := n.received(), 1
					if n == stranger {
						others = 0
					}
					if len(v.Members) != others || len(v.Links) != others || len(got) != 1+others { // its own comes back to it
						t.Errorf("%s has %d members, %d links, got %v", n.Name(), len(v.Members), len(v.Links), got)
					}
					at, last := logs[i].of(refusal)
					t.Logf("%s: %d strangers refused, in %d lines; the last: %.300s", n.Name(), v.Counters["strangers"], len(at), last)
					if v.Counters["strangers"] < 10 || len(at) == 0 || len(at) > 6 {
						t.Errorf("%s: %d refused, %d lines", n.Name(), v.Counters["strangers"], len(at))
					}
					for j := 1; j < len(at); j++ {
						if at[j].Sub(at[j-1]) < time.Minute {
							t.Errorf("%s: lines %v apart", n.Name(), at[j].Sub(at[j-1]))
						}
					}
				}
				if v, _ := members[0].View(); v.Dropped["swim_garbage"] == 0 || v.Dropped["swim_unsealed"] == 0 {
					t.Errorf("raw packets are not counted: %v", v.Dropped)
				}
			})
		})
	}
}

// A rotation of the secret, on five nodes one after the other, and of certificates of an operator's own authority: no message is lost, doubled or out of
// order while it goes on, nor even late, and afterwards only what was rotated to counts.
func TestRotation(t *testing.T) {
	a, b := trust.NewSecret(), trust.NewSecret()
	for name, path := range map[string]simnet.Path{"secret": thirty, "secret of near nodes": {Delay: 100 * time.Microsecond}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, path, func(c *cluster) {
				of := func(secrets ...trust.Secret) func(Identity) *trust.Credentials {
					return func(id Identity) *trust.Credentials { return sealed(t, id, secrets...) }
				}
				rotate(t, c, of(a), of(a, b), of(b, a), of(b))
			})
		})
	}
	t.Run("certificates", func(t *testing.T) {
		inBubble(t, thirty, func(c *cluster) {
			one, two := newIssuer(t, 1), newIssuer(t, 2)
			of := func(issuer *issuer, secrets []trust.Secret, believed ...*issuer) func(Identity) *trust.Credentials {
				return func(id Identity) *trust.Credentials { return issuer.credentials(id, secrets, believed...) }
			}
			rotate(t, c, of(one, []trust.Secret{a}, one), of(one, []trust.Secret{a, b}, one, two), of(two, []trust.Secret{b, a}, one, two), of(two, []trust.Secret{b}, two))
		})
	})
}

const (
	rotators   = 5
	streamPace = 80 * time.Millisecond
)

// rotate takes a mesh with traffic on it through steps.
func rotate(t *testing.T, c *cluster, steps ...func(Identity) *trust.Credentials) {
	t.Helper()
	var step int // that nodes start with
	var ids []Identity
	c.adjust = func(_ int, cfg *Config) {
		cfg.Trust = steps[step](cfg.Identity)
		ids = append(ids, cfg.Identity)
	}
	for i := range rotators {
		c.start(i, 1, max(0, i-1))
		c.nodes[i].subscribe(t, "from.*")
	}
	spy := c.start(rotators, 1, 0) // holds what is to be given up, and never learns of the new
	c.meshed(10 * time.Second)
	time.Sleep(2 * time.Second)
	var stops []func() int
	for i, n := range c.nodes[:rotators] {
		stops = append(stops, c.stream(n, fmt.Sprint("from.", i), streamPace))
	}
	for step = 1; step < len(steps); step++ {
		for i, n := range c.nodes[:rotators] {
			time.Sleep(300 * time.Millisecond)
			if err := n.SetTrust(steps[step](ids[i])); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
	}
	time.Sleep(7 * time.Second) // who is not believed is cut off meanwhile
	var sent []int
	for _, stop := range stops {
		sent = append(sent, stop())
	}
	c.eventually(time.Minute, "the spy is nobody's member", func() bool {
		return !slices.ContainsFunc(c.nodes[:rotators], func(n *clusterNode) bool { v, _ := n.View(); return len(v.Members) >= rotators })
	})
	time.Sleep(DefaultDeadline)
	for _, n := range c.nodes[:rotators] {
		gap := inOrder(t, n, c.nodes[:rotators], sent)
		v, _ := n.View()
		downs := 0
		for _, l := range v.Links {
			downs += l.Downs
			if want := steps[len(steps)-1](ids[0]).Authority(); l.Authority != want || v.Node.Authority != want {
				t.Errorf("%s shows %q, %s %q, want %q", n.Name(), v.Node.Authority, l.Name, l.Authority, want)
			}
		}
		t.Logf("%s: %d messages, longest gap of one origin %v, %d downs", n.Name(), len(n.received()), gap, downs)
		if downs > 0 || gap > 2*streamPace {
			t.Errorf("%s: %d links went down, longest gap %v", n.Name(), downs, gap)
		}
		if len(v.Members) != rotators-1 || len(v.Links) != rotators-1 {
			t.Errorf("%s has %d members and %d links: who was not rotated is still there", n.Name(), len(v.Members), len(v.Links))
		}
	}
	if v, _ := spy.View(); len(v.Links) != 0 {
		t.Errorf("the spy has %d links", len(v.Links))
	}
	step = len(steps) - 1
	late := c.start(rotators+1, 1, 0)
	c.eventually(5*time.Second, "a node with the new credentials joins", func() bool { return late.routes() == rotators })
}

// inOrder checks that a node got all that others published, once and in order, and returns the longest time between two of one origin.
func inOrder(t *testing.T, n *clusterNode, from []*clusterNode, sent []int) (gap time.Duration) {
	t.Helper()
	next, last := map[wire.NodeID]int{}, map[wire.NodeID]time.Time{}
	for _, r := range n.received() {
		number, err := strconv.Atoi(r.payload)
		origin := r.trace.Origin
		if err != nil || number != next[origin] {
			t.Fatalf("%s: %q of %v, want %d", n.Name(), r.payload, origin, next[origin])
		}
		if number > 0 {
			gap = max(gap, r.at.Sub(last[origin]))
		}
		next[origin], last[origin] = number+1, r.at
	}
	for i, origin := range from {
		if next[origin.ID()] != sent[i] {
			t.Errorf("%s: %d of %d messages of %s", n.Name(), next[origin.ID()], sent[i], origin.Name())
		}
	}
	return gap
}

// issuer is an operator's own authority.
type issuer struct {
	t    *testing.T
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

func newIssuer(t *testing.T, n byte) *issuer {
	t.Helper()
	is := &issuer{t: t, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: fmt.Sprint("operator ", n)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	is.cert = is.sign(template, template, is.key.Public())
	return is
}

func (is *issuer) sign(template, parent *x509.Certificate, public any) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, is.key)
	if err != nil {
		is.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		is.t.Fatal(err)
	}
	return cert
}

// credentials are a node's by this authority; those of believed are good to it.
func (is *issuer) credentials(id Identity, secrets []trust.Secret, believed ...*issuer) *trust.Credentials {
	is.t.Helper()
	cert := is.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, is.cert, id.Key.Public())
	var roots []byte
	for _, b := range believed {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.cert.Raw})...)
	}
	c, err := trust.Issued(id.Key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), roots, secrets)
	if err != nil {
		is.t.Fatal(err)
	}
	return c
}
