package scale

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Config is a mesh to simulate.
type Config struct {
	Nodes  int
	Seed   uint64         // of everything that is random
	Delay  Delay          // between nodes
	Jitter float64        // mean of what a packet is late, as a share of its delay: exponential, as queues make it
	Loss   float64        // of packets, one way
	Timing latency.Config // of the nodes
	// FullMesh is up to how many nodes all are linked; default core.DefaultFullMesh.
	FullMesh int
	// Clock tells the time that this computer has spent, for what a step of a node costs; nil: it is not measured. The run does not depend on it.
	Clock func() time.Duration
	// Workers is how many goroutines step nodes at the same time, at most; default 1: the caller's. The run does not depend on it, and none outlasts a step.
	Workers int
}

// Delay is the one-way delay between two nodes.
type Delay func(from, to int) time.Duration

// World is a mesh in virtual time, no part of it with a goroutine of its own. The same Config and the same calls give the same run, to the last byte.
type World struct {
	cfg    Config
	rnd    *rand.Rand
	now    time.Duration // since the start
	agenda agenda
	rounds map[time.Duration]*round // to come, by their times
	nodes  []*node                  // by ascending NodeID
	number map[wire.NodeID]int
	runs   []run // every run of every node, in the order of their starts: what SWIM calls a member
	faults faults
	flows  flows
	shared sharedRecords
	watch  []*Watch
	steps  uint64
}

// epoch is when worlds begin.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// New is a mesh of nodes that have not started.
func New(cfg Config) *World {
	w := &World{cfg: cfg, rnd: rand.New(rand.NewPCG(cfg.Seed, 0x5ca1e)), number: map[wire.NodeID]int{}, rounds: map[time.Duration]*round{}, shared: newSharedRecords()}
	w.faults.delays, w.faults.cuts = map[pair]time.Duration{}, map[pair]bool{}
	keys := make([]ed25519.PrivateKey, cfg.Nodes)
	for i := range keys {
		seed := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{7}, ed25519.SeedSize-16), cfg.Seed)
		keys[i] = ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(seed, uint64(i)))
	}
	slices.SortFunc(keys, func(a, b ed25519.PrivateKey) int { return cmp.Compare(idOf(a), idOf(b)) })
	for i, key := range keys {
		n := newNode(w, i, key)
		w.nodes = append(w.nodes, n)
		w.number[n.id] = i
	}
	return w
}

func idOf(key ed25519.PrivateKey) wire.NodeID { return wire.IDOf(key.Public().(ed25519.PublicKey)) }

// Now is how long the world has lasted.
func (w *World) Now() time.Duration { return w.now }

// Steps is how often nodes have been stepped: with the bytes that they have sent it tells two runs apart.
func (w *World) Steps() uint64 { return w.steps }

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for w.agenda.due(end) {
		it := w.agenda.pop()
		w.now = it.at
		it.run()
	}
	w.now = end
}

// After has f called when so much time has passed.
func (w *World) After(d time.Duration, f func()) { w.agenda.add(w.now+max(0, d), f) }

func (w *World) time() time.Time { return epoch().Add(w.now) }

// upTo is a random time below d, or 0.
func (w *World) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *World) chance(p float64) bool { return p > 0 && w.rnd.Float64() < p }

// travel is how long a packet takes now.
func (w *World) travel(from, to int) time.Duration {
	d := w.delay(from, to)
	if w.cfg.Jitter > 0 {
		d += time.Duration(float64(d) * w.cfg.Jitter * w.rnd.ExpFloat64())
	}
	return d
}
