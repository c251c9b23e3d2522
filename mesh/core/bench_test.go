package core

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// bigMesh is a core among size nodes on a ring of chords, degree links each, its own up; and the others' authors by place.
type bigMesh struct {
	c       *Core
	now     time.Time
	authors []*author // of node 0 there is none: it is the core
	degree  int
}

func newBigMesh(b *testing.B, size, degree int) *bigMesh {
	b.Helper()
	keys := make([]ed25519.PrivateKey, size)
	for i := range keys {
		keys[i] = ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), uint64(i+1)))
	}
	m := &bigMesh{now: epoch(), authors: make([]*author, size), degree: degree}
	m.c = New(Config{Key: keys[0], Meta: wire.Meta{Boot: 5}, Index: new(interest.Index), Rand: rand.New(rand.NewPCG(1, 2))}, m.now)
	for i := 1; i < size; i++ {
		m.authors[i] = newAuthor(keys[i], 1)
		m.step(MemberUp{Meta: wire.Meta{ID: m.authors[i].id, Boot: 1}, Addr: addrOf(i)})
	}
	var opened []Event
	for _, k := range m.neighbors(0) {
		opened = append(opened, LinkOpened{Peer: m.authors[k].id, Boot: 1, Link: uint64(k)})
	}
	m.step(opened...)
	for range 60 {
		m.pass(50 * time.Millisecond)
	}
	for i := 1; i < size; i++ {
		m.step(RecordsCame{From: m.authors[m.neighbors(0)[0]].id, Records: []wire.Record{m.links(i, 1000)}})
	}
	m.pass(time.Second)
	if m.c.table.Len() != size-1 {
		b.Fatalf("routes to %d nodes", m.c.table.Len())
	}
	return m
}

// neighbors of node i: chords of all lengths 1, 2, 4, ... both ways, then more.
func (m *bigMesh) neighbors(i int) (out []int) {
	n := len(m.authors)
	for k, chord := 0, 1; k < m.degree/2; k++ {
		out = append(out, (i+chord)%n, (i+n-chord)%n)
		chord = (chord*2 + 1) % (n / 2)
	}
	return out
}

// links is node i's next record: all its links at 1 ms but for one, at the cost given.
func (m *bigMesh) links(i int, cost uint32) wire.Record {
	var links []wire.Link
	for k, other := range m.neighbors(i) {
		id := m.c.self
		if other != 0 {
			id = m.authors[other].id
		}
		l := wire.Link{To: id, Cost: 1000}
		if k == 0 {
			l.Cost = cost
		}
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b wire.Link) int { return cmp.Compare(a.To, b.To) })
	return m.authors[i].record(wire.RecordLinks, wire.AppendLinks(nil, links), true)
}

func (m *bigMesh) step(events ...Event) []Effect {
	effects := m.c.Step(m.now, events)
	for _, p := range of[Probe](effects) {
		m.c.Step(m.now, []Event{Echoed{p.Peer, m.c.peers[p.Peer].link, p.Seq, 10 * time.Millisecond, m.now}})
	}
	return effects
}

func (m *bigMesh) pass(d time.Duration) {
	m.now = m.now.Add(d)
	m.step()
}

// BenchmarkLinkChange is all that a changed cost of one node's links makes another of 1,000 do, but for the check of the signature: routes
// computed anew, compared and published, and the record passed on.
func BenchmarkLinkChange(b *testing.B) {
	m := newBigMesh(b, 1000, 20)
	from := m.authors[m.neighbors(0)[0]].id
	records := make([]wire.Record, 0, 4096)
	r := rand.New(rand.NewPCG(7, 7))
	for range cap(records) {
		records = append(records, m.links(1+r.IntN(999), 1001+r.Uint32N(100_000)))
	}
	i := 0
	before := m.c.computations
	for b.Loop() {
		if i == len(records) {
			b.StopTimer()
			for k := range records {
				records[k] = m.links(1+r.IntN(999), 1001+r.Uint32N(100_000))
			}
			i = 0
			b.StartTimer()
		}
		m.now = m.now.Add(spfPause)
		m.c.Step(m.now, []Event{RecordsCame{From: from, Records: records[i : i+1]}})
		i++
	}
	if m.c.computations-before < uint64(b.N)*9/10 {
		b.Fatalf("%d computations for %d changes", m.c.computations-before, b.N)
	}
}

// BenchmarkTick is a step of a node that is linked to all 126 others and to which nothing happened.
func BenchmarkTick(b *testing.B) {
	m := newBigMesh(b, 127, 8)
	var rest []Event
	for k := 1; k < len(m.authors); k++ {
		if p := m.c.peers[m.authors[k].id]; p.link == 0 {
			rest = append(rest, LinkOpened{Peer: p.id, Boot: 1, Link: uint64(1000 + k)})
		}
	}
	m.step(rest...)
	for range 100 {
		m.pass(50 * time.Millisecond)
	}
	if len(m.c.links) != len(m.c.peers) {
		b.Fatalf("%d links to %d nodes", len(m.c.links), len(m.c.peers))
	}
	for b.Loop() {
		m.c.Step(m.now, nil)
		m.c.Next(m.now)
	}
}
