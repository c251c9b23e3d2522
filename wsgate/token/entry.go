package token

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxChunkLen bounds a chunk of entries, in bytes.
const MaxChunkLen = 60_000

const (
	entriesVersion = 0x01
	flagRevoked    = 0x01

	maxTime = int64(1) << 48 // in milliseconds: far beyond any clock, so that sums do not overflow
)

// ErrEntries reports a chunk that no correct node writes.
var ErrEntries = errors.New("token: malformed entries")

// Entry is what a ledger says about a token. Times are in milliseconds since 1970.
type Entry struct {
	ID          ID
	Created     int64  // when it was issued
	Stamp       int64  // of the last change; Created if there was none
	Expires     int64  // as now in force
	CreatedBy   string // at most MaxCreatedByLen bytes
	Description string // at most MaxDescriptionLen bytes
	Revoked     bool
}

// ExpiresAt is the expiry as REST answers show it.
func (e Entry) ExpiresAt() time.Time { return time.UnixMilli(e.Expires).UTC() }

// CreatedAt is the time of issue as REST answers show it.
func (e Entry) CreatedAt() time.Time { return time.UnixMilli(e.Created).UTC() }

// changed tells whether the entry says more than its token does.
func (e *Entry) changed() bool { return e.Revoked || e.Stamp != e.Created }

// compare orders entries by how much they matter: revoked before changed before as issued, then the later change, then anything, so
// that the order is total. Of two entries of one token the greater is the one that counts.
func (e *Entry) compare(f *Entry) int {
	if c := cmp.Or(compareBool(e.Revoked, f.Revoked), compareBool(e.changed(), f.changed()), cmp.Compare(e.Stamp, f.Stamp), e.ID.compare(f.ID)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(e.Expires, f.Expires), cmp.Compare(e.Created, f.Created),
		strings.Compare(e.CreatedBy, f.CreatedBy), strings.Compare(e.Description, f.Description))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func (id ID) compare(other ID) int { return bytes.Compare(id[:], other[:]) }

func (id ID) bucket() int { return int(id[0]) % Buckets }

// over tells whether nothing depends on the entry any more. As issued it says what its token says, so that the expiry is its
// end. A change must be remembered for as long as the token may be taken for good by its own word, and for as long as an expiry
// set by someone who did not know of the change may reach: neither is more than lifeLimit after it.
func (e *Entry) over(now int64) bool {
	end := e.Expires
	if e.changed() {
		end = e.Stamp + lifeLimit.Milliseconds()
	}
	return end+retention.Milliseconds() <= now
}

// check tells whether a correct node may have made the entry.
func (e *Entry) check() error {
	switch {
	case e.Created < 0 || e.Expires < 0 || e.Stamp < e.Created || e.Stamp > maxTime:
		return errors.New("times out of order")
	case e.Expires-e.Stamp > lifeLimit.Milliseconds():
		return fmt.Errorf("expiry more than %v after the last change", MaxLife)
	}
	if err := checkText(e.CreatedBy, MaxCreatedByLen); err != nil {
		return fmt.Errorf("created_by: %w", err)
	}
	if err := checkText(e.Description, MaxDescriptionLen); err != nil {
		return fmt.Errorf("description: %w", err)
	}
	return nil
}

func (e *Entry) hash() uint64 {
	sum := sha256.Sum256(e.appendTo(make([]byte, 0, 256)))
	return binary.BigEndian.Uint64(sum[:])
}

func (e *Entry) appendTo(dst []byte) []byte {
	flags := byte(0)
	if e.Revoked {
		flags = flagRevoked
	}
	dst = append(append(dst, e.ID[:]...), flags)
	dst = binary.AppendUvarint(dst, uint64(e.Created))
	dst = binary.AppendUvarint(dst, uint64(e.Stamp-e.Created))
	dst = binary.AppendUvarint(dst, uint64(e.Expires))
	dst = append(append(dst, byte(len(e.CreatedBy))), e.CreatedBy...)
	return append(append(dst, byte(len(e.Description))), e.Description...)
}

// AppendEntries appends a chunk with as many of the entries as fit MaxChunkLen and returns those left for the next.
func AppendEntries(dst []byte, entries []Entry) (chunk []byte, rest []Entry) {
	start := len(dst)
	dst = append(dst, entriesVersion)
	for i := range entries {
		whole := len(dst)
		if dst = entries[i].appendTo(dst); len(dst)-start > MaxChunkLen {
			return dst[:whole], entries[i:]
		}
	}
	return dst, nil
}

// ParseEntries reads a chunk, all of it. Errors wrap ErrEntries. The entries are such as a correct node may make, if only at
// another time: Merge looks at the clock.
func ParseEntries(chunk []byte) ([]Entry, error) {
	if len(chunk) > MaxChunkLen {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrEntries, len(chunk), MaxChunkLen)
	}
	if len(chunk) == 0 || chunk[0] != entriesVersion {
		return nil, fmt.Errorf("%w: unknown version", ErrEntries)
	}
	var entries []Entry
	for r := (reader{rest: chunk[1:]}); len(r.rest) > 0; {
		e := r.entry()
		if r.fault == nil {
			r.fault = e.check()
		}
		if r.fault != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrEntries, len(entries), r.fault)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// reader takes a chunk apart from the front. After the first fault it yields zeros.
type reader struct {
	rest  []byte
	fault error
}

func (r *reader) entry() Entry {
	var e Entry
	copy(e.ID[:], r.take(len(e.ID)))
	flags := r.take(1)
	if len(flags) == 1 && flags[0]&^flagRevoked != 0 {
		r.fail("unknown flags")
	}
	e.Revoked = len(flags) == 1 && flags[0] == flagRevoked
	e.Created = r.time()
	e.Stamp = e.Created + r.time()
	e.Expires = r.time()
	e.CreatedBy = r.text()
	e.Description = r.text()
	return e
}

func (r *reader) fail(reason string) {
	if r.fault == nil {
		r.fault = errors.New(reason)
	}
	r.rest = nil
}

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail("too short")
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// time refuses what is longer than needed, so that an entry has one spelling.
func (r *reader) time() int64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 || v > uint64(maxTime) {
		r.fail("bad time")
		return 0
	}
	r.rest = r.rest[n:]
	return int64(v)
}

func (r *reader) text() string {
	length := r.take(1)
	if len(length) == 0 {
		return ""
	}
	return string(r.take(int(length[0])))
}
