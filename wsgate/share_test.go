package wsgate

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestShareOfConnections: a token has so many connections at a time on a node, WebSocket, event streams and publishing requests together; another has its own.
func TestShareOfConnections(t *testing.T) {
	guarded(t, Config{Limits: Limits{PerToken: 2}}, func(t *testing.T, w *world) {
		one, two := w.token(""), w.token("")
		first := w.enter(one)
		w.enter(one)
		c, response := w.knock("Sec-WebSocket-Protocol: llps.v1,at." + one)
		if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" {
			t.Errorf("the third: %s", response.Status)
		}
		_ = c.conn.Close()
		if answer := w.send("POST", "/v1/publish?tenant=t&channel=a.b", "x", bearer(one)); answer.StatusCode != 429 || answer.Header.Get("Retry-After") == "" {
			t.Errorf("a request: %s", answer.Status)
		}
		w.enter(two)
		if status, _ := w.call("POST", "/v1/publish?tenant=t&channel=a.b", "x", bearer(two)); status != 200 {
			t.Errorf("a request with another token: %d", status)
		}
		_ = first.conn.Close()
		synctest.Wait()
		w.enter(one)
	})
}

// TestShareOfSubscriptions: those of all connections with a token count, each once, until it ends in whatever way.
func TestShareOfSubscriptions(t *testing.T) {
	guarded(t, Config{Limits: Limits{TokenSubscriptions: 3, Subscriptions: 2}}, func(t *testing.T, w *world) {
		text := w.token("")
		a, b := w.enter(text), w.enter(text)
		const full = "ERR:limit_exceeded:3 subscriptions with this token"
		for range 5 {
			a.ask("SUB:t:a.1", "OK:SUB:t:a.1") // the same again is none more
		}
		a.ask("SUB:t:a.2", "OK:SUB:t:a.2")
		for range 5 {
			a.ask("SUB:t:a.3", "ERR:limit_exceeded:2 subscriptions") // refused for the connection: counts for nothing
		}
		b.ask("SUB:t:a.1", "OK:SUB:t:a.1")
		b.ask("SUB:t:a.2", full)
		b.ask("SUB:t:a.1", "OK:SUB:t:a.1") // nor is it here, where there may be no more
		a.ask("UNSUB:t:a.2", "OK:UNSUB:t:a.2")
		a.ask("UNSUB:t:a.2", "OK:UNSUB:t:a.2")
		b.ask("SUB:t:a.2", "OK:SUB:t:a.2")
		_ = b.conn.Close()
		synctest.Wait()
		c := w.enter(text)
		c.ask("SUB:t:a.1", "OK:SUB:t:a.1")
		c.ask("SUB:t:a.2", "OK:SUB:t:a.2")
		d := w.enter(text)
		d.ask("SUB:t:a.1", full)
		other := w.enter(w.token(""))
		other.ask("SUB:t:a.1", "OK:SUB:t:a.1")
	})
}

// TestShareOfRate: connections and requests with a token draw on one budget, which does not start anew when they come and go.
func TestShareOfRate(t *testing.T) {
	guarded(t, Config{Rates: Rates{TokenMessages: 10}}, func(t *testing.T, w *world) {
		text, listener := w.token(""), w.enter(w.token(""))
		listener.ask("SUB:t:a.#", "OK:SUB:t:a.#")
		a, b := w.enter(text), w.enter(text)
		for i := range 8 {
			(map[bool]*rawClient{true: a, false: b})[i%2 == 0].publish("a.b", fmt.Sprint(i))
			listener.expect("a.b", fmt.Sprint(i), "a.#")
		}
		for i := range 2 {
			if status, _ := w.call("POST", "/v1/publish?tenant=t&channel=a.b", fmt.Sprint("request ", i), bearer(text)); status != 200 {
				t.Errorf("request %d: %d", i, status)
			}
			listener.expect("a.b", fmt.Sprint("request ", i), "a.#")
		}
		if status, _ := w.call("POST", "/v1/publish?tenant=t&channel=a.b", "too much", bearer(text)); status != 429 {
			t.Errorf("over the rate: %d", status)
		}
		a.publish("a.b", "too much")
		if got := a.line(); got != "ERR:rate_limited:1" {
			t.Errorf("got %q", got)
		}
		listener.publish("a.b", "another's")
		listener.expect("a.b", "another's", "a.#")
		_ = a.conn.Close()
		_ = b.conn.Close()
		synctest.Wait()
		c := w.enter(text)
		c.publish("a.b", "too much")
		if got := c.line(); got != "ERR:rate_limited:1" {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Second)
		c.publish("a.b", "again")
		listener.expect("a.b", "again", "a.#")
		time.Sleep(2 * sharesKept)
		_ = c.conn.Close()
		synctest.Wait()
		time.Sleep(2 * sharesKept)
		w.enter(w.token(""))
		if n := len(w.server.shares.known); n != 2 { // the listener's and the last
			t.Errorf("%d tokens known", n)
		}
	})
}
