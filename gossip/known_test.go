package gossip

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Where a run was met that is later than the member there, that address is missing until the later run is a member, or for metKept.
func TestMetRunIsMissing(t *testing.T) {
	k := newKnown(&Config{})
	addr, now := netip.MustParseAddrPort("10.0.0.1:7946"), time.Unix(1000, 0)
	looks := func(at time.Time) (missing, alive bool) {
		all, members := k.missing(at)
		return slices.Contains(all, addr), members[addr]
	}
	member := func(boot uint64) Member {
		return Member{Meta: wire.Meta{ID: 7, Boot: boot}, Addr: addr}
	}
	for _, step := range []struct {
		what           string
		do             func()
		after          time.Duration
		missing, alive bool
	}{
		{"nothing known", func() {}, 0, false, false},
		{"a member", func() { k.seen(member(1)) }, 0, false, true},
		{"the same run is met", func() { k.meet(addr, 1, now) }, 0, false, true},
		{"a later one is met", func() { k.meet(addr, 2, now) }, 0, true, false},
		{"still", func() {}, metKept, true, false},
		{"it is a member", func() { k.seen(member(2)) }, 0, false, true},
		{"a third is met", func() { k.meet(addr, 3, now) }, 0, true, false},
		{"but not again", func() {}, metKept + 1, false, true},
	} {
		step.do()
		if missing, alive := looks(now.Add(step.after)); missing != step.missing || alive != step.alive {
			t.Errorf("%s: missing %v, alive %v", step.what, missing, alive)
		}
	}
}
