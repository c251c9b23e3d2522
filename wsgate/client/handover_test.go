package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// TestReconnectLine: a server asks to reconnect while 1,000 messages/s come: nothing is lost, doubled or out of order,
// wherever the client goes, and whichever connection is ahead.
func TestReconnectLine(t *testing.T) {
	for name, test := range map[string]struct{ pathA, delayA, pathB, delayB time.Duration }{
		"to the same node":    {pathA: 10 * time.Millisecond, delayA: 20 * time.Millisecond},
		"to a nearer node":    {80 * time.Millisecond, 150 * time.Millisecond, 5 * time.Millisecond, 3 * time.Millisecond},
		"to a farther node":   {5 * time.Millisecond, 3 * time.Millisecond, 80 * time.Millisecond, 150 * time.Millisecond},
		"to one hardly ahead": {10 * time.Millisecond, 10 * time.Millisecond, 9 * time.Millisecond, 10300 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			inFabric(t, func(t *testing.T, f *fabric) {
				a := f.start("a", time.Millisecond, test.delayA, wsgate.Limits{})
				cfg := f.config(a.url())
				to := a
				if test.pathB > 0 {
					to = f.start("b", test.pathB, test.delayB, wsgate.Limits{})
					cfg = f.still(a.url(), to.url())
				}
				c := f.dial(cfg, "s.#", "s.x", "other")
				f.place(a.ip, test.pathA)
				n := f.stream("s.x", 0, time.Millisecond, 3*time.Second)
				time.Sleep(500 * time.Microsecond)
				a.tap.line("RECONNECT")
				n = f.stream("s.x", n, time.Millisecond, 10*time.Second)
				time.Sleep(time.Second)
				f.numbers(n)
				s := c.State()
				if s.URL != to.url() || s.Moves != 1 || s.Reconnects != 0 || s.Duplicates < 4000 || s.Forced != 0 {
					t.Errorf("%+v", s)
				}
				if a.server.Stats().Connections > 1 || a != to && a.server.Stats().Connections != 0 {
					t.Errorf("%d connections left", a.server.Stats().Connections)
				}
				if faults := f.reported(); len(faults) != 0 {
					t.Errorf("reported %v", faults)
				}
				do(t, c.Close())
			})
		})
	}
}

// TestRepeatedMoves: a stream and equal messages at intervals survive one hand-over after the other.
func TestRepeatedMoves(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 60*time.Millisecond, 90*time.Millisecond, wsgate.Limits{})
		b := f.start("b", 4*time.Millisecond, 2*time.Millisecond, wsgate.Limits{})
		cfg := f.still(a.url(), b.url())
		c := f.dial(cfg, "tick")
		ticks := 0
		for i := range 5 {
			time.Sleep(time.Duration(i) * 170 * time.Millisecond)
			for _, n := range []*node{a, b} {
				n.tap.line("RECONNECT") // to closed connections as well; no matter
			}
			for range 12 {
				f.say("tick", "tick")
				ticks++
				time.Sleep(time.Second)
			}
		}
		if got := f.got(); len(got) != ticks {
			t.Errorf("%d of %d ticks", len(got), ticks)
		}
		if s := c.State(); s.Moves != 5 || s.Reconnects != 0 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

// TestEqualMessages: what is published twice during an overlap arrives twice.
func TestEqualMessages(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 5*time.Millisecond, 50*time.Millisecond, wsgate.Limits{})
		b := f.start("b", 40*time.Millisecond, 3*time.Millisecond, wsgate.Limits{})
		cfg := f.still(a.url(), b.url())
		c := f.dial(cfg, "s")
		a.tap.line("RECONNECT")
		time.Sleep(time.Second)
		if s := c.State(); s.URL != b.url() {
			t.Fatalf("%+v", s)
		}
		for range 2 {
			f.say("s", "same")
			time.Sleep(time.Millisecond)
			f.say("s", "same")
			time.Sleep(time.Second)
		}
		do(t, c.Publish(t.Context(), "t", "s", []byte("mine")))
		do(t, c.Publish(t.Context(), "t", "s", []byte("mine")))
		time.Sleep(2 * time.Second)
		if got := f.got(); !slices.Equal(got, []string{"same", "same", "same", "same", "mine", "mine"}) {
			t.Errorf("got %q", got)
		}
		if s := c.State(); s.Duplicates != 6 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

