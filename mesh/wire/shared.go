package wire

import (
	"fmt"
	"slices"
)

// Shared is a frame about what all nodes are to hold alike; what it carries means nothing to this package.
type Shared struct {
	Kind Kind   // KindCompare or KindShare
	Flag bool   // Compare: it answers another. Share: it is the last of several
	Body []byte // Compare: a digest. Share: a part
}

// IsShared reports whether frames of this kind are Shared.
func (k Kind) IsShared() bool { return k == KindCompare || k == KindShare }

// IsControl reports whether frames of this kind travel in the control lane by themselves.
func (k Kind) IsControl() bool {
	return k == KindRecords || k.IsDigest() || k.IsShared() || k == KindNeed || k == KindSums || k == KindPart
}

// AppendShared appends the frame. Its body must be within MaxShared.
func AppendShared(dst []byte, s *Shared) []byte {
	flag := byte(0)
	if s.Flag {
		flag = 1
	}
	return appendText(append(dst, byte(s.Kind), flag), s.Body)
}

// ParseShared reads a Compare or Share frame.
func ParseShared(b []byte) (Shared, error) {
	r := reader{b: b}
	s := Shared{Kind: Kind(r.byte())}
	if r.err == nil && !s.Kind.IsShared() {
		r.fail(fmt.Errorf("%w: kind %d", ErrMalformed, s.Kind))
	}
	s.Flag = r.flag()
	s.Body = slices.Clone(r.text(MaxShared))
	if err := r.done(); err != nil {
		return Shared{}, fmt.Errorf("shared: %w", err)
	}
	return s, nil
}
