package wan

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/testdata"
)

const wonderproxy = "../../testdata/latency/wonderproxy245_2020-07"

// mustParse is ParseMatrix for input that is known to be good.
func mustParse(t testing.TB, text string) *Matrix {
	t.Helper()
	m, err := ParseMatrix(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// readMatrix reads one of the measured edge lists.
func readMatrix(t testing.TB, path string) *Matrix {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(data))
}

// checkError wants an error that begins with a prefix and says something.
func checkError(t *testing.T, err error, prefix, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one with %q", err, want)
	}
}

func TestMatrixSmall(t *testing.T) {
	m := mustParse(t, "mdev_ms,to,ignored,rtt_ms,from\n"+
		"0.5,b,x,10,a\n"+
		"0.7,a,x,12.5,b\n"+
		"2,a,x,30.000002,c\n"+
		"0,d,x,7,c\n")
	if got, want := m.Names(), []string{"a", "b", "c", "d"}; !slices.Equal(got, want) || m.Len() != 4 {
		t.Fatalf("names %q, length %d; want %q", got, m.Len(), want)
	}
	if i, ok := m.Index("c"); !ok || i != 2 {
		t.Errorf("Index(c) = %d, %v", i, ok)
	}
	if _, ok := m.Index("nowhere"); ok {
		t.Error("Index(nowhere) found a site")
	}
	tests := []struct {
		from, to      int
		delay, jitter time.Duration
		ok            bool
	}{
		{0, 0, 0, 0, true},
		{0, 1, 5 * time.Millisecond, 250 * time.Microsecond, true},
		{1, 0, 6250 * time.Microsecond, 350 * time.Microsecond, true},
		{2, 0, 15_000_001, time.Millisecond, true},
		{0, 2, 15_000_001, time.Millisecond, true}, // only the other direction was measured
		{3, 2, 3500 * time.Microsecond, 0, true},
		{1, 2, 0, 0, false},
		{0, 3, 0, 0, false},
	}
	for _, tt := range tests {
		delay, ok := m.OneWay(tt.from, tt.to)
		if jitter := m.Jitter(tt.from, tt.to); delay != tt.delay || ok != tt.ok || jitter != tt.jitter {
			t.Errorf("%d to %d: %v ± %v, %v; want %v ± %v, %v",
				tt.from, tt.to, delay, jitter, ok, tt.delay, tt.jitter, tt.ok)
		}
	}
}

func TestMatrixRefuses(t *testing.T) {
	var crowd strings.Builder
	crowd.WriteString("from,to,rtt_ms\n")
	for i := range MaxSites {
		crowd.WriteString("hub,s" + strconv.Itoa(i) + ",1\n")
	}
	const head = "from,to,rtt_ms,mdev_ms\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "no header"},
		{"no rows", head, "no rows"},
		{"no rtt", "from,to\na,b\n", `line 1: no column "rtt_ms"`},
		{"column twice", "from,to,rtt_ms,to\n", `line 1: column "to" is given twice`},
		{"short row", head + "a,b,1,1\na,b,1\n", "line 3"},
		{"bare quote", head + "a,b\",1,1\n", "line 2"},
		{"no number", head + "a,b,fast,1\n", "line 2: rtt_ms"},
		{"empty number", head + "a,b,,1\n", "line 2: rtt_ms"},
		{"negative", head + "a,b,-3,1\n", "line 2: rtt_ms"},
		{"zero", head + "a,b,0,1\n", "line 2: rtt_ms"},
		{"less than a nanosecond", head + "a,b,1e-9,1\n", "line 2: rtt_ms"},
		{"NaN", head + "a,b,NaN,1\n", "line 2: rtt_ms"},
		{"infinite", head + "a,b,Inf,1\n", "line 2: rtt_ms"},
		{"over a minute", head + "a,b,60000.1,1\n", "line 2: rtt_ms"},
		{"negative deviation", head + "a,b,3,-1\n", "line 2: mdev_ms"},
		{"NaN deviation", head + "\na,b,3,nan\n", "line 3: mdev_ms"},
		{"itself", head + "a,a,3,1\n", "line 2: to: a site's round trip to itself"},
		{"twice", head + "a,b,3,1\nb,a,3,1\na,b,3,1\n", `line 4: "a" to "b" is given twice`},
		{"no name", head + "a,,3,1\n", "line 2: to"},
		{"long name", head + strings.Repeat("n", 65) + ",b,3,1\n", "line 2: from"},
		{"control character", head + "\"a\nb\",b,3,1\n", "line 2: from"},
		{"not UTF-8", head + "\xff,b,3,1\n", "line 2: from"},
		{"too many sites", crowd.String(), "line 1025: more than 1024 sites"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseMatrix(strings.NewReader(tt.text))
			checkError(t, err, "wan: parse latency matrix: ", tt.want)
		})
	}
}

