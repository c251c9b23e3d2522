package core

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	swimTick   = 250 * time.Millisecond // how often SWIM's knowledge moves on
	swimDoubt  = 4 * time.Second        // how long a node must be out of reach to be suspected and declared dead
	rumourTick = 200 * time.Millisecond
	rumourMost = 8 // times that an announcement is sent
	rumourRoom = 20
)

// gossip hands this node's announcements to random members now and then, for as long as the run lasts.
func (n *simNode) gossip() {
	core := n.core
	n.after(rumourTick*3/4+n.upTo(rumourTick/2), func() {
		if n.core != core || !n.alive {
			return
		}
		n.gossip()
		var members []int
		for j := range n.nodes {
			if len(n.told[j]) > 0 {
				members = append(members, j)
			}
		}
		if len(members) == 0 {
			return
		}
		for range 3 {
			j := members[n.rnd.IntN(len(members))]
			frame := n.rumour()
			if frame == nil {
				return
			}
			n.packet(j, frame)
		}
	})
}

// rumour is one packet's worth of announcements, the least sent first; nil if there are none.
func (n *simNode) rumour() []byte {
	d := wire.Digest{From: n.id}
	var taken []*rumour
	for sent := range rumourMost {
		for _, origin := range n.nodes {
			for _, kind := range []wire.RecordKind{wire.RecordLinks, wire.RecordInterest} {
				if r := n.rumours[RecordKey{origin.id, kind}]; r != nil && r.sent == sent && len(taken) < rumourRoom {
					taken = append(taken, r)
					d.Entries = append(d.Entries, r.entry)
				}
			}
		}
	}
	for _, r := range taken {
		if r.sent++; r.sent == rumourMost {
			delete(n.rumours, RecordKey{r.entry.Origin, r.entry.Kind})
		}
	}
	if len(d.Entries) == 0 {
		return nil
	}
	return wire.AppendDigest(nil, wire.KindDigest, &d)
}

// packet brings announcements to a member: raw, or over the mesh where there is no direct path. Packets get lost.
func (n *simNode) packet(j int, frame []byte) {
	to, delay := n.nodes[j], n.delay[n.i][j]
	if n.isCut(n.i, j) {
		var ok bool
		if delay, ok = n.reach(j); !ok {
			return
		}
	}
	if n.chance(n.loss + 0.02) {
		return
	}
	_, d, err := wire.ParseDigest(frame)
	if err != nil {
		n.fatalf("announcement: %v", err)
	}
	n.after(delay+n.upTo(n.jitter), func() { to.post(DigestCame{Digest: d, Hearsay: true}) })
}

// swim is membership: what it says is in the end true and until then late, at each node by another time.
func (s *sim) swim() {
	lost := map[[3]uint64]time.Time{} // observer, node, boot: since when it is gone
	var tick func()
	tick = func() {
		s.after(swimTick, tick)
		side := s.sides()
		for _, o := range s.nodes {
			if !o.alive {
				continue
			}
			for _, n := range s.nodes {
				if n != o {
					o.learn(n, n.alive && side[o.i] == side[n.i], lost)
				}
			}
		}
	}
	tick()
}

// learn moves what SWIM tells this node of another one towards the truth.
func (o *simNode) learn(n *simNode, reached bool, lost map[[3]uint64]time.Time) {
	if reached && !n.leaving && !o.told[n.i][n.boot] && o.chance(0.3) {
		if o.told[n.i] == nil {
			o.told[n.i] = map[uint64]bool{}
		}
		o.told[n.i][n.boot] = true
		o.post(MemberUp{Meta: n.meta(), Addr: addrOf(n.i)})
	}
	for boot := range n.boot + 1 {
		key := [3]uint64{uint64(o.i), uint64(n.i), boot}
		if !o.told[n.i][boot] || reached && boot == n.boot {
			delete(lost, key)
			continue
		}
		since, known := lost[key]
		if !known {
			lost[key] = o.now
		} else if o.now.Sub(since) > swimDoubt && o.chance(0.2) {
			delete(o.told[n.i], boot)
			o.post(MemberDown{ID: n.id, Boot: boot})
		}
	}
}

// sides says for each node which part of the network it is in: nodes that can reach each other over pairs without a cut have the same.
func (s *sim) sides() []int {
	side := make([]int, len(s.nodes))
	for i := range side {
		side[i] = -1
	}
	for i := range side {
		if side[i] >= 0 {
			continue
		}
		side[i] = i
		for todo := []int{i}; len(todo) > 0; {
			at := todo[0]
			todo = todo[1:]
			for j := range side {
				if side[j] < 0 && !s.isCut(at, j) && s.nodes[j].alive && s.nodes[at].alive {
					side[j] = i
					todo = append(todo, j)
				}
			}
		}
	}
	return side
}
