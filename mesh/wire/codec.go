package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of every parser. Parsers wrap one of these.
var (
	ErrTruncated = errors.New("wire: truncated")
	ErrTrailing  = errors.New("wire: bytes left over")
	ErrLimit     = errors.New("wire: over the limit")
	ErrMalformed = errors.New("wire: malformed")
)

// Kind is the first byte of a frame or datagram.
type Kind byte

// The kinds of frames and datagrams.
const (
	KindMessage Kind = 1
	KindRecords Kind = 2
	KindDigest  Kind = 3
	KindWant    Kind = 4
	KindProbe   Kind = 5
	KindEcho    Kind = 6
	KindAck     Kind = 7
	KindTwin    Kind = 8 // number uvarint, then a Message frame that also travels on another connection
	KindAsk     Kind = 9 // a Digest of what the receiver is to say it holds, once it does
	KindHave    Kind = 10
	KindCompare Kind = 11 // a Shared with a digest of what its sender holds
	KindShare   Kind = 12 // a Shared with a part of it
	KindNeed    Kind = 13 // a Need
	KindNews    Kind = 14 // a Digest of what its sender holds newly, for the receiver to ask for what it lacks
	KindSums    Kind = 15 // Sums of all that its sender holds
	KindPart    Kind = 16 // a Digest of the classes in which the sums of two nodes differ
	KindHop     Kind = 17 // a Hop, as the payload of a Message
)

// AppendFrame appends head and tail as one length-prefixed frame. They must not both be empty.
func AppendFrame(dst, head, tail []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(head)+len(tail)))
	dst = append(dst, head...)
	return append(dst, tail...)
}

// SplitFrame takes the first frame off b, whose length may be at most limit. It returns a nil frame and no error
// when b does not hold a whole frame yet; need then says how long b must be for that, as far as known, and never more.
// What it says of a stream does not depend on how much of the stream b already holds.
func SplitFrame(b []byte, limit int) (frame, rest []byte, need int, err error) {
	n, w := binary.Uvarint(b[:min(len(b), binary.MaxVarintLen32)])
	switch {
	case w == 0 && len(b) < binary.MaxVarintLen32:
		return nil, b, len(b) + 1, nil
	case w <= 0 || w > 1 && b[w-1] == 0: // too long, or padded: one value, one encoding
		return nil, b, 0, fmt.Errorf("%w: frame length", ErrMalformed)
	case n == 0:
		return nil, b, 0, fmt.Errorf("%w: empty frame", ErrMalformed)
	case n > uint64(limit):
		return nil, b, 0, fmt.Errorf("%w: frame of %d bytes, at most %d", ErrLimit, n, limit)
	case uint64(len(b)-w) < n:
		return nil, b, w + int(n), nil
	}
	end := w + int(n)
	return b[w:end:end], b[end:], 0, nil // capped, so that appending to a frame cannot overwrite the next
}

// reader takes fields off a buffer; the first failure sticks, so that callers check once.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.fail(ErrTruncated)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	b := r.take(2)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case n == 0:
		r.fail(ErrTruncated)
		return 0
	case n < 0:
		r.fail(fmt.Errorf("%w: integer overflows", ErrMalformed))
		return 0
	case n > 1 && r.b[n-1] == 0: // one value, one encoding
		r.fail(fmt.Errorf("%w: padded integer", ErrMalformed))
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of items that each take at least size bytes, so that a lie about it cannot make us allocate.
func (r *reader) count(limit, size int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail(fmt.Errorf("%w: %d items, at most %d", ErrLimit, n, limit))
		return 0
	}
	if int(n)*size > len(r.b) {
		r.fail(ErrTruncated)
		return 0
	}
	return int(n)
}

// text reads a length-prefixed string of at most limit bytes.
func (r *reader) text(limit int) []byte {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail(fmt.Errorf("%w: text of %d bytes, at most %d", ErrLimit, n, limit))
		return nil
	}
	return r.take(int(n))
}

// done reports what went wrong, or bytes left over.
func (r *reader) done() error {
	if r.err == nil && len(r.b) != 0 {
		return fmt.Errorf("%w: %d", ErrTrailing, len(r.b))
	}
	return r.err
}

// kind checks the first byte.
func (r *reader) kind(want Kind) {
	if got := Kind(r.byte()); r.err == nil && got != want {
		r.fail(fmt.Errorf("%w: kind %d, want %d", ErrMalformed, got, want))
	}
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
