package forward

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// errKey reports a public key that no secret can be shared with.
var errKey = errors.New("forward: unusable public key")

// sealContext keeps the shared secret from meaning anything elsewhere.
const sealContext = "fastpubsub seal v1\x00"

// seals makes and checks the tags by which a destination knows that a message which relays have passed on comes from its origin. A tag is the first
// wire.TagSize bytes of
//
//	HMAC-SHA256(key, SHA-256(content) | origin 8 | boot 8 | destination 8 | sequence 8 | back 8 | ahead 8 | destination's boot 2)
//	content = class 1 | mode 1 | deadline 4 | tenant length 2 | tenant | channel length 2 | channel | payload
//
// with the batch mark in the mode. The key is HKDF-SHA256 of the secret that the Ed25519 keys of both nodes share as X25519 keys (RFC 7748 §4.1), with
// sealContext and both IDs, the smaller first, as info. What relays may change, age, hops and trace, is not under it.
type seals struct {
	self   wire.NodeID
	secret *ecdh.PrivateKey

	mu    sync.Mutex // guards what follows
	pairs map[wire.NodeID]*pairKey
}

// pairKey is what this node and another share.
type pairKey struct {
	mu  sync.Mutex // guards what follows
	mac hash.Hash
	sum [sha256.Size]byte
}

// pairsMost bounds the keys kept, which cost a multiplication on the curve each to make again.
const pairsMost = 1 << 15

func newSeals(key ed25519.PrivateKey) (*seals, error) {
	expanded := sha512.Sum512(key.Seed()) // RFC 8032 §5.1.5; X25519 clamps by itself
	secret, err := ecdh.X25519().NewPrivateKey(expanded[:32])
	if err != nil {
		return nil, fmt.Errorf("forward: node key: %w", err)
	}
	return &seals{self: wire.IDOf(key.Public().(ed25519.PublicKey)), secret: secret, pairs: map[wire.NodeID]*pairKey{}}, nil
}

// montgomery is an Ed25519 public key as X25519's: u = (1+y)/(1-y) mod 2^255-19. It takes no secret, so its time may depend on it.
func montgomery(key ed25519.PublicKey) (*ecdh.PublicKey, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, errKey
	}
	b := slices.Clone(key)
	b[31] &= 0x7f // the sign of x
	slices.Reverse(b)
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	y := new(big.Int).SetBytes(b)
	below := new(big.Int).Sub(one, y)
	if below.ModInverse(below.Mod(below, p), p) == nil {
		return nil, errKey
	}
	u := y.Add(y, one)
	u.Mul(u, below).Mod(u, p).FillBytes(b)
	slices.Reverse(b)
	return ecdh.X25519().NewPublicKey(b)
}

// with is the key shared with a node of that public key.
func (s *seals) with(id wire.NodeID, public ed25519.PublicKey) (*pairKey, error) {
	s.mu.Lock()
	k := s.pairs[id]
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	point, err := montgomery(public)
	if err != nil {
		return nil, err
	}
	shared, err := s.secret.ECDH(point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	info := append([]byte(sealContext), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(min(id, s.self))), uint64(max(id, s.self)))...)
	key, err := hkdf.Key(sha256.New, shared, nil, string(info), sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	k = &pairKey{mac: hmac.New(sha256.New, key)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pairs) >= pairsMost {
		clear(s.pairs)
	}
	s.pairs[id] = k
	return k, nil
}

// contentOf is the digest of what a tag covers of a message for all its destinations. Its memory is scratch's.
func contentOf(m *wire.Message, h hash.Hash, scratch []byte) (sum [sha256.Size]byte, _ []byte) {
	h.Reset()
	mode := m.Mode
	if m.Batch {
		mode |= 0x80
	}
	b := append(scratch[:0], byte(m.Class), mode)
	b = binary.BigEndian.AppendUint32(b, m.Deadline)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Tenant)))
	b = append(b, m.Tenant...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Channel)))
	b = append(b, m.Channel...)
	_, _ = h.Write(b)
	_, _ = h.Write(m.Payload)
	h.Sum(sum[:0])
	return sum, b
}

// tag is a destination's tag.
func (k *pairKey) tag(m *wire.Message, content *[sha256.Size]byte, d *wire.Destination) (tag [wire.TagSize]byte) {
	var b [sha256.Size + 6*8 + 2]byte
	at := b[:copy(b[:], content[:])]
	for _, v := range [...]uint64{uint64(m.Origin), m.Boot, uint64(d.ID), d.Seq, d.Back, d.Ahead} {
		at = binary.BigEndian.AppendUint64(at, v)
	}
	at = binary.BigEndian.AppendUint16(at, d.Boot)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mac.Reset()
	_, _ = k.mac.Write(at)
	copy(tag[:], k.mac.Sum(k.sum[:0]))
	return tag
}
