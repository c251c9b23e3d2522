package route

import (
	"cmp"
	"slices"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// alternatesMost bounds the neighbors that are alternates towards other nodes than themselves, the cheapest first: a node that has opened links to
// everybody must not keep the distances between all pairs.
const alternatesMost = 256

// Planner computes the tables of one node one after another. It keeps the graph and the distances from each neighbor, and brings them up to date
// where the database has changed, so that a table costs what the change costs and one Dijkstra. It belongs to one goroutine.
type Planner struct {
	self    wire.NodeID
	graph   graph
	vectors [][]Link              // by index in graph.ids: as last seen in the database, which never modifies them
	index   map[wire.NodeID]int32 // of graph.ids, for tables; nil until one is computed; never modified
	own     *source               // of self; nil if it is not in the database
	near    []*source             // ascending by node: the neighbors that can be alternates
	changes []change              // of links, not yet seen by own and near
	lost    []Pair                // since the last Compute
	left    []Pair                // lost, as the last Compute found it
	queue   queue
	move    move
	order   []int32 // of the nodes by their distance from self, as of the last table
	last    *Table  // that was computed; nil once the graph is another
}

// Pair is the two ends of a link, A < B.
type Pair struct{ A, B wire.NodeID }

// NewPlanner is a Planner for the tables of self.
func NewPlanner(self wire.NodeID) *Planner { return &Planner{self: self} }

// Compute runs shortest-path-first from self over the usable links of the database. A self that is not in the database
// has an empty table.
func Compute(self wire.NodeID, db *Database) *Table { return NewPlanner(self).Compute(db) }

// Compute is the table for the database as it is now: the same that a new Planner would compute, and the very last one if what has changed since makes no
// link usable, unusable or of another cost: what the first of two ends says of a new link, and the second of one that is gone.
func (p *Planner) Compute(db *Database) *Table {
	p.Follow(db)
	p.left, p.lost = p.lost, p.left[:0]
	if p.last == nil {
		p.last = p.table()
	}
	return p.last
}

// know takes all links of a database without distances.
func (p *Planner) know(origins []wire.NodeID, vectors [][]Link) {
	p.renumber(origins)
	db := &Database{origins: origins, vectors: vectors}
	for i, vector := range vectors {
		p.compare(db, int32(i), nil, vector)
		p.vectors[i] = vector
	}
}

// table is that of the graph as it is.
func (p *Planner) table() *Table {
	t := &Table{self: p.self}
	root, known := p.graph.number(p.self)
	if !known {
		return t
	}
	if p.index == nil {
		p.index = p.graph.numbers()
	}
	if p.own == nil { // of links that are merely known
		p.own = newSource(&p.graph, root, &p.queue)
	}
	if len(p.order) != len(p.graph.ids) {
		p.order = make([]int32, len(p.graph.ids))
		for i := range p.order {
			p.order[i] = int32(i)
		}
	}
	s := &search{graph: &p.graph, tree: p.graph.treeOf(root, p.own.dist, p.order), root: root, near: p.near}
	t.ids, t.index, t.parent, t.vectors = p.graph.ids, p.index, s.parent, slices.Clone(p.vectors)
	t.routes = s.routes()
	for _, r := range t.routes {
		if r.NextHop != 0 {
			t.reachable++
		}
	}
	return t
}

// Lost is the links that were no longer usable at some time between the last but one Compute and the last.
func (p *Planner) Lost() []Pair { return p.left }

// Between is what the best path from a neighbor to another node costs, as of the last Follow or Compute; false if it is no neighbor or there is none.
func (p *Planner) Between(neighbor, dst wire.NodeID) (cost uint32, ok bool) {
	n, known := p.graph.number(neighbor)
	d, there := p.graph.number(dst)
	if !known || !there {
		return 0, false
	}
	i, near := slices.BinarySearchFunc(p.near, n, func(s *source, n int32) int { return cmp.Compare(s.node, n) })
	if !near || p.near[i].dist[d] == infinity {
		return 0, false
	}
	return p.near[i].dist[d].cost(), true
}

// Onward are the neighbors whose shortest path from origin leads through this node, in ascending order and as of the last Follow or Compute: what every
// node passes on to these comes to each node once, the shortest way, where all hold the same database. Reached is false if no path leads from origin here.
func (p *Planner) Onward(origin wire.NodeID) (onward []wire.NodeID, reached bool) {
	o, known := p.graph.number(origin)
	if !known || p.own == nil || p.own.dist[o] == infinity {
		return nil, false
	}
	here, near := p.own.dist[o], p.near
	for _, a := range p.graph.rows[p.own.node] {
		link, from := linkMetric(a.cost), here+linkMetric(a.cost)
		if len(near) > 0 && near[0].node == a.to {
			from, near = near[0].dist[o], near[1:]
		} else if p.own.dist[a.to] != link {
			continue // too dear to be asked, and better reached by others
		}
		if from == here+link && a.to != o {
			onward = append(onward, p.graph.ids[a.to])
		}
	}
	return onward, true
}

// Reaches reports whether a path leads to the node, as of the last Follow or Compute.
func (p *Planner) Reaches(dst wire.NodeID) bool {
	d, known := p.graph.number(dst)
	return known && p.own != nil && p.own.dist[d] != infinity
}

// Follow brings the distances up to date with the database without computing a table.
func (p *Planner) Follow(db *Database) {
	if !slices.Equal(p.graph.ids, db.origins) {
		p.retire(db)
		p.repair() // nothing leads any more to those who are gone
		p.renumber(db.origins)
	}
	for i, vector := range db.vectors {
		if !identical(p.vectors[i], vector) {
			p.compare(db, int32(i), p.vectors[i], vector)
		}
		p.vectors[i] = vector
	}
	p.repair()
	p.meetNeighbors()
}

// identical reports whether two vectors are the same memory, or both empty.
func identical(a, b []Link) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// retire takes the links of origins that are no longer in the database away.
func (p *Planner) retire(db *Database) {
	at := 0
	for i, id := range p.graph.ids {
		if at = seek(db.origins, at, id); at < len(db.origins) && db.origins[at] == id {
			continue
		}
		for _, a := range slices.Clone(p.graph.rows[i]) {
			p.setLink(int32(i), a.to, 0)
		}
	}
}

// renumber makes room for the origins of the database and gives up the others, which have no links. The order of the nodes stays, and so all is moved
// where it lies: while a whole mesh begins, each node meets the others one by one.
func (p *Planner) renumber(origins []wire.NodeID) {
	p.move.find(p.graph.ids, origins)
	p.graph.ids, p.index, p.last = slices.Clone(origins), nil, nil
	p.graph.rows, p.vectors = rearrange(&p.move, p.graph.rows, nil), rearrange(&p.move, p.vectors, nil)
	for _, row := range p.graph.rows {
		for k := range row {
			row[k].to = p.move.to[row[k].to]
		}
	}
	p.near = slices.DeleteFunc(p.near, func(s *source) bool { return p.move.to[s.node] == none })
	if p.own != nil && p.move.to[p.own.node] == none {
		p.own = nil
	}
	for _, s := range p.sources() {
		s.renumber(&p.move)
	}
}

// compare takes to the graph what differs between two vectors of node i.
func (p *Planner) compare(db *Database, i int32, old, now []Link) {
	at := 0
	for len(old) > 0 || len(now) > 0 {
		var l Link // cost 0: no longer claimed
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].To < now[0].To:
			l.To, old = old[0].To, old[1:]
		case len(old) == 0 || now[0].To < old[0].To:
			l, now = now[0], now[1:]
		default:
			l, now = now[0], now[1:]
			same := old[0] == l
			if old = old[1:]; same {
				continue
			}
		}
		if at = seek(p.graph.ids, at, l.To); at == len(p.graph.ids) || p.graph.ids[at] != l.To {
			continue
		}
		back, ok := claimIn(db.vectors[at], p.graph.ids[i])
		if !ok || l.Cost == 0 {
			p.setLink(i, int32(at), 0)
		} else {
			p.setLink(i, int32(at), max(l.Cost, back))
		}
	}
}

