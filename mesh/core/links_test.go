package core

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// dials are the times, since the start, at which a node is dialled.
func dials(all []stamped, began time.Time) []time.Duration {
	var out []time.Duration
	for _, s := range all {
		if _, ok := s.Effect.(Dial); ok {
			out = append(out, s.at.Sub(began))
		}
	}
	return out
}

func TestDialPoliteness(t *testing.T) {
	for _, test := range []struct {
		what       string
		self, peer int
		want       time.Duration
	}{
		{"the smaller ID dials at once", 2, 4, 0},
		{"the larger waits", 4, 2, politeness},
	} {
		r := newRig(t, test.self)
		began := r.now
		effects := r.step(r.member(test.peer, 1))
		all := []stamped{}
		for _, e := range effects {
			all = append(all, stamped{began, e})
		}
		all = append(all, r.pass(5*time.Second)...)
		if got := dials(all, began); len(got) != 1 || got[0] != test.want {
			t.Errorf("%s: dialled at %v, want %v once: no second while one runs", test.what, got, test.want)
		}
		for _, s := range all {
			if d, ok := s.Effect.(Dial); ok && (d.Peer != r.id(test.peer) || d.Addr != addrOf(test.peer)) {
				t.Errorf("%s: dialled %v at %v", test.what, d.Peer, d.Addr)
			}
		}
	}
}

func TestNoDialWhereALinkIs(t *testing.T) {
	r := newRig(t, 4)
	r.step(r.member(2, 1))
	r.pass(politeness / 2)
	r.step(r.open(2, 1))
	if effects := r.passed(5 * time.Second); len(of[Dial](effects)) > 0 {
		t.Error("dialled though the peer opened a link")
	}
}

func TestDialBackOff(t *testing.T) {
	r := newRig(t, 2)
	at := r.now
	if len(of[Dial](r.step(r.member(4, 1)))) != 1 {
		t.Fatal("no first dial")
	}
	pause := time.Duration(0)
	for attempt := range 12 {
		r.now = at.Add(10 * time.Millisecond)
		r.step(Dialed{Peer: r.id(4)})
		failed := r.now
		all := dials(r.pass(20*time.Second), failed)
		if len(all) != 1 {
			t.Fatalf("attempt %d: %d dials", attempt, len(all))
		}
		pause = min(max(pause*3/2, dialFirst), dialMost)
		if low, high := pause*3/4, pause*5/4; all[0] < low || all[0] > high {
			t.Errorf("attempt %d: %v after the failure, want %v to %v", attempt, all[0], low, high)
		}
		at = r.now
	}
	// A link resets it.
	r.step(Dialed{Peer: r.id(4), OK: true}, r.open(4, 1))
	r.step(LinkClosed{r.id(4), r.number})
	r.pass(time.Second)
	r.step(Dialed{Peer: r.id(4)})
	began := r.now
	if got := dials(r.pass(5*time.Second), began); len(got) != 1 || got[0] > dialFirst*5/4 {
		t.Errorf("dials at %v after a link had worked", got)
	}
}

// A dial ends before the link that it opened is reported: these are two goroutines.
func TestDialIsNotRepeatedBeforeItsLinkOpens(t *testing.T) {
	r := newRig(t, 2)
	r.step(r.member(4, 1))
	effects := r.step(Dialed{Peer: r.id(4), OK: true})
	effects = append(effects, r.passed(100*time.Millisecond)...)
	effects = append(effects, r.step(r.open(4, 1))...)
	effects = append(effects, r.passed(5*time.Second)...)
	if n := len(of[Dial](effects)); n != 0 {
		t.Errorf("%d more dials", n)
	}
	// But a link that never came is no link.
	r.step(LinkClosed{r.id(4), r.number})
	r.pass(time.Second)
	r.step(Dialed{Peer: r.id(4), OK: true})
	if n := len(of[Dial](r.passed(5 * time.Second))); n != 1 {
		t.Errorf("%d dials after one that brought no link", n)
	}
}

