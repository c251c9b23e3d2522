package route

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// model is the claims of all nodes, origin and neighbor to cost: the naive twin of Database, with an oracle on top.
type model map[wire.NodeID]map[wire.NodeID]uint32

// length is the naive twin of metric.
type length struct {
	cost uint64
	hops int
}

func (a length) plus(b length) length { return length{a.cost + b.cost, a.hops + b.hops} }

func (a length) compare(b length) int {
	return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.hops, b.hops))
}

func (a length) reported() uint32 { return uint32(min(a.cost, math.MaxUint32)) }

// link is the length of a usable link.
func (m model) link(a, b wire.NodeID) (length, bool) {
	there, ok1 := m[a][b]
	back, ok2 := m[b][a]
	return length{uint64(max(there, back)), 1}, ok1 && ok2 && a != b
}

func (m model) nodes() []wire.NodeID { return slices.Sorted(maps.Keys(m)) }

// database fills a database in the given order of origins.
func (m model) database(order []wire.NodeID) *Database {
	db := NewDatabase()
	for _, origin := range order {
		var links []Link
		for to, cost := range m[origin] {
			links = append(links, Link{to, cost}) // in the map's random order
		}
		db.Set(origin, links)
	}
	return db
}

// tables is every node's table over the same database.
func (m model) tables() map[wire.NodeID]*Table {
	db, tables := m.database(m.nodes()), make(map[wire.NodeID]*Table)
	for id := range m {
		tables[id] = Compute(id, db)
	}
	return tables
}

// distances is Bellman–Ford, as naive as can be: from each of the given nodes to every node it reaches.
func (m model) distances(origins []wire.NodeID) map[wire.NodeID]map[wire.NodeID]length {
	type link struct {
		from, to wire.NodeID
		length   length
	}
	var links []link
	for a := range m {
		for b := range m {
			if l, ok := m.link(a, b); ok {
				links = append(links, link{a, b, l})
			}
		}
	}
	all := make(map[wire.NodeID]map[wire.NodeID]length)
	for _, from := range origins {
		dist := map[wire.NodeID]length{from: {}}
		for changed := true; changed; {
			changed = false
			for _, l := range links {
				d, ok := dist[l.from]
				if !ok {
					continue
				}
				old, ok := dist[l.to]
				if d = d.plus(l.length); !ok || d.compare(old) < 0 {
					dist[l.to], changed = d, true
				}
			}
		}
		all[from] = dist
	}
	return all
}

// route is what Compute must say, straight from the definitions in the package comment.
func (m model) route(self, dst wire.NodeID, dist map[wire.NodeID]map[wire.NodeID]length) (Route, bool) {
	best, ok := dist[self][dst]
	if !ok || self == dst {
		return Route{}, false
	}
	r := Route{Cost: best.reported(), Hops: uint8(min(best.hops, math.MaxUint8))}
	if direct, ok := m.link(self, dst); ok {
		r.DirectCost = direct.reported()
	}
	for _, n := range m.nodes() {
		l, linked := m.link(self, n)
		onward, reached := dist[n][dst]
		if linked && reached && l.plus(onward) == best {
			r.NextHop = n
			break
		}
	}
	var least length
	for _, n := range m.nodes() {
		l, linked := m.link(self, n)
		onward, reached := dist[n][dst]
		if !linked || !reached || n == r.NextHop || onward.compare(dist[n][self].plus(best)) >= 0 {
			continue
		}
		if total := l.plus(onward); r.Alternate == 0 || total.compare(least) < 0 {
			least, r.Alternate, r.AlternateCost = total, n, total.reported()
		}
	}
	return r, true
}

// check compares a table with the oracle.
func (m model) check(table *Table, dist map[wire.NodeID]map[wire.NodeID]length) error {
	reachable := 0
	for dst := range m {
		want, wantOK := m.route(table.Self(), dst, dist)
		got, ok := table.Lookup(dst)
		if got != want || ok != wantOK {
			return fmt.Errorf("from %d to %d: %+v, %v; want %+v, %v", table.Self(), dst, got, ok, want, wantOK)
		}
		if ok {
			reachable++
		}
	}
	if table.Len() != reachable {
		return fmt.Errorf("Len = %d; want %d", table.Len(), reachable)
	}
	return nil
}

