package core

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
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

// detour has nodes that are near have links that cost next to nothing to the farthest, so that they would be relays to it.
func (g *globe) detour(count int) (far wire.NodeID, near []wire.NodeID) {
	g.t.Helper()
	g.pass(time.Minute)
	var unlinked []wire.NodeID
	for _, id := range g.nodes {
		if g.opened[id] == 0 && !g.c.wanted[id] {
			unlinked = append(unlinked, id)
		}
	}
	slices.SortFunc(unlinked, func(a, b wire.NodeID) int { return int(g.rtt(a) - g.rtt(b)) })
	near, far = unlinked[len(unlinked)/8:][:count], unlinked[len(unlinked)-1]
	for _, id := range near {
		if 2*g.rtt(id) > g.rtt(far) {
			g.t.Fatal("all are equally far")
		}
		g.record(id, far, g.c.self)
	}
	g.record(far, append(slices.Clone(near), g.c.self)...)
	return far, near
}

// record is what a node tells of its links.
func (g *globe) record(id wire.NodeID, to ...wire.NodeID) {
	g.step(RecordsCame{Records: []wire.Record{g.author(slices.Index(g.nodes, id)).links(1000, to...)}})
}

// send has messages go there; flow has them go and come.
func (g *globe) send(to wire.NodeID, d time.Duration) { g.flow(Traffic{Sent: []Flow{{to, 100}}}, d) }

func (g *globe) flow(what Traffic, d time.Duration) {
	for end := g.now.Add(d); g.now.Before(end); g.pass(time.Second) {
		g.step(what)
	}
}

// A node that makes the way shorter to where messages go, or from where they come, is measured, then linked to, and given up where messages do not take it.
func TestRelaysAreFound(t *testing.T) {
	for _, name := range []string{"sent", "came"} {
		t.Run(name, func(t *testing.T) {
			g := newGlobe(t, 300)
			far, nears := g.detour(1)
			near := nears[0]
			traffic := Traffic{Sent: []Flow{{far, 100}}}
			if name == "came" {
				traffic = Traffic{Came: []Flow{{far, 100}}}
				g.dialIn(far)
				g.step(NeedCame{From: far, Needed: true})
			}
			g.flow(traffic, 20*time.Second)
			if g.pinged[near] != 1 || g.opened[near] == 0 {
				t.Fatalf("the relay was measured %d times, its link is %d", g.pinged[near], g.opened[near])
			}
			if r, ok := g.c.table.Lookup(far); !ok || r.NextHop != near {
				t.Fatalf("next hop %v, not the relay", r.NextHop)
			}
			for end := g.now.Add(2 * time.Minute); g.now.Before(end); {
				g.step(Activity{Peer: near, Link: g.opened[near], Heard: g.now, Used: g.now})
				g.flow(traffic, time.Second)
			}
			if needed, said := g.told[near]; said && !needed {
				t.Error("the relay is not needed though messages take it")
			}
			if len(g.c.relays) > 0 {
				t.Errorf("%d links are on trial still", len(g.c.relays))
			}
			g.flow(traffic, 2*time.Minute) // as if they took another way
			if needed, said := g.told[near]; !said || needed {
				t.Errorf("the relay is needed though nothing takes it: %v, %v", needed, said)
			}
			if len(g.c.relays) > relayLinks {
				t.Errorf("%d links on trial", len(g.c.relays))
			}
		})
	}
}

// Of many relays that lead to the same node only the best gets a link.
func TestOneRelayIsEnough(t *testing.T) {
	g := newGlobe(t, 300)
	far, nears := g.detour(5)
	g.send(far, 30*time.Second)
	var open []wire.NodeID
	for _, id := range nears {
		if g.pinged[id] != 1 {
			t.Errorf("%d was measured %d times", id, g.pinged[id])
		}
		if slices.Contains(g.dialled, id) {
			open = append(open, id)
		}
	}
	best := slices.MinFunc(nears, func(a, b wire.NodeID) int { return int(g.rtt(a) - g.rtt(b)) })
	if len(open) != 1 || g.rtt(open[0])-g.rtt(best) > 2*relayLeast*time.Microsecond {
		t.Errorf("links to %v, want one to %d or a node about as near", open, best)
	}
}

// Nodes are measured for each goal in turn, those first that promise most.
func TestGoalsTakeTurns(t *testing.T) {
	var guessed []promise
	var want []wire.NodeID
	for i, x := range []struct {
		goal  int
		share float64
	}{{0, 0.5}, {1, 0.3}, {2, 0.1}, {0, 0.4}, {1, 0.2}, {0, 0.3}} {
		guessed = append(guessed, promise{peer: &peer{id: wire.NodeID(i)}, goal: x.goal, share: x.share})
		want = append(want, wire.NodeID(i))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(guessed), func(i, j int) { guessed[i], guessed[j] = guessed[j], guessed[i] })
	var got []wire.NodeID
	for _, p := range inTurn(guessed) {
		got = append(got, p.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// One that does not keep what its place promises, or does not answer, is not linked to, and left alone for a while.
func TestRelaysThatDisappoint(t *testing.T) {
	for _, answers := range []bool{true, false} {
		g := newGlobe(t, 300)
		far, nears := g.detour(1)
		near := nears[0]
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
	g.detour(1)
	g.pass(5 * time.Minute)
	if len(g.pinged) > 0 || !g.c.relayAt.IsZero() {
		t.Errorf("%d nodes measured, next look at %v", len(g.pinged), g.c.relayAt)
	}
}