// setLink sets what the link between two nodes costs, 0 for none.
func (p *Planner) setLink(a, b int32, cost uint32) {
	old := p.graph.put(a, b, cost)
	if old == cost {
		return
	}
	p.graph.put(b, a, cost)
	p.last = nil
	p.changes = append(p.changes, change{a, b, old, cost})
	if cost == 0 {
		p.lost = append(p.lost, Pair{p.graph.ids[min(a, b)], p.graph.ids[max(a, b)]})
	}
}

// repair brings the distances from the neighbors up to date with the graph.
func (p *Planner) repair() {
	if len(p.changes) > 0 {
		for _, s := range p.sources() {
			s.repair(&p.graph, p.changes, &p.queue)
		}
	}
	p.changes = p.changes[:0]
}

func (p *Planner) sources() []*source {
	if p.own == nil {
		return p.near
	}
	return append(slices.Clip(p.near), p.own)
}

// meetNeighbors searches from those that have become neighbors, and forgets those that are none any more.
func (p *Planner) meetNeighbors() {
	root, known := p.graph.number(p.self)
	if !known {
		p.near = nil
		return
	}
	if p.own == nil {
		p.own = newSource(&p.graph, root, &p.queue)
	}
	row := p.graph.rows[root]
	if len(row) > alternatesMost {
		row = slices.Clone(row)
		slices.SortFunc(row, func(a, b arc) int { return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.to, b.to)) })
		row = row[:alternatesMost]
		slices.SortFunc(row, func(a, b arc) int { return cmp.Compare(a.to, b.to) })
	}
	near := make([]*source, 0, len(row))
	old := p.near
	for _, a := range row {
		for len(old) > 0 && old[0].node < a.to {
			old = old[1:]
		}
		if len(old) > 0 && old[0].node == a.to {
			near = append(near, old[0])
		} else {
			near = append(near, newSource(&p.graph, a.to, &p.queue))
		}
	}
	p.near = near
}
