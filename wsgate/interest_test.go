package wsgate

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// TestRosterModel: a roster holds what a model says, in little more memory; and a reader finds in the places that he took over earlier whoever stayed since, once, and nobody else
// who is there now.
func TestRosterModel(t *testing.T) {
	type reader struct {
		places []atomic.Pointer[subscription]
		there  []*subscription // since then
	}
	rapid.Check(t, func(t *rapid.T) {
		var r roster
		var model []*subscription
		var readers []reader
		for range rapid.IntRange(0, 100).Draw(t, "changes") {
			readers = append(readers, reader{r.all(), slices.Clone(model)})
			if len(model) == 0 || rapid.IntRange(0, 9).Draw(t, "add") < 5 {
				for range rapid.IntRange(1, 10).Draw(t, "count") {
					s := &subscription{}
					r.add(s)
					model = append(model, s)
				}
			} else {
				for range rapid.IntRange(1, len(model)).Draw(t, "count") {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "who")
					s := model[i]
					r.remove(s)
					model = slices.Delete(model, i, i+1)
					for j := range readers {
						readers[j].there = slices.DeleteFunc(readers[j].there, func(other *subscription) bool { return other == s })
					}
				}
			}
			if got := taken(r.all()); !slices.Equal(got, model) || int(r.live.Load()) != len(model) {
				t.Fatalf("%d are there, %d counted, want %d", len(got), r.live.Load(), len(model))
			}
			if room := cap(r.all()); room > 5*len(model)/2+3 {
				t.Fatalf("room for %d, taken by %d", room, len(model))
			}
			for _, old := range readers {
				now := slices.DeleteFunc(taken(old.places), func(s *subscription) bool { return !slices.Contains(model, s) })
				if !slices.Equal(now, old.there) {
					t.Fatalf("a reader sees %d, want %d", len(now), len(old.there))
				}
			}
		}
	})
}

func taken(places []atomic.Pointer[subscription]) (all []*subscription) {
	for i := range places {
		if s := places[i].Load(); s != nil {
			all = append(all, s)
		}
	}
	return all
}

// TestLookAgain: a message finds a connection that changes from one pattern to another while it is looked for, each time but the last.
func TestLookAgain(t *testing.T) {
	h := NewHub(HubConfig{})
	all := patterns(t, "#", "a", "a.#")
	other, changing := corkedSubscriber(new(counters)), corkedSubscriber(new(counters))
	h.subscribe(other, "t", all[0], 10)
	h.subscribe(changing, "t", all[2], 10)
	f, found := newFanout(), 0
	match, from, to := f.visit, all[2], all[1]
	f.visit = func(p channel.Pattern, in *interest) {
		if p == all[0] { // comes after exact ones and before "a.#"
			if found++; found <= looks {
				h.subscribe(changing, "t", to, 10)
				h.settle(h.unsubscribe(changing, "t", from), func(string, channel.Pattern, bool) {}, nil)
				from, to = to, from
			}
		}
		match(p, in)
	}
	if n := h.deliver(channel.Message{Tenant: "t", Channel: "a"}, f); n != 2 || found != looks+1 {
		t.Errorf("%d connections got it after %d looks", n, found)
	}
}

// TestPolicyAtOnce: who sees that a connection has its first subscription with a policy also sees that the others of that connection have changed.
func TestPolicyAtOnce(t *testing.T) {
	h := NewHub(HubConfig{})
	s := corkedSubscriber(new(counters))
	h.subscribe(s, "t", patterns(t, "a")[0], 10)
	in := h.subscribe(s, "t", patterns(t, "a.#")[0], 10)
	f := newFanout()
	h.look("t", func(tn *tenant) {
		plain := policy(s.held[h.find("t", patterns(t, "a")[0])].policy.Load())
		h.setPolicy(s.held[in], latestOnly)
		f.collect(tn, "a")
		f.targets[0].policy = max(plain, policy(s.held[in].policy.Load()))
	})
	if got := f.targets[0].policy; got != dropOldestToo {
		t.Errorf("policy %d", got)
	}
}

// TestReadWhileChanged: connections that come and go, or change from one pattern to another, keep no message from those that stay.
func TestReadWhileChanged(t *testing.T) {
	h := NewHub(HubConfig{})
	all := patterns(t, "a", "a.#", "a*", "b")
	quiet := func(string, channel.Pattern, bool) {}
	for i := range 5 {
		h.subscribe(corkedSubscriber(new(counters)), "t", all[i%2], 10)
	}
	var changers, readers sync.WaitGroup
	var done atomic.Bool
	var reads atomic.Int64
	switching := corkedSubscriber(new(counters))
	h.subscribe(switching, "t", all[0], 10)
	changers.Go(func() {
		for i := 0; (i < 3000 || reads.Load() < 3000) && !t.Failed(); i++ {
			h.settle(h.subscribe(switching, "t", all[(i+1)%3], 10), quiet, nil)
			h.settle(h.unsubscribe(switching, "t", all[i%3]), quiet, nil)
		}
	})
	changers.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := 0; (i < 100 || reads.Load() < 3000) && !t.Failed(); i++ {
			passing := make([]*subscriber, rnd.IntN(50))
			for i := range passing {
				passing[i] = corkedSubscriber(new(counters))
				h.settle(h.subscribe(passing[i], "t", all[rnd.IntN(4)], 10), quiet, nil)
			}
			for _, s := range passing {
				h.leave(s, quiet)
			}
		}
	})
	for range 2 {
		readers.Go(func() {
			f, found := newFanout(), map[*subscriber]bool{}
			for ; !done.Load() && !t.Failed(); reads.Add(1) {
				h.look("t", func(t *tenant) { f.collect(t, "a") })
				clear(found)
				for _, target := range f.targets {
					found[target.to] = true
				}
				if len(found) != len(f.targets) || len(found) < 6 || !found[switching] {
					t.Errorf("%d targets, %d different, the one that changes %v", len(f.targets), len(found), found[switching])
				}
				f.reset()
				if !h.Wants("t", "a") || h.Wants("t", "c") || h.Wants("u", "a") {
					t.Error("Wants is wrong")
				}
			}
		})
	}
	changers.Wait()
	done.Store(true)
	readers.Wait()
}

// TestLookAllocs: to ask who wants a message allocates nothing.
func TestLookAllocs(t *testing.T) {
	h := NewHub(HubConfig{})
	for _, p := range patterns(t, "a", "a.#", "#") {
		h.subscribe(corkedSubscriber(new(counters)), "t", p, 10)
	}
	f := newFanout()
	if n := testing.AllocsPerRun(100, func() {
		h.Wants("t", "a")
		h.look("t", func(t *tenant) { f.collect(t, "a") })
		f.reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
