package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

func open(t *testing.T, c *client.Client, pattern string, q client.Queue) *client.Subscription {
	t.Helper()
	s, err := c.Open(t.Context(), "t", pattern, q)
	do(t, err)
	return s
}

// waiting receives what waits.
func waiting(t *testing.T, s *client.Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var got []string
	for m, err := range s.All(ctx) {
		if err == nil {
			got = append(got, m.Channel+"="+string(m.Payload))
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	return strings.Join(got, " ")
}

// TestSubscriptions: each gets what it matches, beside the others and Receive, and its queue does as its policy says.
func TestSubscriptions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.dial(w.config())
		do(t, c.Subscribe(t.Context(), "t", "a.0"))
		oldest := open(t, c, "a.*", client.Queue{Size: 3})
		latest := open(t, c, "a.#", client.Queue{Policy: client.Latest})
		one := open(t, c, "a.1", client.Queue{})
		for i := range 6 {
			do(t, c.Publish(t.Context(), "t", fmt.Sprint("a.", i%2), fmt.Append(nil, i)))
		}
		time.Sleep(time.Second)
		for want, s := range map[string]*client.Subscription{"a.1=3 a.0=4 a.1=5": oldest, "a.0=4 a.1=5": latest, "a.1=1 a.1=3 a.1=5": one} {
			if got := waiting(t, s); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if oldest.Dropped() != 3 || latest.Dropped() != 4 || one.Dropped() != 0 {
			t.Errorf("%d, %d and %d dropped", oldest.Dropped(), latest.Dropped(), one.Dropped())
		}
		for _, payload := range []string{"0", "2", "4"} {
			receive(t, c, "a.0", payload, "a.#", "a.*", "a.0")
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if m, err := c.Receive(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", m, err)
		}
		do(t, c.Close())
		if _, err := one.Receive(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
		for range one.All(t.Context()) { // its last is an error
			break
		}
	})
}

// TestBlockingSubscription: nothing is lost of what is received late; meanwhile the others wait too.
func TestBlockingSubscription(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.dial(w.config())
		blocking := open(t, c, "a", client.Queue{Size: 2, Policy: client.Block})
		other := open(t, c, "b", client.Queue{})
		for i := range 5 {
			do(t, c.Publish(t.Context(), "t", "a", fmt.Append(nil, i)))
		}
		do(t, c.Publish(t.Context(), "t", "b", nil))
		time.Sleep(time.Minute)
		if got := waiting(t, other); got != "" {
			t.Errorf("got %s", got)
		}
		for i := range 5 {
			if m, err := blocking.Receive(t.Context()); err != nil || string(m.Payload) != fmt.Sprint(i) {
				t.Errorf("got %+v, %v", m, err)
			}
		}
		time.Sleep(time.Second)
		if got := waiting(t, other); got != "b=" || blocking.Dropped() != 0 {
			t.Errorf("got %s, %d dropped", got, blocking.Dropped())
		}
		// One that waits for room ends with its Subscription, and with the Client.
		for range 2 {
			for range 5 {
				do(t, c.Publish(t.Context(), "t", "a", nil))
			}
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = blocking.Close(ctx)
			cancel()
			time.Sleep(time.Second)
			if got := waiting(t, blocking); got != "a= a=" {
				t.Errorf("got %q", got)
			}
			blocking = open(t, c, "a", client.Queue{Size: 2, Policy: client.Block})
		}
		for range 5 {
			do(t, c.Publish(t.Context(), "t", "a", nil))
		}
		time.Sleep(time.Second)
		_ = c.Close()
	})
}

// TestSubscriptionNames: a pattern has one owner at a time.
func TestSubscriptionNames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stop()
		w.servers.Wait()
		w.serve(wsgate.Limits{Subscriptions: 2})
		c := w.dial(w.config())
		ctx := t.Context()
		do(t, c.Subscribe(ctx, "t", "plain"))
		s := open(t, c, "mine", client.Queue{})
		if _, err := c.Open(ctx, "t", "plain", client.Queue{}); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Open(ctx, "t", "mine", client.Queue{}); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("got %v", err)
		}
		if err := c.Subscribe(ctx, "t", "mine"); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("got %v", err)
		}
		if err := c.Unsubscribe(ctx, "t", "mine"); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Open(ctx, "t", "a..b", client.Queue{}); err == nil {
			t.Error("no error")
		}
		var refused *client.ServerError
		if _, err := c.Open(ctx, "t", "third", client.Queue{}); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
		do(t, s.Close(ctx))
		do(t, s.Close(ctx))
		if _, err := s.Receive(ctx); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
		for range s.All(ctx) {
			t.Error("received after Close")
		}
		do(t, c.Subscribe(ctx, "t", "mine"))
		do(t, c.Close())
	})
}

