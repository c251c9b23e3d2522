package interest

import (
	"math"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// When a full body is told again: after so many deltas, or when they have cost so many times what it costs. Both bound what who has none must fetch, and how long
// a wrong copy can live.
const (
	maxDeltas  = 256
	deltaShare = 2
	recordHead = 120 // what a record takes besides its body: key, signature, versions
)

// Local is this node's own interest: a counting Bloom filter (Fan et al. 2000) that tells what changed since it last told.
// It is not safe for concurrent use. How many patterns it may hold is its owner's business; each takes some 100 bytes.
type Local struct {
	added  map[Key]int // how often each key was added less removed, never 0
	counts []uint32    // by bit position: keys in added that have it
	now    *Filter     // the positions whose count is not 0; its keys are brought up to date by Flush
	told   *Filter     // as the last Flush told it
	begun  bool        // something was told
	deltas int         // told since the last full body
	spent  int         // bytes of them
	room   density     // of the filter
}

// NewLocal returns the interest of a node without patterns.
func NewLocal() *Local {
	return &Local{
		added:  make(map[Key]int),
		counts: make([]uint32, ownShape(minLog2Bits).rows()),
		now:    newFilter(ownShape(minLog2Bits)),
		told:   newFilter(ownShape(minLog2Bits)),
		room:   usual,
	}
}

// Expect says how many nodes the mesh has. Each may get what it does not want from every other, so that the more there are, the rarer false positives are to be.
func (l *Local) Expect(nodes int) {
	for _, d := range densities() {
		switch {
		case d.density > l.room && nodes >= d.nodes:
			l.room = d.density
		case d.density < l.room && nodes < nextUp(d.density)*3/4: // well below, so that it does not go up and down
			l.room = d.density
			return
		}
	}
}

// nextUp is from how many nodes on a density is too little.
func nextUp(of density) int {
	all := densities()
	for i, d := range all[:len(all)-1] {
		if d.density == of {
			return all[i+1].nodes
		}
	}
	return math.MaxInt
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
// shorter, the filter was resized, deltas since the last full one were many or long, or nothing was told yet. If no bit
// changed there is nothing to tell: changed is false and body nil. The caller owns body.
func (l *Local) Flush() (body []byte, full, changed bool) {
	l.resize(l.room.fit(l.now.shape.log2Bits, len(l.added)))
	l.now.keys = min(len(l.added), MaxKeys)
	if !l.begun || l.now.shape != l.told.shape {
		return l.tellFull(), true, true
	}
	d := diff(l.told, l.now)
	if len(d.set)+len(d.cleared) == 0 {
		return nil, false, false
	}
	body = appendDelta(nil, d)
	whole := l.now.fullLen()
	if len(body) >= whole || l.deltas == maxDeltas || l.spent > deltaShare*(whole+recordHead) {
		return l.tellFull(), true, true
	}
	l.told.apply(d)
	l.deltas++
	l.spent += len(body) + recordHead
	return body, false, true
}

// Full is the whole filter as the last Flush told it (empty before the first), for a node that missed a delta. The caller
// owns it.
func (l *Local) Full() []byte { return l.told.AppendFull(nil) }

func (l *Local) tellFull() []byte {
	l.begun = true
	l.deltas, l.spent = 0, 0
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
