package core

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	simChannels = 12
	simTrouble  = 12 * time.Second
	simSettle   = 60 * time.Second // the mesh must agree within this after the last fault
	simIdle     = 10 * time.Second // and then stay as it is
	simSeeds    = 10               // where FASTPUBSUB_SIM_SEEDS does not say how many
)

// Any course of faults ends in a mesh that agrees: once things are quiet, all nodes hold the same records and compute their routes over
// the same numbers, every subscriber is found, no message runs in circles, and nothing is sent any more but digests.
// FASTPUBSUB_SIM_SEEDS=1000 runs more; a failure names its seed, and -run 'TestCluster$/seed=7$' repeats it.
func TestCluster(t *testing.T) {
	seeds := simSeeds
	if text := os.Getenv("FASTPUBSUB_SIM_SEEDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed+1), func(t *testing.T) { troubledMesh(t, uint64(seed+1)) })
	}
}

// The same seed gives the same run, to the last byte sent (invariant 1); another seed another.
func TestClusterReplays(t *testing.T) {
	first, again, other := troubledMesh(t, 2), troubledMesh(t, 2), troubledMesh(t, 7)
	if first.traceSum() != again.traceSum() || first.steps != again.steps {
		t.Errorf("seed 2 gave %#x in %d steps, then %#x in %d", first.traceSum(), first.steps, again.traceSum(), again.steps)
	}
	if first.traceSum() == other.traceSum() {
		t.Error("seeds 2 and 7 gave the same run")
	}
}

// troubledMesh is a mesh that went through random faults and was checked after.
func troubledMesh(t *testing.T, seed uint64) *sim {
	t.Helper()
	size := 3 + int(seed*7%6)
	if seed%10 == 0 {
		size = simLarge + int((seed/10-1)*4%21) // up to 30
	}
	s := newSim(t, seed, size)
	if s.chance(0.5) {
		s.loss = 0.02 * s.rnd.Float64()
	}
	if s.chance(0.5) {
		s.jitter = s.upTo(5 * time.Millisecond)
	}
	for range size { // some can only be dialled, by some
		s.mute[[2]int{s.rnd.IntN(size), s.rnd.IntN(size)}] = s.chance(0.3)
	}
	s.swim()
	for _, n := range s.nodes {
		s.after(s.upTo(time.Second), n.start)
	}
	s.run(3 * time.Second)
	trouble := simTrouble
	if size >= simLarge {
		trouble /= 3
	}
	for end := s.now.Add(trouble); s.now.Before(end); {
		s.fault()
		s.run(s.upTo(time.Second))
	}
	s.quieten()
	took := s.settle()
	s.stays()
	t.Logf("seed %d: %d nodes, agreed after %v, %d steps, sent %v", seed, size, took, s.steps, s.sent)
	return s
}

// fault does something to the mesh.
func (s *sim) fault() {
	i, j := s.rnd.IntN(len(s.nodes)), s.rnd.IntN(len(s.nodes))
	n := s.nodes[i]
	switch dice := s.rnd.IntN(20); {
	case dice < 7:
		n.subscribe(fmt.Sprint("c.", s.rnd.IntN(simChannels)), s.chance(0.6))
	case dice < 9:
		s.cut(i, j)
	case dice < 11:
		s.heal(i, j)
	case dice < 12 && n.alive:
		n.closeTo(j, 0)
	case dice < 13 && n.alive && !n.leaving && s.alive() > 2:
		if s.chance(0.5) {
			n.crash()
		} else {
			n.leave()
		}
	case dice < 15 && !n.alive:
		n.start()
	case dice < 16:
		for i := range s.nodes { // a partition
			for j := range i {
				if s.chance(0.5) {
					s.cut(i, j)
				}
			}
		}
	case dice < 17:
		for i := range s.nodes {
			for j := range i {
				s.heal(i, j)
			}
		}
	case dice < 18: // SWIM errs
		if m := s.nodes[j]; n.alive && n.told[j][m.boot] {
			delete(n.told[j], m.boot)
			n.post(MemberDown{ID: m.id, Boot: m.boot})
		}
	case dice < 19 && i != j: // a path gets longer or shorter
		s.delay[i][j] = time.Millisecond + s.upTo(100*time.Millisecond)
	}
}

func (s *sim) alive() (count int) {
	for _, n := range s.nodes {
		if n.alive {
			count++
		}
	}
	return count
}

// quieten ends all faults but some cuts, which leave the mesh connected, and some nodes that stay dead.
func (s *sim) quieten() {
	s.run(simWithdraw + time.Second) // whoever leaves has left
	for _, n := range s.nodes {
		if !n.alive && s.chance(0.7) {
			n.start()
			n.subscribe(fmt.Sprint("c.", s.rnd.IntN(simChannels)), true)
		}
	}
	for i := range s.nodes {
		for j := range i {
			if cut := s.isCut(i, j); cut && s.chance(0.7) {
				s.heal(i, j)
			}
		}
	}
	for s.parts() > 1 {
		s.heal(s.rnd.IntN(len(s.nodes)), s.rnd.IntN(len(s.nodes)))
	}
	s.loss = 0
	s.jitter = 0
	s.mute = map[[2]int]bool{}
}

