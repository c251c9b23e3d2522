package rumour

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func entry(origin, version uint64) wire.DigestEntry {
	return wire.DigestEntry{Origin: wire.NodeID(origin), Kind: wire.RecordLinks, Stamp: wire.Stamp{Boot: 1, Version: version}}
}

// room is what a packet must offer for so many entries.
func room(entries int) int { return HeadBytes + entries*EntryBytes }

func TestEmptyQueue(t *testing.T) {
	var q Queue
	if got := q.Take(1 << 20); got != nil || q.Len() != 0 {
		t.Errorf("took %v, %d wait", got, q.Len())
	}
}

func TestNothingWhereThereIsNoRoom(t *testing.T) {
	var q Queue
	q.Add(entry(1, 1))
	for _, bytes := range []int{-1, 0, HeadBytes, room(1) - 1} {
		if got := q.Take(bytes); got != nil {
			t.Errorf("took %v into %d bytes", got, bytes)
		}
	}
	if got := q.Take(room(1)); len(got) != 1 {
		t.Errorf("took %v into room for one", got)
	}
}

// What was sent least goes first, and in the order in which it came.
func TestLeastSentGoesFirst(t *testing.T) {
	var q Queue
	q.Add(entry(1, 1))
	q.Take(room(1))
	q.Add(entry(2, 1))
	q.Add(entry(3, 1))
	if got, want := q.Take(room(2)), []wire.DigestEntry{entry(2, 1), entry(3, 1)}; !slices.Equal(got, want) {
		t.Errorf("took %v; want %v", got, want)
	}
	if got, want := q.Take(room(3)), []wire.DigestEntry{entry(1, 1), entry(2, 1), entry(3, 1)}; !slices.Equal(got, want) {
		t.Errorf("then took %v; want %v", got, want)
	}
}

// A newer version takes the place of an older and is sent as often as any; an older one changes nothing.
func TestNewerReplacesOlder(t *testing.T) {
	var q Queue
	q.Add(entry(1, 2))
	q.Take(room(1))
	q.Add(entry(1, 1))
	q.Add(entry(1, 2))
	q.Add(entry(1, 3))
	if q.Len() != 1 {
		t.Errorf("%d wait", q.Len())
	}
	var got []wire.DigestEntry
	for range 2 * times {
		got = append(got, q.Take(room(8))...)
	}
	if want := slices.Repeat([]wire.DigestEntry{entry(1, 3)}, times); !slices.Equal(got, want) {
		t.Errorf("took %v; want %v", got, want)
	}
}

// What was replaced does not pile up where nothing is taken, as on a node that is alone.
func TestReplacedAreForgotten(t *testing.T) {
	var q Queue
	q.Add(entry(9, 1))
	q.Take(room(1))
	for version := range uint64(10_000) {
		q.Add(entry(1, version+1))
		q.Add(entry(2, version+1))
		if kept := queued(&q); kept > 2*q.Len() {
			t.Fatalf("%d are kept where %d wait", kept, q.Len())
		}
	}
	if got, want := q.Take(room(8)), []wire.DigestEntry{entry(1, 10_000), entry(2, 10_000), entry(9, 1)}; !slices.Equal(got, want) {
		t.Errorf("took %v; want %v", got, want)
	}
}

func queued(q *Queue) (sum int) {
	for _, tier := range q.tiers {
		sum += len(tier)
	}
	return sum
}

// Whatever is added and taken: no packet is overfull or has a record twice, nothing replaced is sent, nothing is sent more than so many times, and in the
// end the newest version of each was sent exactly so often.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue
		newest := map[wire.NodeID]uint64{}
		sent := map[wire.DigestEntry]int{}
		take := func(entries int) int {
			got := q.Take(room(entries))
			on := map[wire.NodeID]bool{}
			for _, e := range got {
				if on[e.Origin] || e.Stamp.Version != newest[e.Origin] {
					t.Fatalf("%v is on the packet again, or was replaced by version %d", e, newest[e.Origin])
				}
				on[e.Origin] = true
				sent[e]++
			}
			if len(got) > entries {
				t.Fatalf("%d entries where %d have room", len(got), entries)
			}
			return len(got)
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				origin, version := rapid.Uint64Range(1, 9).Draw(t, "origin"), rapid.Uint64Range(1, 20).Draw(t, "version")
				if version <= newest[wire.NodeID(origin)] {
					continue // known to be old once it was sent, which is for those who add to know
				}
				newest[wire.NodeID(origin)] = version
				q.Add(entry(origin, version))
			} else {
				take(rapid.IntRange(0, 12).Draw(t, "room"))
			}
			if kept := queued(&q); q.Len() > len(newest) || kept != q.Len()+q.stale || q.stale > q.Len() {
				t.Fatalf("%d wait and %d are kept for %d records, %d of them stale", q.Len(), kept, len(newest), q.stale)
			}
		}
		for take(3) > 0 {
		}
		for origin, version := range newest {
			if n := sent[entry(uint64(origin), version)]; n != times {
				t.Fatalf("version %d of %v was sent %d times", version, origin, n)
			}
		}
		if q.Len() != 0 {
			t.Fatalf("%d wait after all was sent", q.Len())
		}
	})
}
