package mesh

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

// A script is all that a seed decides: who is where, how good the network is, what breaks when, and who publishes what. Times count
// from the first publish.
type script struct {
	seed    uint64
	size    int
	base    [][]simnet.Path // from, to: while nothing is wrong
	faults  []fault
	streams []publisher
	wants   [][]bool // node, channel: who subscribes
}

const (
	scriptQuiet    = 8 * time.Second // by then what broke is whole again, but for a long split
	scriptAfter    = 3 * time.Second // publishing goes on after the last fault has ended
	scriptChannels = 4
)

type faultKind int

const (
	cutLink   faultKind = iota // a and b hear nothing of each other
	cutOneWay                  // b hears nothing of a
	slowLink                   // between a and b takes longer
	badLink                    // between a and b loses, copies and disorders more
	noTCP                      // TCP between a and b does not get through
	lonely                     // a hears nobody and nobody hears a
	split                      // two sides hear nothing of each other
	kill                       // a dies without a word; it is started again when the fault ends
)

// fault is something wrong for a while.
type fault struct {
	kind     faultKind
	from, to time.Duration
	a, b     int
	side     uint        // of a split: bit i says on which side node i is
	worse    simnet.Path // what a slow or bad link adds
}

func (f fault) String() string {
	s := fmt.Sprintf("%6.2fs to %6.2fs  ", f.from.Seconds(), f.to.Seconds())
	switch f.kind {
	case cutLink:
		return s + fmt.Sprintf("cut n%d n%d", f.a, f.b)
	case cutOneWay:
		return s + fmt.Sprintf("cut one way, from n%d to n%d", f.a, f.b)
	case slowLink:
		return s + fmt.Sprintf("slow n%d n%d: %v more", f.a, f.b, f.worse.Delay)
	case badLink:
		w := f.worse
		return s + fmt.Sprintf("bad n%d n%d: %.1f %% lost, %.1f %% twice, %.1f %% out of order", f.a, f.b, w.Loss*100, w.Duplicate*100, w.Reorder*100)
	case noTCP:
		return s + fmt.Sprintf("no TCP between n%d n%d", f.a, f.b)
	case lonely:
		return s + fmt.Sprintf("n%d alone", f.a)
	case split:
		return s + fmt.Sprintf("split, sides %b", f.side)
	case kill:
		return s + fmt.Sprintf("kill n%d", f.a)
	}
	return s
}

// hits reports whether the fault touches what goes from one node to another.
func (f fault) hits(from, to int) bool {
	switch f.kind {
	case cutOneWay:
		return from == f.a && to == f.b
	case lonely, kill:
		return from == f.a || to == f.a
	case split:
		return f.side>>from&1 != f.side>>to&1
	default:
		return from == f.a && to == f.b || from == f.b && to == f.a
	}
}

// blocks reports whether nothing comes through.
func (f fault) blocks() bool { return f.kind != slowLink && f.kind != badLink && f.kind != noTCP }

// path is what the network does from one node to another at a time.
func (s *script) path(from, to int, at time.Duration) simnet.Path {
	p := s.base[from][to]
	for _, f := range s.faults {
		if at < f.from || at >= f.to || f.kind == kill || !f.hits(from, to) {
			continue
		}
		p.Delay += f.worse.Delay
		p.Loss = max(p.Loss, f.worse.Loss)
		p.Duplicate = max(p.Duplicate, f.worse.Duplicate)
		p.Reorder = max(p.Reorder, f.worse.Reorder)
		if f.blocks() {
			p.Block = simnet.BlockAll
		}
		if f.kind == noTCP {
			p.Block |= simnet.BlockTCP
		}
	}
	return p
}