func TestRedialAfterALinkIsLost(t *testing.T) {
	for _, test := range []struct {
		self, peer     int
		soonest, least time.Duration
	}{{2, 4, dialFirst / 4 * 3 / 4, dialFirst / 4 * 5 / 4}, {4, 2, politeness, politeness}} {
		r := newRig(t, test.self)
		r.step(r.member(test.peer, 1), r.open(test.peer, 1))
		r.pass(time.Second)
		r.step(LinkClosed{r.id(test.peer), r.number})
		began := r.now
		if got := dials(r.pass(5*time.Second), began); len(got) != 1 || got[0] < test.soonest || got[0] > test.least {
			t.Errorf("node %d: dials at %v, want one at %v to %v", test.self, got, test.soonest, test.least)
		}
	}
}

func TestNoDialWhileLeaving(t *testing.T) {
	r := newRig(t, 4)
	r.step(r.member(2, 1), r.member(6, 1)) // 6 is dialled, 2 would be in a second
	r.step(Leaving{})
	if effects := r.passed(5 * time.Second); len(of[Dial](effects)) > 0 { // and pass fails if the core spins
		t.Error("a leaving node dials")
	}
}

// What is said of a link that was replaced is not said of the link.
func TestReplacedLink(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	old, p := r.number, r.c.peers[r.id(4)]
	effects := r.step(r.open(4, 1))
	if p.link != r.number || p.up || r.c.prober.Link(p.id).Stats().SRTT != 0 {
		t.Fatal("the new link is not taken as new")
	}
	published := of[PublishRoutes](effects)
	if len(published) == 0 || len(published[len(published)-1].Usable) != 0 {
		t.Error("the data plane still uses the old link")
	}
	delete(r.echo, p.id)
	for _, stale := range []Event{
		LinkClosed{p.id, old},
		Echoed{p.id, old, 1, time.Millisecond, r.now},
		Activity{p.id, old, r.now.Add(time.Second), r.now.Add(time.Second)},
		LinkOpened{Peer: p.id, Boot: 1, Link: old}, // the reports of two links may overtake each other
	} {
		r.step(stale)
		if stats := r.c.prober.Link(p.id).Stats(); p.link != r.number || stats.SRTT != 0 || stats.Refused != 0 {
			t.Errorf("%#v: link %d, %+v", stale, p.link, stats)
		}
	}
	r.step(LinkClosed{p.id, r.number})
	if p.link != 0 {
		t.Error("the link is closed and yet there")
	}
	for _, nobody := range []Event{LinkClosed{1, 9}, Echoed{1, 9, 1, 1, r.now}, Activity{1, 9, r.now, r.now}, Dialed{1, true}} {
		r.step(nobody)
	}
	if r.c.peers[1] != nil {
		t.Error("news of a link made a peer")
	}
}

// A link that was opened anew beside one that works goes on as that: no down, no proof to give.
func TestRenewedLink(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	r.detour(3, 4) // so that there is another way if the link is taken for broken
	p := r.c.peers[r.id(4)]
	srtt := r.c.prober.Link(p.id).Stats().SRTT
	delete(r.echo, p.id)
	for sent := r.c.prober.Link(p.id).Stats().Sent; r.c.prober.Link(p.id).Stats().Sent == sent; { // so that a probe is under way, which will not be answered
		r.pass(time.Millisecond)
	}
	renewal := r.open(4, 1)
	renewal.Renews = true
	effects := r.step(renewal)
	published := of[PublishRoutes](effects)
	if len(published) == 0 || !slices.Contains(published[0].Usable, p.id) || len(published[0].Broken) > 0 {
		t.Errorf("published %+v, want the new link used", published)
	}
	r.echo[p.id] = 10 * time.Millisecond
	effects = append(effects, r.step(LinkClosed{p.id, renewal.Link - 1})...)
	effects = append(effects, r.passed(5*time.Second)...)
	stats := r.c.prober.Link(p.id).Stats()
	if !p.up || p.link != renewal.Link || p.downs != 0 || stats.Missed != 0 || stats.SRTT < srtt/2 {
		t.Errorf("up %v, link %d, %d downs, %+v", p.up, p.link, p.downs, stats)
	}
	for _, n := range of[Notice](effects) {
		t.Errorf("notice %+v", n)
	}
	// A later run of the peer is another matter.
	renewal = r.open(4, 2)
	renewal.Renews = true
	r.step(renewal)
	if p.up {
		t.Error("a link to a later run counts as proved")
	}
}

// A connection that breaks is a failure of the link, which must prove itself before it is used again (RFC 2439).
func TestBrokenLinkComesUpSlower(t *testing.T) {
	t.Run("closed", func(t *testing.T) { breakLink(t, true) })
	t.Run("replaced", func(t *testing.T) { breakLink(t, false) })
}

