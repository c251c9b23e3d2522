package wire

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMeta reports a description of a node that cannot be gossiped.
var ErrMeta = errors.New("wire: bad node description")

// metaVersion is the first byte of the metadata; later versions may only add fields, before the signature.
const metaVersion = 2

// metaContext keeps a description's signature from meaning anything elsewhere.
const metaContext = "fastpubsub meta v1\x00"

// Flags of the metadata.
const (
	metaLocated = 1 << 0
	metaLeaving = 1 << 1
)

// Meta describes a node in the SWIM metadata.
type Meta struct {
	ID      NodeID  // follows from the node's key
	Boot    uint64  // start of this run; a later boot of a node replaces an earlier one
	Edition uint32  // of the description, within the run; a later one replaces an earlier one
	Name    string  // for people
	Region  string  // for people and for clients' choice of node
	Client  string  // host:port where clients connect, may be empty
	Leaving bool    // about to leave of its own will
	Located bool    // whether Lat and Lon are known
	Lat     float64 // degrees, to 0.0001
	Lon     float64
}

// Validate reports with ErrMeta names over MaxName, characters that a terminal or browser would obey rather than print,
// and places off the globe.
func (m *Meta) Validate() error {
	for _, field := range []struct {
		what, text string
		limit      int
	}{{"name", m.Name, MaxName}, {"region", m.Region, MaxName}, {"client address", m.Client, maxClient}} {
		if len(field.text) > field.limit || !utf8.ValidString(field.text) || strings.ContainsFunc(field.text, unprintable) {
			return fmt.Errorf("%w: %s %.80q: at most %d bytes of printable UTF-8", ErrMeta, field.what, field.text, field.limit)
		}
	}
	if m.ID == 0 || m.Boot == 0 {
		return fmt.Errorf("%w: no node ID or boot", ErrMeta)
	}
	if m.Located && !(math.Abs(m.Lat) <= 90 && math.Abs(m.Lon) <= 180) {
		return fmt.Errorf("%w: place %g,%g", ErrMeta, m.Lat, m.Lon)
	}
	return nil
}

// unprintable reports what is no letter, mark, digit, punctuation, symbol or plain space: controls, and also the
// bidirectional overrides and line separators that make one name look like another.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// AppendMeta appends metadata that Validate accepts, signed by the node's key for the address at which SWIM is to have it. The ID is the key's, whatever m says.
func AppendMeta(dst []byte, m *Meta, addr netip.AddrPort, key ed25519.PrivateKey) []byte {
	start := len(dst)
	dst = append(dst, metaVersion)
	dst = append(dst, key.Public().(ed25519.PublicKey)...)
	dst = binary.AppendUvarint(dst, m.Boot)
	dst = binary.AppendUvarint(dst, uint64(m.Edition))
	dst = appendText(dst, m.Name)
	dst = appendText(dst, m.Region)
	dst = appendText(dst, m.Client)
	var flags byte
	if m.Located {
		flags |= metaLocated
	}
	if m.Leaving {
		flags |= metaLeaving
	}
	dst = append(dst, flags)
	if m.Located {
		dst = binary.BigEndian.AppendUint32(dst, uint32(int32(math.Round(m.Lat*1e4))))
		dst = binary.BigEndian.AppendUint32(dst, uint32(int32(math.Round(m.Lon*1e4))))
	}
	return append(dst, ed25519.Sign(key, metaSigned(dst[start:], addr))...)
}

// VerifyMeta reports ErrSignature unless metadata that parses was signed by its key, for this address.
func VerifyMeta(b []byte, addr netip.AddrPort) error {
	cut := len(b) - ed25519.SignatureSize
	if cut < 1+ed25519.PublicKeySize || !ed25519.Verify(b[1:1+ed25519.PublicKeySize], metaSigned(b[:cut], addr), b[cut:]) {
		return ErrSignature
	}
	return nil
}

// metaSigned is what a description's signature is over. The address, which SWIM carries by itself, comes first since its length is fixed.
func metaSigned(fields []byte, addr netip.AddrPort) []byte {
	ip := addr.Addr().As16()
	b := append([]byte(metaContext), ip[:]...)
	b = binary.BigEndian.AppendUint16(b, addr.Port())
	return append(b, fields...)
}

// ParseMeta reads metadata; bytes between the known fields and the signature are left to later versions. The signature is not checked: see VerifyMeta.
// Besides the errors of every parser it returns those of Validate.
func ParseMeta(b []byte) (Meta, error) {
	if len(b) > MaxMeta {
		return Meta{}, fmt.Errorf("meta: %w: %d bytes", ErrLimit, len(b))
	}
	r := reader{b: b[:max(0, len(b)-ed25519.SignatureSize)]}
	if v := r.byte(); r.err == nil && v != metaVersion {
		r.fail(fmt.Errorf("%w: metadata version %d", ErrMalformed, v))
	}
	key := r.take(ed25519.PublicKeySize)
	m := Meta{Boot: r.uvarint()}
	edition := r.uvarint()
	if edition > math.MaxUint32 {
		r.fail(fmt.Errorf("%w: edition %d", ErrMalformed, edition))
	}
	m.Edition = uint32(edition)
	m.Name = string(r.text(MaxName))
	m.Region = string(r.text(MaxName))
	m.Client = string(r.text(maxClient))
	flags := r.byte()
	if flags > metaLocated|metaLeaving {
		r.fail(fmt.Errorf("%w: flags %#x", ErrMalformed, flags))
	}
	m.Leaving = flags&metaLeaving != 0
	if m.Located = flags&metaLocated != 0; m.Located {
		m.Lat = float64(int32(r.uint32())) / 1e4
		m.Lon = float64(int32(r.uint32())) / 1e4
	}
	if r.err != nil {
		return Meta{}, fmt.Errorf("meta: %w", r.err)
	}
	m.ID = IDOf(key)
	if err := m.Validate(); err != nil {
		return Meta{}, fmt.Errorf("meta: %w", err)
	}
	return m, nil
}
