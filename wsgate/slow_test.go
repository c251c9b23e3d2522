package wsgate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// deliver hands the hub a message on t:a whose payload starts with its number.
func (w *world) deliver(i, length int) int {
	text := fmt.Sprintf("%06d", i)
	return w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a", Payload: []byte(text + strings.Repeat("p", length-len(text)))})
}

// TestSlowConsumer: the oldest deliveries go, the client is told how many, and nobody else notices (invariants 4 and 5).
func TestSlowConsumer(t *testing.T) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 1 << 20}}, func(t *testing.T, w *world) {
		slow, quick := w.dial("llps.v1"), w.dial("llps.v1")
		slow.ask("SUB:t:a", "OK:SUB:t:a")
		quick.ask("SUB:t:a", "OK:SUB:t:a")
		const sent, length = 4000, 1000
		got := make(chan int)
		go func() {
			n := 0
			for ; n < sent; n++ {
				if f := quick.next(); f.op != opBinary {
					t.Errorf("the quick one got %d %q", f.op, f.payload)
					break
				}
			}
			got <- n
		}()
		for i := range sent {
			start := time.Now()
			if n := w.deliver(i, length); n != 2 {
				t.Fatalf("message %d reached %d", i, n)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("invariant 4: delivering took %v", d)
			}
			if i%100 == 99 {
				time.Sleep(time.Millisecond) // the quick one keeps up
			}
		}
		if n := <-got; n != sent {
			t.Errorf("the quick one got %d", n)
		}
		time.Sleep(2 * time.Second)
		dropped := w.server.Stats().Drops.Slow
		// The queue, the simulated stream's window and one batch are left.
		if kept := sent - int(dropped); kept < 1<<20/1100 || kept > (1<<20+streamWindow+batchBytes)/1000+1 {
			t.Errorf("%d of %d dropped", dropped, sent)
		}
		slow.drain(t, sent, dropped)
		slow.ask("PING", "PONG")
		if s := w.server.Stats(); s.Closed.Slow != 0 || s.MessagesOut != 2*sent-dropped || s.Errors["slow_consumer"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// drain reads what is left for a slow consumer: messages in order with one gap, and the notice.
func (c *rawClient) drain(t *testing.T, sent int, dropped uint64) {
	t.Helper()
	last, gaps, notices := -1, 0, 0
	for last < sent-1 || notices == 0 {
		f := c.next()
		if f.op == opText {
			if want := fmt.Sprintf("ERR:slow_consumer:%d", dropped); string(f.payload) != want {
				t.Errorf("got %q, want %q", f.payload, want)
			}
			notices++
			continue
		}
		var i int
		if _, err := fmt.Sscanf(string(f.payload[11:17]), "%d", &i); err != nil || i <= last {
			t.Fatalf("message %q after %d", f.payload[:20], last)
		}
		if i > last+1 {
			gaps++
		}
		last = i
	}
	if gaps != 1 || notices != 1 {
		t.Errorf("%d gaps, %d notices", gaps, notices)
	}
}

// TestSlowForTooLong: a client that reads, but never catches up, is closed with 1013 after Timing.Overflow.
func TestSlowForTooLong(t *testing.T) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 100_000}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		start := time.Now()
		notices := 0
		for i := 0; time.Since(start) < time.Minute; i++ {
			for range 20 {
				w.deliver(i, 10_000)
			}
			time.Sleep(100 * time.Millisecond)
			f, err := c.readFrame() // one for five
			if err != nil {
				t.Fatal(err)
			}
			if f.op == opText {
				notices++
			}
			if w.server.Stats().Subscriptions > 0 && w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a"}) == 0 {
				break
			}
		}
		if d := time.Since(start); d < 30*time.Second || d > 33*time.Second {
			t.Errorf("given up after %v", d)
		}
		if notices < 15 || notices > 31 {
			t.Errorf("%d notices, want one a second", notices)
		}
		for {
			f := c.next()
			if f.op == opClose {
				if string(f.payload) != "\x03\xf5slow consumer" {
					t.Errorf("close %q", f.payload)
				}
				break
			}
		}
		c.send(opClose, []byte("\x03\xf5"))
		time.Sleep(time.Second)
		if s := w.server.Stats(); s.Closed.Slow != 1 || s.Connections != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestRecovered: who overflowed once and then caught up is not slow the next time, however long that is after.
func TestRecovered(t *testing.T) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 1 << 20}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		for range 3 {
			for i := range 60 {
				w.deliver(i, 60_000)
			}
			time.Sleep(2 * time.Second)
			for last := ""; last != "000059"; {
				if f := c.next(); f.op == opBinary {
					last = string(f.payload[11:17])
				}
			}
			time.Sleep(28 * time.Second)
			c.send(opPong, nil)
		}
		if s := w.server.Stats(); s.Drops.Slow == 0 || s.Closed.Slow != 0 || s.Connections != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestStalled: a client that takes nothing at all is cut after Timing.Write, though it goes on sending.
func TestStalled(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		for i := range 10 {
			w.deliver(i, 60_000)
		}
		start := time.Now()
		for w.server.Stats().Connections > 0 && time.Since(start) < time.Minute {
			time.Sleep(time.Second)
			_, _ = c.conn.Write(maskedFrame(opPong, nil))
		}
		if d := time.Since(start); d < 10*time.Second || d > 13*time.Second {
			t.Errorf("cut after %v", d)
		}
		if s := w.server.Stats(); s.Closed.Stalled != 1 {
			t.Errorf("%+v", s.Closed)
		}
	})
}

// TestPingFlood: who asks on without reading the answers is not read from (invariant 5), and then cut.
func TestPingFlood(t *testing.T) {
	for _, message := range [][]byte{maskedFrame(opText, []byte("PING")), maskedFrame(opPing, make([]byte, 100))} {
		inWorld(t, Config{}, func(t *testing.T, w *world) {
			c := w.dial("llps.v1")
			batch := strings.Repeat(string(message), 1000)
			written := 0
			_ = c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
			for {
				n, err := c.conn.Write([]byte(batch))
				if written += n; err != nil {
					break
				}
			}
			// Both windows of the simulated stream, and what an outbox and the buffers hold.
			if limit := 2*(256<<10) + 256<<10; written > 6*limit {
				t.Errorf("%d bytes of pings taken", written)
			}
			time.Sleep(10 * time.Second)
			if s := w.server.Stats(); s.Closed.Stalled != 1 {
				t.Errorf("%+v", s.Closed)
			}
		})
	}
}