// network is the delays while nothing is wrong as probes see them: a direction's is half of the round trip.
func (s *script) network(t *testing.T) *wan.Matrix {
	t.Helper()
	var csv strings.Builder
	csv.WriteString("from,to,rtt_ms\n")
	for i := range s.size {
		for j := range s.size {
			if i != j {
				fmt.Fprintf(&csv, "n%d,n%d,%f\n", i, j, float64(s.base[i][j].Delay+s.base[j][i].Delay)/1e6)
			}
		}
	}
	m, err := wan.ParseMatrix(strings.NewReader(csv.String()))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// survives reports whether a node lives through the whole script.
func (s *script) survives(node int) bool {
	for _, f := range s.faults {
		if f.kind == kill && f.a == node {
			return false
		}
	}
	return true
}

func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d nodes; one way in ms, by from and to, and %% lost:\n", s.seed, s.size)
	for _, row := range s.base {
		for _, p := range row {
			fmt.Fprintf(&b, "%6.1f", float64(p.Delay)/1e6)
		}
		for _, p := range row {
			fmt.Fprintf(&b, "%5.1f", p.Loss*100)
		}
		b.WriteByte('\n')
	}
	for _, f := range s.faults {
		fmt.Fprintln(&b, f)
	}
	for _, p := range s.streams {
		fmt.Fprintln(&b, p)
	}
	for i, channels := range s.wants {
		fmt.Fprintf(&b, "n%d subscribes to", i)
		for c, wanted := range channels {
			if wanted {
				fmt.Fprintf(&b, " c%d", c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// newScript is the script of a seed.
func newScript(seed uint64, metros [][]time.Duration) *script {
	rnd := rand.New(rand.NewPCG(seed, 0xc405))
	s := &script{seed: seed, size: 5 + rnd.IntN(4)}
	s.place(rnd, metros)
	if seed%3 == 0 {
		s.rack(rand.New(rand.NewPCG(seed, 0x7ac4)))
	}
	s.breakLinks(rnd)
	s.populate(rnd)
	return s
}

// between is a random time in [least, most).
func between(rnd *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rnd.Int64N(int64(most-least)))
}

// place says where the nodes are, either in metros or anywhere, and how good the network between them is.
func (s *script) place(rnd *rand.Rand, metros [][]time.Duration) {
	at := rnd.Perm(len(metros))
	real := rnd.IntN(2) == 0
	loss := [...]float64{0, 0.01, 0.03}[rnd.IntN(3)]
	twice := [...]float64{0, 0.02}[rnd.IntN(2)]
	disorder := [...]float64{0, 0.03}[rnd.IntN(2)]
	jitter := [...]time.Duration{0, 3 * time.Millisecond}[rnd.IntN(2)]
	s.base = make([][]simnet.Path, s.size)
	for i := range s.size {
		s.base[i] = make([]simnet.Path, s.size)
		for j := range i {
			there, back := metros[at[i]][at[j]], metros[at[j]][at[i]]
			if !real {
				there = between(rnd, time.Millisecond, 120*time.Millisecond)
				back = time.Duration(float64(there) * (1 + 0.2*rnd.Float64()))
			}
			p := simnet.Path{Delay: there, Jitter: jitter, Loss: loss * rnd.Float64(), Duplicate: twice, Reorder: disorder}
			s.base[i][j] = p
			p.Delay = back
			s.base[j][i] = p
		}
	}
}

// rack puts nodes 0 and 1 into one rack, and has TCP alone not get through there for a while.
func (s *script) rack(rnd *rand.Rand) {
	near := simnet.Path{Delay: between(rnd, 50*time.Microsecond, 800*time.Microsecond)}
	s.base[0][1], s.base[1][0] = near, near
	f := fault{kind: noTCP, b: 1, from: between(rnd, time.Second/2, scriptQuiet*3/4)}
	f.to = f.from + between(rnd, 500*time.Millisecond, 4*time.Second)
	s.faults = append(s.faults, f)
}

// breakLinks adds the faults. A split or a lonely node may part nodes; everything else leaves those that survive a way to each other at any time.
func (s *script) breakLinks(rnd *rand.Rand) {
	for range rnd.IntN(3) {
		f := fault{kind: kill, a: rnd.IntN(s.size), from: between(rnd, time.Second/2, scriptQuiet/2)}
		f.to = f.from + between(rnd, time.Second, scriptQuiet/2)
		if s.survives(f.a) {
			s.add(f)
		}
	}
	for range rnd.IntN(10) {
		s.add(s.linkFault(rnd))
	}
	f := fault{kind: split, from: between(rnd, time.Second, 3*time.Second), side: (1<<(s.size/2) - 1) << rnd.IntN(s.size-s.size/2+1)}
	if rnd.IntN(2) == 0 {
		f.kind, f.a = lonely, rnd.IntN(s.size)
	}
	switch rnd.IntN(7) {
	case 0: // SWIM gives the other side up
		f.to = f.from + between(rnd, 8*time.Second, 12*time.Second)
	case 1: // connections end
		f.to = f.from + between(rnd, time.Second, 6*time.Second)
	case 2, 3: // what is under way waits
		f.to = f.from + between(rnd, 100*time.Millisecond, connectionMost)
	default: // no partition
		return
	}
	s.faults = append(s.faults, f)
}

func (s *script) linkFault(rnd *rand.Rand) fault {
	f := fault{kind: []faultKind{cutLink, cutLink, cutOneWay, slowLink, badLink}[rnd.IntN(5)], from: between(rnd, time.Second/2, scriptQuiet*3/4)}
	f.to = min(f.from+between(rnd, 100*time.Millisecond, scriptQuiet), scriptQuiet)
	f.a = rnd.IntN(s.size)
	f.b = (f.a + 1 + rnd.IntN(s.size-1)) % s.size
	switch f.kind {
	case slowLink:
		f.worse.Delay = between(rnd, 20*time.Millisecond, 400*time.Millisecond)
	case badLink:
		loss := rnd.Float64()
		f.worse = simnet.Path{Loss: 0.2 * loss * loss, Duplicate: 0.05 * rnd.Float64(), Reorder: 0.05 * rnd.Float64()}
	default:
	}
	return f
}

// traffic is how long publishing lasts.
func (s *script) traffic() time.Duration {
	quiet := scriptQuiet
	for _, f := range s.faults {
		quiet = max(quiet, f.to)
	}
	return quiet + scriptAfter
}

// add adds a fault if those that survive stay connected with it.
func (s *script) add(f fault) {
	s.faults = append(s.faults, f)
	if !s.holds() {
		s.faults = s.faults[:len(s.faults)-1]
	}
}

// populate says who publishes and who subscribes.
func (s *script) populate(rnd *rand.Rand) {
	s.wants = make([][]bool, s.size)
	for i := range s.wants {
		s.wants[i] = make([]bool, scriptChannels)
		for c := range scriptChannels {
			s.wants[i][c] = rnd.IntN(5) < 2
		}
		for _, c := range rnd.Perm(scriptChannels)[:2] {
			p := publisher{node: i, channel: c, every: between(rnd, 100*time.Millisecond, 300*time.Millisecond), burst: 1, bytes: 10 + rnd.IntN(200)}
			switch rnd.IntN(6) {
			case 0, 1:
				p.every, p.burst = between(rnd, 500*time.Millisecond, 2*time.Second), 5+rnd.IntN(20)
			case 2:
				p.every, p.bytes = 10*p.every, 1_000+rnd.IntN(7_000)
			}
			s.streams = append(s.streams, p)
		}
	}
}