func TestMatrixSubset(t *testing.T) {
	m := mustParse(t, string(testdata.Metro36CSV()))
	sub, err := m.Subset([]string{"Tokyo", "Paris", "Toronto"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Paris", "Tokyo", "Toronto"}; !slices.Equal(sub.Names(), want) {
		t.Fatalf("names %q; want %q", sub.Names(), want)
	}
	for i, from := range sub.Names() {
		for j, to := range sub.Names() {
			a, _ := m.Index(from)
			b, _ := m.Index(to)
			got, gotOK := sub.OneWay(i, j)
			want, wantOK := m.OneWay(a, b)
			if got != want || gotOK != wantOK || sub.Jitter(i, j) != m.Jitter(a, b) {
				t.Errorf("%s to %s: %v, %v; want %v, %v", from, to, got, gotOK, want, wantOK)
			}
		}
	}
	for _, names := range [][]string{{"Paris", "Atlantis"}, {"Paris", "Tokyo", "Paris"}} {
		if _, err := m.Subset(names); err == nil {
			t.Errorf("Subset(%q) is no error", names)
		}
	}
}

func TestMatrixSpread(t *testing.T) {
	m := mustParse(t, string(testdata.Metro36CSV()))
	all := m.Spread(m.Len() + 5)
	if !slices.Equal(slices.Sorted(slices.Values(all)), m.Names()) {
		t.Errorf("a spread over all sites is not all sites: %q", all)
	}
	for n := -1; n <= m.Len(); n++ {
		if got := m.Spread(n); !slices.Equal(got, all[:max(n, 0)]) {
			t.Errorf("Spread(%d) = %q is not a prefix of %q", n, got, all)
		}
	}
	nearest := func(names []string) time.Duration {
		least := Unreachable
		for i, a := range names {
			for _, b := range names[:i] {
				x, _ := m.Index(a)
				y, _ := m.Index(b)
				least = min(least, m.distance(x, y))
			}
		}
		return least
	}
	// The farthest-point order is within a factor of two of the best choice; here the nearest two of six are 100 ms
	// apart.
	if least := nearest(all[:6]); least < 100*time.Millisecond {
		t.Errorf("the nearest two of %q are %v apart", all[:6], least)
	}
	// A site that nothing is known about is no reason to pick it.
	gap := mustParse(t, "from,to,rtt_ms\na,b,1\nc,d,9\nc,a,9\nd,a,9\nc,b,5\nd,b,5\n")
	if got, want := gap.Spread(3), []string{"a", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("Spread(3) = %q; want %q", got, want)
	}
	island := mustParse(t, "from,to,rtt_ms\na,b,1\nc,d,9\n")
	if got, want := island.Spread(4), []string{"c", "d", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("Spread(4) = %q; want %q", got, want)
	}
}

func TestMatrixOracle(t *testing.T) {
	m := mustParse(t, "from,to,rtt_ms\na,b,20\nb,c,20\na,c,100\nc,d,20\ne,f,2\n")
	best := m.Oracle(time.Millisecond)
	const ms = time.Millisecond
	want := [][]time.Duration{
		{0, 10 * ms, 21 * ms, 32 * ms, Unreachable, Unreachable},
		{10 * ms, 0, 10 * ms, 21 * ms, Unreachable, Unreachable},
		{21 * ms, 10 * ms, 0, 10 * ms, Unreachable, Unreachable},
		{32 * ms, 21 * ms, 10 * ms, 0, Unreachable, Unreachable},
		{Unreachable, Unreachable, Unreachable, Unreachable, 0, ms},
		{Unreachable, Unreachable, Unreachable, Unreachable, ms, 0},
	}
	for i, row := range best {
		if !slices.Equal(row, want[i]) {
			t.Errorf("from %d: %v; want %v", i, row, want[i])
		}
	}
	if best := m.Oracle(time.Hour * 1e6); best[0][2] != 50*ms || best[0][3] != time.Hour+60*ms {
		t.Errorf("with dear relays: %v, %v; want the direct path and one relay", best[0][2], best[0][3])
	}
	if best := m.Oracle(-time.Hour); best[0][3] != 30*ms {
		t.Errorf("with a negative hop: %v; want relays to cost nothing", best[0][3])
	}
}

// Against the naive search: every simple path.
func TestMatrixOracleProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(2, 5).Draw(t, "sites")]
		m := newMatrix(names)
		for i := range names {
			for j := range names {
				if i != j && rapid.IntRange(0, 3).Draw(t, "known") > 0 {
					m.rtt[m.at(i, j)] = 2 * time.Duration(rapid.IntRange(1, 50).Draw(t, "rtt"))
				}
			}
		}
		hop := time.Duration(rapid.IntRange(0, 20).Draw(t, "hop"))
		best := m.Oracle(hop)
		for i := range names {
			for j := range names {
				if want := shortest(m, hop, []int{i}, j); best[i][j] != want {
					t.Fatalf("%d to %d: %v; want %v", i, j, best[i][j], want)
				}
			}
		}
	})
}

