package core

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// author is that of a node's further records.
func (g *globe) author(i int) *author {
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i+1))
	a := newAuthor(ed25519.NewKeyFromSeed(seed[:]), 1)
	a.version[wire.RecordLinks] = 1
	return a
}

// detour has this node's messages go to the farthest node, to which a node that is near has a link that costs next to nothing.
func (g *globe) detour() (far, near wire.NodeID) {
	g.t.Helper()
	g.pass(time.Minute)
	var unlinked []wire.NodeID
	for _, id := range g.nodes {
		if g.opened[id] == 0 {
			unlinked = append(unlinked, id)
		}
	}
	slices.SortFunc(unlinked, func(a, b wire.NodeID) int { return int(g.rtt(a) - g.rtt(b)) })
	near, far = unlinked[len(unlinked)/8], unlinked[len(unlinked)-1]
	if 2*g.rtt(near) > g.rtt(far) || g.c.wanted[near] {
		g.t.Fatal("all are equally far")
	}
	for _, end := range [][2]wire.NodeID{{near, far}, {far, near}} {
		record := g.author(slices.Index(g.nodes, end[0])).links(1000, end[1], g.c.self)
		g.step(RecordsCame{Records: []wire.Record{record}})
	}
	return far, near
}

func (g *globe) send(to wire.NodeID, d time.Duration) {
	for end := g.now.Add(d); g.now.Before(end); g.pass(time.Second) {
		g.step(Traffic{[]Flow{{To: to, Messages: 100}}})
	}
}

// A node that makes the way to where messages go shorter is measured, then linked to, and given up where messages do not take it.
func TestRelaysAreFound(t *testing.T) {
	g := newGlobe(t, 300)
	far, near := g.detour()
	g.send(far, 20*time.Second)
	if g.pinged[near] != 1 || g.opened[near] == 0 {
		t.Fatalf("the relay was measured %d times, its link is %d", g.pinged[near], g.opened[near])
	}
	if r, ok := g.c.table.Lookup(far); !ok || r.NextHop != near {
		t.Fatalf("next hop %v, not the relay", r.NextHop)
	}
	for end := g.now.Add(2 * time.Minute); g.now.Before(end); {
		g.step(Activity{Peer: near, Link: g.opened[near], Heard: g.now, Used: g.now})
		g.send(far, time.Second)
	}
	if told, said := g.told[near]; said && !told {
		t.Error("the relay is not needed though messages take it")
	}
	g.send(far, 2*time.Minute) // as if they took another way
	if told, said := g.told[near]; !said || told {
		t.Errorf("the relay is needed though nothing takes it: %v, %v", told, said)
	}
	if len(g.c.relays) > relayLinks {
		t.Errorf("%d links on trial", len(g.c.relays))
	}
}

// One that does not keep what its place promises, or does not answer, is not linked to, and left alone for a while.
func TestRelaysThatDisappoint(t *testing.T) {
	for _, answers := range []bool{true, false} {
		g := newGlobe(t, 300)
		far, near := g.detour()
		g.slow[near], g.refuses[near] = answers, !answers
		g.send(far, 9*time.Minute)
		if g.pinged[near] != 1 || slices.Contains(g.dialled, near) {
			t.Errorf("answers %v: measured %d times, dialled %v", answers, g.pinged[near], slices.Contains(g.dialled, near))
		}
	}
}

// Nobody looks for relays where no messages go.
func TestNoRelaysWithoutTraffic(t *testing.T) {
	g := newGlobe(t, 300)
	g.detour()
	g.pass(5 * time.Minute)
	if len(g.pinged) > 0 || !g.c.relayAt.IsZero() {
		t.Errorf("%d nodes measured, next look at %v", len(g.pinged), g.c.relayAt)
	}
}
