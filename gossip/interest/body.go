package interest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// First byte of a record body.
const (
	BodyFull  = 0x01 // a whole filter: ParseFull
	BodyDelta = 0x02 // a step from the version before: Filter.Apply
)

// Encodings of the bits in a full body.
const (
	encodingRaw    = 0
	encodingSparse = 1
)

// ErrMalformed reports a body that no correct node writes.
var ErrMalformed = errors.New("interest: malformed body")

// delta is the difference between two filters of one shape.
type delta struct {
	log2Bits uint8
	keys     int      // after the change
	set      []uint32 // positions, ascending
	cleared  []uint32
}

// diff is the delta that turns one filter into another of the same shape.
func diff(from, to *Filter) delta {
	d := delta{log2Bits: to.shape.log2Bits, keys: to.keys}
	for i, now := range to.words {
		before := from.words[i]
		d.set = appendOnes(d.set, i, now&^before)
		d.cleared = appendOnes(d.cleared, i, before&^now)
	}
	return d
}

// AppendFull appends the filter as a full body.
func (f *Filter) AppendFull(dst []byte) []byte {
	dst = append(dst, BodyFull, f.shape.log2Bits, f.shape.hashes)
	dst = binary.AppendUvarint(dst, uint64(f.keys))
	return f.appendBits(dst)
}

// appendBits appends the encoding byte and the bits, in the shorter of the two encodings.
func (f *Filter) appendBits(dst []byte) []byte {
	raw := f.shape.rows() / 8
	if f.ones < raw { // else sparse, of a byte or more a position, cannot be shorter
		start := len(dst)
		dst = appendPositions(append(dst, encodingSparse), f.positions())
		if len(dst)-start-1 < raw {
			return dst
		}
		dst = dst[:start]
	}
	dst = append(dst, encodingRaw)
	for _, word := range f.words {
		dst = binary.LittleEndian.AppendUint64(dst, word)
	}
	return dst
}

// fullLen is the length of the full body.
func (f *Filter) fullLen() int {
	if raw := f.shape.rows() / 8; f.ones >= raw { // spare ourselves writing it
		return 3 + len(binary.AppendUvarint(nil, uint64(f.keys))) + 1 + raw
	}
	return len(f.AppendFull(nil))
}

// ParseFull reads a full body, all of it. The error is ErrMalformed.
func ParseFull(body []byte) (*Filter, error) {
	r := reader{rest: body}
	r.kind(BodyFull)
	s := shape{log2Bits: r.log2Bits(), hashes: r.hashes()}
	keys := r.keys()
	encoding := r.byte()
	if r.err != nil {
		return nil, r.err
	}
	var f *Filter
	switch encoding {
	case encodingRaw:
		f = r.raw(s)
	case encodingSparse:
		before := len(r.rest)
		if f = r.sparse(s); before-len(r.rest) >= s.rows()/8 {
			r.fail("positions where bits are shorter")
		}
	default:
		r.fail("encoding %d", encoding)
	}
	if r.end(); r.err != nil {
		return nil, r.err
	}
	f.keys = keys
	f.ones = countOnes(f.words)
	if !plausible(f.ones, keys, s.hashes) {
		return nil, fmt.Errorf("%w: %d bits for %d keys", ErrMalformed, f.ones, keys)
	}
	return f, nil
}

func appendDelta(dst []byte, d delta) []byte {
	dst = append(dst, BodyDelta)
	dst = binary.AppendUvarint(dst, uint64(d.keys))
	dst = append(dst, d.log2Bits)
	dst = appendPositions(dst, d.set)
	return appendPositions(dst, d.cleared)
}

func parseDelta(body []byte) (delta, error) {
	r := reader{rest: body}
	r.kind(BodyDelta)
	d := delta{keys: r.keys(), log2Bits: r.log2Bits()}
	d.set = r.positions(d.log2Bits)
	d.cleared = r.positions(d.log2Bits)
	if r.end(); r.err != nil {
		return delta{}, r.err
	}
	return d, nil
}

// CheckDelta reports ErrMalformed unless the body is a delta, whatever it is against.
func CheckDelta(body []byte) error {
	_, err := parseDelta(body)
	return err
}

// appendPositions appends ascending positions as their number and the gaps between them.
func appendPositions(dst []byte, positions []uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(positions)))
	next := uint32(0)
	for _, p := range positions {
		dst = binary.AppendUvarint(dst, uint64(p-next))
		next = p + 1
	}
	return dst
}

// reader takes a body apart from the front. After the first error, which stays in err, it yields zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("too short")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// uvarint refuses what is longer than needed, so that a body has one spelling.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.fail("bad varint")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) kind(want byte) {
	if got := r.byte(); got != want {
		r.fail("kind %d, want %d", got, want)
	}
}

func (r *reader) log2Bits() uint8 {
	v := r.byte()
	if v < minLog2Bits || v > maxLog2Bits {
		r.fail("2^%d bits", v)
		return minLog2Bits
	}
	return v
}

func (r *reader) hashes() uint8 {
	v := r.byte()
	if v < 1 || v > maxHashes {
		r.fail("%d positions a key", v)
	}
	return v
}

func (r *reader) keys() int {
	v := r.uvarint()
	if v > MaxKeys {
		r.fail("%d keys", v)
		return 0
	}
	return int(v)
}

// positions reads ascending positions of a filter of 2^log2Bits bits and the forms. Each takes a byte at least, which bounds what is allocated.
func (r *reader) positions(log2Bits uint8) []uint32 {
	count := r.uvarint()
	if count > uint64(len(r.rest)) {
		r.fail("%d positions in %d bytes", count, len(r.rest))
		return nil
	}
	positions := make([]uint32, 0, count)
	next, limit := uint64(0), uint64(shape{log2Bits: log2Bits}.rows())
	for range count {
		gap := r.uvarint()
		if gap >= limit-next {
			r.fail("position outside 2^%d bits", log2Bits)
		}
		if r.err != nil {
			return nil
		}
		positions = append(positions, uint32(next+gap))
		next += gap + 1
	}
	return positions
}

// raw reads the bits as they are, which must be all that is left.
func (r *reader) raw(s shape) *Filter {
	if want := s.rows() / 8; len(r.rest) != want {
		r.fail("%d bytes of bits, want %d", len(r.rest), want)
		return nil
	}
	f := newFilter(s)
	for i := range f.words {
		f.words[i] = binary.LittleEndian.Uint64(r.rest[8*i:])
	}
	r.rest = nil
	return f
}

// sparse reads the positions of the bits that are set; the filter is made once they are known to be sound.
func (r *reader) sparse(s shape) *Filter {
	positions := r.positions(s.log2Bits)
	if r.err != nil {
		return nil
	}
	f := newFilter(s)
	for _, p := range positions {
		f.words[p/64] |= 1 << (p % 64)
	}
	return f
}

func (r *reader) end() {
	if r.err == nil && len(r.rest) != 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
}