// breakLink breaks a link that works several times, and each time opens another.
func breakLink(t *testing.T, reported bool) {
	t.Helper()
	r := newRig(t, 2)
	r.up(4)
	r.detour(3, 4)
	waited := make([]int, 0, 4)
	for range 4 {
		if reported {
			r.step(LinkClosed{r.id(4), r.number})
		}
		r.step(r.open(4, 1))
		began := r.now
		for !r.c.peers[r.id(4)].up {
			r.pass(time.Millisecond)
			if r.now.Sub(began) > time.Minute {
				t.Fatal("never up again")
			}
		}
		waited = append(waited, int(r.now.Sub(began)/(10*time.Millisecond)))
	}
	for i := 1; i < len(waited); i++ {
		if waited[i] <= waited[i-1]*3/2 {
			t.Errorf("up again after %v (10 ms each), want ever longer", waited)
		}
	}
	if r.c.peers[r.id(4)].downs != 4 {
		t.Errorf("%d downs counted", r.c.peers[r.id(4)].downs)
	}
}

// Probes decide: down after a few missed ones, though the connection stands; up when they are answered again.
func TestLinkGoesDownAndComesUp(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	p := r.c.peers[r.id(4)]
	delete(r.echo, p.id)
	all := r.pass(3 * time.Second)
	if p.up || p.link != r.number {
		t.Fatalf("up %v, link %d", p.up, p.link)
	}
	count := func(all []stamped, what string) (n int) {
		for _, s := range all {
			if e, ok := s.Effect.(Notice); ok && e.What == what {
				n++
			}
		}
		return n
	}
	if count(all, "link down") != 1 {
		t.Errorf("%d notices of a link that went down", count(all, "link down"))
	}
	if len(r.c.vector) != 0 || r.c.prober.Link(p.id).State() != latency.Down {
		t.Error("it is advertised")
	}
	r.echo[p.id] = 10 * time.Millisecond
	if all = r.pass(3 * time.Second); !p.up || count(all, "link up") != 1 || len(r.c.vector) != 1 {
		t.Errorf("up %v, notices %d, advertised %v", p.up, count(all, "link up"), r.c.vector)
	}
	sent := false
	for _, s := range all {
		if e, ok := s.Effect.(SetRTT); ok && e.Peer == p.id && e.SRTT == 10*time.Millisecond {
			sent = true
		}
	}
	if !sent {
		t.Error("the link was not told its round trip")
	}
}

// Both ends compare what they hold as soon as a link opens, and again when one works that did not:
// meanwhile neither pushed anything to the other.
func TestSumsWhenALinkOpensAndComesUp(t *testing.T) {
	r := newRig(t, 2)
	r.echo[r.id(4)] = 10 * time.Millisecond
	whole := func(effects []Effect, when string) {
		t.Helper()
		sent := frames(effects, wire.KindSums)
		if len(sent) != 1 || sent[0].To != r.id(4) {
			t.Fatalf("%s: %d sums", when, len(sent))
		}
		if s, err := wire.ParseSums(sent[0].Frame); err != nil || s.From != r.id(2) || s.Records != len(r.c.store.entries) {
			t.Errorf("%s: %+v, %v", when, s, err)
		}
	}
	whole(r.step(r.open(4, 1)), "opened")
	whole(r.passed(time.Second), "came up")
	delete(r.echo, r.id(4))
	r.pass(2 * time.Second)
	r.echo[r.id(4)] = 10 * time.Millisecond
	whole(r.passed(2*time.Second), "came up again")
}

