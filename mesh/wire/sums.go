package wire

import (
	"encoding/binary"
	"fmt"
)

// SumClasses is how many classes records fall into by their origin.
const SumClasses = 64

// Sums tell in few bytes what a node holds: for each class of origins the sum of its records' sums. Where those of two nodes differ, so does what they hold.
type Sums struct {
	From    NodeID
	Records int // how many they are of
	Of      [SumClasses]uint32
}

// Class is which class of records the origin's are in.
func (id NodeID) Class() int { return int(id >> 58) }

// Add counts a record in.
func (s *Sums) Add(e DigestEntry) {
	s.Records++
	s.Of[e.Origin.Class()] += e.sum()
}

// Differ is the set of classes in which two nodes do not hold the same, bit by bit.
func (s *Sums) Differ(other *Sums) (classes uint64) {
	for i := range s.Of {
		if s.Of[i] != other.Of[i] {
			classes |= 1 << i
		}
	}
	return classes
}

// sum is the upper half of a hash of what the entry says: each part in turn is added to the finaliser of SplitMix64 of what stands before.
func (e DigestEntry) sum() uint32 {
	h := uint64(0)
	for _, part := range [...]uint64{uint64(e.Origin), uint64(e.Kind), e.Stamp.Boot, e.Stamp.Version} {
		h += part
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return uint32(h >> 32)
}

// AppendSums appends a Sums frame.
func AppendSums(dst []byte, s *Sums) []byte {
	dst = append(dst, byte(KindSums))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.From))
	dst = binary.AppendUvarint(dst, uint64(s.Records))
	for _, sum := range s.Of {
		dst = binary.BigEndian.AppendUint32(dst, sum)
	}
	return dst
}

// ParseSums reads a Sums frame.
func ParseSums(b []byte) (Sums, error) {
	r := reader{b: b}
	r.kind(KindSums)
	s := Sums{From: NodeID(r.uint64())}
	if r.err == nil && s.From == 0 {
		r.fail(fmt.Errorf("%w: no sender", ErrMalformed))
	}
	records := r.uvarint()
	if r.err == nil && records > MaxDigest {
		r.fail(fmt.Errorf("%w: %d records", ErrLimit, records))
	}
	s.Records = int(records)
	for i := range s.Of {
		s.Of[i] = r.uint32()
	}
	if err := r.done(); err != nil {
		return Sums{}, fmt.Errorf("sums: %w", err)
	}
	return s, nil
}

// Part is all that a node holds of some classes of records.
type Part struct {
	Reply   bool   // to another Part: it is not to be replied to
	Classes uint64 // of which it is, bit by bit
	Digest  Digest
}

// AppendPart appends a Part frame.
func AppendPart(dst []byte, p *Part) []byte {
	reply := byte(0)
	if p.Reply {
		reply = 1
	}
	dst = append(dst, byte(KindPart), reply)
	dst = binary.BigEndian.AppendUint64(dst, p.Classes)
	return appendEntries(dst, &p.Digest)
}

// ParsePart reads a Part frame. Its entries are of its classes.
func ParsePart(b []byte) (Part, error) {
	r := reader{b: b}
	r.kind(KindPart)
	p := Part{Reply: r.flag(), Classes: r.uint64(), Digest: r.digest()}
	for _, e := range p.Digest.Entries {
		if r.err == nil && p.Classes>>e.Origin.Class()&1 == 0 {
			r.fail(fmt.Errorf("%w: entry of another class", ErrMalformed))
		}
	}
	if err := r.done(); err != nil {
		return Part{}, fmt.Errorf("part: %w", err)
	}
	return p, nil
}

// AppendNeed appends a Need frame: whether its sender needs the link that it travels on. A link that neither end needs is closed.
func AppendNeed(dst []byte, needed bool) []byte {
	flag := byte(0)
	if needed {
		flag = 1
	}
	return append(dst, byte(KindNeed), flag)
}

// ParseNeed reads a Need frame.
func ParseNeed(b []byte) (needed bool, err error) {
	r := reader{b: b}
	r.kind(KindNeed)
	needed = r.flag()
	if err := r.done(); err != nil {
		return false, fmt.Errorf("need: %w", err)
	}
	return needed, nil
}

func (r *reader) flag() bool {
	flag := r.byte()
	if r.err == nil && flag > 1 {
		r.fail(fmt.Errorf("%w: flag %d", ErrMalformed, flag))
	}
	return flag == 1
}
