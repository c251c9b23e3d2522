package wire

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Bounds of what one Ack lists.
const (
	MaxRanges  = 64
	MaxRefused = 1024 // about 2 KB
)

// Ack tells an origin what a destination has received of it.
type Ack struct {
	Boot       uint64        // of the destination's run that says this
	OriginBoot uint64        // of the origin's run that it is about
	Floor      uint64        // everything up to this sequence was received or given up
	Newest     uint64        // greatest sequence received
	Held       time.Duration // for how long the destination has had the newest one; µs on the wire
	Ranges     []Range       // received above the floor, ascending, apart
	Refused    []uint64      // ascending: received for one subscriber of this node, which has none
}

// Range is sequences from First to Last.
type Range struct{ First, Last uint64 }

// AppendAck appends: kind 1 | boot, origin boot, floor, newest, held (µs), range count: uvarint each | per range the gap since what
// stands before, and the length less one: uvarint each | refused count | per refused the gap since the one before: uvarint each.
func AppendAck(dst []byte, a *Ack) []byte {
	dst = append(dst, byte(KindAck))
	for _, v := range [...]uint64{a.Boot, a.OriginBoot, a.Floor, a.Newest, uint64(max(a.Held, 0) / time.Microsecond), uint64(len(a.Ranges))} {
		dst = binary.AppendUvarint(dst, v)
	}
	before := a.Floor
	for _, r := range a.Ranges {
		dst = binary.AppendUvarint(dst, r.First-before)
		dst = binary.AppendUvarint(dst, r.Last-r.First)
		before = r.Last
	}
	dst = binary.AppendUvarint(dst, uint64(len(a.Refused)))
	before = 0
	for _, seq := range a.Refused {
		dst = binary.AppendUvarint(dst, seq-before)
		before = seq
	}
	return dst
}

// ParseAck reads an Ack into a, reusing its slices.
func ParseAck(b []byte, a *Ack) error {
	r := reader{b: b}
	r.kind(KindAck)
	a.Boot, a.OriginBoot, a.Floor, a.Newest = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	held := r.uvarint()
	if held > 1<<40 {
		r.fail(fmt.Errorf("%w: held for %d µs", ErrLimit, held))
	}
	a.Held = time.Duration(held) * time.Microsecond
	n := r.count(MaxRanges, 2)
	a.Ranges = a.Ranges[:0]
	before := a.Floor
	for range n {
		first := before + r.uvarint()
		last := first + r.uvarint()
		if r.err == nil && (first <= before || last < first) {
			r.fail(fmt.Errorf("%w: range %d to %d after %d", ErrMalformed, first, last, before))
		}
		if r.err != nil {
			break
		}
		a.Ranges = append(a.Ranges, Range{first, last})
		before = last
	}
	a.Refused = r.ascending(a.Refused[:0], MaxRefused)
	if err := r.done(); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	return nil
}

// ascending reads a count and that many ascending numbers from 1, each as the gap since the one before.
func (r *reader) ascending(dst []uint64, most int) []uint64 {
	before := uint64(0)
	for range r.count(most, 1) {
		n := before + r.uvarint()
		if r.err == nil && n <= before {
			r.fail(fmt.Errorf("%w: %d after %d", ErrMalformed, n, before))
		}
		if r.err != nil {
			break
		}
		dst = append(dst, n)
		before = n
	}
	return dst
}
