package scale

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/gossip/rumour"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Times of a node's shell, as package mesh and its libraries have them.
const (
	gather    = 200 * time.Microsecond  // nodes are stepped at multiples of it: events that come together are stepped together, as when the loop drains its queue
	minNap    = 5 * time.Millisecond    // bounds how often the loop wakes by itself
	idleOut   = 8 * time.Second         // a connection that hears nothing ends
	keepAlive = 2300 * time.Millisecond // without a packet, until QUIC sends one (forward)
	dialOut   = 2 * time.Second         // a dial to an address where nobody answers ends
)

// node is one node: its core, and what stands around it in a real one (package mesh), without goroutines. A restart makes most of it anew.
type node struct {
	*World
	i     int
	key   ed25519.PrivateKey
	id    wire.NodeID
	run   int // index of this run; another run, or none, has begun since a closure was made if it differs
	boot  uint64
	alive bool

	core    *core.Core
	index   *interest.Index
	inbox   []core.Event
	wakeAt  time.Duration // when it is stepped next
	due     time.Duration // when the core wants to be called
	polled  time.Duration // when links were last asked
	spins   int           // steps in a row that were due at once and did nothing
	opened  uint64        // links so far
	links   map[int]*link
	sorted  []*link // the same, by peer
	table   *route.Table
	usable  []wire.NodeID
	rumours rumour.Queue
	swim    members

	cost   Cost // of all runs
	wanted map[string]bool

	awaited uint64            // spreads asked for so far
	spread  map[uint64]func() // those that wait
}

// run is one run of a node.
type run struct {
	node int
	boot uint64
}

func newNode(w *World, i int, key ed25519.PrivateKey) *node {
	return &node{World: w, i: i, key: key, id: idOf(key), run: -1}
}

func (n *node) meta() wire.Meta { return wire.Meta{ID: n.id, Boot: n.boot, Name: fmt.Sprint("n", n.i)} }

// begin starts a run of the node.
func (n *node) begin() {
	n.boot = max(n.boot+1, uint64(n.time().UnixMilli())) // as real nodes count
	n.run = len(n.runs)
	n.runs = append(n.runs, run{n.i, n.boot})
	n.alive = true
	n.index = new(interest.Index)
	n.inbox, n.spins, n.table, n.usable = nil, 0, nil, nil
	n.due, n.polled = n.now, n.now
	n.links, n.sorted, n.rumours, n.wanted = map[int]*link{}, nil, rumour.Queue{}, map[string]bool{}
	n.core = core.New(core.Config{
		Key: n.key, Meta: n.meta(), Index: n.index, Timing: n.cfg.Timing, FullMesh: n.cfg.FullMesh, Rand: rand.New(rand.NewPCG(n.cfg.Seed, uint64(n.i)<<32|n.boot)),
	}, n.time())
	n.wakeAt = never
	n.wake(n.now + 1)
	n.swim = newMembers(n)
}

// crash ends the run without a word. Its peers' connections to it end after a while.
func (n *node) crash() {
	n.alive, n.run = false, -1
	for _, l := range n.sorted {
		l.open[l.end(n)] = false
		other := n.nodes[l.peerOf(n)]
		of := other.run
		n.After(idleOut*3/4+n.upTo(idleOut/4), func() {
			if other.run == of && other.links[n.i] == l {
				other.closeTo(n.i)
			}
		})
	}
	n.links, n.sorted = nil, nil
}

// later has f called after a while if this run still goes on.
func (n *node) later(d time.Duration, f func()) {
	of := n.run
	n.After(d, func() {
		if n.run == of {
			f()
		}
	})
}

// post hands an event to the node's loop.
func (n *node) post(e core.Event) {
	if !n.alive {
		return
	}
	n.inbox = append(n.inbox, e)
	n.wake(n.now + 1)
}

func (w *World) clock() time.Duration {
	if w.cfg.Clock == nil {
		return 0
	}
	return w.cfg.Clock()
}