// A link is doubled when it loses packets for some time while it is in use, and no longer when it has been good, or at rest, for long.
func TestTwin(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	p := r.c.peers[r.id(4)]
	lose, busy := 0, true
	count := 0
	r.lost = func() bool { count++; return lose > 0 && count%lose == 0 }
	// live lets time pass as the loop does, with every lose-th probe lost.
	live := func(d time.Duration) (said []bool) {
		t.Helper()
		for end := r.now.Add(d); r.now.Before(end); {
			for _, s := range r.pass(50 * time.Millisecond) {
				if e, ok := s.Effect.(SetTwin); ok {
					said = append(said, e.On)
				}
			}
			if busy {
				r.step(Activity{p.id, p.link, r.now, r.now})
			}
		}
		return said
	}
	if said := live(20 * time.Second); len(said) > 0 {
		t.Errorf("a good link: %v", said)
	}
	lose = 20 // 5 % of round trips
	if said := live(twinAfter - time.Second); len(said) > 0 {
		t.Errorf("at once: %v", said)
	}
	said := live(20 * time.Second)
	if len(said) < 1 || len(said) > 6 || slices.Contains(said, false) {
		t.Errorf("a lossy link: %v", said)
	}
	lose = 0
	if said := live(twinKept); slices.Contains(said, false) {
		t.Errorf("soon after the loss: %v", said)
	}
	if said := live(2 * twinKept); len(said) == 0 || said[len(said)-1] {
		t.Errorf("long after the loss: %v", said)
	}
	lose, busy = 20, false
	if said := live(30 * time.Second); len(said) > 0 {
		t.Errorf("a lossy link at rest: %v", said)
	}
}

// However many members are to be dialled, only so many dials are under way; those that waited follow as others end, and the core does not spin meanwhile.
func TestDialsAtOnce(t *testing.T) {
	const members = 3 * dialsAtOnce
	r := newRig(t, 2)
	for i := range members {
		id := wire.NodeID(1000 + i)
		r.step(MemberUp{Meta: wire.Meta{ID: id, Boot: 1, Name: "m"}, Addr: addrOf(i)})
	}
	under, dialled := map[wire.NodeID]bool{}, map[wire.NodeID]bool{}
	note := func(effects []Effect) {
		for _, d := range of[Dial](effects) {
			under[d.Peer], dialled[d.Peer] = true, true
		}
	}
	note(r.passed(politeness + time.Second))
	for len(dialled) < members {
		if len(under) != dialsAtOnce {
			t.Fatalf("%d dials under way, %d begun; want %d under way", len(under), len(dialled), dialsAtOnce)
		}
		for id := range under {
			delete(under, id)
			note(r.step(Dialed{Peer: id, OK: true}))
			break
		}
	}
}

// Links that broke often are kept out for a while, but not where their node would be cut off.
func TestFlappingDoesNotCutOff(t *testing.T) {
	for _, detour := range []bool{false, true} {
		r := newRig(t, 2)
		r.up(3)
		r.up(4)
		for range 6 { // all links, as when this node stalls; so they come up again
			for _, i := range []int{3, 4} {
				r.c.prober.Link(r.id(i)).Failed(r.now)
			}
			for r.pass(100 * time.Millisecond); !r.c.peers[r.id(3)].up || !r.c.peers[r.id(4)].up; {
				r.pass(100 * time.Millisecond)
			}
		}
		far := r.id(3)
		if detour {
			r.detour(4, 3)
		}
		r.c.prober.Link(far).Failed(r.now)
		r.pass(time.Second)
		if up := r.c.peers[far].up; up == detour {
			t.Errorf("a second later, with a detour %v: up %v", detour, up)
		}
	}
}

// A link that comes back is told of at once where nothing else leads to its node; else as any new one, which waits until links have been told of long enough.
func TestBackInTouchIsToldAtOnce(t *testing.T) {
	for _, cutOff := range []bool{true, false} {
		r := newRig(t, 2)
		r.up(4)
		if !cutOff {
			r.detour(3, 4)
		}
		r.pass(time.Minute)
		p := r.c.peers[r.id(4)]
		delete(r.echo, p.id)
		for p.up {
			r.pass(10 * time.Millisecond)
		}
		r.echo[p.id] = 10 * time.Millisecond
		for !p.up {
			r.pass(10 * time.Millisecond)
		}
		told := slices.ContainsFunc(r.c.vector, func(l wire.Link) bool { return l.To == p.id })
		if told != cutOff {
			t.Errorf("cut off %v: told of at once %v", cutOff, told)
		}
	}
}

// A link that is up without a measurement, as on a node that is too busy, has no cost that people could read as one.
func TestUnmeasuredLinkHasNoCost(t *testing.T) {
	r := newRig(t, 2)
	r.up(4)
	r.c.vector = []wire.Link{{To: r.id(4), Cost: math.MaxUint32}}
	r.step(r.open(4, 1)) // another link in place of the one that was measured
	if l := r.c.View().Links[0]; l.Cost != 0 || l.Advertised != 0 {
		t.Errorf("costs %v ms, told as %v ms", l.Cost, l.Advertised)
	}
}
