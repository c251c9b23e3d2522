package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/simnet"
)

// workers is an origin and three nodes with subscribers of "jobs", which are 10, 30 and 50 ms from it.
func workers(c *cluster) (origin *clusterNode, others []*clusterNode) {
	for i, delay := range []int{10, 30, 50} {
		path := simnet.Path{Delay: time.Duration(delay) * time.Millisecond}
		c.net.SetPath(ipOf(0), ipOf(i+1), path)
		c.net.SetPath(ipOf(i+1), ipOf(0), path)
	}
	origin = c.start(0, 1)
	for i := range 3 {
		w := c.start(i+1, 1, 0)
		w.subscribe(c.t, "jobs")
		others = append(others, w)
	}
	c.meshed(5 * time.Second)
	time.Sleep(3 * time.Second)
	return origin, others
}

// jobs publishes numbered messages for one subscriber each.
func (n *clusterNode) jobs(t *testing.T, mode channel.Mode, count int, every time.Duration) {
	t.Helper()
	for i := range count {
		if err := n.Publish(t.Context(), channel.Message{Tenant: "t", Channel: "jobs", Mode: mode, Payload: []byte(strconv.Itoa(i))}); err != nil {
			t.Error(err)
		}
		time.Sleep(every)
	}
}

// done is how often each of so many messages has come to any of the nodes.
func done(t *testing.T, count int, nodes ...*clusterNode) []int {
	t.Helper()
	times := make([]int, count)
	for _, n := range nodes {
		for _, r := range n.received() {
			number, err := strconv.Atoi(r.payload)
			if err != nil || number >= count {
				t.Fatalf("%s got %q", n.Name(), r.payload)
			}
			times[number]++
		}
	}
	return times
}

func eachOnce(t *testing.T, count int, nodes ...*clusterNode) {
	t.Helper()
	for i, times := range done(t, count, nodes...) {
		if times != 1 {
			t.Errorf("message %d came %d times", i, times)
		}
	}
}

func TestDeliverOneNearest(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 40 * time.Millisecond, Loss: 0.01}, func(c *cluster) {
		origin, w := workers(c)
		const count = 100
		origin.jobs(t, channel.DeliverLowestLatency, count, 5*time.Millisecond)
		time.Sleep(time.Second)
		eachOnce(t, count, w[0])
		if n := len(w[1].received()) + len(w[2].received()); n != 0 {
			t.Errorf("farther nodes got %d", n)
		}
		// In order per channel and origin, as all messages are, while they go to one node.
		if !slices.IsSortedFunc(w[0].received(), func(a, b received) int { return len(a.payload) - len(b.payload) }) {
			t.Error("out of order")
		}
		origin.subscribe(t, "jobs") // at no distance
		origin.jobs(t, channel.DeliverLowestLatency, 10, 0)
		if n := len(origin.received()); n != 10 {
			t.Errorf("the local subscriber got %d of 10", n)
		}
	})
}

func TestDeliverOneRandom(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 40 * time.Millisecond, Loss: 0.01}, func(c *cluster) {
		origin, w := workers(c)
		origin.subscribe(t, "jobs")
		const count = 400
		origin.jobs(t, channel.DeliverRandom, count, 3*time.Millisecond)
		time.Sleep(time.Second)
		all := append(w, origin)
		eachOnce(t, count, all...)
		for _, n := range all { // a fair share is 100, its deviation 9
			if got := len(n.received()); got < 55 || got > 145 {
				t.Errorf("%s got %d of %d", n.Name(), got, count)
			}
		}
	})
}