// shortest tries every simple path that begins with the given sites.
func shortest(m *Matrix, hop time.Duration, path []int, to int) time.Duration {
	at := path[len(path)-1]
	if at == to {
		return 0
	}
	best := Unreachable
	for next := range m.Len() {
		delay, ok := m.OneWay(at, next)
		if !ok || slices.Contains(path, next) {
			continue
		}
		rest := shortest(m, hop, append(slices.Clone(path), next), to)
		if rest == Unreachable {
			continue
		}
		if next != to {
			rest += hop
		}
		best = min(best, delay+rest)
	}
	return best
}

func TestMeasuredMatrices(t *testing.T) {
	metro, wide := mustParse(t, string(testdata.Metro36CSV())), readMatrix(t, wonderproxy+".csv")
	tests := []struct {
		name          string
		m             *Matrix
		sites, gaps   int
		delay, jitter time.Duration // Toronto to Paris
	}{
		{"metro36", metro, 36, 0, 46_275 * time.Microsecond, 190 * time.Microsecond},
		{"wonderproxy245", wide, 245, 2 * 28, 46_275 * time.Microsecond, 190 * time.Microsecond},
	}
	for _, tt := range tests {
		if tt.m.Len() != tt.sites {
			t.Errorf("%s: %d sites; want %d", tt.name, tt.m.Len(), tt.sites)
		}
		gaps := 0
		for i := range tt.m.Len() {
			for j := range tt.m.Len() {
				if _, ok := tt.m.OneWay(i, j); !ok {
					gaps++
				}
			}
		}
		if gaps != tt.gaps {
			t.Errorf("%s: %d ordered pairs without a path; want %d", tt.name, gaps, tt.gaps)
		}
		from, _ := tt.m.Index("Toronto")
		to, _ := tt.m.Index("Paris")
		if delay, _ := tt.m.OneWay(from, to); delay != tt.delay || tt.m.Jitter(from, to) != tt.jitter {
			t.Errorf("%s: Toronto to Paris %v ± %v; want %v ± %v",
				tt.name, delay, tt.m.Jitter(from, to), tt.delay, tt.jitter)
		}
	}
}

func TestMeasuredPlaces(t *testing.T) {
	wideCSV, err := os.ReadFile(wonderproxy + "_nodes.csv")
	if err != nil {
		t.Fatal(err)
	}
	metro, wide := mustParse(t, string(testdata.Metro36CSV())), readMatrix(t, wonderproxy+".csv")
	for _, tt := range []struct {
		m   *Matrix
		csv []byte
	}{{metro, testdata.Metro36Places()}, {wide, wideCSV}} {
		places, err := ParsePlaces(bytes.NewReader(tt.csv))
		if err != nil {
			t.Fatal(err)
		}
		if len(places) != tt.m.Len() {
			t.Errorf("%d places for %d sites", len(places), tt.m.Len())
		}
		for _, name := range tt.m.Names() {
			if p, ok := places[name]; !ok || p.Name != name {
				t.Errorf("site %q has no place", name)
			}
		}
		if got, want := places["Auckland"].Country, "New Zealand"; got != want {
			t.Errorf("Auckland is in %q; want %q", got, want)
		}
	}
}

func TestPlacesRefuse(t *testing.T) {
	const head = "id,country,lat,lon\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "no header"},
		{"no lon", "id,country,lat\n", `line 1: no column "lon"`},
		{"no name", head + ",X,1,1\n", "line 2: id"},
		{"no country", head + "a,,1,1\n", "line 2: country"},
		{"beyond the pole", head + "a,X,90.1,1\n", "line 2: lat"},
		{"beyond the date line", head + "a,X,1,-180.1\n", "line 2: lon"},
		{"NaN", head + "a,X,NaN,1\n", "line 2: lat"},
		{"twice", head + "a,X,1,1\na,X,1,1\n", `line 3: id: "a" is given twice`},
		{"short row", head + "a,X,1\n", "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePlaces(strings.NewReader(tt.text))
			checkError(t, err, "wan: parse places: ", tt.want)
		})
	}
}