// TestAbandonedSubscribe: a subscription whose answer was not waited for is none, and what comes of it is counted.
func TestAbandonedSubscribe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.dial(w.config())
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		defer cancel()
		if err := c.Subscribe(ctx, "t", "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		do(t, c.Publish(t.Context(), "t", "a", nil))
		time.Sleep(time.Second)
		if n := w.server.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions", n)
		}
		do(t, c.Subscribe(t.Context(), "t", "b"))
		do(t, c.Publish(t.Context(), "t", "b", nil))
		done := make(chan error)
		go func() { done <- c.Unsubscribe(t.Context(), "t", "b") }()
		do(t, <-done)
		if s := c.State(); s.Unwanted != 1 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())
	})
}

// TestSubscriptionsMove: queues outlive hand-overs and losses.
func TestSubscriptionsMove(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", 20*time.Millisecond, 30*time.Millisecond, wsgate.Limits{})
		b := f.start("b", 5*time.Millisecond, 3*time.Millisecond, wsgate.Limits{})
		cfg := f.still(a.url(), b.url())
		c := f.dial(cfg)
		s, plain := open(t, c, "s", client.Queue{Size: 10_000}), open(t, c, "#", client.Queue{Policy: client.Latest})
		var want []string
		say := func(n int) {
			for range n {
				payload := fmt.Sprint(len(want))
				want = append(want, "s="+payload)
				f.say("s", payload)
				time.Sleep(10 * time.Millisecond)
			}
		}
		say(100)
		b.tap.line("RECONNECT")
		say(1000)
		if st := c.State(); st.Moves != 1 || st.URL != a.url() {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Second)
		a.crash()
		time.Sleep(5 * time.Second)
		say(100)
		time.Sleep(time.Second)
		if got := strings.Fields(waiting(t, s)); !slices.Equal(got, want) {
			t.Errorf("%d of %d", len(got), len(want))
		}
		if got := waiting(t, plain); got != want[len(want)-1] {
			t.Errorf("got %s", got)
		}
		do(t, c.Close())
	})
}

// TestSpread: a node that asks all to leave is left by one after the other.
func TestSpread(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.start("a", time.Millisecond, 0, wsgate.Limits{})
		f.start("b", 5*time.Millisecond, 0, wsgate.Limits{})
		cfg := f.config(a.url(), f.nodes["b"].url())
		cfg.Spread, cfg.Measure = 10*time.Second, -1
		var all []*client.Client
		for range 40 {
			all = append(all, f.dial(cfg))
		}
		a.tap.line("RECONNECT")
		before := int64(0)
		for i := range 5 {
			time.Sleep(2 * time.Second)
			now := f.nodes["b"].server.Stats().Connections
			if now-before > 20 {
				t.Errorf("%d of 40 moved in part %d of 5", now-before, i)
			}
			before = now
		}
		time.Sleep(time.Second)
		if n := f.nodes["b"].server.Stats().Connections; n != 40 {
			t.Errorf("%d moved", n)
		}
		for _, c := range all {
			do(t, c.Close())
		}
	})
}

type reading struct {
	Sensor string  `json:"sensor"`
	Value  float64 `json:"value"`
}

// TestCodec: values come as they were published, and what is none is an error that ends nothing.
func TestCodec(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.dial(w.config())
		s := open(t, c, "r", client.Queue{})
		k := client.JSON[reading]()
		do(t, k.Publish(t.Context(), c, "t", "r", reading{"a", 1}))
		do(t, c.Publish(t.Context(), "t", "r", []byte("{")))
		do(t, k.Publish(t.Context(), c, "t", "r", reading{"b", 2}))
		if err := client.JSON[func()]().Publish(t.Context(), c, "t", "r", nil); err == nil {
			t.Error("a function was published")
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var got []string
		for v, err := range k.Values(ctx, s) {
			var bad *client.DecodeError
			switch {
			case errors.As(err, &bad):
				got = append(got, string(bad.Message.Payload))
				if bad.Unwrap() == nil || !strings.HasPrefix(bad.Error(), "client: decode r: ") {
					t.Errorf("%v", bad)
				}
			case err != nil:
				got = append(got, err.Error())
			default:
				got = append(got, fmt.Sprint(v.Value, v.Channel))
			}
		}
		if want := "{a 1}r;{;{b 2}r;context deadline exceeded"; strings.Join(got, ";") != want {
			t.Errorf("got %q", got)
		}
		do(t, c.Close())
	})
}
