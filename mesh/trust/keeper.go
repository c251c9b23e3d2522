package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Keeper holds a node's credentials and makes the TLS configurations of its links, which always use those of the moment. It is safe for concurrent use.
type Keeper struct{ current atomic.Pointer[Credentials] }

// NewKeeper holds the credentials.
func NewKeeper(c *Credentials) *Keeper {
	k := new(Keeper)
	k.current.Store(c)
	return k
}

// Current are the credentials of the moment.
func (k *Keeper) Current() *Credentials { return k.current.Load() }

// Replace makes others the credentials; ErrKey if they are another node's, or open where the old ones are not.
func (k *Keeper) Replace(c *Credentials) error {
	old := k.current.Load()
	if c.id != old.id {
		return ErrKey
	}
	if c.IsOpen() != old.IsOpen() {
		return fmt.Errorf("%w: a mesh does not become open, nor closed, while its nodes run", ErrKey)
	}
	k.current.Store(c)
	return nil
}

// Server is the configuration of the end that is dialled, Client that of the end that dials; protocols is for ALPN. Both show the node's certificate and
// demand the peer's. Tickets are off, so that every connection is verified by the credentials of its time.
func (k *Keeper) Server(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &k.Current().leaf, nil },
		ClientAuth:             tls.RequireAnyClientCert, // VerifyConnection verifies it, by the roots of the moment
		VerifyConnection:       k.verifier(x509.ExtKeyUsageClientAuth),
	}
}

// Client is described at Server.
func (k *Keeper) Client(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &k.Current().leaf, nil },
		InsecureSkipVerify:     true, // of names, which mean nothing here; VerifyConnection verifies the chain
		VerifyConnection:       k.verifier(x509.ExtKeyUsageServerAuth),
	}
}

func (k *Keeper) verifier(usage x509.ExtKeyUsage) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		_, err := k.Current().verify(state.PeerCertificates, time.Time{}, usage)
		return err
	}
}

// Peer is the node at the other end of a connection whose handshake is done, if it is believed now.
func (k *Keeper) Peer(state *tls.ConnectionState) (wire.NodeID, error) {
	if state == nil {
		return 0, fmt.Errorf("%w: no TLS", ErrStranger)
	}
	return k.Current().verify(state.PeerCertificates, time.Time{}, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

// PeerAuthority names who issued the certificate of a peer that is believed; empty in an open mesh.
func (k *Keeper) PeerAuthority(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	return k.Current().issuer(state.PeerCertificates[0])
}
