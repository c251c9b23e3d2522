package mesh

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// What a peer says of others, or of itself, is taken only if it can be meant, and counted against whoever is at fault. Nothing of it gets into routes, interest
// or the store.
func TestRecordsRefused(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 5 * time.Millisecond}, func(c *cluster) {
		a, b, d := c.start(0, 1), c.start(1, 1, 0), c.start(2, 1, 0)
		c.meshed(5 * time.Second)
		time.Sleep(2 * time.Second)
		key := func(i int) ed25519.PrivateKey {
			return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize))
		}
		sign := func(i int, r wire.Record) wire.Record { wire.SignRecord(&r, key(i)); return r }
		links := wire.AppendLinks(nil, []wire.Link{{To: a.ID(), Cost: 1}})
		good := sign(1, wire.Record{Boot: 1, Kind: wire.RecordLinks, Version: 1000, Body: links})
		spoil := func(change func(raw []byte)) []byte {
			raw := bytes.Clone(good.Raw)
			change(raw)
			return raw
		}
		cut := len(good.Raw) - ed25519.SignatureSize
		next := uint64(1000)
		of := func(body []byte, change func(*wire.Record)) []byte {
			next++
			r := wire.Record{Boot: 1, Kind: wire.RecordLinks, Version: next, Body: body}
			change(&r)
			return sign(1, r).Raw
		}
		none := func(*wire.Record) {}
		for _, tt := range []struct {
			name, fault string
			from, blame wire.NodeID
			raw         []byte
			ends        bool // the link
		}{
			{"forged", "signature", d.ID(), d.ID(), spoil(func(b []byte) { b[len(b)-1] ^= 1 }), true},
			{"altered", "signature", d.ID(), d.ID(), spoil(func(b []byte) { b[cut-1]++ }), true},
			{"of another's key", "signature", d.ID(), d.ID(), spoil(func(b []byte) { copy(b, key(2).Public().(ed25519.PublicKey)) }), true},
			{"of a future run", "future", b.ID(), b.ID(), of(links, func(r *wire.Record) { r.Boot = uint64(time.Now().Add(48 * time.Hour).UnixMilli()) }), false},
			{"of a run at the end of time", "future", b.ID(), b.ID(), of(links, func(r *wire.Record) { r.Boot = math.MaxUint64 }), false},
			{"replayed", "stale", d.ID(), d.ID(), sign(1, wire.Record{Boot: 1, Kind: wire.RecordLinks, Version: 1, Body: links}).Raw, false},
			{"of cost zero", "body", d.ID(), b.ID(), of(append([]byte{1}, make([]byte, 9)...), none), false},
			{"of a cost that overflows", "body", d.ID(), b.ID(), of(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9}, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), none), false},
			{"of too many links", "body", d.ID(), b.ID(), of([]byte{0xff, 0xff, 0x03}, none), false},
			{"links as a delta", "body", d.ID(), b.ID(), of(links, func(r *wire.Record) { r.Base = 1 }), false},
			{"of interest that is none", "body", d.ID(), b.ID(), of([]byte{9, 9}, func(r *wire.Record) { r.Kind = wire.RecordInterest }), false},
			{"of a change of interest that is none", "body", d.ID(), b.ID(), of([]byte{9}, func(r *wire.Record) { r.Kind, r.Base = wire.RecordInterest, 1 }), false},
		} {
			before := a.endpoint.Faults()[tt.blame][tt.fault]
			digest := a.sums()
			err := a.control(tt.from, wire.AppendRecords(nil, tt.raw))
			if tt.ends != errors.Is(err, wire.ErrSignature) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if tt.ends { // as the link's reader does
				a.endpoint.Blame(tt.from, forward.FaultOf(err), 1)
			}
			time.Sleep(time.Millisecond)
			if after := a.endpoint.Faults()[tt.blame][tt.fault]; after != before+1 {
				t.Errorf("%s: %d faults of kind %s before, %d after", tt.name, before, tt.fault, after)
			}
			if !bytes.Equal(a.sums(), digest) {
				t.Errorf("%s: it was taken", tt.name)
			}
		}
		if err := a.control(d.ID(), wire.AppendRecords(nil, good.Raw)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		a.ask(func(c *core.Core) {
			if got := c.Held(core.RecordKey{Origin: b.ID(), Kind: wire.RecordLinks}); got.Version != 1000 {
				t.Errorf("the good one was not taken: %+v", got)
			}
		})
	})
}
