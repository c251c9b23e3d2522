package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// ErrStranger reports a peer that is not of this mesh.
var ErrStranger = errors.New("trust: not of this mesh")

// ErrKey reports credentials of another key than the node's.
var ErrKey = errors.New("trust: certificate of another key")

// maxChain bounds the certificates that a peer may show.
const maxChain = 4

// Credentials are what a node shows and whom it believes. They are immutable.
type Credentials struct {
	id      wire.NodeID
	leaf    tls.Certificate
	roots   *x509.CertPool // nil: any key is believed
	secrets []Secret
}

// Open are the credentials of an open mesh: any key is believed.
func Open(key ed25519.PrivateKey) (*Credentials, error) {
	template := certificate(nameOf(key), key)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("trust: make certificate: %w", err)
	}
	return finish(&Credentials{}, key, der)
}

// Sealed are the credentials of a mesh with secrets: the first is shown, all are believed.
func Sealed(key ed25519.PrivateKey, secrets []Secret) (*Credentials, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	c := &Credentials{roots: x509.NewCertPool(), secrets: append([]Secret(nil), secrets...)}
	for _, s := range secrets {
		root, err := authority(s)
		if err != nil {
			return nil, fmt.Errorf("trust: make authority: %w", err)
		}
		c.roots.AddCert(root)
	}
	issuer, err := authority(secrets[0])
	if err != nil {
		return nil, fmt.Errorf("trust: make authority: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate(nameOf(key), key), issuer, key.Public(), secrets[0].authority())
	if err != nil {
		return nil, fmt.Errorf("trust: make certificate: %w", err)
	}
	return finish(c, key, der)
}

// Issued are credentials by an operator's own authority: chain is the node's certificate, for its key, and what lies between it and the authority;
// authorities are who is believed; both PEM. SWIM packets are sealed with the secrets, of which the first is used and all are believed.
func Issued(key ed25519.PrivateKey, chain, authorities []byte, secrets []Secret) (*Credentials, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	c := &Credentials{roots: x509.NewCertPool(), secrets: append([]Secret(nil), secrets...)}
	roots, err := certificates(authorities)
	if err != nil {
		return nil, fmt.Errorf("trust: authorities: %w", err)
	}
	for _, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("trust: authorities: %w", err)
		}
		c.roots.AddCert(root)
	}
	shown, err := certificates(chain)
	if err != nil {
		return nil, fmt.Errorf("trust: certificate: %w", err)
	}
	if c, err = finish(c, key, shown...); err != nil {
		return nil, err
	}
	// Others would refuse it, which is better known at once.
	if _, err := c.verify(parsed(c.leaf), time.Time{}, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, fmt.Errorf("trust: own certificate: %w", err)
	}
	if _, err := c.verify(parsed(c.leaf), time.Time{}, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, fmt.Errorf("trust: own certificate: %w", err)
	}
	return c, nil
}

func finish(c *Credentials, key ed25519.PrivateKey, chain ...[]byte) (*Credentials, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("trust: certificate: %w", err)
	}
	if own, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !own.Equal(key.Public()) {
		return nil, ErrKey
	}
	c.leaf = tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}
	c.id = wire.IDOf(leaf.PublicKey.(ed25519.PublicKey))
	return c, nil
}

// certificates are the certificates of a PEM text.
func certificates(text []byte) (out [][]byte, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block of type %.40q, want CERTIFICATE", block.Type)
		}
		out, text = append(out, block.Bytes), rest
	}
	if len(out) == 0 {
		return nil, errors.New("no PEM block")
	}
	return out, nil
}

// authority is the certificate of a secret's authority. It is the same on every node.
func authority(s Secret) (*x509.Certificate, error) {
	key := s.authority()
	template := certificate("FastPubSub mesh "+s.String(), key)
	template.IsCA, template.MaxPathLenZero = true, true
	template.KeyUsage, template.ExtKeyUsage, template.DNSNames = x509.KeyUsageCertSign, nil, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func nameOf(key ed25519.PrivateKey) string {
	return wire.IDOf(key.Public().(ed25519.PublicKey)).String()
}

// certificate is a template for a key's certificate.
func certificate(name string, key ed25519.PrivateKey) *x509.Certificate {
	serial := new(big.Int).SetUint64(uint64(wire.IDOf(key.Public().(ed25519.PublicKey))))
	return &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)), // not zero
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             time.Unix(0, 0).UTC(),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

// parsed are the certificates of a chain that has been parsed before.
func parsed(c tls.Certificate) (out []*x509.Certificate) {
	for _, der := range c.Certificate {
		if one, err := x509.ParseCertificate(der); err == nil {
			out = append(out, one)
		}
	}
	return out
}

// String tells what people may know of the credentials.
func (c *Credentials) String() string {
	if c.IsOpen() {
		return fmt.Sprintf("%v, open", c.id)
	}
	return fmt.Sprintf("%v, secrets %v", c.id, c.secrets)
}

// Format writes String for every verb, so that none shows what is inside.
func (c *Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// ID is the node whose credentials these are.
func (c *Credentials) ID() wire.NodeID { return c.id }

// IsOpen reports whether any key is believed.
func (c *Credentials) IsOpen() bool { return c.roots == nil }

// Authority names who issued the certificate; empty in an open mesh, where each node does so itself.
func (c *Credentials) Authority() string { return c.issuer(c.leaf.Leaf) }

func (c *Credentials) issuer(leaf *x509.Certificate) string {
	if c.IsOpen() {
		return ""
	}
	return leaf.Issuer.CommonName
}

// Until is when the certificate ends.
func (c *Credentials) Until() time.Time { return c.leaf.Leaf.NotAfter }

// From is when the certificate begins to be good.
func (c *Credentials) From() time.Time { return c.leaf.Leaf.NotBefore }

// Secrets are the secrets that are believed, the one in use first.
func (c *Credentials) Secrets() []Secret { return append([]Secret(nil), c.secrets...) }

// SWIMKeys are the keys that SWIM packets may be sealed with, the one in use first; none in an open mesh.
func (c *Credentials) SWIMKeys() [][]byte { return derived(c.secrets, infoSWIM) }

// TokenSecrets are the secrets that client tokens may be signed with, the one in use first.
func TokenSecrets(secrets []Secret) [][]byte { return derived(secrets, infoTokens) }

func derived(secrets []Secret, info string) (keys [][]byte) {
	for _, s := range secrets {
		keys = append(keys, s.derive(info))
	}
	return keys
}

// SameLeaf reports whether others show the same certificate.
func (c *Credentials) SameLeaf(other *Credentials) bool {
	return bytes.Equal(c.leaf.Certificate[0], other.leaf.Certificate[0])
}

// verify is the NodeID of a chain of certificates whose first key its holder has proved to hold.
func (c *Credentials) verify(chain []*x509.Certificate, now time.Time, usage ...x509.ExtKeyUsage) (wire.NodeID, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return 0, fmt.Errorf("%w: %d certificates, want 1 to %d", ErrStranger, len(chain), maxChain)
	}
	key, ok := chain[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return 0, fmt.Errorf("%w: key is not Ed25519", ErrStranger)
	}
	if c.roots != nil {
		between := x509.NewCertPool()
		for _, one := range chain[1:] {
			between.AddCert(one)
		}
		// No name is verified: the key is the name.
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: between, CurrentTime: now, KeyUsages: usage}); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrStranger, err)
		}
	}
	return wire.IDOf(key), nil
}
