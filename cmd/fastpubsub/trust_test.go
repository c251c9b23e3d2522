package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/rs/zerolog"
)

func TestKeygen(t *testing.T) {
	made := map[string]bool{}
	for range 3 {
		var out bytes.Buffer
		if code := run(t.Context(), []string{"keygen"}, streams{nil, &out, &out}); code != 0 {
			t.Fatal(out.String())
		}
		if _, err := trust.ParseSecrets(out.String()); err != nil || made[out.String()] {
			t.Errorf("%q: %v", out.String(), err)
		}
		made[out.String()] = true
	}
}

func TestTrustOptionFaults(t *testing.T) {
	one, two := trust.NewSecret(), trust.NewSecret()
	good, key := file(t, one.Text()+"\n"), file(t, "no key")
	for _, test := range []struct{ args, want string }{
		{"--mesh-secret-file /no/such/file", "no such file"},
		{"--mesh-secret-file " + file(t, ""), "want 1 to"}, // an empty file must not open the node
		{"--mesh-secret-file " + file(t, "my own secret"), "keygen"},
		{"--mesh-secret-file " + file(t, one.Text()[:30]), "keygen"},
		{"--mesh-secret-file " + file(t, one.Text()+"\n"+one.Text()), "twice"},
		{"--mesh-secret-file " + good + " --join fps://" + two.Text() + "@127.0.0.1:1", "which is not in"},
		{"--join fps://" + one.Text() + "@127.0.0.1:1 --join fps://" + two.Text() + "@127.0.0.1:2", "two secrets"},
		{"--join fps://" + one.Text() + "@nowhere", "want HOST:PORT"},
		{"--join " + one.Text() + ":1", "want HOST:PORT"},
		{"--mesh-secret-file " + good + " --mesh-ca " + good, "go together"},
		{"--mesh-ca " + good + " --mesh-cert " + good + " --mesh-key " + key, "needs a mesh secret"},
		{"--mesh-secret-file " + good + " --mesh-ca " + good + " --mesh-cert " + good + " --mesh-key " + key, "no PEM block"},
		{"--mesh-secret-file " + good + " --ws 0.0.0.0:0", "--require-tokens"},
		{"--require-tokens", "or a mesh secret"},
		{"--listen 0.0.0.0:0", "--mesh-secret-file"},
	} {
		var errs bytes.Buffer
		args := append([]string{"node", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0"}, strings.Fields(test.args)...)
		code := run(t.Context(), args, streams{nil, &bytes.Buffer{}, &errs})
		text := errs.String()
		if code == 0 || !strings.Contains(text, test.want) || strings.Contains(text, one.Text()[8:28]) || strings.Contains(text, two.Text()[8:28]) || strings.Contains(text, "my own") {
			t.Errorf("%s: exit %d: %s", test.args, code, text)
		}
	}
}

// The log says plainly who may use a node, and warns where that is anybody.
func TestExposure(t *testing.T) {
	secret := trust.NewSecret()
	for _, test := range []struct {
		name   string
		node   nodeCommand
		level  string
		nodes  string
		client string
	}{
		{"on loopback", nodeCommand{Listen: "localhost:1"}, "info", "any process on this machine can join", "any process on this machine can read"},
		{"open", nodeCommand{Listen: "0.0.0.0:7946"}, "warn", "ANYBODY who reaches 0.0.0.0:7946 can join, read and write everything", "any process"},
		{"with a secret", nodeCommand{Listen: "0.0.0.0:7946", trustOptions: trustOptions{MeshSecret: secret.Text()}}, "info", "only with mesh secret " + secret.String(), "any process"},
		{"with tokens", nodeCommand{Listen: "127.0.0.1:1", tokenOptions: tokenOptions{TokenSecret: testSecret}}, "info", "any process", "only with tokens"},
		{"clients in the open", nodeCommand{Listen: "127.0.0.1:1", WS: "0.0.0.0:80"}, "warn", "any process", "ANYBODY who reaches 0.0.0.0:80 can read and write everything, in the clear"},
		{"by TLS", nodeCommand{Listen: "127.0.0.1:1", WS: "0.0.0.0:80", tlsOptions: tlsOptions{TLSCert: "x"}}, "warn", "any process", "by TLS"},
	} {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		m, err := test.node.membership(key, nil, new(hangups), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
		if test.node.WS != "" {
			bound.IP = net.IPv4zero
		}
		test.node.expose(m, bound, zerolog.New(&log))
		for _, want := range []string{`"level":"` + test.level + `"`, `"nodes":"` + test.nodes, test.client} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: %s, want %q", test.name, &log, want)
			}
		}
	}
}

// TestStrangersOutsideProcesses: three processes that have one secret, each by another way, are a mesh; one with another secret and one without any, which
// know where it is, are not, see nothing, and are logged once a minute at most. Tokens have a key that comes of the secret.
func TestReadableSecretsAreTold(t *testing.T) {
	m := &membership{}
	open, err := trust.Open(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	m.current.Store(open)
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1, 0o604: 1} {
		name := file(t, "secret")
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		c := nodeCommand{Listen: "localhost:1", trustOptions: trustOptions{MeshSecretFile: name, MeshKey: "/no/such/file"}}
		c.expose(m, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, zerolog.New(&log))
		if got := strings.Count(log.String(), "can read this secret"); got != want || want > 0 && !strings.Contains(log.String(), name) {
			t.Errorf("mode %v: %s", mode, log.String())
		}
	}
}

func TestStrangersOutsideProcesses(t *testing.T) {
	began := time.Now()
	secret, master := trust.NewSecret(), file(t, testMaster)
	a := startProcess(t, "a", "--mesh-secret-file", file(t, secret.Text()), "--master-token-file", master)
	b := startProcess(t, "b", "--join", "fps://"+secret.Text()+"@"+a.node, "--require-tokens", "--master-token-file", master)
	t.Setenv("FASTPUBSUB_MESH_SECRET", secret.Text())
	c := startProcess(t, "c", "--join", b.node)
	if err := os.Unsetenv("FASTPUBSUB_MESH_SECRET"); err != nil {
		t.Fatal(err)
	}
	all := []*process{a, b, c}
	outside := []*process{
		startProcess(t, "stranger", "--mesh-secret-file", file(t, trust.NewSecret().Text()), "--join", a.node, "--join", b.node),
		startProcess(t, "open", "--join", a.node, "--join", b.node),
	}
	wholeMesh(t, all)
	for _, p := range []*process{a, b, outside[0], outside[1]} {
		waitFor(t, p.name+" has refused or been refused several times", func() bool { return p.view(t).Counters["strangers"] > 5 })
	}
	for i, p := range append(all, outside...) {
		want := 2
		if i >= len(all) {
			want = 0
		}
		if v := p.view(t); len(v.Members) != want || len(v.Links) != want {
			t.Errorf("%s has %d members and %d links, want %d", p.name, len(v.Members), len(v.Links), want)
		}
	}
	token := a.call(t, http.MethodPost, "/v1/get-token", `{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_sub":["#"]}],"expires_at":"`+
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)["token"].(string)
	waitFor(t, "b takes a token of a", func() bool {
		_, status := b.enter(t, token)
		return status == http.StatusSwitchingProtocols
	})
	if _, status := b.enter(t, ""); status != http.StatusUnauthorized {
		t.Errorf("b without a token: %d", status)
	}
	for _, p := range append(all, outside...) {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		log := p.stderr.String()
		if n := strings.Count(log, "not a node of this mesh"); n > 1+int(time.Since(began)/time.Minute) || p != c && n == 0 {
			t.Errorf("%s logged strangers %d times: %s", p.name, n, log)
		}
		if strings.Contains(log, secret.Text()[8:30]) {
			t.Errorf("%s logs the secret", p.name)
		}
		if p == outside[1] == strings.Contains(log, "only with mesh secret") {
			t.Errorf("%s does not say how exposed it is: %s", p.name, log)
		}
	}
}

// TestTokensFollowTheSecret: while a mesh secret changes, tokens by either are good; when the old one is gone, those by it are not.
func TestTokensFollowTheSecret(t *testing.T) {
	old, next := trust.NewSecret(), trust.NewSecret()
	secrets := file(t, old.Text())
	p := startProcess(t, "p", "--mesh-secret-file", secrets, "--master-token-file", file(t, testMaster))
	mint := func() string {
		return p.call(t, http.MethodPost, "/v1/get-token", `{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_sub":["#"]}],"expires_at":"`+
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`)["token"].(string)
	}
	enters := func(token string) bool {
		conn, status := p.enter(t, token)
		if conn != nil {
			_ = conn.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	}
	hold := func(text string, shown trust.Secret) {
		if err := os.WriteFile(secrets, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		hangUp(t, p)
		waitFor(t, "the new file is used", func() bool { return strings.HasSuffix(p.view(t).Node.Authority, shown.String()) })
	}
	first := mint()
	hold(next.Text()+"\n"+old.Text()+"\n", next)
	second := mint()
	if !enters(first) || !enters(second) {
		t.Error("while both secrets are good, not both tokens are")
	}
	hold(next.Text(), next)
	waitFor(t, "the token by the old secret is refused", func() bool { return !enters(first) })
	if !enters(second) {
		t.Error("the token by the new secret is refused")
	}
}

// writeMeshCertificate makes an authority, which is the same each time, and a certificate of it for a node's key; all in files of dir.
func writeMeshCertificate(t *testing.T, dir string, key ed25519.PrivateKey, serial int64) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)) // the same for all nodes
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operator"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := x509.CreateCertificate(rand.Reader, template, template, root.Public(), root)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, template, key.Public(), root)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.pem", "CERTIFICATE", ca)
	write("cert.pem", "CERTIFICATE", der)
	write("key.pem", "PRIVATE KEY", pkcs8)
}

// TestOwnAuthority: nodes with certificates of an operator's authority are a mesh; a node with the secret alone is not one of it. A new certificate is taken at
// SIGHUP; one that does not load, or is for another key, is logged and changes nothing.
func TestOwnAuthority(t *testing.T) {
	secret := file(t, trust.NewSecret().Text())
	start := func(name string, seed byte, more ...string) (*process, string) {
		dir := t.TempDir()
		writeMeshCertificate(t, dir, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), 2)
		own := []string{"--mesh-ca", "ca.pem", "--mesh-cert", "cert.pem", "--mesh-key", "key.pem"}
		for i := 1; i < len(own); i += 2 {
			own[i] = filepath.Join(dir, own[i])
		}
		return startProcess(t, name, append(append(own, "--mesh-secret-file", secret), more...)...), dir
	}
	a, dir := start("a", 1)
	b, _ := start("b", 2, "--join", a.node)
	alone := startProcess(t, "alone", "--mesh-secret-file", secret, "--join", a.node)
	wholeMesh(t, []*process{a, b})
	roundTrip(t, a, b)
	waitFor(t, "the secret alone does not let in", func() bool { return alone.view(t).Counters["strangers"] > 3 })
	if v := alone.view(t); len(v.Links) != 0 {
		t.Errorf("with the secret alone %d links", len(v.Links))
	}
	number := func() uint64 {
		return b.view(t).Counters["connections"] + b.view(t).Counters["handshakes"] + a.view(t).Counters["handshakes"]
	}
	before := number()
	writeMeshCertificate(t, dir, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)), 3)
	hangUp(t, a)
	waitFor(t, "links are opened anew", func() bool { return number() > before })
	writeMeshCertificate(t, dir, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)), 4)
	hangUp(t, a)
	wholeMesh(t, []*process{a, b})
	roundTrip(t, b, a)
	_ = a.cmd.Process.Signal(os.Interrupt)
	_ = a.cmd.Wait()
	if log := a.stderr.String(); !strings.Contains(log, "certificates loaded") || !strings.Contains(log, "restart it") {
		t.Errorf("log: %s", log)
	}
}

func hangUp(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}