func (n *node) carryOut(e core.Effect) {
	switch e := e.(type) {
	case core.Dial:
		n.dial(n.number[e.Peer])
	case core.CloseLink:
		if l := n.links[n.number[e.Peer]]; l != nil && l.number[l.end(n)] == e.Link {
			n.closeTo(n.number[e.Peer])
		}
	case core.Ping:
		n.measure(n.number[e.Peer])
	case core.Probe:
		n.probe(n.number[e.Peer], e.Seq)
	case core.SendControl:
		n.send(n.number[e.To], e.Frame)
	case core.Announce:
		n.rumours.Add(e.Entry)
		n.swim.rouse()
	case core.PublishRoutes:
		n.table, n.usable = e.Table, e.Usable
		n.cost.Tables++
	case core.Introduce:
		n.swim.meet(n.number[e.Peer])
	case core.Notice:
		n.cost.note(e.What)
	case core.Impostor:
		panic(fmt.Sprintf("scale: node %d takes itself for an impostor", n.i))
	case core.SpreadDone:
		for _, id := range e.IDs {
			f := n.spread[id]
			delete(n.spread, id)
			f()
		}
	case core.Forgot, core.CompareShared, core.SetRTT, core.SetTwin: // of no account here
	default:
		panic(fmt.Sprintf("scale: effect %T is not simulated", e))
	}
}

// receive takes a control frame, as Node.control does.
func (n *node) receive(from wire.NodeID, frame []byte) {
	if !n.alive {
		return
	}
	if wire.Kind(frame[0]) == wire.KindRecords {
		records, err := n.shared.parse(frame)
		if err != nil {
			panic(fmt.Sprintf("scale: %v", err))
		}
		n.recordsCame(from, records)
		return
	}
	if n.receiveOther(from, frame) {
		return
	}
	kind, d, err := wire.ParseDigest(frame)
	if err != nil {
		panic(fmt.Sprintf("scale: frame of kind %d: %v", frame[0], err))
	}
	d.From = from
	switch kind {
	case wire.KindWant:
		n.post(core.WantCame{Digest: d})
	case wire.KindAsk:
		n.post(core.AskCame{Digest: d})
	case wire.KindHave:
		n.post(core.HaveCame{Digest: d})
	default:
		n.post(core.DigestCame{Digest: d})
	}
}

// receiveOther takes frames that are neither records nor digests; false if it is another.
func (n *node) receiveOther(from wire.NodeID, frame []byte) bool {
	var err error
	switch wire.Kind(frame[0]) {
	case wire.KindNeed:
		var needed bool
		needed, err = wire.ParseNeed(frame)
		n.post(core.NeedCame{From: from, Needed: needed})
	case wire.KindSums:
		var s wire.Sums
		s, err = wire.ParseSums(frame)
		n.post(core.SumsCame{Sums: s})
	case wire.KindPart:
		var p wire.Part
		p, err = wire.ParsePart(frame)
		n.post(core.DigestCame{Digest: p.Digest, Classes: p.Classes, Reply: p.Reply})
	default:
		return false
	}
	if err != nil {
		panic(fmt.Sprintf("scale: frame of kind %d: %v", frame[0], err))
	}
	return true
}

// recordsCame leaves out what is held already, as Node.verified does; each of the others costs a signature check.
func (n *node) recordsCame(from wire.NodeID, records []wire.Record) {
	fresh := make([]wire.Record, 0, len(records))
	for _, r := range records {
		n.cost.Records++
		if r.Stamp().Compare(n.core.Held(core.RecordKey{Origin: r.Origin, Kind: r.Kind})) > 0 {
			fresh = append(fresh, r)
			n.cost.Checks++
		}
	}
	if len(fresh) > 0 {
		n.post(core.RecordsCame{From: from, Records: fresh})
	}
}

// hop is the link to take to a node, as the forwarder picks it: next hop, alternate, direct; nil: none.
func (n *node) hop(to wire.NodeID, seen map[int]bool) *link {
	var r route.Route
	if n.table != nil {
		r, _ = n.table.Lookup(to)
	}
	for _, id := range [...]wire.NodeID{r.NextHop, r.Alternate, to} {
		if id == 0 {
			continue
		}
		if _, ok := slices.BinarySearch(n.usable, id); !ok {
			continue
		}
		if j := n.number[id]; n.links[j] != nil && !seen[j] {
			return n.links[j]
		}
	}
	return nil
}

// path is the way that a message takes from one node to another, both included; nil if it does not arrive.
func (w *World) path(from, to int) []int {
	path, seen := []int{from}, map[int]bool{}
	for at := from; at != to; {
		seen[at] = true
		n := w.nodes[at]
		l := n.hop(w.nodes[to].id, seen)
		if l == nil {
			return nil
		}
		next := l.peerOf(n)
		if w.cut(at, next) || !w.nodes[next].alive {
			return nil
		}
		path = append(path, next)
		at = next
	}
	return path
}

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7946)
}

// place finds a link by its peer among those sorted.
func (n *node) place(j int) (int, bool) {
	return slices.BinarySearchFunc(n.sorted, j, func(l *link, j int) int { return cmp.Compare(l.peerOf(n), j) })
}