// TestNearerNode: the client begins at the nearest, moves when a nearer one is listed and when it is healthier elsewhere,
// and does not move for little.
func TestNearerNode(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 50*time.Millisecond, 50*time.Millisecond, wsgate.Limits{})
		far := f.start("far", 150*time.Millisecond, 100*time.Millisecond, wsgate.Limits{})
		f.list("far", "a")
		cfg := f.config()
		cfg.Bootstrap = "http://" + far.ip + ":8080/v1/bootstrap"
		c := f.dial(cfg, "s")
		if s := c.State(); s.URL != a.url() || len(s.Nodes) != 2 || s.RTT < 100*time.Millisecond || s.RTT > 101*time.Millisecond {
			t.Fatalf("%+v", s)
		}
		n := f.stream("s", 0, 20*time.Millisecond, 5*time.Minute)
		b := f.start("b", 45*time.Millisecond, 45*time.Millisecond, wsgate.Limits{})
		f.list("far", "b", "a")
		n = f.stream("s", n, 20*time.Millisecond, 5*time.Minute)
		if s := c.State(); s.Moves != 0 || len(s.Nodes) != 3 || s.Nodes[0].URL != b.url() {
			t.Errorf("moved for little: %+v", s)
		}
		f.place(b.ip, 10*time.Millisecond)
		n = f.stream("s", n, 20*time.Millisecond, 3*time.Minute)
		if s := c.State(); s.Moves != 1 || s.URL != b.url() {
			t.Errorf("did not move: %+v", s)
		}
		f.list("far", "a") // b is about to leave
		n = f.stream("s", n, 20*time.Millisecond, 3*time.Minute)
		if s := c.State(); s.Moves != 2 || s.URL != a.url() || s.Reconnects != 0 {
			t.Errorf("did not move: %+v", s)
		}
		time.Sleep(time.Second)
		f.numbers(n)
		if faults := f.reported(); len(faults) != 0 {
			t.Errorf("reported %v", faults)
		}
		do(t, c.Close())
	})
}

// TestNodeDies: when the node dies, the client is on the next within a second, be it that connections break or that there is
// silence; and again when that one dies.
func TestNodeDies(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprint("silent ", silent), func(t *testing.T) {
			inFabric(t, func(t *testing.T, f *fabric) {
				var urls []string
				for i, name := range []string{"a", "b", "c"} {
					urls = append(urls, f.start(name, time.Duration(10+10*i)*time.Millisecond, 0, wsgate.Limits{}).url())
				}
				cfg := f.config(urls...)
				cfg.Ping, cfg.Pong = 200*time.Millisecond, 300*time.Millisecond
				c := f.dial(cfg, "s")
				for i, name := range []string{"a", "b"} {
					time.Sleep(15 * time.Second)
					if silent {
						f.net.Cut(clientIP, f.nodes[name].ip)
					} else {
						f.nodes[name].crash()
					}
					time.Sleep(time.Second)
					if s := c.State(); s.URL != urls[i+1] || s.Reconnects != uint64(i+1) || s.Moves != 0 {
						t.Fatalf("%+v", s)
					}
					f.say("s", name)
					time.Sleep(time.Second)
					if got := f.got(); !slices.Equal(got, []string{name}) {
						t.Errorf("got %q", got)
					}
					if faults := f.reported(); !has(faults, client.ErrLost) {
						t.Errorf("reported %v", faults)
					}
					if silent {
						f.net.Heal(clientIP, f.nodes[name].ip)
						f.nodes[name].crash()
					}
				}
				_ = c.Close()
			})
		})
	}
}