// A node without a real subscriber, whose filter matched or whose subscriber has just gone, refuses, and the next one gets the message.
func TestDeliverOneRefused(t *testing.T) {
	for _, mode := range []channel.Mode{channel.DeliverLowestLatency, channel.DeliverRandom} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, simnet.Path{Delay: 40 * time.Millisecond, Loss: 0.02}, func(c *cluster) {
				origin, w := workers(c)
				w[0].idle.Store(true)
				w[1].idle.Store(true)
				const count = 200
				origin.jobs(t, mode, count, 5*time.Millisecond)
				time.Sleep(time.Second)
				eachOnce(t, count, w[2])
				if mode == channel.DeliverLowestLatency {
					if got := origin.Counters().Reaimed.Load(); got != 2*count {
						t.Errorf("%d sent on, want two of each", got)
					}
				}
				w[2].idle.Store(true)
				origin.jobs(t, mode, 5, 0)
				time.Sleep(time.Second)
				if got := origin.Counters().Dropped(forward.DropNoTaker); got != 5 || origin.endpoint.Flights().Outgoing != 0 {
					t.Errorf("%d counted as unwanted, want 5; %+v", got, origin.endpoint.Flights())
				}
			})
		})
	}
}

// What the node that gets all the messages had not acknowledged when it was killed goes to the next, and nothing is lost.
func TestDeliverOneSurvivesKill(t *testing.T) {
	for _, how := range []string{"killed", "restarted", "cut off"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, simnet.Path{Delay: 40 * time.Millisecond}, func(c *cluster) {
				origin, w := workers(c)
				const count, every = 400, 5 * time.Millisecond
				var at time.Time
				go func() {
					time.Sleep(count / 2 * every)
					at = time.Now()
					if how == "cut off" {
						for _, n := range []*clusterNode{origin, w[1], w[2]} {
							c.net.Cut(w[0].ip, n.ip)
						}
						return
					}
					c.net.Kill(w[0].ip)
					if how == "restarted" {
						time.Sleep(100 * time.Millisecond)
						w = append(w, c.start(1, 2, 0))
						w[3].subscribe(t, "jobs")
					}
				}()
				origin.jobs(t, channel.DeliverLowestLatency, count, every)
				time.Sleep(6 * time.Second)
				twice := 0
				for i, times := range done(t, count, w...) {
					switch times {
					case 1:
					case 2:
						twice++
					default:
						t.Errorf("message %d came %d times", i, times)
					}
				}
				// Those that the node had delivered, and whose acknowledgement was not sent or under way.
				if most := int((10*time.Millisecond + 25*time.Millisecond) / every); twice > most {
					t.Errorf("%d came twice, want at most %d, from just before", twice, most)
				}
				survivors := w[1:]
				if n := len(done(t, count, survivors...)); n == 0 {
					t.Error("nobody went on")
				}
				latest := time.Duration(0)
				for _, n := range survivors {
					for _, r := range n.received() {
						latest = max(latest, r.trace.Age)
					}
				}
				if bound := 1500 * time.Millisecond; latest > bound || latest == 0 {
					t.Errorf("a message took %v, want at most %v", latest, bound)
				}
				t.Logf("%d came twice, the slowest took %v (fault at %v)", twice, latest, at.Format("05.000"))
			})
		})
	}
}

// A short outage of the only path delays messages and doubles none, though other nodes have subscribers.
func TestDeliverOneWaitsForShortOutage(t *testing.T) {
	inBubble(t, simnet.Path{Delay: 40 * time.Millisecond}, func(c *cluster) {
		origin, w := workers(c)
		const count, every = 200, 5 * time.Millisecond
		go func() {
			time.Sleep(count / 2 * every)
			for _, n := range append([]*clusterNode{origin}, w[1:]...) {
				c.net.Cut(w[0].ip, n.ip)
			}
			time.Sleep(150 * time.Millisecond)
			for _, n := range append([]*clusterNode{origin}, w[1:]...) {
				c.net.Heal(w[0].ip, n.ip)
			}
		}()
		origin.jobs(t, channel.DeliverLowestLatency, count, every)
		time.Sleep(6 * time.Second)
		eachOnce(t, count, w...)
		t.Log(fmt.Sprint(len(w[0].received()), " at the nearest"))
	})
}
