package doctor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"go.uber.org/goleak"
)

// holds makes the test binary hold ports, so that another program than this can have them.
const holds = "TEST_DOCTOR_HOLDS"

func TestMain(m *testing.M) {
	if os.Getenv(holds) != "" {
		hold()
		return
	}
	goleak.VerifyTestMain(m)
}

// hold has a UDP and a TCP port until its input ends.
func hold() {
	var lc net.ListenConfig
	udp, err1 := lc.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	tcp, err2 := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	fmt.Println(udp.LocalAddr(), tcp.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func sealed(t *testing.T, n byte, s trust.Secret) *trust.Credentials {
	t.Helper()
	c, err := trust.Sealed(keyOf(n), []trust.Secret{s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, n byte) *trust.Credentials {
	t.Helper()
	c, err := trust.Open(keyOf(n))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startNode runs a node on loopback until the test ends.
func startNode(t *testing.T, c *trust.Credentials) string {
	t.Helper()
	node, err := mesh.New(mesh.Config{
		Identity: mesh.Identity{Key: keyOf(1), Boot: 1}, Trust: c, Listen: "127.0.0.1:0",
		Deliver: func(channel.Message, mesh.Trace) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return node.Addr().String()
}

// look runs the doctor and returns the findings by what they are about.
func look(t *testing.T, cfg Config) map[string]Finding {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.WS == "" {
		cfg.WS = "127.0.0.1:0"
	}
	if cfg.Trust == nil {
		cfg.Trust = open(t, 2)
	}
	found := map[string]Finding{}
	if err := Run(t.Context(), cfg, func(f Finding) {
		if f.Verdict != OK && f.Verdict != Skip && f.Do == "" {
			t.Errorf("%+v does not say what to do", f)
		}
		found[f.What] = f
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// want checks one finding.
func want(t *testing.T, found map[string]Finding, what string, verdict Verdict, detail string) {
	t.Helper()
	if f := found[what]; f.Verdict != verdict || !strings.Contains(f.Detail, detail) {
		t.Errorf("%s: %+v, want %s with %q", what, f, verdict, detail)
	}
}

// All is well between nodes of one secret, and likewise in an open mesh.
func TestHealthy(t *testing.T) {
	secret := trust.NewSecret()
	for name, c := range map[string][2]*trust.Credentials{
		"sealed": {sealed(t, 1, secret), sealed(t, 2, secret)},
		"open":   {open(t, 1), open(t, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			addr := startNode(t, c[0])
			_, port, _ := net.SplitHostPort(addr)
			udp, tcp := holeWithTCP(t) // both ports were free
			_, _ = udp.Close(), tcp.Close()
			found := look(t, Config{Listen: tcp.Addr().String(), Trust: c[1], Seeds: []string{"localhost:" + port, addr}, TCP: true, DataDir: t.TempDir()})
			for _, what := range []string{"UDP port", "TCP port", "client port", "handshake", "clock", "seen as", "inbound", "MTU", "data dir", "seed name"} {
				if found[what].Verdict != OK {
					t.Errorf("%s: %+v", what, found[what])
				}
			}
		})
	}
}

func TestMistrust(t *testing.T) {
	secret, other := trust.NewSecret(), trust.NewSecret()
	closed := startNode(t, sealed(t, 1, secret))
	unlocked := startNode(t, open(t, 1))
	for _, test := range []struct {
		name string
		own  *trust.Credentials
		seed string
		want string
	}{
		{"another secret", sealed(t, 2, other), closed, "another secret: it shows a certificate by \"FastPubSub mesh " + secret.String()},
		{"no secret here", open(t, 2), closed, "does not believe this node, which shows no certificate of a mesh"},
		{"no secret there", sealed(t, 2, other), unlocked, "an open mesh: it has no mesh secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := look(t, Config{Trust: test.own, Seeds: []string{test.seed}})
			want(t, found, "handshake", Fail, test.want)
			if !strings.Contains(found["handshake"].Do, "--mesh-secret-file") {
				t.Errorf("to do: %s", found["handshake"].Do)
			}
		})
	}
}

// holeWithTCP is a UDP port that never answers, and a TCP listener with its number.
func holeWithTCP(t *testing.T) (hole *net.UDPConn, tcp net.Listener) {
	t.Helper()
	for {
		hole, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if tcp, err := net.Listen("tcp", hole.LocalAddr().String()); err == nil {
			return hole, tcp
		}
		_ = hole.Close() // another process has the TCP port
	}
}

// Silence has several reasons, and each is named.
func TestSilence(t *testing.T) {
	hole, tcp := holeWithTCP(t)
	defer hole.Close()
	cfg := Config{Seeds: []string{hole.LocalAddr().String()}, Wait: 300 * time.Millisecond}
	want(t, look(t, cfg), "handshake", Fail, "UDP is blocked")
	_ = tcp.Close()
	want(t, look(t, cfg), "handshake", Fail, "nobody answers by UDP; the machine is there")
	shut, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	nobody := shut.LocalAddr().String()
	_ = shut.Close()
	cfg.Seeds = []string{nobody}
	want(t, look(t, cfg), "handshake", Fail, "nothing has that UDP port")
	if tcp, err = net.Listen("tcp", nobody); err == nil { // no other process has it
		want(t, look(t, cfg), "handshake", Fail, "UDP is refused")
		_ = tcp.Close()
	}
	cfg.Seeds = []string{"no-such-name.invalid:7946"}
	want(t, look(t, cfg), "seed", Fail, "does not resolve")
	cfg.Seeds = []string{"10.255.255.1:7946"}
	want(t, look(t, cfg), "seed", Fail, "for this machine alone")
	cfg.Seeds = []string{"[::1]:7946"}
	want(t, look(t, cfg), "seed", Fail, "a mesh is of one family")
	cfg.Seeds = nil
	want(t, look(t, cfg), "seeds", Skip, "none given")
}

// Of a name with addresses of both families a node uses its own's.
func TestSameFamily(t *testing.T) {
	four, six := netip.MustParseAddrPort("192.0.2.1:7946"), netip.MustParseAddrPort("[2001:db8::1]:7946")
	for own, wanted := range map[string]netip.AddrPort{"127.0.0.1": four, "::1": six} {
		if got := sameFamily([]netip.AddrPort{six, four}, netip.MustParseAddr(own)); len(got) != 1 || got[0] != wanted {
			t.Errorf("%s: %v", own, got)
		}
	}
}

// relay passes datagrams between who calls it and a node, as a NAT does, unless they are over a size.
func relay(t *testing.T, to string, most int) string {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var caller net.Addr
	group.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			caller = from
			mu.Unlock()
			if n <= most {
				_, _ = back.Write(b[:n])
			}
		}
	})
	group.Go(func() {
		b := make([]byte, 2000)
		for {
			n, err := back.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			mu.Lock()
			at := caller
			mu.Unlock()
			if err == nil && at != nil && n <= most {
				_, _ = front.WriteTo(b[:n], at)
			}
		}
	})
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
		group.Wait()
	})
	return front.LocalAddr().String()
}

// Behind a NAT whose path takes no large datagrams, both are found, and the forwarding that is there.
func TestNATAndMTU(t *testing.T) {
	found := look(t, Config{Seeds: []string{relay(t, startNode(t, open(t, 1)), 1360)}})
	want(t, found, "handshake", OK, "")
	want(t, found, "seen as", Warn, "NAT changes ports")
	want(t, found, "inbound", OK, "")
	want(t, found, "MTU", Warn, "datagrams of 1350 bytes")
	found = look(t, Config{Seeds: []string{relay(t, startNode(t, open(t, 1)), 1252)}}) // as much as IPv4 leaves of an MTU of 1280, which many tunnels have
	want(t, found, "handshake", OK, "")
	want(t, found, "MTU", Warn, "datagrams of 1200 bytes")
}

// What comes unasked to an advertised port that nothing forwards does not arrive.
func TestNothingComesIn(t *testing.T) {
	elsewhere, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	found := look(t, Config{Seeds: []string{startNode(t, open(t, 1))}, Advertise: elsewhere.LocalAddr().String(), Wait: 500 * time.Millisecond})
	want(t, found, "inbound", Warn, "did not arrive")
	found = look(t, Config{Seeds: []string{startNode(t, open(t, 1))}, Advertise: "203.0.113.7:7946"})
	want(t, found, "seen as", Warn, "other nodes will be told 203.0.113.7:7946")
	want(t, look(t, Config{Advertise: "0.0.0.0:1"}), "advertise", Fail, "")
}

// Who has a port is named; a node that runs is no fault.
func TestOccupied(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "squatter")
	if err := os.WriteFile(other, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), other)
	cmd.Env = append(os.Environ(), holds+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	var udp, tcp string
	if _, err := fmt.Fscan(out, &udp, &tcp); err != nil {
		t.Fatal(err)
	}
	found := look(t, Config{Listen: udp, WS: tcp})
	want(t, found, "UDP port", Fail, fmt.Sprintf("squatter (process %d)", cmd.Process.Pid))
	want(t, found, "client port", Fail, fmt.Sprintf("squatter (process %d)", cmd.Process.Pid))

	node := startNode(t, open(t, 1))
	found = look(t, Config{Listen: node, Seeds: []string{node}, TCP: true})
	want(t, found, "UDP port", OK, "a node that runs")
	want(t, found, "handshake", OK, "")
	want(t, found, "inbound", Skip, "")
	want(t, look(t, Config{Listen: "192.0.2.1:7946"}), "UDP port", Fail, "192.0.2.1")
	want(t, look(t, Config{WS: "192.0.2.1:80"}), "client port", Fail, "192.0.2.1")
}

// A clock that differs is told of with its direction; one by which a certificate is not good is a failure.
func TestClock(t *testing.T) {
	seed := startNode(t, open(t, 1))
	shifted := func(by time.Duration) Config {
		return Config{Seeds: []string{seed}, Now: func() time.Time { return time.Now().Add(by) }}
	}
	want(t, look(t, shifted(0)), "clock", OK, "the same")
	want(t, look(t, shifted(-time.Minute)), "clock", Warn, "behind the seed's")
	want(t, look(t, shifted(time.Minute)), "clock", Warn, "ahead of the seed's")

	root := issue(t, keyOf(3), nil, nil, 0, 365*day24)
	node := issue(t, keyOf(2), root, keyOf(3), -day24, 60*day24)
	own, err := trust.Issued(keyOf(2), node, root, []trust.Secret{trust.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		by      time.Duration
		verdict Verdict
		detail  string
	}{{0, OK, "good from"}, {50 * day24, Warn, "ends soon"}, {61 * day24, Fail, "not good any more"}, {-2 * day24, Fail, "not good yet"}} {
		now := time.Now().Add(test.by)
		found := look(t, Config{Trust: own, Now: func() time.Time { return now }})
		want(t, found, "mesh cert", test.verdict, test.detail)
		found = map[string]Finding{}
		e := encounter{visit: &visit{cfg: Config{Trust: own}, tell: func(f Finding) { found[f.What] = f }}}
		e.clock(now, test.by)
		if refused := found["clock"].Verdict == Fail; refused != (test.verdict == Fail) {
			t.Errorf("the seed's clock is off by %v: %+v", test.by, found["clock"])
		}
	}
	// A peer whose certificate is over by this clock.
	over := issue(t, keyOf(1), root, keyOf(3), -2*day24, -day24)
	block, _ := pem.Decode(over)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	v := visit{cfg: Config{Trust: own}}
	what, do := v.mistrust(x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}, "")
	if !strings.Contains(what, "this clock says") || !strings.Contains(do, "timedatectl") {
		t.Errorf("%s, %s", what, do)
	}
}

const day24 = 24 * time.Hour

// issue makes a certificate for a key, in PEM; without a parent its own authority.
func issue(t *testing.T, key ed25519.PrivateKey, parent []byte, signer ed25519.PrivateKey, from, until time.Duration) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	issuer := template
	if parent == nil {
		template.IsCA, template.KeyUsage, template.NotBefore = true, x509.KeyUsageCertSign, time.Now().Add(-100*day24)
		signer = key
	} else {
		block, _ := pem.Decode(parent)
		var err error
		if issuer, err = x509.ParseCertificate(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// clientPair writes a certificate for a name and its key.
func clientPair(t *testing.T, name string, from, until time.Duration) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	pkcs, err2 := x509.MarshalPKCS8PrivateKey(private)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err3 := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	err4 := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestClientTLS(t *testing.T) {
	good, key := clientPair(t, "node.example", -time.Hour, 90*day24)
	soon, soonKey := clientPair(t, "node.example", -time.Hour, 7*day24)
	over, overKey := clientPair(t, "node.example", -2*time.Hour, -time.Hour)
	for _, test := range []struct {
		name, cert, key, client string
		verdict                 Verdict
		detail                  string
	}{
		{"good", good, key, "node.example:443", OK, "good from"},
		{"soon over", soon, soonKey, "node.example:443", Warn, "ends soon"},
		{"over", over, overKey, "node.example:443", Fail, "not good any more"},
		{"another name", good, key, "other.example:443", Warn, "which the certificate is not for"},
		{"nothing is told", good, key, "0.0.0.0:443", OK, "good from"},
		{"key of another", good, soonKey, "node.example:443", Fail, "private key does not match"},
		{"no file", good + "x", key, "node.example:443", Fail, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want(t, look(t, Config{TLSCert: test.cert, TLSKey: test.key, Client: test.client}), "client TLS", test.verdict, test.detail)
		})
	}
}

func TestDescriptorsAndDataDir(t *testing.T) {
	want(t, look(t, Config{Connections: 1 << 40}), "open files", Warn, "--max-connections")
	want(t, look(t, Config{Connections: 1}), "open files", OK, "")
	want(t, look(t, Config{DataDir: filepath.Join(t.TempDir(), "none")}), "data dir", OK, "will make it")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, look(t, Config{DataDir: file}), "data dir", Fail, "not a directory")
}

func TestPrintAndWrite(t *testing.T) {
	all := []Finding{{OK, "clock", "the same", ""}, {Fail, "handshake", "silence", "open the port"}}
	var out strings.Builder
	for _, f := range all {
		if err := Print(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	if want := "ok    clock         the same\nFAIL  handshake     silence  =>  open the port\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	if err := Write(&out, all); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Findings []Finding
		Failed   int
	}
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back.Failed != 1 || len(back.Findings) != 2 || back.Findings[1] != all[1] {
		t.Errorf("%s, %v", out.String(), err)
	}
	if got := printable("a\x1b[31mb\n\u009bc\u202e"); got != "a?[31mb??c?" {
		t.Errorf("%q", got)
	}
}

// QUIC is recognised by its answer, and by nothing else.
func TestQUICAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := quicAnswers(ctx, netip.MustParseAddrPort(startNode(t, open(t, 1)))); err != nil {
		t.Error(err)
	}
	echo, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	})
	short, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if err := quicAnswers(short, netip.MustParseAddrPort(echo.LocalAddr().String())); err == nil {
		t.Error("an echo counts as QUIC")
	}
	_ = echo.Close()
	group.Wait()
}

func FuzzNegotiates(f *testing.F) {
	g := greeting()
	answer := append([]byte{0x80, 0, 0, 0, 0, idBytes}, g[7+idBytes:7+2*idBytes]...)
	answer = append(append(answer, idBytes), g[6:6+idBytes]...)
	answer = append(answer, 0, 0, 0, 1)
	f.Add(answer)
	f.Add(g)
	if !negotiates(answer, g) {
		f.Fatal("an answer is none")
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if negotiates(packet, g) && !bytes.Equal(packet[7+idBytes:7+2*idBytes], g[6:6+idBytes]) {
			t.Errorf("%x", packet)
		}
	})
}

func FuzzHolders(f *testing.F) {
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F0A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100\n", uint16(7946), true)
	f.Add("0: :1F0A x 07 a b c d e 1 2", uint16(7946), false)
	f.Fuzz(func(t *testing.T, table string, port uint16, listening bool) {
		if got := holders(strings.NewReader(table), port, listening); len(got) > len(table) {
			t.Errorf("%d", len(got))
		}
	})
	if got := holders(strings.NewReader("0: 0100007F:1F0A 0:0 0A 0:0 0:0 0 0 0 4711 1\n1: 0100007F:1F0A 0:0 01 0:0 0:0 0 0 0 4712 1\n"), 7946, true); len(got) != 1 || got[0] != 4711 {
		f.Errorf("%v", got)
	}
}
