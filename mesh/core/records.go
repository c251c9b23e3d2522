package core

import (
	"cmp"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// recordStore holds the newest records of every origin as they travel: for each (origin, kind) the last whole record and the deltas
// that follow it, so that any node can bring any other up to date with the origin's own signatures.
type recordStore struct{ entries map[RecordKey]*recordChain }

// RecordKey names a record: whose it is, and what it is about.
type RecordKey struct {
	Origin wire.NodeID
	Kind   wire.RecordKind
}

// recordChain is a whole record and its deltas, versions ascending.
type recordChain struct {
	newest  wire.Stamp // of the last: what is asked for most often, at hand without it
	records []wire.Record
}

func (c *recordChain) stamp() wire.Stamp { return c.newest }

// verdict is what became of a record that came.
type verdict int

const (
	stale   verdict = iota // not newer than what is held
	gap                    // a delta against a version that is not held
	applied                // now the newest
	refused                // the store holds too much for nodes that are not members
)

const maxChain = 320 // deltas kept after a whole record; an origin sends a whole one after 256 at most

func newRecordStore() *recordStore { return &recordStore{entries: map[RecordKey]*recordChain{}} }

// accept takes a record in if it is newer.
func (s *recordStore) accept(r wire.Record) verdict {
	key := RecordKey{r.Origin, r.Kind}
	chain := s.entries[key]
	if chain != nil && r.Stamp().Compare(chain.stamp()) <= 0 {
		return stale
	}
	if r.Base == 0 {
		s.entries[key] = &recordChain{r.Stamp(), []wire.Record{r}}
		return applied
	}
	if chain == nil || chain.stamp() != (wire.Stamp{Boot: r.Boot, Version: r.Base}) || len(chain.records) > maxChain {
		return gap
	}
	chain.newest, chain.records = r.Stamp(), append(chain.records, r)
	return applied
}

// stamp is the newest version held, zero if none is.
func (s *recordStore) stamp(key RecordKey) wire.Stamp {
	if chain := s.entries[key]; chain != nil {
		return chain.stamp()
	}
	return wire.Stamp{}
}

// since are the records that bring a holder of the given version up to date: the deltas after it where they suffice, else all.
func (s *recordStore) since(key RecordKey, held wire.Stamp) [][]byte {
	chain := s.entries[key]
	if chain == nil || chain.stamp().Compare(held) <= 0 {
		return nil
	}
	first := 0
	for i, r := range chain.records {
		if r.Stamp() == held {
			first = i + 1
		}
	}
	var out [][]byte
	for _, r := range chain.records[first:] {
		out = append(out, r.Raw)
	}
	return out
}

// digest lists every version held, in a fixed order.
func (s *recordStore) digest() []wire.DigestEntry {
	out := make([]wire.DigestEntry, 0, len(s.entries))
	for key, chain := range s.entries {
		out = append(out, wire.DigestEntry{Origin: key.Origin, Kind: key.Kind, Stamp: chain.stamp()})
	}
	slices.SortFunc(out, func(a, b wire.DigestEntry) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// forget drops all records of an origin.
func (s *recordStore) forget(origin wire.NodeID) {
	delete(s.entries, RecordKey{origin, wire.RecordLinks})
	delete(s.entries, RecordKey{origin, wire.RecordInterest})
}
