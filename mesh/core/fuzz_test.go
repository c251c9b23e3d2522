package core

import (
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// frameEvents are what the node makes of a control frame of a neighbour, but for the checks that it does first: of signatures and bodies.
func frameEvents(frame []byte, from wire.NodeID) []Event {
	if records, err := wire.ParseRecords(frame); err == nil {
		return []Event{RecordsCame{from, records}}
	}
	if s, err := wire.ParseSums(frame); err == nil {
		s.From = from
		return []Event{SumsCame{s}}
	}
	if p, err := wire.ParsePart(frame); err == nil {
		p.Digest.From = from
		return []Event{DigestCame{Digest: p.Digest, Classes: p.Classes, Reply: p.Reply}}
	}
	if needed, err := wire.ParseNeed(frame); err == nil {
		return []Event{NeedCame{from, needed}}
	}
	kind, d, err := wire.ParseDigest(frame)
	if d.From = from; err != nil {
		return nil
	}
	switch kind {
	case wire.KindWant:
		return []Event{WantCame{d}}
	case wire.KindAsk:
		return []Event{AskCame{d}}
	case wire.KindHave:
		return []Event{HaveCame{d}}
	default:
		return []Event{DigestCame{Digest: d}}
	}
}

// FuzzControl: whatever a neighbour says of itself and of others, rightly signed or not, the core neither panics nor grows out of proportion, what it sends
// for it is bounded, and its links stay.
func FuzzControl(f *testing.F) {
	base := newRig(f, 0)
	b := base.author(1, 1)
	links, wants := b.links(900, base.id(0), base.id(2)), b.wants(f, "a.b")
	f.Add(wire.AppendRecords(nil, links.Raw, wants.Raw, b.wants(f, "c.d").Raw), false)
	f.Add(wire.AppendRecords(nil, base.author(7, 1<<60).links(1, base.id(1)).Raw), true)
	f.Add(wire.AppendRecords(nil, base.author(0, 1<<60).links(1, base.id(1)).Raw), true)
	f.Add(wire.AppendRecords(nil, b.record(wire.RecordLinks, []byte("no links"), true).Raw, b.record(wire.RecordInterest, []byte("none"), false).Raw), true)
	entries := []wire.DigestEntry{{Origin: base.id(0), Kind: wire.RecordLinks}, {Origin: base.id(5), Kind: wire.RecordInterest, Stamp: wire.Stamp{Boot: 1 << 63, Version: 9}}}
	for _, kind := range []wire.Kind{wire.KindDigest, wire.KindWant, wire.KindAsk, wire.KindHave, wire.KindNews} {
		f.Add(wire.AppendDigest(nil, kind, &wire.Digest{From: base.id(1), Entries: entries}), false)
	}
	sums := wire.Sums{From: base.id(1)}
	sums.Add(entries[1])
	f.Add(wire.AppendSums(nil, &sums), false)
	f.Fuzz(func(t *testing.T, frame []byte, second bool) {
		if len(frame) == 0 {
			return
		}
		r := newRig(t, 0)
		r.up(1)
		r.up(2)
		from := r.id(1)
		if second {
			from = r.id(2)
		}
		events := frameEvents(frame, from)
		if events == nil {
			return
		}
		defer alloc.Bound(t, 8<<20+1024*len(frame))()
		sent := 0
		for range 3 {
			for _, s := range of[SendControl](r.step(events...)) {
				sent += len(s.Frame)
			}
			r.pass(time.Second)
		}
		if sent > 64<<10+128*len(frame) {
			t.Errorf("%d bytes had it send %d", len(frame), sent)
		}
		if n := r.c.strangers(); n > strangersMost || len(r.c.wants) > wantsMost {
			t.Errorf("%d strangers, %d wants", n, len(r.c.wants))
		}
		for i := 1; i < 3; i++ {
			if p := r.c.peers[r.id(i)]; p == nil || !p.up {
				t.Errorf("the link to %v is down", r.id(i))
			}
		}
	})
}