// parts is the number of parts that the network is in.
func (s *sim) parts() int {
	parts := map[int]bool{}
	for i, side := range s.sides() {
		if s.nodes[i].alive {
			parts[side] = true
		}
	}
	return len(parts)
}

// settle runs until the mesh agrees, and says how long that took.
func (s *sim) settle() time.Duration {
	s.t.Helper()
	began := s.now
	for {
		s.run(500 * time.Millisecond)
		fault := s.disagreement()
		if fault == "" {
			return s.now.Sub(began)
		}
		if s.now.Sub(began) > simSettle {
			s.fatalf("after %v still: %s", s.now.Sub(began), fault)
		}
	}
}

// stays checks that a mesh that agrees is quiet: besides a digest now and then, all that nodes send is explained by new versions of
// records. There may be some, since what links were seen to lose fades from their costs only by and by.
func (s *sim) stays() {
	s.t.Helper()
	sent, made := maps.Clone(s.sent), s.versions()
	s.run(simIdle)
	made = s.versions() - made
	nodes := uint64(s.alive())
	if most := 10 * nodes; made > most {
		s.fatalf("%d new versions in %v of quiet, want at most %d", made, simIdle, most)
	}
	slack := 2 * nodes * uint64(len(s.nodes)) // what was under way, and what is held of the dead
	for kind, most := range map[wire.Kind]uint64{
		wire.KindSums:    nodes * (1 + uint64(simIdle/(digestPause*3/4))),
		wire.KindRecords: 2*made*nodes + slack,
		wire.KindNews:    made*nodes + slack,
		wire.KindWant:    made*nodes + slack,
		wire.KindPart:    made*nodes + slack,
	} {
		if n := s.sent[kind] - sent[kind]; n > most {
			s.fatalf("%d frames of kind %d in %v of quiet with %d new versions, want at most %d", n, kind, simIdle, made, most)
		}
	}
	s.settle()
}

// versions is how many records living nodes have made.
func (s *sim) versions() (sum uint64) {
	for _, n := range s.nodes {
		if n.alive {
			sum += n.core.version[wire.RecordLinks] + n.core.version[wire.RecordInterest]
		}
	}
	return sum
}

// disagreement is what keeps the mesh from being as it should, "" if nothing does.
func (s *sim) disagreement() string {
	db := route.NewDatabase()
	for _, n := range s.nodes {
		if !n.alive {
			continue
		}
		links := make([]route.Link, 0, len(n.core.vector))
		for _, l := range n.core.vector {
			links = append(links, route.Link{To: l.To, Cost: l.Cost})
		}
		db.Set(n.id, links)
	}
	for _, n := range s.nodes {
		if !n.alive {
			continue
		}
		if fault := n.disagrees(db); fault != "" {
			return fmt.Sprintf("node %d: %s", n.i, fault)
		}
	}
	return ""
}

// disagrees checks one node against the truth: everybody's own records, and the database of what they advertise.
func (n *simNode) disagrees(db *route.Database) string {
	for _, m := range n.nodes {
		if p := n.core.peers[m.id]; m != n && m.alive != (p != nil && p.active()) {
			return fmt.Sprintf("node %d is alive: %v, but active: %v", m.i, m.alive, !m.alive)
		}
		if !m.alive {
			continue
		}
		if up := m != n && n.core.peers[m.id].up; up != (m != n && !n.isCut(n.i, m.i)) {
			return fmt.Sprintf("its link to node %d is up: %v", m.i, up)
		}
		for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
			key := RecordKey{m.id, kind}
			if own, held := m.core.store.stamp(key), n.core.store.stamp(key); own != held {
				return fmt.Sprintf("holds %v of node %d, kind %d, whose latest is %v", held, m.i, kind, own)
			}
		}
		if !slices.Equal(n.core.db.Links(m.id), db.Links(m.id)) {
			return fmt.Sprintf("has links of node %d that are not those advertised", m.i)
		}
	}
	want := route.Compute(n.id, db)
	if n.view.Table == nil || !maps.Equal(maps.Collect(n.view.Table.All()), maps.Collect(want.All())) {
		return "its routes are not those of what is advertised"
	}
	if want.Len() != n.sim.alive()-1 {
		return fmt.Sprintf("reaches %d nodes of %d", want.Len(), n.sim.alive()-1)
	}
	if fault := n.misroutes(); fault != "" {
		return fault
	}
	return n.misses()
}

