package latency

import (
	"iter"
	"time"
)

// historySize is how many probes a link remembers: at the fastest default interval all that timeoutMost can leave unjudged.
const historySize = 128

type fate uint8

const (
	unsent fate = iota
	pending
	answered
	missed
)

// probe is one probe sent. Times are on its link's scale.
type probe struct {
	sent     time.Duration
	expect   time.Duration // when the echo was expected
	deadline time.Duration // when it is missed
	verdict  uint64        // number of the verdict on it, once there is one
	seq      uint32
	fate     fate
	excused  bool // the caller stalled: its echo is no sample
}

// history is the last probes of a link, in a ring by number.
type history struct {
	ring []probe
	last uint32 // number of the newest
	tail uint32 // all older than this are judged
}

// add makes room for the next probe and numbers it; crowded if the one that was there is still waiting.
func (h *history) add() (p *probe, crowded bool) {
	if h.ring == nil {
		h.ring = make([]probe, historySize)
		h.tail = 1
	}
	h.last++
	p = &h.ring[h.last%historySize]
	crowded = p.fate == pending
	p.seq = h.last
	return p, crowded
}

// find is the probe with this number, or nil.
func (h *history) find(seq uint32) *probe {
	if h.ring == nil {
		return nil
	}
	p := &h.ring[seq%historySize]
	if p.fate == unsent || p.seq != seq {
		return nil
	}
	return p
}

// waiting yields the probes not yet judged, oldest first. The caller may judge them.
func (h *history) waiting() iter.Seq[*probe] {
	return func(yield func(*probe) bool) {
		if h.ring == nil {
			return
		}
		if h.last-h.tail >= historySize {
			h.tail = h.last - historySize + 1
		}
		for h.tail != h.last+1 && h.ring[h.tail%historySize].fate != pending {
			h.tail++
		}
		for seq := h.tail; seq != h.last+1; seq++ {
			if p := &h.ring[seq%historySize]; p.fate == pending && !yield(p) {
				return
			}
		}
	}
}

// unexplained counts the missed probes, newest first up to an answered one, whose echo was expected after this sign of life.
func (h *history) unexplained(heard time.Duration) (n int) {
	for i := range uint32(min(historySize, len(h.ring))) {
		p := &h.ring[(h.last-i)%historySize]
		if p.fate == answered || p.fate == unsent {
			break
		}
		if p.fate == missed && p.expect > heard {
			n++
		}
	}
	return n
}
