package report

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func link(id wire.NodeID, state string) core.LinkView {
	return core.LinkView{Peer: id, Name: fmt.Sprint("n", uint64(id)), State: state}
}

func member(id wire.NodeID) core.MemberView {
	return core.MemberView{NodeView: core.NodeView{ID: id, Name: fmt.Sprint("n", uint64(id))}}
}

func route(to wire.NodeID, cost float64, path ...string) core.RouteView {
	return core.RouteView{To: to, Name: fmt.Sprint("n", uint64(to)), Cost: cost, Path: path}
}

func TestEvents(t *testing.T) {
	for _, test := range []struct {
		name        string
		before, now core.View
		want        []Event
	}{
		{"nothing", core.View{Links: []core.LinkView{link(1, "up")}}, core.View{Links: []core.LinkView{link(1, "up")}}, nil},
		{
			"a link goes down, and the connection of another",
			core.View{Links: []core.LinkView{link(1, "up"), link(2, "up"), link(3, "down")}},
			core.View{Links: []core.LinkView{link(1, "down")}},
			[]Event{{Kind: LinkDown, Node: 1, Name: "n1"}, {Kind: LinkDown, Node: 2, Name: "n2"}},
		},
		{
			"links come up",
			core.View{Links: []core.LinkView{link(1, "down")}},
			core.View{Links: []core.LinkView{link(1, "up"), link(2, "up"), link(3, "down")}},
			[]Event{{Kind: LinkUp, Node: 1, Name: "n1"}, {Kind: LinkUp, Node: 2, Name: "n2"}},
		},
		{
			"members",
			core.View{Members: []core.MemberView{member(1), member(2)}},
			core.View{Members: []core.MemberView{member(2), member(3)}},
			[]Event{{Kind: Joined, Node: 3, Name: "n3"}, {Kind: Left, Node: 1, Name: "n1"}},
		},
		{
			"routes",
			core.View{Routes: []core.RouteView{route(1, 5, "a", "n1"), route(2, 6, "a", "n2"), route(3, 7, "a", "n3")}},
			core.View{Routes: []core.RouteView{route(1, 9, "a", "n2", "n1"), route(2, 6.5, "a", "n2"), route(4, 1, "a", "n4")}},
			[]Event{{Kind: Rerouted, Node: 1, Name: "n1", Path: []string{"a", "n2", "n1"}, Cost: 9, Was: []string{"a", "n1"}, Prev: 5}, {Kind: Rerouted, Node: 3, Name: "n3", Was: []string{"a", "n3"}, Prev: 7}},
		},
	} {
		if got := events(&test.before, &test.now); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// node is a node as a reporter sees it.
type node struct {
	mu      sync.Mutex // guards what follows
	wanted  bool
	view    core.View
	views   int
	reports []Report
	at      []time.Time
}

func (n *node) ID() wire.NodeID { return 7 }

// with reads or changes the node while nobody else does.
func (n *node) with(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
}

func (n *node) View() (core.View, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.views++
	n.view.Node = core.NodeView{ID: 7, Name: "self"}
	return n.view, true
}

func (n *node) Wanted(tenant, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wanted && tenant == Tenant && name == "$mesh.0000000000000007"
}

func (n *node) Publish(_ context.Context, m channel.Message) error {
	var r Report
	if err := json.Unmarshal(m.Payload, &r); err != nil || m.Validate() != nil || m.Channel != Channel(7) {
		panic(fmt.Sprint(err, m))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports, n.at = append(n.reports, r), append(n.at, time.Now())
	return nil
}

// run runs a reporter in a bubble while script happens.
func run(t *testing.T, n *node, clients func() (int64, uint64), script func()) {
	synctest.Test(t, func(*testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		began := time.Now()
		go func() {
			done <- Run(ctx, Config{Node: n, Clients: clients, CPU: func() time.Duration { return time.Since(began) / 8 }})
		}()
		time.Sleep(time.Millisecond)
		script()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Nothing is collected while nobody reads, not even after somebody did.
func TestNobodyReads(t *testing.T) {
	n := &node{}
	run(t, n, func() (int64, uint64) { return 0, 0 }, func() {
		time.Sleep(time.Minute)
		n.with(func() {
			if n.views != 0 {
				t.Errorf("looked %d times", n.views)
			}
			n.wanted = true
		})
		time.Sleep(10 * time.Second)
		before := 0
		n.with(func() { n.wanted, before = false, n.views })
		time.Sleep(time.Minute)
		n.with(func() {
			if len(n.reports) < 8 || n.views != before {
				t.Errorf("%d reports; looked %d times when nobody read any more", len(n.reports), n.views-before)
			}
		})
	})
}

// Reports come every second, with rates; what happens is told at once, but no more often than four times a second; and in a large mesh the rest comes seldom.
func TestWhenReportsCome(t *testing.T) {
	n := &node{wanted: true, view: core.View{Counters: map[string]uint64{}, Dropped: map[string]uint64{}}}
	var delivered atomic.Uint64
	run(t, n, func() (int64, uint64) { return 3, delivered.Load() }, func() {
		for range 80 { // 10 s
			n.with(func() {
				n.view.Counters = map[string]uint64{"relayed": n.view.Counters["relayed"] + 25}
				n.view.Dropped = map[string]uint64{"no_route": n.view.Dropped["no_route"] + 1}
			})
			delivered.Add(50)
			time.Sleep(125 * time.Millisecond)
		}
		before := 0
		n.with(func() {
			before = len(n.reports)
			if before != 10 {
				t.Errorf("%d reports in 10 s", before)
			}
			last := n.reports[before-1]
			if want := (Rates{Relayed: 200, Delivered: 400, Connections: 3, CPU: 0.125}); last.Rates != want || last.Drops["no_route"] != 8 || last.Every != 1 || last.Members != 1 {
				t.Errorf("%+v", last)
			}
		})

		for i := range 20 { // 2 s in which a link goes up and down
			n.with(func() { n.view.Links = []core.LinkView{link(1, []string{"up", "down"}[i%2])} })
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(lookEvery)
		n.with(func() {
			if got := n.at[before:]; len(got) < 4 || len(got) > 9 {
				t.Errorf("%d reports of what happened in 2 s", len(got))
			}
			if e := n.reports[before].Events; len(e) != 1 || e[0].Kind != LinkUp || n.reports[before].Links[0].To != 1 {
				t.Errorf("told %+v", n.reports[before])
			}
			for id := range wire.NodeID(999) {
				n.view.Members = append(n.view.Members, member(id+10))
			}
		})
		time.Sleep(lookEvery)
		n.with(func() {
			before = len(n.reports)
			joined := n.reports[before-1]
			if len(joined.Events) != eventsMost || joined.Missed != 999-eventsMost {
				t.Errorf("%d events, %d missed", len(joined.Events), joined.Missed)
			}
		})
		time.Sleep(4 * time.Minute)
		n.with(func() {
			if got := len(n.reports) - before; got < 2 || got > 3 {
				t.Errorf("%d reports in four minutes in a mesh of 1000", got)
			}
		})
	})
}

// Whatever a node sees, its report fits into a message, and the links that carry most are in it.
func TestReportFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Report{}
		for i := range rapid.IntRange(0, 1500).Draw(t, "links") {
			r.Links = append(r.Links, Link{To: wire.NodeID(i + 1), Up: true, RTT: 123.4567, Cost: 99.1234, Out: float64(i)})
		}
		path := strings.Split(strings.Repeat(strings.Repeat("\u2028", rapid.IntRange(0, 40).Draw(t, "name"))+" ", rapid.IntRange(1, 8).Draw(t, "hops")), " ")
		for range rapid.IntRange(0, eventsMost).Draw(t, "events") {
			r.Events = append(r.Events, Event{Kind: Rerouted, Path: path, Was: path})
		}
		all, told := len(r.Links), len(r.Events)
		b := r.encode()
		var back Report
		if err := json.Unmarshal(b, &back); err != nil || len(b) > wire.MaxPayload {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if len(back.Links)+back.Cut != all || len(back.Events)+back.Missed != told {
			t.Fatalf("%d links and %d cut of %d, %d events and %d missed of %d", len(back.Links), back.Cut, all, len(back.Events), back.Missed, told)
		}
		for _, l := range back.Links {
			if back.Cut > 0 && int(l.To) <= back.Cut {
				t.Fatalf("link %d is told, others that carry more are not", l.To)
			}
		}
	})
}

// The first reports of a large mesh come close together; those after them are spread over the whole time between two.
func TestReportsSpread(t *testing.T) {
	const members = 95
	every := Every(members + 1)
	quarters := [4]int{}
	for range 200 {
		n := &node{wanted: true, view: core.View{Members: make([]core.MemberView, members)}}
		for i := range n.view.Members {
			n.view.Members[i] = member(wire.NodeID(i + 8))
		}
		r := reporter{cfg: Config{Node: n, Clients: func() (int64, uint64) { return 0, 0 }}, name: Channel(7)}
		began := time.Now()
		for at, came := began, 0; came < 2; at = at.Add(lookEvery) {
			if r.look(at) == nil {
				continue
			}
			if came++; came == 2 {
				quarters[int(at.Sub(began)*4/every)%4]++
			}
		}
	}
	for i, count := range quarters {
		if count < 20 {
			t.Errorf("%d of 200 second reports in quarter %d of the time between two", count, i)
		}
	}
}

// A reader of a large mesh gets a bounded number of reports a second, more of them at first.
func TestReportsArePaced(t *testing.T) {
	for _, test := range []struct {
		members      int
		every, first time.Duration
	}{{1, time.Second, time.Second}, {12, time.Second, time.Second}, {36, 3 * time.Second, time.Second}, {960, 80 * time.Second, 15 * time.Second}} {
		if every, first := Every(test.members), shared(test.members, firstMost); every != test.every || first != test.first {
			t.Errorf("%d members: every %v, first within %v; want %v, %v", test.members, every, first, test.every, test.first)
		}
	}
	n := &node{wanted: true, view: core.View{Members: make([]core.MemberView, 95)}}
	for i := range n.view.Members {
		n.view.Members[i] = member(wire.NodeID(i + 8))
	}
	run(t, n, func() (int64, uint64) { return 0, 0 }, func() {
		time.Sleep(2 * time.Second)
		n.with(func() {
			if len(n.reports) != 1 {
				t.Errorf("%d reports in the first two seconds", len(n.reports))
			}
		})
		time.Sleep(40 * time.Second)
		n.with(func() {
			if len(n.reports) < 5 || len(n.reports) > 7 {
				t.Errorf("%d reports in 42 s, want one every 8 s", len(n.reports))
			}
		})
	})
}
