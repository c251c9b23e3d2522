package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

const (
	digestVersion = 0x01
	digestLen     = 1 + 8*token.Buckets
	sweepEvery    = time.Minute
	chunkEntries  = token.MaxChunkLen / 30 // the shortest entries that a chunk holds, roughly
)

// errDigest reports a digest that no correct node writes.
var errDigest = errors.New("access: malformed digest")

// Digest is what other nodes compare their ledgers by.
func (a *Authority) Digest() []byte {
	a.mu.Lock()
	digests := a.ledger.BucketDigests()
	a.mu.Unlock()
	return encodeDigest(digests)
}

func encodeDigest(digests [token.Buckets]uint64) []byte {
	dst := append(make([]byte, 0, digestLen), digestVersion)
	for _, d := range digests {
		dst = binary.BigEndian.AppendUint64(dst, d)
	}
	return dst
}

func parseDigest(b []byte) (digests [token.Buckets]uint64, err error) {
	if len(b) != digestLen || b[0] != digestVersion {
		return digests, fmt.Errorf("%w: %d bytes", errDigest, len(b))
	}
	for i := range digests {
		digests[i] = binary.BigEndian.Uint64(b[1+8*i:])
	}
	return digests, nil
}

// Missing is what the sender of a digest may lack, or so many chunks of it. Differs tells whether the ledgers differ at all: then the sender may
// have what this node lacks.
func (a *Authority) Missing(digest []byte, most int) (chunks [][]byte, differs bool, err error) {
	theirs, err := parseDigest(digest)
	if err != nil {
		a.counts.malformed.Add(1)
		return nil, false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ours := a.ledger.BucketDigests()
	var entries []token.Entry
	start := rand.IntN(token.Buckets) // parts that never agree, as clocks differ, must not keep the others waiting
	for i := range token.Buckets {
		part := (start + i) % token.Buckets
		if ours[part] != theirs[part] && len(entries) < most*chunkEntries {
			differs = true
			entries = append(entries, a.ledger.Bucket(part)...)
		}
	}
	for len(entries) > 0 && len(chunks) < most {
		var chunk []byte
		chunk, entries = token.AppendEntries(nil, entries)
		chunks = append(chunks, chunk)
	}
	return chunks, differs, nil
}

// Merge takes in a chunk of another node, cuts the connections of tokens revoked by it, and returns how many entries were news. Errors
// wrap token.ErrEntries.
func (a *Authority) Merge(chunk []byte, now time.Time) (news int, err error) {
	entries, err := token.ParseEntries(chunk)
	if err != nil {
		a.counts.malformed.Add(1)
		return 0, err
	}
	var cuts []func()
	a.mu.Lock()
	fresh := a.ledger.Merge(entries, now)
	for i := range fresh {
		if fresh[i].Revoked {
			cuts = a.revoked(cuts, fresh[i].ID)
		}
	}
	a.mu.Unlock()
	a.end(cuts)
	return len(fresh), nil
}

// Tick forgets, once a minute, what nothing depends on any more.
func (a *Authority) Tick(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.swept) >= sweepEvery {
		a.swept = now
		a.ledger.Sweep(now)
	}
}
