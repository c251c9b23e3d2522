package route

import (
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func TestDatabaseScreensVectors(t *testing.T) {
	tests := []struct {
		name     string
		in, want []Link
	}{
		{"none", nil, []Link{}},
		{"sorted", []Link{{2, 5}, {3, 6}}, []Link{{2, 5}, {3, 6}}},
		{"unsorted", []Link{{9, 1}, {3, 6}, {2, 5}}, []Link{{2, 5}, {3, 6}, {9, 1}}},
		{"to itself", []Link{{2, 5}, {1, 1}}, []Link{{2, 5}}},
		{"to no node", []Link{{0, 5}, {2, 5}}, []Link{{2, 5}}},
		{"cost zero", []Link{{2, 0}, {3, 1}}, []Link{{3, 1}}},
		{"repeated: the worse stays", []Link{{2, 5}, {2, 7}, {2, 0}, {2, 6}}, []Link{{2, 7}}},
		{"extremes", []Link{{^wire.NodeID(0), ^uint32(0)}}, []Link{{^wire.NodeID(0), ^uint32(0)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // R6
			db, given := NewDatabase(), slices.Clone(tt.in)
			if !db.Set(1, given) {
				t.Error("a new origin is no change")
			}
			if !slices.Equal(given, tt.in) {
				t.Errorf("Set changed its argument to %v", given)
			}
			clear(given) // the database must not depend on it
			if got := db.Links(1); !slices.Equal(got, tt.want) {
				t.Errorf("Links = %v; want %v", got, tt.want)
			}
			if db.Set(1, tt.in) {
				t.Error("the same vector again is a change")
			}
		})
	}
}

func TestDatabaseChanges(t *testing.T) {
	db := NewDatabase()
	steps := []struct {
		name    string
		step    func() bool
		changed bool
		origins []wire.NodeID
	}{
		{"first", func() bool { return db.Set(7, []Link{{2, 10}}) }, true, []wire.NodeID{7}},
		{"one before it", func() bool { return db.Set(2, []Link{{7, 12}}) }, true, []wire.NodeID{2, 7}},
		{"no node", func() bool { return db.Set(0, []Link{{7, 12}}) }, false, []wire.NodeID{2, 7}},
		{"same", func() bool { return db.Set(2, []Link{{7, 12}, {2, 4}}) }, false, []wire.NodeID{2, 7}},
		{"other cost", func() bool { return db.Set(2, []Link{{7, 11}}) }, true, []wire.NodeID{2, 7}},
		{"empty", func() bool { return db.Set(5, nil) }, true, []wire.NodeID{2, 5, 7}},
		{"empty again", func() bool { return db.Set(5, []Link{}) }, false, []wire.NodeID{2, 5, 7}},
		{"remove", func() bool { return db.Remove(7) }, true, []wire.NodeID{2, 5}},
		{"remove again", func() bool { return db.Remove(7) }, false, []wire.NodeID{2, 5}},
	}
	for _, s := range steps {
		if changed := s.step(); changed != s.changed {
			t.Errorf("%s: changed = %v", s.name, changed)
		}
		if got := slices.Collect(db.Origins()); !slices.Equal(got, s.origins) || db.Len() != len(s.origins) {
			t.Errorf("%s: origins %v, Len %d; want %v", s.name, got, db.Len(), s.origins)
		}
	}
	if got := db.Links(7); got != nil {
		t.Errorf("Links of a removed origin = %v", got)
	}
}

func TestDatabaseCost(t *testing.T) {
	db := NewDatabase()
	db.Set(1, []Link{{2, 10}, {3, 5}, {4, 9}})
	db.Set(2, []Link{{1, 14}})
	db.Set(3, []Link{{2, 5}})
	tests := []struct {
		a, b wire.NodeID
		cost uint32
		ok   bool
	}{
		{1, 2, 14, true},
		{2, 1, 14, true},
		{1, 3, 0, false}, // 3 does not advertise it
		{3, 1, 0, false},
		{3, 2, 0, false}, // 2 does not advertise it
		{1, 4, 0, false}, // 4 is unknown
		{1, 1, 0, false},
		{8, 9, 0, false},
	}
	for _, tt := range tests { // R1
		if cost, ok := db.Cost(tt.a, tt.b); cost != tt.cost || ok != tt.ok {
			t.Errorf("Cost(%d, %d) = %d, %v; want %d, %v", tt.a, tt.b, cost, ok, tt.cost, tt.ok)
		}
	}
}

func TestDatabaseLinksOutliveChanges(t *testing.T) {
	db := NewDatabase()
	db.Set(1, []Link{{2, 10}, {3, 5}, {3, 6}})
	links := db.Links(1)
	_ = append(links, Link{4, 1})
	db.Set(1, []Link{{2, 99}})
	db.Remove(1)
	if want := []Link{{2, 10}, {3, 6}}; !slices.Equal(links, want) {
		t.Errorf("links became %v; want %v", links, want)
	}
}

func TestDatabaseIsBounded(t *testing.T) {
	db := NewDatabase()
	for id := range wire.NodeID(MaxOrigins) {
		if !db.Set(id+1, nil) {
			t.Fatalf("origin %d refused", id+1)
		}
	}
	if db.Set(MaxOrigins+1, nil) || db.Len() != MaxOrigins {
		t.Errorf("%d origins; want no more than %d", db.Len(), MaxOrigins)
	}
	if !db.Set(7, []Link{{8, 1}}) {
		t.Error("a known origin refused")
	}
}
