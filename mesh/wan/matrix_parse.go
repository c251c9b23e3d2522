package wan

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxMillis   = 60_000 // no round trip on Earth takes a minute
	maxNameSize = 64     // bytes
)

// ParseMatrix reads measured round trips as a CSV edge list. A header names the columns, in any order: from, to, rtt_ms
// (over 0, at most 60,000) and optionally mdev_ms, its mean deviation (0 to 60,000); others are ignored. A pair
// measured in one direction only is taken to be the same in the other. Whatever is wrong is an error that names its
// line.
func ParseMatrix(r io.Reader) (*Matrix, error) {
	edges, err := readEdges(r)
	if err != nil {
		return nil, fmt.Errorf("wan: parse latency matrix: %w", err)
	}
	m, err := assemble(edges)
	if err != nil {
		return nil, fmt.Errorf("wan: parse latency matrix: %w", err)
	}
	return m, nil
}

// edge is one row: the round trip and its mean deviation for an ordered pair.
type edge struct {
	from, to  string
	rtt, mdev time.Duration
	line      int
}

func readEdges(r io.Reader) ([]edge, error) {
	t, err := newCSVTable(r, "from", "to", "rtt_ms")
	if err != nil {
		return nil, err
	}
	var edges []edge
	for t.next() {
		e := edge{from: t.name("from"), to: t.name("to"), line: t.line("from")}
		e.rtt = t.millis("rtt_ms")
		if t.has("mdev_ms") {
			e.mdev = t.millis("mdev_ms")
		}
		if e.from == e.to {
			t.fail("to", "a site's round trip to itself")
		}
		if e.rtt == 0 {
			t.fail("rtt_ms", "a round trip takes time")
		}
		edges = append(edges, e)
	}
	return edges, t.err
}

// assemble builds the matrix of the edges and fills in missing directions.
func assemble(edges []edge) (*Matrix, error) {
	if len(edges) == 0 {
		return nil, errors.New("no rows")
	}
	sites := make(map[string]int)
	for _, e := range edges {
		sites[e.from], sites[e.to] = 0, 0
		if len(sites) > MaxSites {
			return nil, fmt.Errorf("line %d: more than %d sites", e.line, MaxSites)
		}
	}
	m := newMatrix(slices.Sorted(maps.Keys(sites)))
	for i, name := range m.names {
		sites[name] = i
	}
	for _, e := range edges {
		at := m.at(sites[e.from], sites[e.to])
		if m.rtt[at] != unmeasured {
			return nil, fmt.Errorf("line %d: %q to %q is given twice", e.line, e.from, e.to)
		}
		m.rtt[at], m.jitter[at] = e.rtt, e.mdev
	}
	for i := range m.names {
		for j := range i {
			there, back := m.at(i, j), m.at(j, i)
			if m.rtt[there] == unmeasured {
				there, back = back, there
			}
			if m.rtt[back] == unmeasured {
				m.rtt[back], m.jitter[back] = m.rtt[there], m.jitter[there]
			}
		}
	}
	return m, nil
}

// Place is where a site is.
type Place struct {
	Name, Country string
	Lat, Lon      float64 // degrees, north and east positive
}

// ParsePlaces reads the places of sites as CSV, by name. A header names the columns, in any order: id (the name),
// country, lat (-90 to 90) and lon (-180 to 180); others are ignored. Whatever is wrong is an error that names its
// line.
func ParsePlaces(r io.Reader) (map[string]Place, error) {
	places, err := readPlaces(r)
	if err != nil {
		return nil, fmt.Errorf("wan: parse places: %w", err)
	}
	return places, nil
}

func readPlaces(r io.Reader) (map[string]Place, error) {
	t, err := newCSVTable(r, "id", "country", "lat", "lon")
	if err != nil {
		return nil, err
	}
	places := make(map[string]Place)
	for t.next() {
		p := Place{Name: t.name("id"), Country: t.name("country")}
		p.Lat, p.Lon = t.number("lat", -90, 90), t.number("lon", -180, 180)
		if _, twice := places[p.Name]; twice {
			t.fail("id", "%q is given twice", p.Name)
		}
		if len(places) == MaxSites {
			t.fail("id", "more than %d places", MaxSites)
		}
		places[p.Name] = p
	}
	if t.err != nil {
		return nil, t.err
	}
	return places, nil
}

// csvTable reads the rows of a CSV file with a header. The first error ends it, and stays in err.
type csvTable struct {
	reader  *csv.Reader
	columns map[string]int
	row     []string
	err     error
}

func newCSVTable(r io.Reader, required ...string) (*csvTable, error) {
	t := &csvTable{reader: csv.NewReader(r), columns: make(map[string]int)}
	header, err := t.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("no header")
	}
	if err != nil {
		return nil, err
	}
	for i, name := range header {
		if _, twice := t.columns[name]; twice {
			return nil, fmt.Errorf("line 1: column %q is given twice", name)
		}
		t.columns[name] = i
	}
	for _, name := range required {
		if !t.has(name) {
			return nil, fmt.Errorf("line 1: no column %q", name)
		}
	}
	t.reader.ReuseRecord = true
	return t, nil
}

// next reads a row; false at the end and after an error.
func (t *csvTable) next() bool {
	if t.err != nil {
		return false
	}
	row, err := t.reader.Read()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			t.err = err // it names its line
		}
		return false
	}
	t.row = row
	return true
}

func (t *csvTable) has(column string) bool {
	_, ok := t.columns[column]
	return ok
}

// line is where a column of the row stands; a quoted field may span lines.
func (t *csvTable) line(column string) int {
	line, _ := t.reader.FieldPos(t.columns[column])
	return line
}

// fail records the first error of the row.
func (t *csvTable) fail(column, format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("line %d: %s: %s", t.line(column), column, fmt.Sprintf(format, args...))
	}
}

// name is a field of printable text: names end in logs and on the dashboard.
func (t *csvTable) name(column string) string {
	text := t.row[t.columns[column]]
	if text == "" || len(text) > maxNameSize || !utf8.ValidString(text) {
		t.fail(column, "%.80q is not a name of 1 to %d bytes", text, maxNameSize)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			t.fail(column, "%.80q holds a character that does not print", text)
		}
	}
	return text
}

// number is a field that is a number from low to high; NaN is none.
func (t *csvTable) number(column string, low, high float64) float64 {
	text := t.row[t.columns[column]]
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) {
		t.fail(column, "%.80q is not a number from %v to %v", text, low, high)
		return 0
	}
	return v
}

// millis is a field in milliseconds, to the nanosecond.
func (t *csvTable) millis(column string) time.Duration {
	return time.Duration(math.Round(t.number(column, 0, maxMillis) * float64(time.Millisecond)))
}
