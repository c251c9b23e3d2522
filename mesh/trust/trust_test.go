package trust

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func secretOf(n byte) Secret { return Secret{[secretBytes]byte(bytes.Repeat([]byte{n}, secretBytes))} }

func sealed(t *testing.T, key byte, secrets ...byte) *Credentials {
	t.Helper()
	var all []Secret
	for _, n := range secrets {
		all = append(all, secretOf(n))
	}
	c, err := Sealed(keyOf(key), all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, key byte) *Credentials {
	t.Helper()
	c, err := Open(keyOf(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// company is an operator's own authority.
type company struct {
	t    *testing.T
	key  ed25519.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newCompany(t *testing.T, n byte) *company {
	t.Helper()
	c := &company{t: t, key: keyOf(n)}
	template := certificate(fmt.Sprint("company ", n), c.key)
	template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	c.cert, _ = x509.ParseCertificate(der)
	c.pem = pemOf(der)
	return c
}

func pemOf(ders ...[]byte) (text []byte) {
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

// issue is a certificate for a key, changed by alter.
func (c *company) issue(public any, alter func(*x509.Certificate)) []byte {
	c.t.Helper()
	template := certificate("node", keyOf(99))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if alter != nil {
		alter(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, public, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

func issued(t *testing.T, key byte, c *company, roots ...*company) *Credentials {
	t.Helper()
	var believed []byte
	for _, root := range append(roots, c) {
		believed = append(believed, root.pem...)
	}
	out, err := Issued(keyOf(key), pemOf(c.issue(keyOf(key).Public(), nil)), believed, []Secret{secretOf(1)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Golden values: nodes of all versions must derive the same from a secret.
func TestGolden(t *testing.T) {
	var s Secret
	for i := range s.b {
		s.b[i] = byte(i)
	}
	root, err := authority(s)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(root.Raw)
	for what, got := range map[string][2]string{
		"text":        {s.Text(), "fps1-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_O2-sl"},
		"fingerprint": {s.String(), "f90f0bb1"},
		"authority":   {hex.EncodeToString(s.authority().Public().(ed25519.PublicKey)), "6e7f8cc4dc6e419233048329143a6070153e4c57d45753b4ce3a857d9e8acfea"},
		"certificate": {hex.EncodeToString(sum[:]), "98253f8c6b1910511372fe7d90007e81cf93f75b056d1da93fb77b72077e1359"},
		"SWIM":        {hex.EncodeToString(s.derive(infoSWIM)), "40e628bb7ccc7059dad9622eddf595668f30db953315957e4d740a0665c7971f"},
		"tokens":      {hex.EncodeToString(TokenSecrets([]Secret{s})[0]), "1d935dba437e7b79e5e2199c8e27998bc1b1b66c8d62487bcbbfb282ceec8bd6"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want %s", what, got[0], got[1])
		}
	}
}

func TestSecretText(t *testing.T) {
	s := NewSecret()
	if back, err := ParseSecret(s.Text()); err != nil || back != s || s == NewSecret() {
		t.Errorf("%v, %v", back, err)
	}
	text := secretOf(7).Text()
	for name, bad := range map[string]string{
		"empty": "", "no prefix": text[len(secretPrefix):], "short": text[:len(text)-1], "long": text + "A",
		"a passphrase": "correct horse battery staple", "other version": "fps2-" + text[len(secretPrefix):],
		"a line break inside": text[:20] + "\n" + text[21:], "not base64url": text[:20] + "+" + text[21:],
	} {
		if _, err := ParseSecret(bad); !errors.Is(err, ErrSecret) || len(bad) > 10 && strings.Contains(err.Error(), bad[6:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := len(secretPrefix); i < len(text); i++ { // each mistyped character is found
		for _, other := range []byte("Aa0_") {
			if other == text[i] {
				continue
			}
			if _, err := ParseSecret(text[:i] + string(other) + text[i+1:]); !errors.Is(err, ErrSecret) {
				t.Errorf("%q for %q at %d passes", other, text[i], i)
			}
		}
	}
}

func TestParseSecrets(t *testing.T) {
	a, b, c := secretOf(1), secretOf(2), secretOf(3)
	got, err := ParseSecrets("# present\n" + a.Text() + " # since spring\r\n\n" + b.Text() + "," + c.Text())
	if err != nil || len(got) != 3 || got[0] != a || got[1] != b || got[2] != c {
		t.Errorf("%v, %v", got, err)
	}
	many := ""
	for n := range byte(maxSecrets + 1) {
		many += secretOf(n).Text() + "\n"
	}
	for name, bad := range map[string]string{
		"nothing": "", "comments only": "# none\n\n", "twice the same": a.Text() + "\n" + a.Text(), "too many": many, "garbage": a.Text() + "\ngarbage",
	} {
		if got, err := ParseSecrets(bad); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestParseSeed(t *testing.T) {
	s := secretOf(5)
	for text, want := range map[string]struct {
		addr   string
		secret bool
	}{
		"127.0.0.1:7946":                             {"127.0.0.1:7946", false},
		"fps://node.example.org:7946":                {"node.example.org:7946", false},
		"fps://" + s.Text() + "@node.example.org:80": {"node.example.org:80", true},
		"fps://" + s.Text() + "@[::1]:7946/":         {"[::1]:7946", true},
	} {
		addr, secret, err := ParseSeed(text)
		if err != nil || addr != want.addr || (secret != nil) != want.secret || secret != nil && *secret != s {
			t.Errorf("%q: %q, %v, %v", text, addr, secret, err)
		}
	}
	for _, bad := range []string{
		"", "host", "host:", ":7946", "fps://", "fps://@host:1", "fps://secret@host:1", s.Text() + "@host:1", "fps://" + s.Text() + "@host", s.Text(),
		"fps://" + s.Text(), "http://host:1", "fps://host:1/path", "fps://" + s.Text() + "@" + s.Text() + "@host:1", "fps://" + s.Text() + ":1", "fps://" + s.Text() + "@x y:1",
	} {
		addr, _, err := ParseSeed(bad)
		if !errors.Is(err, ErrSeed) || strings.Contains(err.Error(), secretPrefix) && !strings.Contains(err.Error(), "want \"fps1-\"") || addr != "" {
			t.Errorf("%q: %q, %v", bad, addr, err)
		}
	}
}

// shake connects two keepers by TLS and returns who each says the other is.
func shake(t *testing.T, dialler, dialled *Keeper) (ids [2]wire.NodeID, errs [2]error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return shakeOver(t, [2]net.Conn{a, b}, dialler, dialled)
}

func shakeOver(t *testing.T, over [2]net.Conn, dialler, dialled *Keeper) (ids [2]wire.NodeID, errs [2]error) {
	t.Helper()
	a, b := over[0], over[1]
	client, server := tls.Client(a, dialler.Client("x")), tls.Server(b, dialled.Server("x"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	finish := func(i int, conn *tls.Conn, k *Keeper) {
		if errs[i] = conn.HandshakeContext(ctx); errs[i] == nil { // in TLS 1.3 a client hears only later that it was refused
			if i == 0 {
				_, errs[i] = conn.Read(make([]byte, 1))
			} else {
				_, errs[i] = conn.Write([]byte{1})
			}
		}
		if errs[i] == nil {
			state := conn.ConnectionState()
			if state.Version != tls.VersionTLS13 {
				t.Errorf("TLS version %x", state.Version)
			}
			ids[i], errs[i] = k.Peer(&state)
		}
		_ = conn.NetConn().Close()
	}
	go func() {
		defer close(done)
		finish(1, server, dialled)
	}()
	finish(0, client, dialler)
	<-done
	return ids, errs
}

// TestHandshakes: who believes whom.
func TestHandshakes(t *testing.T) {
	one, two := newCompany(t, 41), newCompany(t, 42)
	all := map[string]func(key byte) *Credentials{
		"open":    func(key byte) *Credentials { return open(t, key) },
		"A":       func(key byte) *Credentials { return sealed(t, key, 1) },
		"A B":     func(key byte) *Credentials { return sealed(t, key, 1, 2) },
		"B A":     func(key byte) *Credentials { return sealed(t, key, 2, 1) },
		"B":       func(key byte) *Credentials { return sealed(t, key, 2) },
		"one":     func(key byte) *Credentials { return issued(t, key, one) },
		"one+two": func(key byte) *Credentials { return issued(t, key, one, two) },
		"two":     func(key byte) *Credentials { return issued(t, key, two) },
	}
	good := map[string]bool{}
	for _, pair := range []string{
		"open-open", "A-A", "A-A B", "A B-A B", "A B-B A", "B A-B A", "B A-B", "B-B", // the steps of a rotation, and no other pairs
		"one-one", "one-one+two", "one+two-one+two", "two-two",
	} {
		good[pair] = true
	}
	for a, left := range all {
		for b, right := range all {
			want := good[a+"-"+b] || good[b+"-"+a]
			ids, errs := shake(t, NewKeeper(left(11)), NewKeeper(right(12)))
			if want && (errs != [2]error{} || ids != [2]wire.NodeID{wire.IDOf(keyOf(12).Public().(ed25519.PublicKey)), wire.IDOf(keyOf(11).Public().(ed25519.PublicKey))}) {
				t.Errorf("%s dials %s: %v, %v", a, b, ids, errs)
			}
			if !want && (errs[0] == nil || errs[1] == nil) {
				t.Errorf("%s dials %s: %v, want both refused", a, b, errs)
			}
			if !want && !errors.Is(errs[0], ErrStranger) && !errors.Is(errs[1], ErrStranger) {
				t.Errorf("%s dials %s: %v, want ErrStranger at one end", a, b, errs)
			}
		}
	}
}

// A node whose clock is wrong is no less a node: the bubble's is at 2000, and these certificates were made now.
func TestClocks(t *testing.T) {
	a, b := sealed(t, 1, 1), sealed(t, 2, 1)
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		if _, errs := shakeOver(t, [2]net.Conn{near, far}, NewKeeper(a), NewKeeper(b)); errs != [2]error{} {
			t.Errorf("in 2000: %v", errs)
		}
	})
	for _, year := range []int{1970, 2026, 2300} {
		at := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		if _, err := a.verify(parsed(b.leaf), at, x509.ExtKeyUsageClientAuth); err != nil {
			t.Errorf("in %d: %v", year, err)
		}
	}
}

// A member of the mesh cannot make certificates with its own, nor does the name on one count.
func TestLeafSignsNothing(t *testing.T) {
	member, mesh := sealed(t, 1, 1), sealed(t, 2, 1)
	template := certificate("forged", keyOf(3))
	der, err := x509.CreateCertificate(rand.Reader, template, member.leaf.Leaf, keyOf(3).Public(), keyOf(1))
	if err != nil {
		t.Fatal(err)
	}
	forged, _ := x509.ParseCertificate(der)
	if _, err := mesh.verify([]*x509.Certificate{forged, member.leaf.Leaf}, time.Time{}, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrStranger) {
		t.Errorf("a certificate by a member: %v", err)
	}
}

func TestIssuedRefusesWhatOthersWould(t *testing.T) {
	c, other := newCompany(t, 41), newCompany(t, 42)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := keyOf(1).Public()
	secrets := []Secret{secretOf(1)}
	for name, one := range map[string]struct {
		chain, roots []byte
		secrets      []Secret
	}{
		"another key":     {pemOf(c.issue(keyOf(2).Public(), nil)), c.pem, secrets},
		"not Ed25519":     {pemOf(c.issue(ec.Public(), nil)), c.pem, secrets},
		"expired":         {pemOf(c.issue(own, func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Minute) })), c.pem, secrets},
		"not yet valid":   {pemOf(c.issue(own, func(x *x509.Certificate) { x.NotBefore = time.Now().Add(time.Minute) })), c.pem, secrets},
		"servers only":    {pemOf(c.issue(own, func(x *x509.Certificate) { x.ExtKeyUsage = x.ExtKeyUsage[:1] })), c.pem, secrets},
		"other authority": {pemOf(c.issue(own, nil)), other.pem, secrets},
		"no authority":    {pemOf(c.issue(own, nil)), nil, secrets},
		"no certificate":  {[]byte("hello"), c.pem, secrets},
		"bad certificate": {pemOf([]byte("hello")), c.pem, secrets},
		"bad authority":   {pemOf(c.issue(own, nil)), pemOf([]byte("hello")), secrets},
		"a key instead":   {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}), c.pem, secrets},
		"no secret":       {pemOf(c.issue(own, nil)), c.pem, nil},
	} {
		if _, err := Issued(keyOf(1), one.chain, one.roots, one.secrets); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestIntermediates(t *testing.T) {
	root := newCompany(t, 41)
	key := keyOf(43)
	der := root.issue(key.Public(), func(x *x509.Certificate) {
		x.IsCA, x.KeyUsage, x.ExtKeyUsage, x.Subject.CommonName = true, x509.KeyUsageCertSign, nil, "branch"
	})
	cert, _ := x509.ParseCertificate(der)
	branch := &company{t: t, key: key, cert: cert}
	c, err := Issued(keyOf(1), pemOf(branch.issue(keyOf(1).Public(), nil), der), root.pem, []Secret{secretOf(1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, errs := shake(t, NewKeeper(c), NewKeeper(issued(t, 2, root))); errs != [2]error{} {
		t.Error(errs)
	}
}

func TestKeeperReplaces(t *testing.T) {
	k := NewKeeper(sealed(t, 1, 1))
	other := NewKeeper(sealed(t, 2, 2))
	if _, errs := shake(t, k, other); errs[0] == nil || errs[1] == nil {
		t.Errorf("before: %v", errs)
	}
	if err := k.Replace(sealed(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if _, errs := shake(t, k, other); errs != [2]error{} {
		t.Errorf("after: %v", errs)
	}
	for name, bad := range map[string]*Credentials{"another key": sealed(t, 3, 2), "open": open(t, 1)} {
		if err := k.Replace(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing prints a secret: not as a value, not inside of another.
func TestNothingPrintsSecrets(t *testing.T) {
	s := secretOf('x')
	c, err := Sealed(keyOf(1), []Secret{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, value := range []any{s, &s, []Secret{s}, c} {
			text := fmt.Sprintf(format, value)
			for _, bad := range []string{"xxxx", "7878", "120 120", "0x78, 0x78"} {
				if strings.Contains(text, bad) {
					t.Errorf("%s of %T: %s", format, value, text)
				}
			}
		}
	}
}
