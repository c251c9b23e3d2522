package wire

import (
	"encoding/binary"
	"fmt"
	"time"
)

// DigestEntry says which version of a record its sender holds; in a Want, which version it holds and wants to be brought past.
type DigestEntry struct {
	Origin NodeID
	Kind   RecordKind
	Stamp  Stamp
}

// Digest tells what a node holds, so that the receiver can send what it lacks.
type Digest struct {
	From    NodeID
	Entries []DigestEntry
}

// IsDigest reports whether frames of this kind are digests, whatever is meant by them.
func (k Kind) IsDigest() bool {
	return k == KindDigest || k == KindWant || k == KindAsk || k == KindHave || k == KindNews
}

// AppendDigest appends the digest under the given kind: KindDigest or KindNews for what a node holds, KindWant for what it asks for, KindAsk for versions
// that the receiver is to confirm once it holds them or later ones, KindHave to confirm.
func AppendDigest(dst []byte, kind Kind, d *Digest) []byte {
	return appendEntries(append(dst, byte(kind)), d)
}

func appendEntries(dst []byte, d *Digest) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.From))
	dst = binary.AppendUvarint(dst, uint64(len(d.Entries)))
	for _, e := range d.Entries {
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Origin))
		dst = append(dst, byte(e.Kind))
		dst = binary.AppendUvarint(dst, e.Stamp.Boot)
		dst = binary.AppendUvarint(dst, e.Stamp.Version)
	}
	return dst
}

// ParseDigest reads a Digest, News, Want, Ask or Have frame and says which of them it is.
func ParseDigest(b []byte) (Kind, Digest, error) {
	r := reader{b: b}
	kind := Kind(r.byte())
	if r.err == nil && !kind.IsDigest() {
		r.fail(fmt.Errorf("%w: kind %d", ErrMalformed, kind))
	}
	d := r.digest()
	if err := r.done(); err != nil {
		return 0, Digest{}, fmt.Errorf("digest: %w", err)
	}
	return kind, d, nil
}

func (r *reader) digest() Digest {
	d := Digest{From: NodeID(r.uint64())}
	if r.err == nil && d.From == 0 {
		r.fail(fmt.Errorf("%w: no sender", ErrMalformed))
	}
	n := r.count(MaxDigest, 11)
	d.Entries = make([]DigestEntry, 0, n)
	for range n {
		e := DigestEntry{Origin: NodeID(r.uint64()), Kind: RecordKind(r.byte())}
		e.Stamp = Stamp{r.uvarint(), r.uvarint()}
		if r.err == nil && (e.Origin == 0 || !e.Kind.valid()) {
			r.fail(fmt.Errorf("%w: entry of %v, record kind %d", ErrMalformed, e.Origin, e.Kind))
		}
		if r.err != nil {
			break
		}
		d.Entries = append(d.Entries, e)
	}
	return d
}

// Probe is a datagram that measures a link; its echo returns it with the time it rested at the peer.
type Probe struct {
	Kind  Kind          // KindProbe or KindEcho
	Seq   uint32        // sender's number of the probe
	Token int64         // opaque to the peer, which cannot echo a probe that has not come
	Held  time.Duration // echo only: time between receipt and echo, µs on the wire
}

// AppendProbe appends a probe or an echo. Held saturates at the 71 minutes that its field holds.
func AppendProbe(dst []byte, p Probe) []byte {
	dst = append(dst, byte(p.Kind))
	dst = binary.BigEndian.AppendUint32(dst, p.Seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Token))
	return binary.BigEndian.AppendUint32(dst, uint32(min(max(p.Held/time.Microsecond, 0), 1<<32-1)))
}

// ParseProbe reads a probe or an echo.
func ParseProbe(b []byte) (Probe, error) {
	r := reader{b: b}
	p := Probe{Kind: Kind(r.byte()), Seq: r.uint32(), Token: int64(r.uint64())}
	p.Held = time.Duration(r.uint32()) * time.Microsecond
	if r.err == nil && p.Kind != KindProbe && p.Kind != KindEcho {
		r.fail(fmt.Errorf("%w: kind %d", ErrMalformed, p.Kind))
	}
	if err := r.done(); err != nil {
		return Probe{}, fmt.Errorf("probe: %w", err)
	}
	return p, nil
}
