package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// A thousand subscriptions cost each node a few frames, not a thousand.
func TestSpreadIsPaced(t *testing.T) {
	r := newRig(t, 2)
	const peers = 3
	for i := range peers {
		r.step(MemberUp{Meta: wire.Meta{ID: wire.NodeID(1000 + i), Boot: 1, Name: "m"}, Addr: addrOf(i)})
	}
	asked := 0
	count := func(effects []Effect) {
		for _, s := range of[SendControl](effects) {
			if wire.Kind(s.Frame[0]) == wire.KindAsk {
				asked++
			}
		}
	}
	for i := range 1000 {
		p, err := channel.ParsePattern(fmt.Sprint("c.", i))
		if err != nil {
			t.Fatal(err)
		}
		count(r.step(InterestChanged{Tenant: "t", Pattern: p, Wanted: true}, SpreadAwaited{uint64(i + 1)}))
		count(r.passed(time.Millisecond))
	}
	if most := peers * (1000/int(askPause/time.Millisecond) + 2); asked > most || asked < peers {
		t.Errorf("%d questions in a second, want at most %d", asked, most)
	}
	// One answer a node about the newest version serves all who wait; an answer about another run of this node serves nobody.
	version := r.c.version[wire.RecordInterest]
	var done []uint64
	answer := func(peer wire.NodeID, boot uint64) {
		d := wire.Digest{From: peer, Entries: []wire.DigestEntry{{Origin: r.c.self, Kind: wire.RecordInterest, Stamp: wire.Stamp{Boot: boot, Version: version}}}}
		for _, e := range of[SpreadDone](r.step(HaveCame{d})) {
			done = append(done, e.IDs...)
		}
	}
	for i := range peers {
		answer(wire.NodeID(1000+i), r.c.boot+1)
	}
	if len(done) != 0 {
		t.Errorf("%d were told by answers about another run", len(done))
	}
	for i := range peers {
		answer(wire.NodeID(1000+i), r.c.boot)
	}
	r.passed(interestPause)
	if len(done) < 1000-int(interestPause/time.Millisecond) {
		t.Errorf("%d of 1000 were told", len(done))
	}
}
