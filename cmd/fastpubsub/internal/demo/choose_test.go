package demo

import (
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

// data is the measured data, as the demo uses it.
func data(t testing.TB) (*wan.Matrix, map[string]wan.Place) {
	t.Helper()
	matrix, places, err := measured()
	if err != nil {
		t.Fatal(err)
	}
	return matrix, places
}

func TestContinents(t *testing.T) {
	_, places := data(t)
	want := map[continent][]string{
		africa:       {"Johannesburg", "Lagos", "Nairobi"},
		asia:         {"Bangalore", "Dubai", "HongKong", "NewDelhi", "Seoul", "Singapore", "Taipei", "TelAviv", "Tokyo"},
		europe:       {"Frankfurt", "Istanbul", "London", "Madrid", "Milan", "Moscow", "Paris", "Stockholm", "Warsaw"},
		northAmerica: {"Chicago", "Dallas", "LosAngeles", "Mexico", "Miami", "NewYork", "Seattle", "Toronto", "Washington"},
		oceania:      {"Auckland", "Sydney"},
		southAmerica: {"Bogota", "Lima", "Santiago", "SaoPaulo"},
	}
	got := map[continent][]string{}
	for name, place := range places {
		got[continentOf(place)] = append(got[continentOf(place)], name)
	}
	for c, names := range want {
		slices.Sort(got[c])
		if !slices.Equal(got[c], names) {
			t.Errorf("continent %d: %v, want %v", c, got[c], names)
		}
	}
}

func TestChoose(t *testing.T) {
	matrix, places := data(t)
	for _, c := range []struct{ n, faster int }{{2, 0}, {3, 1}, {6, 7}, {8, 14}, {12, 30}, {36, 197}} {
		names, err := choose(matrix, places, c.n)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := choose(matrix, places, c.n)
		if !slices.Equal(names, again) {
			t.Errorf("n=%d: %v, then %v", c.n, names, again)
		}
		if len(names) != c.n || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != c.n {
			t.Errorf("n=%d: %v", c.n, names)
		}
		continents := map[continent]bool{}
		for _, name := range names {
			continents[continentOf(places[name])] = true
		}
		if len(continents) < min(c.n, 6) {
			t.Errorf("n=%d: %d continents: %v", c.n, len(continents), names)
		}
		if got := fasterPairs(t, matrix, names); got < c.faster {
			t.Errorf("n=%d: %d pairs are faster by a relay, want %d: %v", c.n, got, c.faster, names)
		}
	}
	if _, err := choose(matrix, nil, 8); err == nil {
		t.Error("a choice without places")
	}
}

func fasterPairs(t *testing.T, matrix *wan.Matrix, names []string) int {
	t.Helper()
	sub, err := matrix.Subset(names)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for from, row := range sub.Oracle(relayCost) {
		for to, best := range row {
			if direct, _ := sub.OneWay(from, to); faster(direct, best) {
				n++
			}
		}
	}
	return n
}

// Both directions of a pair are the mean of what was measured, so that a round trip is what it was.
func TestSymmetric(t *testing.T) {
	matrix, _ := data(t)
	for i := range matrix.Len() {
		for j := range matrix.Len() {
			there, _ := matrix.OneWay(i, j)
			back, _ := matrix.OneWay(j, i)
			if there != back || matrix.Jitter(i, j) != matrix.Jitter(j, i) || (there == 0) != (i == j) {
				t.Fatalf("%d to %d: %v and %v", i, j, there, back)
			}
		}
	}
	from, _ := matrix.Index("Toronto")
	to, _ := matrix.Index("Paris")
	if got, _ := matrix.OneWay(from, to); ms(got) < 45 || ms(got) > 47 { // measured: 92.55 and 92.27 ms there and back
		t.Errorf("Toronto to Paris %v", got)
	}
}
