package core

import (
	"math"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"pgregory.net/rapid"
)

func (r *rig) memberAt(i int, lat, lon float64) MemberUp {
	e := r.member(i, 1)
	e.Meta.Located, e.Meta.Lat, e.Meta.Lon = true, lat, lon
	return e
}

func TestLight(t *testing.T) {
	at := func(lat, lon float64) spot { return spotOf(wire.Meta{Located: true, Lat: lat, Lon: lon}) }
	for name, tt := range map[string]struct {
		a, b spot
		want float64 // ms
	}{
		"London to Sydney":    {at(51.51, -0.13), at(-33.87, 151.21), 56.7},
		"pole to pole":        {at(90, 0), at(-90, 77), math.Pi * earthKM / lightKM / 1000},
		"across the dateline": {at(0, 179.9), at(0, -179.9), 0.0742},
		"here":                {at(47.4, 8.5), at(47.4, 8.5), 0},
		"unknown":             {at(47.4, 8.5), spot{}, 0},
	} {
		got := float64(light(tt.a, tt.b)) / 1000
		if math.Abs(got-tt.want) > 0.01*tt.want+0.002 {
			t.Errorf("%s: %.3f ms, want %.3f", name, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) spot {
			return at(rapid.Float64Range(-90, 90).Draw(t, name+" lat"), rapid.Float64Range(-180, 180).Draw(t, name+" lon"))
		}
		a, b := draw("a"), draw("b")
		if there, back := light(a, b), light(b, a); there != back || float64(there) > math.Pi*earthKM/lightKM {
			t.Fatalf("%d there, %d back", there, back)
		}
	})
}

// Links that claim to be faster than light count as that fast, whoever claims so and whichever of claims and places come first, and are told of.
func TestFasterThanLight(t *testing.T) {
	const least, most = 65_700, 65_900 // µs between these antipodes, about
	for _, placesFirst := range []bool{true, false} {
		r := newRig(t, 0)
		r.echo[r.id(1)], r.echo[r.id(2)] = 1_000_000, 1_000_000
		where := []Event{r.memberAt(1, -0.2, -78.5), r.memberAt(2, 1.3, 103.8)}
		if placesFirst {
			r.step(where...)
		} else {
			r.step(r.member(1, 1), r.member(2, 1))
		}
		r.step(r.open(1, 1), r.open(2, 1))
		r.pass(200e6)
		effects := r.step(r.records(1, r.author(1, 1).links(1, r.id(0), r.id(2)), r.author(2, 1).links(1, r.id(0), r.id(1))))
		if !placesFirst {
			if cost, _ := r.c.db.Cost(r.id(1), r.id(2)); cost != 1 {
				t.Errorf("without places the link costs %d", cost)
			}
			effects = r.step(where...)
		}
		told := map[wire.NodeID]bool{}
		for _, e := range of[TooFast](effects) {
			told[e.Origin] = true
		}
		if cost, ok := r.c.db.Cost(r.id(1), r.id(2)); !ok || cost < least || cost > most || !told[r.id(1)] || !told[r.id(2)] {
			t.Errorf("places first %v: the link costs %d, told of %v", placesFirst, cost, told)
		}
		if cost, ok := r.c.db.Cost(r.id(0), r.id(1)); !ok || cost > 2000 {
			t.Errorf("the link to where this node is not known to be costs %d", cost)
		}
	}
}

// A node's own measurement does not count for more than light does, either.
func TestEchoesFasterThanLight(t *testing.T) {
	r := newRig(t, 0)
	r.c.spot = spotOf(wire.Meta{Located: true, Lat: 1.3, Lon: 103.8})
	r.step(r.memberAt(1, -0.2, -78.5))
	r.echo[r.id(1)] = 1_000_000
	r.step(r.open(1, 1))
	effects := r.passed(2e9)
	if len(r.c.vector) != 1 || r.c.vector[0].Cost < 65_700 {
		t.Errorf("advertised %v", r.c.vector)
	}
	if told := of[TooFast](effects); len(told) == 0 || told[0].Origin != r.id(1) {
		t.Errorf("told of %v", told)
	}
}

// Records of nodes that are not active take a bounded amount of memory, however many there are.
func TestStrangersBytesAreBounded(t *testing.T) {
	r := newRig(t, 0)
	r.up(1)
	body := make([]byte, 1<<20)
	keys := coreKeys(50)
	for _, key := range keys {
		a := newAuthor(key, 1)
		r.step(r.records(1, a.record(wire.RecordInterest, body, true), a.links(5, r.id(1))))
	}
	if n := r.c.strangerBytes(); n > strangerBytesMost+len(keys)*smallRecord || n < strangerBytesMost/2 {
		t.Errorf("%d bytes of strangers", n)
	}
	r.step(r.member(2, 1))
	r.step(r.records(1, r.author(2, 1).record(wire.RecordInterest, body, true)))
	if got := r.c.store.stamp(RecordKey{r.id(2), wire.RecordInterest}); got.Version != 1 {
		t.Error("a member's record found no room")
	}
}
