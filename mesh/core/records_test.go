package core

import (
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// chainOf are records of one origin by (boot, version, base), signed but without content.
func chainOf(stamps ...[3]uint64) []wire.Record {
	key := coreKeys(1)[0]
	out := make([]wire.Record, len(stamps))
	for i, s := range stamps {
		out[i] = wire.Record{Boot: s[0], Kind: wire.RecordInterest, Version: s[1], Base: s[2], Body: []byte{byte(i)}}
		wire.SignRecord(&out[i], key)
	}
	return out
}

func TestStoreAccepts(t *testing.T) {
	for _, test := range []struct {
		what   string
		held   [][3]uint64 // boot, version, base
		comes  [3]uint64
		want   verdict
		length int // of the chain after
	}{
		{"first whole", nil, [3]uint64{1, 1, 0}, applied, 1},
		{"first whole, not version 1", nil, [3]uint64{1, 9, 0}, applied, 1},
		{"first a delta", nil, [3]uint64{1, 2, 1}, gap, 0},
		{"the same", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 2, 0}, stale, 1},
		{"the same as a delta", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 2, 1}, stale, 1},
		{"older", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 1, 0}, stale, 1},
		{"older boot, later version", [][3]uint64{{2, 2, 0}}, [3]uint64{1, 9, 0}, stale, 1},
		{"next delta", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 3, 2}, applied, 2},
		{"delta after a delta", [][3]uint64{{1, 2, 0}, {1, 3, 2}}, [3]uint64{1, 4, 3}, applied, 3},
		{"delta, one missing", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 4, 3}, gap, 1},
		{"delta of a later boot", [][3]uint64{{1, 2, 0}}, [3]uint64{2, 3, 2}, gap, 1},
		{"whole after deltas", [][3]uint64{{1, 2, 0}, {1, 3, 2}}, [3]uint64{1, 4, 0}, applied, 1},
		{"whole over a hole", [][3]uint64{{1, 2, 0}}, [3]uint64{1, 40, 0}, applied, 1},
		{"whole of a later boot", [][3]uint64{{1, 9, 0}, {1, 10, 9}}, [3]uint64{2, 1, 0}, applied, 1},
	} {
		s := newRecordStore()
		for _, r := range chainOf(test.held...) {
			if s.accept(r) != applied {
				t.Fatalf("%s: setup", test.what)
			}
		}
		r := chainOf(test.comes)[0]
		if got := s.accept(r); got != test.want {
			t.Errorf("%s: %d, want %d", test.what, got, test.want)
		}
		length := 0
		if chain := s.entries[RecordKey{r.Origin, r.Kind}]; chain != nil {
			length = len(chain.records)
		}
		if length != test.length {
			t.Errorf("%s: chain of %d, want %d", test.what, length, test.length)
		}
	}
}

// An origin that never sends a whole record cannot make others keep all its deltas.
func TestChainIsBounded(t *testing.T) {
	s := newRecordStore()
	s.accept(chainOf([3]uint64{1, 1, 0})[0])
	for v := uint64(2); ; v++ {
		if s.accept(chainOf([3]uint64{1, v, v - 1})[0]) == gap {
			if v != maxChain+2 {
				t.Errorf("delta %d refused, want %d kept", v, maxChain)
			}
			return
		}
		if v > 2*maxChain {
			t.Fatal("no bound")
		}
	}
}

func TestStoreSince(t *testing.T) {
	s := newRecordStore()
	chain := chainOf([3]uint64{2, 5, 0}, [3]uint64{2, 6, 5}, [3]uint64{2, 7, 6})
	for _, r := range chain {
		s.accept(r)
	}
	key := RecordKey{chain[0].Origin, chain[0].Kind}
	for _, test := range []struct {
		what string
		held wire.Stamp
		from int // of the chain
	}{
		{"nothing held", wire.Stamp{}, 0},
		{"older than the chain", wire.Stamp{Boot: 2, Version: 4}, 0},
		{"the whole one", wire.Stamp{Boot: 2, Version: 5}, 1},
		{"a delta", wire.Stamp{Boot: 2, Version: 6}, 2},
		{"the newest", wire.Stamp{Boot: 2, Version: 7}, 3},
		{"newer than ours", wire.Stamp{Boot: 2, Version: 8}, 3},
		{"the same versions of an earlier boot", wire.Stamp{Boot: 1, Version: 6}, 0},
		{"a later boot", wire.Stamp{Boot: 3, Version: 1}, 3},
	} {
		got := s.since(key, test.held)
		if len(got) != len(chain)-test.from {
			t.Errorf("%s: %d records, want %d", test.what, len(got), len(chain)-test.from)
			continue
		}
		for i, raw := range got {
			if !slices.Equal(raw, chain[test.from+i].Raw) {
				t.Errorf("%s: record %d is another", test.what, i)
			}
		}
		// Whoever held that version is up to date by what it gets.
		if holder := newRecordStore(); len(got) > 0 && test.held.Boot != 1 {
			for _, r := range chain[:test.from] {
				holder.accept(r)
			}
			for _, r := range chain[test.from:] {
				holder.accept(r)
			}
			if holder.stamp(key) != s.stamp(key) {
				t.Errorf("%s: brought to %v", test.what, holder.stamp(key))
			}
		}
	}
	if got := s.since(RecordKey{1, wire.RecordLinks}, wire.Stamp{}); got != nil {
		t.Errorf("records of an unknown origin: %d", len(got))
	}
}

func TestStoreDigestAndForget(t *testing.T) {
	s := newRecordStore()
	for _, key := range coreKeys(5) {
		a := newAuthor(key, 3)
		s.accept(a.wants(t, "x"))
		s.accept(a.links(1))
	}
	digest := s.digest()
	if len(digest) != 10 || !slices.IsSortedFunc(digest, func(a, b wire.DigestEntry) int {
		if a.Origin < b.Origin || a.Origin == b.Origin && a.Kind < b.Kind {
			return -1
		}
		return 1
	}) {
		t.Errorf("%v", digest)
	}
	for _, e := range digest {
		if (e.Stamp != wire.Stamp{Boot: 3, Version: 1}) {
			t.Errorf("%+v", e)
		}
	}
	s.forget(digest[0].Origin)
	if rest := s.digest(); !slices.Equal(rest, digest[2:]) {
		t.Errorf("after forgetting %v: %v", digest[0].Origin, rest)
	}
}
