package trust

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func FuzzParseSecrets(f *testing.F) {
	f.Add(secretOf(1).Text())
	f.Add("# two\n" + secretOf(1).Text() + " " + secretOf(2).Text())
	f.Add("fps1-")
	f.Fuzz(func(t *testing.T, text string) {
		secrets, err := ParseSecrets(text)
		if err != nil {
			if !errors.Is(err, ErrSecret) {
				t.Fatal(err)
			}
			return
		}
		var words []string
		for _, s := range secrets {
			words = append(words, s.Text())
		}
		again, err := ParseSecrets(strings.Join(words, "\n"))
		if err != nil || len(again) != len(secrets) || again[0] != secrets[0] {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

func FuzzParseSeed(f *testing.F) {
	f.Add("127.0.0.1:7946")
	f.Add("fps://" + secretOf(1).Text() + "@[::1]:7946/")
	f.Add("fps://@:")
	f.Fuzz(func(t *testing.T, text string) {
		addr, secret, err := ParseSeed(text)
		if err != nil {
			if !errors.Is(err, ErrSeed) || addr != "" || secret != nil {
				t.Fatal(addr, err)
			}
			return
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" || strings.Contains(addr, "@") {
			t.Fatalf("%q: %v", addr, err)
		}
		again := "fps://" + addr
		if secret != nil {
			again = "fps://" + secret.Text() + "@" + addr
		}
		if back, other, err := ParseSeed(again); err != nil || back != addr || (other == nil) != (secret == nil) || other != nil && *other != *secret {
			t.Fatalf("%q: %q, %v", again, back, err)
		}
	})
}

// FuzzVerify: whatever certificates a peer shows, only those signed by the mesh's authority are believed, and the NodeID is the key's.
func FuzzVerify(f *testing.F) {
	mesh, err := Sealed(keyOf(1), []Secret{secretOf(1)})
	if err != nil {
		f.Fatal(err)
	}
	member, _ := Sealed(keyOf(2), []Secret{secretOf(1)})
	stranger, _ := Sealed(keyOf(3), []Secret{secretOf(2)})
	open, _ := Open(keyOf(4))
	root, _ := authority(secretOf(1))
	f.Add(member.leaf.Certificate[0], []byte(nil))
	f.Add(stranger.leaf.Certificate[0], root.Raw)
	f.Add(open.leaf.Certificate[0], member.leaf.Certificate[0])
	verify := [2]func(tls.ConnectionState) error{NewKeeper(mesh).Server().VerifyConnection, NewKeeper(open).Client().VerifyConnection}
	f.Fuzz(func(t *testing.T, leaf, other []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{leaf, other} { // as crypto/tls does before it calls back
			if len(der) == 0 {
				continue
			}
			one, err := x509.ParseCertificate(der)
			if err != nil {
				return
			}
			chain = append(chain, one)
		}
		state := tls.ConnectionState{PeerCertificates: chain}
		for _, check := range verify {
			if err := check(state); err != nil && !errors.Is(err, ErrStranger) {
				t.Fatal(err)
			}
		}
		id, err := NewKeeper(mesh).Peer(&state)
		if err != nil {
			return
		}
		if key, ok := chain[0].PublicKey.(ed25519.PublicKey); !ok || wire.IDOf(key) != id {
			t.Fatalf("%v for a key of type %T", id, chain[0].PublicKey)
		}
		if err := chain[0].CheckSignatureFrom(root); err != nil {
			t.Fatalf("believed: %v", err)
		}
	})
}
