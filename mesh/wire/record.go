package wire

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrSignature reports a record whose signature does not fit its public key and content.
var ErrSignature = errors.New("wire: bad signature")

// RecordKind says what a record is about.
type RecordKind byte

// The kinds of records. Every node owns one record of each.
const (
	RecordLinks    RecordKind = 1
	RecordInterest RecordKind = 2
)

func (k RecordKind) valid() bool { return k == RecordLinks || k == RecordInterest }

// recordContext keeps a record's signature from meaning anything elsewhere.
const recordContext = "fastpubsub record v1\x00"

// Record is one version of what a node says of itself.
type Record struct {
	Origin  NodeID // follows from Key
	Key     ed25519.PublicKey
	Boot    uint64
	Kind    RecordKind
	Version uint64 // counts from 1 within a boot
	Base    uint64 // 0: Body is whole; else it is a delta against this version
	Body    []byte

	// Raw is the record as it travels, signature included. Nodes pass it on as they got it.
	Raw []byte
}

// Stamp orders the versions of one (origin, kind).
type Stamp struct {
	Boot    uint64
	Version uint64
}

// Compare is -1, 0 or 1 as s is older than, equal to or newer than other.
func (s Stamp) Compare(other Stamp) int {
	return cmp.Or(cmp.Compare(s.Boot, other.Boot), cmp.Compare(s.Version, other.Version))
}

// Stamp is the record's place in the order of versions.
func (r *Record) Stamp() Stamp { return Stamp{r.Boot, r.Version} }

// IDOf is the NodeID of a public key.
func IDOf(key ed25519.PublicKey) NodeID {
	sum := sha256.Sum256(key)
	return NodeID(binary.BigEndian.Uint64(sum[:8]))
}

// SignRecord fills in Origin, Key and Raw of a record whose other fields are set and within the limits of this package.
func SignRecord(r *Record, key ed25519.PrivateKey) {
	r.Key = key.Public().(ed25519.PublicKey)
	r.Origin = IDOf(r.Key)
	b := append([]byte(nil), r.Key...)
	b = binary.AppendUvarint(b, r.Boot)
	b = append(b, byte(r.Kind))
	b = binary.AppendUvarint(b, r.Version)
	b = binary.AppendUvarint(b, r.Base)
	b = appendText(b, r.Body)
	r.Raw = append(b, ed25519.Sign(key, append([]byte(recordContext), b...))...)
}

// Verify reports ErrSignature unless Raw was signed by Key and carries it.
func (r *Record) Verify() error {
	cut := len(r.Raw) - ed25519.SignatureSize
	if cut < ed25519.PublicKeySize || !bytes.Equal(r.Key, r.Raw[:ed25519.PublicKeySize]) ||
		!ed25519.Verify(r.Key, append([]byte(recordContext), r.Raw[:cut]...), r.Raw[cut:]) {
		return ErrSignature
	}
	return nil
}

func (r *reader) record() Record {
	start := r.b
	var rec Record
	rec.Key = ed25519.PublicKey(r.take(ed25519.PublicKeySize))
	rec.Boot = r.uvarint()
	rec.Kind = RecordKind(r.byte())
	rec.Version = r.uvarint()
	rec.Base = r.uvarint()
	rec.Body = r.text(MaxRecordBody)
	r.take(ed25519.SignatureSize)
	if r.err != nil {
		return Record{}
	}
	switch {
	case !rec.Kind.valid():
		r.fail(fmt.Errorf("%w: record kind %d", ErrMalformed, rec.Kind))
		return Record{}
	case rec.Boot == 0 || rec.Version == 0 || rec.Base >= rec.Version:
		r.fail(fmt.Errorf("%w: boot %d, version %d, base %d", ErrMalformed, rec.Boot, rec.Version, rec.Base))
		return Record{}
	}
	// A copy each: whoever keeps one small record must not keep the whole frame alive.
	rec.Raw = bytes.Clone(start[:len(start)-len(r.b)])
	cut := len(rec.Raw) - ed25519.SignatureSize
	rec.Key = ed25519.PublicKey(rec.Raw[:ed25519.PublicKeySize:ed25519.PublicKeySize])
	rec.Body = rec.Raw[cut-len(rec.Body) : cut : cut]
	rec.Origin = IDOf(rec.Key)
	return rec
}

// AppendRecords appends a Records frame: the kind and one record after another.
func AppendRecords(dst []byte, raws ...[]byte) []byte {
	dst = append(dst, byte(KindRecords))
	for _, raw := range raws {
		dst = append(dst, raw...)
	}
	return dst
}

// ParseRecords reads a Records frame. Signatures are not checked: see Record.Verify. Each record owns its memory.
func ParseRecords(b []byte) ([]Record, error) {
	r := reader{b: b}
	r.kind(KindRecords)
	var out []Record
	for r.err == nil && len(r.b) > 0 {
		if rec := r.record(); r.err == nil {
			out = append(out, rec)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("records: %w", r.err)
	}
	return out, nil
}

// Link is one entry of a links record: the cost in µs, one way, to a neighbour.
type Link struct {
	To   NodeID
	Cost uint32
}

// AppendLinks appends the body of a links record. Links must be sorted by To, without repeats.
func AppendLinks(dst []byte, links []Link) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(links)))
	for _, l := range links {
		dst = binary.BigEndian.AppendUint64(dst, uint64(l.To))
		dst = binary.AppendUvarint(dst, uint64(l.Cost))
	}
	return dst
}

// Place is a node's network coordinate, so chosen that round trips are about the distances between places: a point and its height above it, after
// Dabek et al. (Vivaldi, SIGCOMM 2004). Error is what share of a round trip it is off by, in percent and at least 1; a Place without one is unknown.
type Place struct {
	Axes   [PlaceAxes]int16 // 0.1 ms
	Height uint16           // 0.1 ms
	Error  uint8
}

// PlaceAxes is how many dimensions places have.
const PlaceAxes = 5

// AppendPlace appends a place that is known to the body of a links record.
func AppendPlace(dst []byte, p Place) []byte {
	for _, v := range p.Axes {
		dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return append(binary.BigEndian.AppendUint16(dst, p.Height), p.Error)
}

// ParseLinks reads the body of a links record: sorted, no repeats, no node zero, every cost over zero; then the node's place, if it is told.
func ParseLinks(b []byte) ([]Link, Place, error) {
	r := reader{b: b}
	n := r.count(MaxLinks, 9)
	out := make([]Link, 0, n)
	last := NodeID(0)
	for range n {
		to, cost := NodeID(r.uint64()), r.uvarint()
		if r.err != nil {
			break
		}
		if to <= last || cost == 0 || cost > 1<<32-1 {
			r.fail(fmt.Errorf("%w: link to %v at %d µs", ErrMalformed, to, cost))
			break
		}
		out = append(out, Link{to, uint32(cost)})
		last = to
	}
	var place Place
	if r.err == nil && len(r.b) > 0 {
		place = r.place()
	}
	if err := r.done(); err != nil {
		return nil, Place{}, fmt.Errorf("links: %w", err)
	}
	return out, place, nil
}

func (r *reader) place() (p Place) {
	for i := range p.Axes {
		p.Axes[i] = int16(r.uint16())
	}
	p.Height, p.Error = r.uint16(), r.byte()
	if r.err == nil && p.Error == 0 {
		r.fail(fmt.Errorf("%w: a place without error", ErrMalformed))
	}
	return p
}