// misroutes follows next hops, each by its own node's published routes, to every destination.
func (n *simNode) misroutes() string {
	for _, to := range n.nodes {
		if !to.alive || to == n {
			continue
		}
		at, hops := n, 0
		for ; at != to && hops < wire.MaxHops; hops++ {
			r, ok := at.route(to.id)
			if !ok || !slices.Contains(at.view.Usable, r.NextHop) {
				return fmt.Sprintf("no way on to node %d at node %d", to.i, at.i)
			}
			at = n.nodes[n.numberOf(r.NextHop)]
		}
		if r, _ := n.route(to.id); at != to || hops != int(r.Hops) {
			return fmt.Sprintf("node %d is %d hops away, want %d", to.i, hops, r.Hops)
		}
	}
	return ""
}

// misses looks every channel up: no subscriber may be missing, and nobody dead may be there.
func (n *simNode) misses() string {
	for c := range simChannels {
		name := fmt.Sprint("c.", c)
		found := n.index.Lookup(nil, query(name))
		for _, m := range n.nodes {
			has := slices.Contains(found, m.id)
			if m != n && m.alive && m.wanted[name] && !has {
				return fmt.Sprintf("does not find node %d for %s", m.i, name)
			}
			if !m.alive && has {
				return fmt.Sprintf("finds node %d for %s, which is dead", m.i, name)
			}
		}
	}
	return ""
}

// calmMesh is a mesh of nodes that all came up, within the given time, and agree.
func calmMesh(t *testing.T, seed uint64, size int, within time.Duration) *sim {
	t.Helper()
	s := newSim(t, seed, size)
	s.swim()
	for _, n := range s.nodes {
		s.after(s.upTo(within), n.start)
	}
	s.run(within)
	for _, n := range s.nodes {
		n.subscribe(fmt.Sprint("c.", n.i%simChannels), true)
	}
	s.settle()
	return s
}

// A mesh where nothing happens says nothing but sums, of which none is answered.
func TestQuietClusterIsQuiet(t *testing.T) {
	s := calmMesh(t, 1, 6, time.Second)
	s.run(10 * time.Second)
	before := maps.Clone(s.sent)
	s.run(time.Minute)
	if records, wants := s.sent[wire.KindRecords]-before[wire.KindRecords], s.sent[wire.KindWant]-before[wire.KindWant]; records+wants > 0 {
		t.Errorf("%d records and %d wants in a minute", records, wants)
	}
	digests, least, most := s.sent[wire.KindSums]-before[wire.KindSums], 6*time.Minute/(digestMost*5/4), 6*time.Minute/(digestPause*3/4)
	if digests < uint64(least)-6 || digests > uint64(most)+6 {
		t.Errorf("%d sums of 6 nodes in a minute", digests)
	}
}

// Records of a node that died are gone everywhere some minutes later, and nobody gives them back to those who forgot them first.
func TestClusterForgetsTheDead(t *testing.T) {
	s := calmMesh(t, 2, 6, strangerKept/4) // so that each sweeps at another time
	s.nodes[2].crash()
	s.nodes[4].leave()
	s.run(swimDoubt + 6*time.Second)
	s.run(strangerKept + strangerKept/4)
	for _, n := range s.nodes {
		for _, gone := range []int{2, 4} {
			if n.alive && (n.core.peers[s.nodes[gone].id] != nil || n.core.store.stamp(RecordKey{s.nodes[gone].id, wire.RecordInterest}) != wire.Stamp{}) {
				t.Errorf("node %d still holds something of node %d", n.i, gone)
			}
		}
	}
	s.settle()
	s.nodes[2].start() // and is welcome again
	s.settle()
}

// A pushed change is everywhere within a path or two, long before gossip or digests could bring it.
func TestClusterSpreadsInPathTime(t *testing.T) {
	s := calmMesh(t, 5, 12, time.Second)
	for i := range s.nodes { // leave each node few neighbours
		for j := range i {
			if j != i-1 && (i*j)%3 != 1 {
				s.cut(i, j)
			}
		}
	}
	s.run(20 * time.Second)
	s.settle()
	var farthest time.Duration
	for _, r := range s.nodes[0].view.Table.All() {
		farthest = max(farthest, time.Duration(r.Cost)*time.Microsecond)
	}
	s.nodes[0].subscribe("c.11", true)
	began := s.now
	for s.nodes[0].core.pace.due.IsZero() {
		s.run(time.Millisecond)
	}
	for s.disagreement() != "" && s.now.Sub(began) < 5*time.Second {
		s.run(time.Millisecond)
	}
	took := s.now.Sub(began)
	t.Logf("farthest node at %v, spread in %v", farthest, took)
	if took > 2*farthest+interestPause {
		t.Errorf("took %v, farthest node at %v", took, farthest)
	}
}