// TestOldDiesInOverlap: the death of the former node, at whatever point of a hand-over, costs nothing that the new one
// brings, and does not delay it.
func TestOldDiesInOverlap(t *testing.T) {
	for _, after := range []time.Duration{0, 35, 60, 90, 130, 500, 3000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			inFabric(t, func(t *testing.T, f *fabric) {
				a := f.start("a", 10*time.Millisecond, 10*time.Millisecond, wsgate.Limits{})
				b := f.start("b", 20*time.Millisecond, 2*time.Millisecond, wsgate.Limits{})
				cfg := f.still(a.url(), b.url())
				c := f.dial(cfg, "s")
				time.Sleep(15*time.Second + 500*time.Microsecond)
				a.tap.line("RECONNECT")
				time.Sleep(after * time.Millisecond)
				a.crash()
				time.Sleep(time.Second)
				f.got()
				start := time.Now()
				do(t, c.Publish(t.Context(), "t", "s", []byte("x")))
				time.Sleep(45 * time.Millisecond)
				if got := f.got(); !slices.Equal(got, []string{"x"}) {
					t.Errorf("after %v: got %q", time.Since(start), got)
				}
				if s := c.State(); s.URL != b.url() || s.Moves+s.Reconnects != 1 {
					t.Errorf("%+v", s)
				}
				_ = c.Close()
			})
		})
	}
}

// TestNewDiesInOverlap: when the new node dies, the former one is in use again, and asks no less to be left.
func TestNewDiesInOverlap(t *testing.T) {
	for _, after := range []time.Duration{0, 30, 45, 60, 500, 3000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			inFabric(t, func(t *testing.T, f *fabric) {
				a := f.start("a", 10*time.Millisecond, 10*time.Millisecond, wsgate.Limits{})
				b := f.start("b", 20*time.Millisecond, 2*time.Millisecond, wsgate.Limits{})
				cfg := f.still(a.url(), b.url())
				c := f.dial(cfg, "s")
				n := f.stream("s", 0, 10*time.Millisecond, 15*time.Second)
				time.Sleep(500 * time.Microsecond)
				a.tap.line("RECONNECT")
				a.tap.refusing.Store(true) // as a node that drains
				n = f.stream("s", n, 10*time.Millisecond, after*time.Millisecond)
				b.crash()
				n = f.stream("s", n, 10*time.Millisecond, 10*time.Second)
				if s := c.State(); s.URL != a.url() {
					t.Errorf("%+v", s)
				}
				do(t, c.Subscribe(t.Context(), "t", "other"))
				b = f.start("b", 20*time.Millisecond, 2*time.Millisecond, wsgate.Limits{})
				n = f.stream("s", n, 10*time.Millisecond, 30*time.Second)
				time.Sleep(time.Second)
				if s := c.State(); s.URL != b.url() || b.server.Stats().Subscriptions != 2 {
					t.Errorf("%+v, %d subscriptions", s, b.server.Stats().Subscriptions)
				}
				f.numbers(n)
				_ = c.Close()
			})
		})
	}
}

// TestSubscribeInOverlap: what is subscribed and cancelled during a hand-over is so on both connections.
func TestSubscribeInOverlap(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 50*time.Millisecond, 0, wsgate.Limits{})
		b := f.start("b", 60*time.Millisecond, 0, wsgate.Limits{})
		cfg := f.still(a.url(), b.url())
		c := f.dial(cfg, "keep", "cancel.0", "cancel.1", "cancel.2")
		a.tap.line("RECONNECT")
		for i := range 3 { // while dialling, while subscribing there, and during the overlap
			time.Sleep(time.Duration(i) * 200 * time.Millisecond)
			do(t, c.Subscribe(t.Context(), "t", fmt.Sprint("add.", i)))
			do(t, c.Unsubscribe(t.Context(), "t", fmt.Sprint("cancel.", i)))
		}
		time.Sleep(100 * time.Millisecond)
		if x, y := a.server.Stats().Subscriptions, b.server.Stats().Subscriptions; x != 4 || y != 4 {
			t.Errorf("%d and %d subscriptions", x, y)
		}
		for i := range 3 {
			f.say(fmt.Sprint("add.", i), "add")
			f.say(fmt.Sprint("cancel.", i), "cancel")
		}
		time.Sleep(10 * time.Second)
		if got := f.got(); !slices.Equal(got, []string{"add", "add", "add"}) {
			t.Errorf("got %q", got)
		}
		if s := c.State(); s.URL != b.url() || a.server.Stats().Connections != 0 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

