package wsgate

import (
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// mustSet changes the limits.
func (w *world) mustSet(l Limits, r Rates) {
	w.t.Helper()
	if err := w.server.SetLimits(l, r); err != nil {
		w.t.Fatal(err)
	}
}

// published tells how many of n publications are taken.
func (w *world) published(c *rawClient, n int) uint64 {
	before := w.server.Stats().MessagesIn
	for range n {
		c.publish("a.b", "x")
	}
	synctest.Wait()
	time.Sleep(10 * time.Millisecond) // for the way there
	return w.server.Stats().MessagesIn - before
}

// TestSetRates: connections that are open go by new rates from their next message on, in either direction, and so do requests.
func TestSetRates(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		for _, step := range []struct {
			rates Rates
			want  uint64
		}{
			{Rates{}, 20},
			{Rates{Messages: 3}, 3},
			{Rates{Messages: 3, Commands: 5}, 0}, // what is used stays used where the rate is the same
			{Rates{Messages: 7}, 7},
			{Rates{}, 20},
			{Rates{Bytes: 1}, 20}, // room for one of the largest
		} {
			w.mustSet(Limits{}, step.rates)
			if n := w.published(c, 20); n != step.want {
				t.Errorf("%+v: %d taken, want %d", step.rates, n, step.want)
			}
		}
		c = w.dial("llps.v1")
		w.mustSet(Limits{}, Rates{Commands: 1})
		began := time.Now()
		for i := range 3 { // 10,000 at once were there before; they are what is left of the burst
			c.ask("SUB:t:x."+strconv.Itoa(i), "OK:SUB:t:x."+strconv.Itoa(i))
		}
		w.mustSet(Limits{Subscriptions: 3}, Rates{Commands: 1})
		for range 4 {
			c.ask("UNSUB:t:x.0", "OK:UNSUB:t:x.0")
		}
		if took := time.Since(began); took < time.Second || took > 5*time.Second {
			t.Errorf("subscribing was paced as %v", took)
		}
	})
}

// TestSetSubscriptions: what a connection holds stays, but it gets no more than it may have now.
func TestSetSubscriptions(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		c.ask("SUB:t:b", "OK:SUB:t:b")
		w.mustSet(Limits{Subscriptions: 1}, Rates{})
		c.ask("SUB:t:c", "ERR:limit_exceeded:1 subscriptions")
		w.mustSet(Limits{Subscriptions: 3}, Rates{})
		c.ask("SUB:t:c", "OK:SUB:t:c")
	})
}

// TestSetConnections: connections that are open stay and count; what comes goes by the new limit.
func TestSetConnections(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  Limits
		second Limits
		rates  Rates // with the second
		status int   // of a third connection under the second limits, when two are open
	}{
		{"of all, lower", Limits{}, Limits{Connections: 1}, Rates{}, 503},
		{"of all, higher", Limits{Connections: 2}, Limits{Connections: 3}, Rates{}, 101},
		{"of an address, lower", Limits{PerAddress: 5}, Limits{PerAddress: 2}, Rates{}, 429},
		{"of an address, higher", Limits{PerAddress: 2}, Limits{PerAddress: 3}, Rates{}, 101},
		{"of an address, off", Limits{PerAddress: 2}, Limits{}, Rates{}, 101},
		{"of an address, on: those before do not count", Limits{}, Limits{PerAddress: 1}, Rates{}, 101},
		{"of an address a second", Limits{PerAddress: 5}, Limits{PerAddress: 5}, Rates{Connects: 100}, 101},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, Config{Limits: test.first}, func(t *testing.T, w *world) {
				a, b := w.dial("llps.v1"), w.dial("llps.v1")
				w.mustSet(test.second, test.rates)
				c, response := w.handshake("/ws", "llps.v1")
				if response.StatusCode != test.status {
					t.Errorf("%s, want %d", response.Status, test.status)
				}
				a.ask("PING", "PONG")
				b.ask("PING", "PONG")
				_ = c.conn.Close()
				synctest.Wait()
			})
		})
	}
}

// TestSetOfToken: a token's limits hold for connections that came while there were none.
func TestSetOfToken(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		text := w.token("")
		c := w.enter(text)
		c.ask("SUB:t:a.1", "OK:SUB:t:a.1")
		w.mustSet(Limits{PerToken: 1, TokenSubscriptions: 1}, Rates{})
		c.ask("SUB:t:a.2", "ERR:limit_exceeded:1 subscriptions with this token")
		if status, _ := w.call("POST", "/v1/publish?tenant=t&channel=a.b", "x", bearer(text)); status != 429 {
			t.Errorf("a second connection: %d", status)
		}
		w.mustSet(Limits{}, Rates{TokenMessages: 2})
		if n := w.published(c, 5); n != 2 {
			t.Errorf("%d taken, want 2", n)
		}
		w.mustSet(Limits{}, Rates{})
		if n := w.published(c, 5); n != 5 {
			t.Errorf("%d taken without a limit", n)
		}
	})
}

// TestSetWrong: wrong limits change nothing.
func TestSetWrong(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Subscriptions: 2}}, func(t *testing.T, w *world) {
		before := w.server.rules.Load()
		for _, test := range []struct {
			limits Limits
			rates  Rates
		}{
			{Limits{Connections: -1}, Rates{}},
			{Limits{Subscriptions: math.MaxUint16 + 1}, Rates{}},
			{Limits{Subscriptions: 1}, Rates{Bytes: -1}},
			{Limits{Subscriptions: 1}, Rates{Messages: math.NaN()}},
			{Limits{Subscriptions: 1}, Rates{Connects: math.Inf(1)}},
		} {
			if err := w.server.SetLimits(test.limits, test.rates); err == nil || w.server.rules.Load() != before {
				t.Errorf("%+v: %v", test, err)
			}
		}
	})
}

// TestSetMeanwhile: limits change while clients use them.
func TestSetMeanwhile(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		text := w.token("")
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					w.mustSet(Limits{PerAddress: 1 << 10, Subscriptions: 1 << 10, TokenSubscriptions: i%2*10 + 100}, Rates{Messages: float64(i % 3 * 1e6), TokenMessages: float64(i % 2 * 1e6), Connects: float64(i%2) * 1e4})
				}
			}
		}()
		for range 20 {
			c := w.enter(text)
			w.published(c, 10)
			c.ask("SUB:t:a.1", "OK:SUB:t:a.1")
			time.Sleep(3 * time.Millisecond)
			if status, _ := w.call("POST", "/v1/publish?tenant=t&channel=a.b", "x", bearer(text)); status != 200 {
				t.Errorf("status %d", status)
			}
			_ = c.conn.Close()
		}
		close(stop)
		<-done
		synctest.Wait()
	})
}
