package latency

import (
	"cmp"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	jitterShare = 0.1 // an interval is shortened by up to this share of itself
	tickShare   = 10  // a tick takes along what would be due within 1/tickShare of its interval
	burstShare  = 10  // the budget's burst is 1/burstShare of its rate

	planPeriod  = 10 * time.Millisecond // a plan holds
	refillPause = 10 * time.Millisecond // between ticks while the budget is used up
	stallAfter  = 50 * time.Millisecond // later than this the caller stalled

	idleMost = 3 // times IdleInterval: between probes of an idle link from which frames come
)

// Prober decides which links of a node are to be probed when, and keeps their estimates. One goroutine owns it and its links.
type Prober struct {
	cfg     Config
	rnd     *rand.Rand
	base    time.Time // the links' times count from here
	members []*member // by ID
	past    map[wire.NodeID]flaps
	budget  bucket
	plan    plan
	resume  time.Duration // no probe goes before this: the budget was used up
	called  time.Duration // last call of Advance
	late    lateness
}

// member is a link in the Prober's charge.
type member struct {
	id     wire.NodeID
	link   *Link
	jitter float64 // of the interval that runs, in [1-jitterShare, 1]
}

// Probe is a probe to send now: Seq on the link to ID.
type Probe struct {
	ID  wire.NodeID
	Seq uint32
}

// Change is a link's new state.
type Change struct {
	ID    wire.NodeID
	State State
}

// NewProber is a Prober without links. rnd is its own from here on.
func NewProber(cfg Config, rnd *rand.Rand) *Prober {
	cfg, _ = cfg.normal()
	burst := max(1, cfg.Budget/burstShare)
	return &Prober{cfg: cfg, rnd: rnd, past: map[wire.NodeID]flaps{}, budget: newBucket(float64(cfg.Budget), burst)}
}

// Add begins to measure the link to this node; of a node known already it does nothing. The link is Down until probes return.
func (p *Prober) Add(id wire.NodeID, now time.Time) {
	i, known := p.search(id)
	if known {
		return
	}
	if p.base.IsZero() {
		p.base = now
	}
	m := &member{id: id, link: newLink(p.cfg, p.base, now), jitter: 1}
	m.link.flaps = p.past[id]
	delete(p.past, id)
	p.members = slices.Insert(p.members, i, m)
	p.plan = newPlan(now.Sub(p.base), &p.cfg, p.members, p.late.factor())
}

// Remove forgets the link to this node but for its flaps, which a link added later inherits. A link that broke is to be told with
// Failed first.
func (p *Prober) Remove(id wire.NodeID) {
	i, known := p.search(id)
	if !known {
		return
	}
	link := p.members[i].link
	p.members = slices.Delete(p.members, i, i+1)
	if link.flaps.penalty == 0 {
		return
	}
	now := link.base.Add(link.clock)
	if len(p.past) >= rememberedMost {
		for old, f := range p.past {
			if f.now(now) < flapForgotten {
				delete(p.past, old)
			}
		}
	}
	if len(p.past) < rememberedMost {
		p.past[id] = link.flaps
	}
}

// Link is the link to this node. For an unknown one it is a detached link: its methods change nothing but itself.
func (p *Prober) Link(id wire.NodeID) *Link {
	if i, known := p.search(id); known {
		return p.members[i].link
	}
	return newLink(p.cfg, time.Time{}, time.Time{})
}

// All yields the links by ascending ID.
func (p *Prober) All() iter.Seq2[wire.NodeID, *Link] {
	return func(yield func(wire.NodeID, *Link) bool) {
		for _, m := range p.members {
			if !yield(m.id, m.link) {
				return
			}
		}
	}
}

func (p *Prober) search(id wire.NodeID) (int, bool) {
	return slices.BinarySearchFunc(p.members, id, func(m *member, id wire.NodeID) int { return cmp.Compare(m.id, id) })
}

// Advance applies what is due by time alone, and returns the links whose state is another than at the last call, by ascending ID.
// Call it with all echoes received so far taken, and before Due.
func (p *Prober) Advance(now time.Time) (changes []Change) {
	at := now.Sub(p.base)
	stalled := at-p.called > stallAfter && at-p.next() > stallAfter
	p.called = at
	for _, m := range p.members {
		if stalled { // the whole process stood still, it seems, and echoes wait unread
			m.link.stalled(now)
		}
		if m.link.Advance(now) {
			changes = append(changes, Change{m.id, m.link.State()})
		}
	}
	return changes
}

// Due returns the probes to send now and registers them as sent, suspected links first. When any link is due, the links that are
// nearly due go with it, so that a tick serves many.
func (p *Prober) Due(now time.Time) (probes []Probe) {
	at := now.Sub(p.base)
	if len(p.members) == 0 || at < p.resume {
		return nil
	}
	if at-p.plan.at >= planPeriod {
		p.plan = newPlan(at, &p.cfg, p.members, p.late.factor())
	}
	for _, m := range p.ripe(at) {
		if !p.budget.take(now) {
			p.resume = max(at+refillPause, p.budget.ready().Sub(p.base))
			break
		}
		m.jitter = 1 - jitterShare*p.rnd.Float64()
		m.link.patience = p.late.patience()
		probes = append(probes, Probe{m.id, m.link.Probe(now)})
	}
	return probes
}

// ripe are the links to probe in this tick, the most urgent first; none unless one of them is due.
func (p *Prober) ripe(at time.Duration) []*member {
	type candidate struct {
		*member
		due time.Duration
	}
	var candidates []candidate
	ticks := false
	for _, m := range p.members {
		due, slack := p.due(m)
		if due-slack <= at {
			ticks = ticks || due <= at
			candidates = append(candidates, candidate{m, due})
		}
	}
	if !ticks {
		return nil
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		if s := a.link.suspected(); s != b.link.suspected() {
			if s {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.due, b.due)
	})
	members := make([]*member, len(candidates))
	for i, c := range candidates {
		members[i] = c.member
	}
	return members
}

// due is when a link is to be probed next, and by how much a tick may take it earlier.
func (p *Prober) due(m *member) (at, slack time.Duration) {
	l := m.link
	if l.stats.Sent == 0 {
		return l.sentAt, 0
	}
	idle := time.Duration(m.jitter * float64(interval(p.plan.base)))
	rest := l.putOff(idle*5/4, idle, idleMost*idle)
	eager := l.suspected() || l.unsettled() && p.late.factor() == 1 // who is late makes round trips differ
	if !eager && l.sentAt > l.livelyUntil() {
		return l.sentAt + rest, idle / tickShare
	}
	pause := time.Duration(m.jitter * float64(p.plan.interval(l)))
	if !eager {
		pause = l.putOff(pause, pause*3/4, time.Duration(m.jitter*float64(l.calm())))
	}
	if !eager && l.sentAt+pause > l.livelyUntil() {
		pause = rest
	}
	return l.sentAt + pause, pause / tickShare
}

// Next is when Advance and Due are to be called again at the latest; the zero time when there are no links.
func (p *Prober) Next() time.Time {
	if len(p.members) == 0 {
		return time.Time{}
	}
	return p.base.Add(p.next())
}

// Late takes note of how much later than it was due the owner got to work.
func (p *Prober) Late(by time.Duration) { p.late.add(by) }

// Strain is what is probed less by since the owner is late: 1, where it is not, to 8.
func (p *Prober) Strain() float64 { return p.late.factor() }

func (p *Prober) next() time.Duration {
	next := never
	for _, m := range p.members {
		due, _ := p.due(m)
		next = min(next, m.link.wake(), max(due, p.resume))
	}
	return next
}