// TestRefusedMove: a client does not move to a nearer node that refuses a subscription, but leaves one that asks for it.
func TestRefusedMove(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 50*time.Millisecond, 0, wsgate.Limits{})
		c := f.dial(f.config(a.url(), "ws://10.0.1.2:8080/ws"), "x", "y")
		b := f.start("b", 5*time.Millisecond, 0, wsgate.Limits{Subscriptions: 1})
		time.Sleep(4 * time.Minute)
		var refused *client.ServerError
		if s := c.State(); s.URL != a.url() || s.Moves != 0 || !errors.As(errors.Join(f.reported()...), &refused) {
			t.Errorf("%+v", s)
		}
		a.tap.line("RECONNECT")
		time.Sleep(time.Minute)
		if s := c.State(); s.URL != b.url() || s.Moves != 1 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

// TestUnwillingToReconnect: without Reconnect, a server that asks is left when it closes, not before.
func TestUnwillingToReconnect(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", time.Millisecond, 0, wsgate.Limits{})
		cfg := f.config(a.url())
		cfg.Reconnect = false
		c := f.dial(cfg, "x")
		a.tap.line("RECONNECT")
		time.Sleep(time.Minute)
		do(t, c.Publish(t.Context(), "t", "x", []byte("still there")))
		time.Sleep(time.Second)
		if got := f.got(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		do(t, c.Close())
	})
}

// TestSlowHandlerInOverlap: time that the application takes is none in which twins fail to come.
func TestSlowHandlerInOverlap(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 5*time.Millisecond, 0, wsgate.Limits{})
		cfg := f.config(a.url())
		handler := cfg.Handler
		slow := false
		cfg.Handler = func(m client.Message) {
			if slow {
				time.Sleep(1500 * time.Millisecond)
			}
			handler(m)
		}
		c := f.dial(cfg, "s")
		a.tap.line("RECONNECT")
		time.Sleep(time.Second)
		slow = true
		n := f.stream("s", 0, 10*time.Millisecond, 200*time.Millisecond)
		time.Sleep(time.Minute)
		f.numbers(n)
		do(t, c.Close())
	})
}

// TestEndpoints: dead nodes are left out, none alive is an error, and so is a configuration without nodes.
func TestEndpoints(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 5*time.Millisecond, 0, wsgate.Limits{})
		f.fake("b", time.Millisecond, func(context.Context, *websocket.Conn, int) {})
		c := f.dial(f.config(f.nodes["b"].url()+"?", a.url(), "ws://10.0.9.9:1/ws"))
		if s := c.State(); len(s.Nodes) != 3 || s.Nodes[2].Alive || s.Nodes[2].URL != "ws://10.0.9.9:1/ws" || !s.Nodes[1].Alive {
			t.Errorf("%+v", s)
		}
		_ = c.Close()
		unmeasured := strings.Replace(f.nodes["b"].url(), "/ws", "/off/ws", 1)
		c = f.dial(f.config(unmeasured, "ws://10.0.9.9:1/ws"))
		if s := c.State(); s.URL != unmeasured || s.Nodes[0].Alive || len(f.reported()) != 1 {
			t.Errorf("%+v", s)
		}
		_ = c.Close()
		for _, cfg := range []client.Config{
			f.config("ws://10.0.9.9:1/ws", "ws://10.0.9.8:1/ws"),
			f.config(),
			f.config("gopher://a"),
			f.config(strings.Fields(strings.Repeat("ws://a ", 3) + strings.Join(numbered(65), " "))...),
		} {
			if _, err := client.Dial(t.Context(), cfg); err == nil {
				t.Errorf("%q: no error", cfg.URLs)
			}
		}
		cfg := f.config()
		for _, page := range []string{"http://" + a.ip + ":8080/v1/bootstrap", "http://" + a.ip + ":8080/none", "http://10.0.9.9/", "%"} {
			cfg.Bootstrap = page // nothing is listed yet
			if _, err := client.Dial(t.Context(), cfg); err == nil {
				t.Errorf("%s: no error", page)
			}
		}
		cfg.URL = a.url()
		f.reported()
		c = f.dial(cfg)
		if s := c.State(); s.URL != a.url() || len(f.reported()) == 0 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

func numbered(n int) (urls []string) {
	for i := range n {
		urls = append(urls, fmt.Sprintf("ws://h%d/ws", i))
	}
	return urls
}
