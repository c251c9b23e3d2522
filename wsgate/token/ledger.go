package token

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Buckets is how many parts a ledger is compared in.
const Buckets = 64

// retention is how long an entry is still shown once nothing depends on it.
const retention = 10 * time.Minute

// Why a ledger refuses.
var (
	ErrUnknown = errors.New("token: unknown token")
	ErrRevoked = errors.New("token: revoked")
	ErrFull    = errors.New("token: ledger full")
)

// LedgerConfig configures a Ledger.
type LedgerConfig struct {
	Entries int // the most it holds, of at most some 400 bytes each. Default 100,000
}

// LedgerStats counts what became of entries.
type LedgerStats struct {
	Entries   int
	Evicted   uint64 // dropped for want of room; what they said, their tokens say themselves
	Forgotten uint64 // changed or revoked and dropped for want of room all the same
	Late      uint64 // not merged: nothing depends on them any more
	Early     uint64 // not merged: changed in the future by this node's clock
}

// Ledger is what a node knows about tokens beyond what they say themselves. It is not safe for concurrent use.
type Ledger struct {
	limit   int
	records map[ID]*record
	ranked  ranking
	digests [Buckets]uint64
	stats   LedgerStats
}

// record is an entry with its place in the ranking.
type record struct {
	Entry
	hash uint64
	at   int
}

// NewLedger returns an empty ledger.
func NewLedger(c LedgerConfig) *Ledger {
	if c.Entries <= 0 {
		c.Entries = 100_000
	}
	return &Ledger{limit: c.Entries, records: make(map[ID]*record)}
}

// Len is the number of entries.
func (l *Ledger) Len() int { return len(l.ranked) }

// Stats is a copy of the counters.
func (l *Ledger) Stats() LedgerStats {
	s := l.stats
	s.Entries = len(l.ranked)
	return s
}

// Issue enters a token just minted. Errors are ErrFull, or wrap ErrRequest for what Mint would not have taken.
func (l *Ledger) Issue(t Token, description string) (Entry, error) {
	if len(l.ranked) >= l.limit {
		return Entry{}, ErrFull
	}
	e := Entry{
		ID: t.ID, Created: milliseconds(t.Issued), Stamp: milliseconds(t.Issued), Expires: milliseconds(t.Expires),
		CreatedBy: t.CreatedBy, Description: description,
	}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	l.put(e)
	return e, nil
}

// Refresh moves the expiry of a token that is in force. A time in the past ends it, without cutting connections. Errors are or
// wrap ErrUnknown, ErrRevoked, ErrExpired and ErrExpiry.
func (l *Ledger) Refresh(id ID, expires, now time.Time) (Entry, error) {
	r := l.records[id]
	switch {
	case r == nil:
		return Entry{}, ErrUnknown
	case r.Revoked:
		return Entry{}, ErrRevoked
	case r.Expires <= milliseconds(now):
		return Entry{}, ErrExpired
	}
	if err := checkExpiry(expires, now); err != nil {
		return Entry{}, err
	}
	e := r.Entry
	e.Expires, e.Stamp = milliseconds(wholeSecond(expires)), max(milliseconds(now), r.Stamp+1)
	l.put(e)
	return e, nil
}

// Revoke ends a token for good, also one that the ledger does not know or that expired. It always succeeds, if need be
// at the cost of the entry that matters least; a second time it changes nothing.
func (l *Ledger) Revoke(t Token, now time.Time) Entry {
	e, stamp := Entry{ID: t.ID, CreatedBy: t.CreatedBy}, milliseconds(now)
	if r := l.records[t.ID]; r != nil {
		if r.Revoked {
			return r.Entry
		}
		e, stamp = r.Entry, max(stamp, r.Stamp+1)
	} else {
		if len(l.ranked) >= l.limit && l.ranked[0].Revoked { // all are, and some of them by a clock ahead of ours
			stamp = max(stamp, l.ranked[0].Stamp+1)
		}
		e.Created = min(milliseconds(t.Issued), stamp)
		e.Expires = min(milliseconds(t.Expires), stamp+lifeLimit.Milliseconds())
	}
	e.Stamp, e.Revoked = stamp, true
	l.put(e)
	return e
}

