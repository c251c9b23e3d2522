package forward

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// ErrIdentity reports a peer without a usable key, or with another than expected.
var ErrIdentity = errors.New("forward: peer identity")

// certificateAge is the span of a leaf certificate on either side of its making. Trust rests on the key, not on the dates.
const certificateAge = 20 * 365 * 24 * time.Hour

// tlsConfigs makes the TLS sides of a node: both present the node's own certificate and demand the peer's. The handshake
// proves that the peer holds the key; the NodeID is the key's hash, so there is nothing else to believe.
func tlsConfigs(key ed25519.PrivateKey) (server, client *tls.Config, err error) {
	cert, err := leaf(key)
	if err != nil {
		return nil, nil, err
	}
	server = &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{http3.NextProtoH3},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection:       verifyPeer,
	}
	client = server.Clone()
	client.InsecureSkipVerify = true // names and authorities mean nothing here; verifyPeer checks what does
	return server, client, nil
}

// nearTLS is the configuration of near streams: that of links, under another protocol.
func nearTLS(links *tls.Config) *tls.Config {
	c := links.Clone()
	c.NextProtos = []string{nearProtocol}
	c.DynamicRecordSizingDisabled = true
	return c
}

func leaf(key ed25519.PrivateKey) (tls.Certificate, error) {
	public := key.Public().(ed25519.PublicKey)
	id := wire.IDOf(public).String()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: id},
		DNSNames:     []string{id},
		NotBefore:    now.Add(-certificateAge),
		NotAfter:     now.Add(certificateAge),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("forward: make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func verifyPeer(state tls.ConnectionState) error {
	_, err := peerID(&state)
	return err
}

// peerID is the NodeID of the key that the peer proved to hold.
func peerID(state *tls.ConnectionState) (wire.NodeID, error) {
	if state == nil || len(state.PeerCertificates) != 1 {
		return 0, fmt.Errorf("%w: want exactly one certificate", ErrIdentity)
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return 0, fmt.Errorf("%w: key is not Ed25519", ErrIdentity)
	}
	return wire.IDOf(key), nil
}

// resetKey derives the key of stateless resets from the node's key, so that a restarted node can tell its peers at
// the first packet that their old connections are gone.
func resetKey(key ed25519.PrivateKey) *quic.StatelessResetKey {
	sum := sha256.Sum256(append([]byte("fastpubsub stateless reset v1\x00"), key.Seed()...))
	return (*quic.StatelessResetKey)(&sum)
}

func quicConfig() *quic.Config {
	return &quic.Config{
		EnableDatagrams:                true,
		HandshakeIdleTimeout:           1500 * time.Millisecond,
		MaxIdleTimeout:                 3 * time.Second, // a backstop: probes find a dead link first
		KeepAlivePeriod:                time.Second,
		InitialStreamReceiveWindow:     1 << 20,
		MaxStreamReceiveWindow:         6 << 20,
		InitialConnectionReceiveWindow: 2 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIncomingStreams:             64,
		MaxIncomingUniStreams:          8,
	}
}
