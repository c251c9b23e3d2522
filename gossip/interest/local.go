package interest

import (
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// maxDeltas bounds how many deltas follow one full body, and so how long a wrong copy can live.
const maxDeltas = 32

// Local is this node's own interest: a counting Bloom filter (Fan et al. 2000) that tells what changed since it last told.
// It is not safe for concurrent use. How many patterns it may hold is its owner's business; each takes some 100 bytes.
type Local struct {
	added  map[Key]int // how often each key was added less removed, never 0
	counts []uint32    // by bit position: keys in added that have it
	now    *Filter     // the positions whose count is not 0; its keys are brought up to date by Flush
	told   *Filter     // as the last Flush told it
	begun  bool        // something was told
	deltas int         // told since the last full body
}

// NewLocal returns the interest of a node without patterns.
func NewLocal() *Local {
	return &Local{
		added:  make(map[Key]int),
		counts: make([]uint32, ownShape(minLog2Bits).rows()),
		now:    newFilter(ownShape(minLog2Bits)),
		told:   newFilter(ownShape(minLog2Bits)),
	}
}

// Add enters a pattern. One that is added twice must be removed twice.
func (l *Local) Add(tenant string, p channel.Pattern) {
	key := PatternKey(tenant, p)
	l.added[key]++
	if l.added[key] == 1 {
		l.enter(key)
	}
}

// Remove takes back one Add of a pattern with the same key. It reports false, and changes nothing, if there is none left.
func (l *Local) Remove(tenant string, p channel.Pattern) bool {
	key := PatternKey(tenant, p)
	switch l.added[key] {
	case 0:
		return false
	case 1:
		delete(l.added, key)
		l.leave(key)
	default:
		l.added[key]--
	}
	return true
}

// Len is the number of distinct keys now; patterns that differ only behind their first wildcard share one.
func (l *Local) Len() int { return len(l.added) }

// Flush returns the body of this node's next record. It is a delta to the body before; or the full filter if that is
// shorter, the filter was resized, 32 deltas were told since the last full one, or nothing was told yet. If no bit
// changed there is nothing to tell: changed is false and body nil. The caller owns body.
func (l *Local) Flush() (body []byte, full, changed bool) {
	l.resize(fit(l.now.shape.log2Bits, len(l.added)))
	l.now.keys = min(len(l.added), MaxKeys)
	if !l.begun || l.now.shape != l.told.shape {
		return l.tellFull(), true, true
	}
	d := diff(l.told, l.now)
	if len(d.set)+len(d.cleared) == 0 {
		return nil, false, false
	}
	if l.deltas == maxDeltas {
		return l.tellFull(), true, true
	}
	body = appendDelta(nil, d)
	if len(body) >= l.now.fullLen() {
		return l.tellFull(), true, true
	}
	l.told.apply(d)
	l.deltas++
	return body, false, true
}

// Full is the whole filter as the last Flush told it (empty before the first), for a node that missed a delta. The caller
// owns it.
func (l *Local) Full() []byte { return l.told.AppendFull(nil) }

func (l *Local) tellFull() []byte {
	l.begun = true
	l.deltas = 0
	l.told = &Filter{shape: l.now.shape, keys: l.now.keys, ones: l.now.ones, words: slices.Clone(l.now.words)}
	return l.Full()
}

// resize enters all keys afresh if the size is another: the positions of a larger filter cannot be told from a smaller one.
func (l *Local) resize(log2Bits uint8) {
	if log2Bits == l.now.shape.log2Bits {
		return
	}
	l.counts = make([]uint32, ownShape(log2Bits).rows())
	l.now = newFilter(ownShape(log2Bits))
	for key := range l.added {
		l.enter(key)
	}
}

func (l *Local) enter(key Key) {
	l.raise(l.now.shape.formRow(key))
	p := l.now.shape.probe(key)
	for range l.now.shape.hashes {
		l.raise(p.next())
	}
}

func (l *Local) raise(position uint64) {
	l.counts[position]++
	if l.counts[position] == 1 {
		l.now.words[position/64] |= 1 << (position % 64)
		l.now.ones++
	}
}

func (l *Local) leave(key Key) {
	l.lower(l.now.shape.formRow(key))
	p := l.now.shape.probe(key)
	for range l.now.shape.hashes {
		l.lower(p.next())
	}
}

func (l *Local) lower(position uint64) {
	l.counts[position]--
	if l.counts[position] == 0 {
		l.now.words[position/64] &^= 1 << (position % 64)
		l.now.ones--
	}
}
