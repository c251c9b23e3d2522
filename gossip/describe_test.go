package gossip

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// said is a description of a run of a node, as it says it.
func said(number int, boot uint64, edition uint32) (name string, raw []byte) {
	m := wire.Meta{Boot: boot, Edition: edition}
	return memberName(idFor(number), boot), wire.AppendMeta(nil, &m, addrOf(number), keyFor(number))
}

func TestDescriptions(t *testing.T) {
	now := time.Unix(1e9, 0)
	var stats Stats
	var log bytes.Buffer
	d := newDescriptions(&stats, zerolog.New(&log))
	name, second := said(1, 5, 2)
	_, first := said(1, 5, 1)
	_, third := said(1, 5, 3)
	later, restarted := said(1, 6, 1)
	_, other := said(2, 5, 9)
	forged := wire.AppendMeta(nil, &wire.Meta{Boot: 5, Edition: 2, Name: "x"}, addrOf(1), keyFor(1))
	spoilt := append([]byte(nil), third...)
	spoilt[len(spoilt)-1] ^= 1
	for _, tt := range []struct {
		what, name string
		raw        []byte
		at         int // whose address
		want       error
		counter    func() uint64 // that moves
	}{
		{"the first that is heard", name, second, 1, nil, nil},
		{"the same again", name, second, 1, nil, nil},
		{"an earlier edition", name, first, 1, errOutdated, nil},
		{"the same at another address", name, second, 2, errOutdated, stats.Forged.Load},
		{"the same edition with other words", name, forged, 1, errOutdated, stats.Forged.Load},
		{"a later edition, badly signed", name, spoilt, 1, wire.ErrSignature, stats.Forged.Load},
		{"a later edition at another address", name, third, 2, wire.ErrSignature, stats.Forged.Load},
		{"another node's", name, other, 2, wire.ErrMeta, stats.Refused.Load},
		{"another run's", name, restarted, 1, wire.ErrMeta, stats.Refused.Load},
		{"nothing", name, nil, 1, wire.ErrTruncated, stats.Refused.Load},
		{"a later edition", name, third, 1, nil, nil},
		{"what was the newest before", name, second, 1, errOutdated, nil},
		{"a later run at another address", later, restarted, 2, wire.ErrSignature, stats.Forged.Load},
		{"a later run", later, restarted, 1, nil, nil},
		{"the earlier run still", name, third, 1, nil, nil},
	} {
		sum := func() uint64 {
			return stats.Forged.Load() + stats.Refused.Load() + stats.Unchecked.Load() + stats.Crowded.Load()
		}
		before, all := uint64(0), sum()
		if tt.counter != nil {
			before = tt.counter()
		}
		if err := d.check(tt.name, tt.raw, addrOf(tt.at), now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
		switch {
		case tt.counter == nil && sum() != all:
			t.Errorf("%s: counted", tt.what)
		case tt.counter != nil && (tt.counter() != before+1 || sum() != all+1):
			t.Errorf("%s: not counted once", tt.what)
		}
	}
	for range 2 { // a line a minute of each kind
		if forged, unread := bytes.Count(log.Bytes(), []byte("has not signed")), bytes.Count(log.Bytes(), []byte("another version")); forged != 1 || unread != 1 {
			t.Errorf("%d lines of what is forged, %d of what cannot be read", forged, unread)
		}
		log.Reset()
		now = now.Add(tellEvery)
		_, _ = d.check(name, spoilt, addrOf(1), now), d.check(name, nil, addrOf(1), now)
	}
}

// However much is forged, so many signatures are checked and no more; what is known is taken all the while.
func TestDescriptionsAreCheckedWithinBounds(t *testing.T) {
	now := time.Unix(1e9, 0)
	var stats Stats
	d := newDescriptions(&stats, zerolog.Nop())
	name, known := said(1, 1, 1)
	_, spoilt := said(1, 1, math.MaxUint32)
	spoilt[len(spoilt)-1] ^= 1
	flood := func(n int) (checked int) {
		for range n {
			if d.mayCheck(now) {
				checked++
			}
		}
		return checked
	}
	if err := d.check(name, known, addrOf(1), now); err != nil {
		t.Fatal(err)
	}
	if got := flood(2 * checksSaved); got != checksSaved-1 {
		t.Errorf("%d checked at once, want %d", got, checksSaved-1)
	}
	now = now.Add(time.Second)
	if got, want := flood(1000), int(time.Second/checkEach); got != want {
		t.Errorf("%d checked in a second, want %d", got, want)
	}
	if err := d.check(name, spoilt, addrOf(1), now); !errors.Is(err, errUnchecked) || stats.Forged.Load() != 0 || stats.Unchecked.Load() != 1 {
		t.Errorf("what is forged: %v, want %v", err, errUnchecked)
	}
	if err := d.check(name, known, addrOf(1), now); err != nil {
		t.Errorf("what is known: %v", err)
	}
	newName, newcomer := said(2, 1, 1)
	if err := d.check(newName, newcomer, addrOf(2), now); !errors.Is(err, errUnchecked) {
		t.Errorf("a newcomer in the flood: %v", err)
	}
	if err := d.check(newName, newcomer, addrOf(2), now.Add(checkEach)); err != nil {
		t.Errorf("a newcomer after it: %v", err)
	}
}

// Whoever has the secret can make up nodes, but others hold only so many.
func TestDescriptionsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	var stats Stats
	d := newDescriptions(&stats, zerolog.Nop())
	for i := range membersMost {
		d.runs[memberName(wire.NodeID(i+1), 1)] = &description{alive: true}
	}
	name, raw := said(1, 1, 1)
	if err := d.check(name, raw, addrOf(1), now); !errors.Is(err, errCrowded) || stats.Crowded.Load() != 1 {
		t.Errorf("%v, want %v", err, errCrowded)
	}
	d.live(memberName(7, 1), false)
	if err := d.check(name, raw, addrOf(1), now); err != nil || len(d.runs) != membersMost {
		t.Errorf("in the place of one that has left: %v, %d runs", err, len(d.runs))
	}
}