// Check tells whether a token whose signature is good is in force: nil, ErrRevoked or ErrExpired. What the ledger says about
// the expiry goes before what the token says; of a token it does not know, the token's own word counts.
func (l *Ledger) Check(t Token, now time.Time) error {
	expires := milliseconds(t.Expires)
	if r := l.records[t.ID]; r != nil {
		if r.Revoked {
			return ErrRevoked
		}
		expires = r.Expires
	}
	if expires <= milliseconds(now) {
		return ErrExpired
	}
	return nil
}

// Find is the entry of a token.
func (l *Ledger) Find(id ID) (Entry, bool) {
	if r := l.records[id]; r != nil {
		return r.Entry, true
	}
	return Entry{}, false
}

// List is the entries of tokens that createdBy asked for, or all if it is empty, by the time of issue.
func (l *Ledger) List(createdBy string) []Entry {
	var list []Entry
	for _, r := range l.ranked {
		if createdBy == "" || r.CreatedBy == createdBy {
			list = append(list, r.Entry)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), a.ID.compare(b.ID))
	})
	return list
}

// Merge takes in entries of another ledger and returns those that were news here, to be passed on and, where they are revoked, to be
// acted on. Entries that ParseEntries refuses must not get here; those out of their time are left out and counted.
func (l *Ledger) Merge(entries []Entry, now time.Time) (news []Entry) {
	latest := milliseconds(now.Add(ClockSkew))
	for _, e := range entries {
		switch {
		case e.Stamp > latest:
			l.stats.Early++
		case e.over(milliseconds(now)):
			l.stats.Late++
		case l.put(e):
			news = append(news, e)
		}
	}
	return news
}

// Sweep drops the entries on which nothing depends any more and tells how many. Once a minute is often enough.
func (l *Ledger) Sweep(now time.Time) int {
	var over []*record
	for _, r := range l.ranked {
		if r.over(milliseconds(now)) {
			over = append(over, r)
		}
	}
	for _, r := range over {
		l.drop(r)
	}
	return len(over)
}

// Digest is equal for ledgers with equal entries, and almost certainly different for others.
func (l *Ledger) Digest() uint64 {
	var sum uint64
	for _, d := range l.digests {
		sum ^= d
	}
	return sum
}

// BucketDigests is the digests of the parts, whose exclusive or is Digest: what differs is all that need be sent.
func (l *Ledger) BucketDigests() [Buckets]uint64 { return l.digests }

// Bucket is the entries of one part, by ID. There are none in parts that do not exist.
func (l *Ledger) Bucket(part int) []Entry {
	var list []Entry
	for _, r := range l.ranked {
		if r.ID.bucket() == part {
			list = append(list, r.Entry)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return a.ID.compare(b.ID) })
	return list
}

// put merges one entry and tells whether the ledger changed in what it says of it.
func (l *Ledger) put(e Entry) bool {
	r := l.records[e.ID]
	if r != nil && e.compare(&r.Entry) <= 0 {
		return false
	}
	hash := e.hash()
	if r != nil {
		l.digests[e.ID.bucket()] ^= r.hash ^ hash
		r.Entry, r.hash = e, hash
		heap.Fix(&l.ranked, r.at)
		return true
	}
	if len(l.ranked) >= l.limit {
		least := l.ranked[0]
		if e.compare(&least.Entry) < 0 {
			l.countLoss(&e)
			return false
		}
		l.countLoss(&least.Entry)
		l.drop(least)
	}
	r = &record{Entry: e, hash: hash}
	l.records[e.ID] = r
	l.digests[e.ID.bucket()] ^= hash
	heap.Push(&l.ranked, r)
	return true
}

func (l *Ledger) countLoss(e *Entry) {
	if e.changed() {
		l.stats.Forgotten++
	} else {
		l.stats.Evicted++
	}
}

func (l *Ledger) drop(r *record) {
	heap.Remove(&l.ranked, r.at)
	delete(l.records, r.ID)
	l.digests[r.ID.bucket()] ^= r.hash
}

// ranking is a heap with the entry that matters least at its root.
type ranking []*record

func (h ranking) Len() int           { return len(h) }
func (h ranking) Less(i, j int) bool { return h[i].compare(&h[j].Entry) < 0 }

func (h ranking) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for container/heap.
func (h *ranking) Push(x any) {
	r := x.(*record)
	r.at = len(*h)
	*h = append(*h, r)
}

// Pop is for container/heap.
func (h *ranking) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return r
}

func milliseconds(t time.Time) int64 { return t.UnixMilli() }
