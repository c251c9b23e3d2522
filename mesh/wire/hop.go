package wire

import (
	"encoding/binary"
	"fmt"
)

// Hop is what a node tells of a traced message that it met. Times are in µs.
type Hop struct {
	Trace   uint64
	End     End
	Via     []NodeID // relays that the message had passed before this node
	Age     uint32   // of the message when it came
	Link    uint32   // of that, what the last link took: half of its round trip; 0 at the origin
	Held    uint32   // from when it came to when it had left on the link chosen, or had been dropped or handed out
	Queued  uint32   // of that, the wait in the queue of the link
	Choices []Choice // for whom it was sent on, or dropped: all by the same link
}

// End says what became of a message at a node.
type End byte

// The ends of a message at a node.
const (
	EndSent      End = 0 // it went on to the next node
	EndDelivered End = 1 // the node was a destination
	EndNoRoute   End = 2 // no usable link leads on
	EndFull      End = 3 // the link's queue had no room
	EndHopLimit  End = 4 // it had crossed as many links as it may
	EndExpired   End = 5 // it was older than its deadline
	ends             = 6
)

// String is the end as JSON names it.
func (e End) String() string {
	return [ends]string{"sent", "delivered", "no_route", "queue_full", "hop_limit", "expired"}[e]
}

// Choice is where a node sent a message for one destination, and where it could have.
type Choice struct {
	To         NodeID
	Candidates []Candidate
}

// Candidate is a next hop towards a destination.
type Candidate struct {
	Hop     NodeID
	Cost    uint32 // µs from the node to the destination by way of it, as known there; 0: not known
	Verdict Verdict
}

// Verdict says whether a candidate was taken, and why not.
type Verdict byte

// The verdicts on candidates.
const (
	VerdictTaken   Verdict = 0
	VerdictDearer  Verdict = 1 // another costs less
	VerdictNoLink  Verdict = 2 // there is no usable link to it
	VerdictPassed  Verdict = 3 // the message had been there
	VerdictAvoided Verdict = 4 // that way leads over relays which the origin has found not to pass messages on
	verdicts               = 5
)

// String is the verdict as JSON names it.
func (v Verdict) String() string {
	return [verdicts]string{"taken", "dearer", "no_link", "passed", "avoided"}[v]
}

// AppendHop appends the frame. What it holds must be within the limits of this package.
func AppendHop(dst []byte, h *Hop) []byte {
	dst = append(dst, byte(KindHop))
	dst = binary.BigEndian.AppendUint64(dst, h.Trace)
	dst = append(dst, byte(h.End), byte(len(h.Via)))
	dst = appendIDs(dst, h.Via)
	dst = binary.BigEndian.AppendUint32(dst, h.Age)
	dst = binary.BigEndian.AppendUint32(dst, h.Link)
	dst = binary.AppendUvarint(dst, uint64(h.Held))
	dst = binary.AppendUvarint(dst, uint64(h.Queued))
	dst = binary.AppendUvarint(dst, uint64(len(h.Choices)))
	for i := range h.Choices {
		c := &h.Choices[i]
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.To))
		dst = append(dst, byte(len(c.Candidates)))
		for _, n := range c.Candidates {
			dst = binary.BigEndian.AppendUint64(dst, uint64(n.Hop))
			dst = binary.AppendUvarint(dst, uint64(n.Cost))
			dst = append(dst, byte(n.Verdict))
		}
	}
	return dst
}

// ParseHop reads a Hop.
func ParseHop(b []byte) (Hop, error) {
	r := reader{b: b}
	r.kind(KindHop)
	h := Hop{Trace: r.uint64(), End: End(r.byte())}
	via := int(r.byte())
	if r.err == nil {
		switch {
		case h.Trace == 0 || h.End >= ends:
			r.fail(fmt.Errorf("%w: trace %d, end %d", ErrMalformed, h.Trace, h.End))
		case via > MaxHops:
			r.fail(fmt.Errorf("%w: %d passed, at most %d", ErrLimit, via, MaxHops))
		}
	}
	h.Via = r.ids(nil, via)
	h.Age, h.Link = r.uint32(), r.uint32()
	h.Held, h.Queued = r.micros(), r.micros()
	for range r.count(MaxChoices, 9) {
		h.Choices = append(h.Choices, r.choice())
	}
	if err := r.done(); err != nil {
		return Hop{}, fmt.Errorf("hop: %w", err)
	}
	return h, nil
}

// micros is a time in µs that fits 32 bits.
func (r *reader) micros() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.fail(fmt.Errorf("%w: %d µs", ErrLimit, v))
	}
	return uint32(v)
}

func (r *reader) choice() Choice {
	c := Choice{To: NodeID(r.uint64())}
	n := int(r.byte())
	if r.err == nil && (c.To == 0 || n > MaxCandidates) {
		r.fail(fmt.Errorf("%w: %d ways to %v", ErrMalformed, n, c.To))
	}
	for range n {
		way := Candidate{Hop: NodeID(r.uint64()), Cost: r.micros(), Verdict: Verdict(r.byte())}
		if r.err == nil && (way.Hop == 0 || way.Verdict >= verdicts) {
			r.fail(fmt.Errorf("%w: next hop %v, verdict %d", ErrMalformed, way.Hop, way.Verdict))
		}
		if r.err != nil {
			return c
		}
		c.Candidates = append(c.Candidates, way)
	}
	return c
}
