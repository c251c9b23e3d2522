package forward

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/quic-go/quic-go"
)

// ErrIdentity reports a peer that is another node than expected.
var ErrIdentity = errors.New("forward: peer identity")

// resetKey derives the key of stateless resets from the node's key, so that a restarted node can tell its peers at
// the first packet that their old connections are gone.
func resetKey(key ed25519.PrivateKey) *quic.StatelessResetKey {
	sum := sha256.Sum256(append([]byte("fastpubsub stateless reset v1\x00"), key.Seed()...))
	return (*quic.StatelessResetKey)(&sum)
}

func quicConfig() *quic.Config {
	return &quic.Config{
		EnableDatagrams:                true,
		InitialPacketSize:              1200, // what every path must carry (RFC 9000, section 14), as through tunnels with an MTU of 1280; more is found by probing
		HandshakeIdleTimeout:           1500 * time.Millisecond,
		MaxIdleTimeout:                 4600 * time.Millisecond, // a backstop: probes find a dead link first
		KeepAlivePeriod:                2300 * time.Millisecond, // half of that, the most: on idle links a probe comes from one end or the other before, which mostly makes it needless
		InitialStreamReceiveWindow:     1 << 20,
		MaxStreamReceiveWindow:         6 << 20,
		InitialConnectionReceiveWindow: 2 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIncomingStreams:             64,
		MaxIncomingUniStreams:          8,
	}
}