// follow forwards from one node to dst by everyone's next hops. It fails if that takes more hops than there are nodes.
func (m model) follow(tables map[wire.NodeID]*Table, from, dst wire.NodeID) ([]wire.NodeID, length, error) {
	path, total := []wire.NodeID{from}, length{}
	for at := from; at != dst; {
		r, ok := tables[at].Lookup(dst)
		if !ok {
			return path, total, fmt.Errorf("%d has no route to %d; path so far %v", at, dst, path)
		}
		l, ok := m.link(at, r.NextHop)
		if !ok {
			return path, total, fmt.Errorf("%d sends to %d, which is no neighbor", at, r.NextHop)
		}
		at, total = r.NextHop, total.plus(l)
		path = append(path, at)
		if len(path) > len(m) {
			return path, total, fmt.Errorf("loop towards %d: %v", dst, path)
		}
	}
	return path, total, nil
}

// checkForwarding holds a whole mesh to R3 and R4.
func (m model) checkForwarding(tables map[wire.NodeID]*Table) error {
	for self, table := range tables {
		for dst, r := range table.All() {
			path, total, err := m.follow(tables, self, dst)
			if err != nil {
				return err
			}
			if total.reported() != r.Cost || total.hops != int(r.Hops) || !slices.Equal(path, table.Path(dst)) {
				return fmt.Errorf("from %d to %d: took %v at %v; predicted %v, %+v",
					self, dst, path, total, table.Path(dst), r)
			}
			if r.Alternate == 0 {
				continue
			}
			path, total, err = m.follow(tables, r.Alternate, dst)
			if err != nil {
				return err
			}
			l, ok := m.link(self, r.Alternate)
			total = total.plus(l)
			if !ok || slices.Contains(path, self) || total.reported() != r.AlternateCost {
				return fmt.Errorf("from %d to %d by the alternate: took %v at %v; predicted %+v", self, dst, path, total, r)
			}
		}
	}
	return nil
}

// drawModel draws a mesh: links that only one end advertises, ends that disagree, parts without connection, neighbors
// that are no origins, and either so few costs that ties abound or so great ones that sums saturate.
func drawModel(t *rapid.T) model {
	ids := rapid.SliceOfNDistinct(rapid.Uint64Min(1), 1, 9, rapid.ID).Draw(t, "ids")
	most := rapid.SampledFrom([]uint32{1, 3, 1000, math.MaxUint32}).Draw(t, "most")
	density := rapid.IntRange(1, 10).Draw(t, "density")
	m := make(model)
	for i, id := range ids {
		if i == 0 || rapid.IntRange(0, 19).Draw(t, "silent") != 0 {
			m[wire.NodeID(id)] = make(map[wire.NodeID]uint32)
		}
	}
	cost := rapid.Uint32Range(1, most)
	claim := func(a, b uint64) {
		if vector := m[wire.NodeID(a)]; vector != nil && rapid.IntRange(0, 11).Draw(t, "one-sided") != 0 {
			vector[wire.NodeID(b)] = cost.Draw(t, "cost")
		}
	}
	for i, a := range ids {
		for _, b := range ids[:i] {
			if rapid.IntRange(1, 10).Draw(t, "linked") <= density {
				claim(a, b)
				claim(b, a)
			}
		}
	}
	return m
}

func TestOracleItself(t *testing.T) {
	m := model{1: {2: 10, 3: 50}, 2: {1: 4, 3: 20}, 3: {1: 50, 2: 20}}
	r, ok := m.route(1, 3, m.distances(m.nodes()))
	if want := (Route{NextHop: 2, Alternate: 3, Cost: 30, AlternateCost: 50, DirectCost: 50, Hops: 2}); r != want || !ok {
		t.Errorf("route %+v, %v; want %+v", r, ok, want)
	}
}
