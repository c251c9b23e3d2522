package core

import (
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Where messages come from is remembered while they come, gets no link of its own for it, and does not outlive a mesh that is small again.
func TestSources(t *testing.T) {
	g := newGlobe(t, 300)
	g.pass(time.Minute)
	var from []wire.NodeID
	for _, id := range g.nodes {
		if len(from) < 2 && g.opened[id] == 0 && !g.c.wanted[id] {
			from = append(from, id)
		}
	}
	const stranger = wire.NodeID(12345)
	came := Traffic{Came: []Flow{{from[0], 10}, {from[1], 10}, {stranger, 10}}}
	g.flow(came, 20*time.Second)
	if len(g.c.sources) != 2 || g.c.sources[from[0]] == nil || len(g.c.demands) != 0 {
		t.Fatalf("sources %v, demands %v", g.c.sources, g.c.demands)
	}
	if slices.Contains(g.dialled, from[0]) || slices.Contains(g.dialled, from[1]) {
		t.Error("a link was opened to where messages come from")
	}
	g.step(MemberDown{ID: from[1], Boot: 1})
	if g.c.sources[from[1]] != nil {
		t.Error("a node that is gone is a source still")
	}
	g.pass(demandKept + 2*spareEvery)
	if len(g.c.sources) != 0 {
		t.Errorf("%d sources long after their last message", len(g.c.sources))
	}
	g.flow(came, 2*time.Second)
	g.c.fullMesh = 1000
	g.step()
	if g.c.Sparse() || len(g.c.sources) != 0 {
		t.Errorf("sparse is %v, and there are %d sources", g.c.Sparse(), len(g.c.sources))
	}
}

// A relay is looked for once there is a link to where messages come from: its distances are not known before.
func TestSourcesWaitForALink(t *testing.T) {
	g := newGlobe(t, 300)
	far, _ := g.detour(1)
	g.c.relayAt = time.Time{}
	g.step(Traffic{Came: []Flow{{far, 100}}})
	if !g.c.relayAt.IsZero() {
		t.Error("a look is due before there is a link")
	}
	g.dialIn(far)
	g.pass(time.Second)
	if !g.c.peers[far].up || g.c.relayAt.IsZero() || g.c.relayAt.Sub(g.now) > 2*relaySoon {
		t.Errorf("up is %v, the next look %v away", g.c.peers[far].up, g.c.relayAt.Sub(g.now))
	}
}

// What is on trial counts as found: a goal does not get another relay about as good at the next look.
func TestTrialsUnderWayCount(t *testing.T) {
	g := newGlobe(t, 300)
	far, nears := g.detour(2)
	g.dialIn(far)
	g.step(NeedCame{From: far, Needed: true})
	g.pass(2 * time.Second)
	g.c.trafficCame(g.now, Traffic{Came: []Flow{{far, 100}}})
	for _, id := range nears { // both are known
		p := g.c.peers[id]
		p.measured, p.measuredAt = uint32(g.rtt(id)/2/time.Microsecond), g.now
	}
	look := func() {
		goals := g.c.goals(g.now)
		measured, _ := g.c.promising(g.now, goals)
		g.c.try(g.now, goals, measured)
	}
	look()
	if len(g.c.relays) != 1 {
		t.Fatalf("%d links on trial", len(g.c.relays))
	}
	g.c.dialDue(g.now)
	look()
	if len(g.c.relays) != 1 {
		t.Errorf("%d links on trial after another look", len(g.c.relays))
	}
}
