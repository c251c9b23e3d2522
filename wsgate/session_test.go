package wsgate

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

func TestHandshake(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		for _, test := range []struct {
			path    string
			offered []string
			want    string
		}{
			{"/ws", []string{"llps.v1"}, "llps.v1"},
			{"/", []string{"llps.v1"}, "llps.v1"},
			{"/ws", []string{"llps.v1", "at.AT_1_2"}, "llps.v1"}, // as the SDK does: the token is never echoed
			{"/ws", []string{"at.AT_1_2", "llps.v1"}, "llps.v1"},
			{"/ws", nil, ""},
			{"/ws", []string{"mqtt"}, ""},
		} {
			c, response := w.handshake(test.path, test.offered...)
			if response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%+v: %s", test, response.Status)
			}
			if got := strings.Join(c.head.Values("Sec-WebSocket-Protocol"), ","); got != test.want {
				t.Errorf("%+v: subprotocol %q", test, got)
			}
			if ext := c.head.Get("Sec-WebSocket-Extensions"); ext != "" {
				t.Errorf("extension %q", ext)
			}
			c.ask("PING", "PONG")
			c.conn.Close()
		}
	})
}

// TestLines is the contract of text lines.
func TestLines(t *testing.T) {
	long := strings.Repeat("a", 257)
	for _, test := range []struct{ line, want string }{
		{"PING", "PONG"},
		{"PING\n", "PONG"},
		{"SUB:t:a.b", "OK:SUB:t:a.b"},
		{"SUB:t:a.b\r\n", "OK:SUB:t:a.b"},
		{"SUB:my-T_e~n@a.nt:A.b*.#", "OK:SUB:my-T_e~n@a.nt:A.b*.#"}, // byte for byte
		{"SUB:~:a", "OK:SUB:~:a"},
		{"SUB::a", "OK:SUB:~:a"},
		{"UNSUB:t:a.b", "OK:UNSUB:t:a.b"}, // unknown to the server
		{"UNSUB::a", "OK:UNSUB:~:a"},
		{"SUB:t:$a.#", "OK:SUB:t:$a.#"},
		{"SUB:t:$*", "ERR:invalid_pattern:'$' has no name"},
		{"SUB:t:a..b", "ERR:invalid_pattern:empty token"},
		{"SUB:t:", "ERR:invalid_pattern:empty"},
		{"SUB:t:" + long, "ERR:invalid_pattern:257 bytes, limit 256"},
		{"SUB:t:a:b", `ERR:invalid_pattern:byte ":" not allowed here`},
		{"SUB:t t:a", `ERR:invalid_tenant:byte " " not allowed here`},
		{"SUB:" + long[:129] + ":a", "ERR:invalid_tenant:129 bytes, limit 128"},
		{"UNSUB:t:#.a", ""},
		{"SUB:t", "ERR:unknown_command:want SUB:<tenant>:<pattern>, UNSUB:<tenant>:<pattern> or PING"},
		{"sub:t:a", "ERR:unknown_command:want SUB:<tenant>:<pattern>, UNSUB:<tenant>:<pattern> or PING"},
		{"", "ERR:unknown_command:want SUB:<tenant>:<pattern>, UNSUB:<tenant>:<pattern> or PING"},
		{strings.Repeat("SUB:", 200), "ERR:limit_exceeded:line of 800 bytes, limit 512"},
	} {
		inWorld(t, Config{}, func(t *testing.T, w *world) {
			c := w.dial("llps.v1")
			c.text(test.line)
			got := c.line()
			if got != test.want && (test.want != "" || !strings.HasPrefix(got, "ERR:invalid_pattern:")) {
				t.Errorf("%.40q: got %q, want %q", test.line, got, test.want)
			}
			c.ask("PING", "PONG")
		})
	}
}

// delivery expects a delivery next.
func (c *rawClient) delivery() client.Message {
	c.t.Helper()
	f := c.next()
	if f.op != opBinary {
		c.t.Fatalf("got frame %d %q, want a delivery", f.op, f.payload)
	}
	m, err := client.ParseDelivery(f.payload)
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(m.Patterns)
	return m
}

func (c *rawClient) expect(ch, payload string, patterns ...string) {
	c.t.Helper()
	m := c.delivery()
	if m.Tenant != "t" || m.Channel != ch || string(m.Payload) != payload || !slices.Equal(m.Patterns, patterns) {
		c.t.Fatalf("got %.200q, want %s %.40q %q", m, ch, payload, patterns)
	}
}

// TestOneFrameAMessage is invariant 2, with the echo to the publisher.
func TestOneFrameAMessage(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		a, b := w.dial("llps.v1"), w.dial("llps.v1")
		for _, p := range []string{"x.*", "x.#", "x.y", "x.y", "#", "z"} {
			a.ask("SUB:t:"+p, "OK:SUB:t:"+p)
		}
		b.ask("SUB:t:x.y", "OK:SUB:t:x.y")
		b.ask("SUB:other:x.y", "OK:SUB:other:x.y")
		a.publish("x.y", "1")
		a.publish("x.y", "")
		a.expect("x.y", "1", "#", "x.#", "x.*", "x.y")
		a.expect("x.y", "", "#", "x.#", "x.*", "x.y")
		b.expect("x.y", "1", "x.y")
		b.expect("x.y", "", "x.y")

		a.ask("UNSUB:t:#", "OK:UNSUB:t:#")
		a.ask("UNSUB:t:x.y", "OK:UNSUB:t:x.y") // one subscription, though subscribed twice
		b.publish("x.y", "2")
		a.expect("x.y", "2", "x.#", "x.*")
		b.expect("x.y", "2", "x.y")
		b.ask("UNSUB:t:x.y", "OK:UNSUB:t:x.y")
		a.publish("x.y", "3")
		a.expect("x.y", "3", "x.#", "x.*")
		b.quiet()
	})
}

// TestPublishFrames is the contract of binary messages.
func TestPublishFrames(t *testing.T) {
	v1 := publishV1("t", "a", "p")
	for name, test := range map[string]struct {
		frame []byte
		want  string // an ERR line; empty: delivered
	}{
		"v1":             {v1, ""},
		"v2 broadcast":   {append([]byte{2, 0}, v1...), ""},
		"v2 low latency": {append([]byte{2, 1}, v1...), ""},
		"v2 random":      {append([]byte{2, 2}, v1...), ""},
		"v2 mode 3":      {append([]byte{2, 3}, v1...), "ERR:bad_frame:unknown mode"},
		"v2 alone":       {[]byte{2}, "ERR:bad_frame:no mode"},
		"version":        {[]byte{1, 0, 0}, "ERR:bad_frame:unknown version"},
		"empty":          {nil, "ERR:bad_frame:empty"},
		"no channel":     {v1[:3], "ERR:bad_frame:truncated channel"},
		"half a tenant":  {[]byte{0, 9, 'a'}, "ERR:bad_frame:truncated tenant"},
		"wildcard":       {publishV1("t", "a.*", "p"), `ERR:invalid_channel:byte "*" not allowed here`},
		"channel empty":  {publishV1("t", "", "p"), "ERR:invalid_channel:empty"},
		"tenant":         {publishV1("t:", "a", "p"), `ERR:invalid_tenant:byte ":" not allowed here`},
		"tenant long":    {publishV1(strings.Repeat("t", 129), "a", ""), "ERR:invalid_tenant:129 bytes, limit 128"},
		"not UTF-8":      {publishV1("t", "a\xff", ""), `ERR:invalid_channel:byte "\xff" not allowed here`},
		"reserved":       {publishV1("t", "$a", "p"), "ERR:permission_denied"},
		"payload":        {publishV1("t", "a", strings.Repeat("p", 65536)), "ERR:payload_too_large:65536 bytes, limit 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{}, func(t *testing.T, w *world) {
				c := w.dial("llps.v1")
				c.ask("SUB:t:a", "OK:SUB:t:a")
				c.binary(test.frame)
				if test.want == "" {
					c.expect("a", "p", "a")
				} else if got := c.line(); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				c.publish("a", "still usable")
				c.expect("a", "still usable", "a")
			})
		})
	}
}

func TestEmptyTenant(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:~:a", "OK:SUB:~:a")
		c.binary(publishV1("", "a", "p"))
		if m := c.delivery(); m.Tenant != "~" || string(m.Payload) != "p" {
			t.Errorf("got %+v", m)
		}
	})
}

func TestPayloadEdge(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		tenant, ch := strings.Repeat("t", 128), strings.Repeat("c", 256)
		payload := strings.Repeat("p", 65535)
		c := w.dial("llps.v1")
		c.ask("SUB:"+tenant+":"+ch, "OK:SUB:"+tenant+":"+ch)
		c.binary(publishV1(tenant, ch, payload))
		if m := c.delivery(); m.Tenant != tenant || m.Channel != ch || string(m.Payload) != payload {
			t.Errorf("got %d bytes of payload", len(m.Payload))
		}
		c.binary(publishV1(tenant, ch, payload+"p"))
		if got := c.line(); got != "ERR:payload_too_large:65536 bytes, limit 65535" {
			t.Errorf("got %q", got)
		}
		c.binary(bytes.Repeat([]byte{0}, readLimit+1))
		c.closed(1009)
	})
}

// TestReady: the client hears that the overlay knows of its subscription when that is so, after the acknowledgement, and not at all when it is gone.
func TestReady(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c, gone := w.dial("llps.v1"), w.dial("llps.v1")
		c.ask("SUB:t:a.*", "OK:SUB:t:a.*")
		gone.ask("SUB:t:b", "OK:SUB:t:b")
		gone.conn.Close()
		c.ask("PING", "PONG")
		w.broker.mu.Lock()
		awaiting := w.broker.awaiting
		w.broker.mu.Unlock()
		for _, f := range awaiting {
			f()
		}
		if got := c.line(); got != "READY:t:a.*" {
			t.Errorf("got %q", got)
		}
		c.quiet()
	})
}

// TestModes: the mode of a publication reaches the Broker, whatever form it comes in.
func TestModes(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		for mode := range byte(3) {
			c.binary(append([]byte{2, mode}, publishV1("t", "a", "p")...))
		}
		for mode := range channel.DeliverRandom + 1 {
			c.text(fmt.Sprintf(`{"action":"publish","tenant":"t","channel":"a","payload":"p","mode":%q}`, mode))
		}
		c.ask(`{"action":"publish","channel":"a","payload":"p","mode":"all"}`, `{"event":"error","error":"unknown_mode",`+
			`"detail":"\"all\", want broadcast, deliver-one-low-latency or deliver-one-random"}`)
		w.broker.mu.Lock()
		defer w.broker.mu.Unlock()
		for i, m := range w.broker.published {
			if m.Mode != channel.Mode(i%3) {
				t.Errorf("message %d has mode %v", i, m.Mode)
			}
		}
		if len(w.broker.published) != 6 {
			t.Errorf("%d published", len(w.broker.published))
		}
	})
}

func TestBrokerFails(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.broker.set(nil, errors.New("overlay\tis\xffdown"))
		c := w.dial("llps.v1")
		c.publish("a", "p")
		if got := c.line(); got != "ERR:unavailable:overlay isdown" {
			t.Errorf("got %q", got)
		}
		if n := w.server.Stats().Errors["unavailable"]; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestLimits(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Connections: 2, Subscriptions: 3, BadFrames: 4}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		for i := range 3 {
			c.ask(fmt.Sprintf("SUB:t:a%d", i), fmt.Sprintf("OK:SUB:t:a%d", i))
		}
		c.ask("SUB:t:a3", "ERR:limit_exceeded:3 subscriptions")
		c.ask("SUB:t:a2", "OK:SUB:t:a2") // no new one
		c.ask("UNSUB:t:a0", "OK:UNSUB:t:a0")
		c.ask("SUB:t:a3", "OK:SUB:t:a3")

		d := w.dial("llps.v1")
		if _, response := w.handshake("/ws"); response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("third connection: %s", response.Status)
		}
		for range 4 {
			d.binary(nil)
			if got := d.line(); got != "ERR:bad_frame:empty" {
				t.Errorf("got %q", got)
			}
		}
		d.closed(1008)
		synctest.Wait()
		w.dial("llps.v1").ask("PING", "PONG")
		if s := w.server.Stats(); s.Refused != 1 || s.Closed.Policy != 1 || s.Connections != 2 || s.Subscriptions != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestNotUTF8(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.text("PING\xff")
		c.closed(1007)
	})
}

// TestProtocolErrors: what the WebSocket library objects to ends the connection, with a close frame where RFC 6455 asks
// for one.
func TestProtocolErrors(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.send(11, nil) // reserved opcode
		c.closed(1002)
		c = w.dial("llps.v1")
		if _, err := c.conn.Write([]byte{0x81, 4, 'P', 'I', 'N', 'G'}); err != nil { // not masked
			t.Fatal(err)
		}
		if f, err := c.readFrame(); err == nil {
			t.Errorf("got frame %+v", f)
		}
		c = w.dial("llps.v1")
		began := time.Now()
		if _, err := c.conn.Write(append(maskedFrame(11, nil), maskedFrame(opClose, []byte("\x03\xea"))...)); err != nil { // the answer comes with it
			t.Fatal(err)
		}
		if f := c.next(); f.op != opClose {
			t.Errorf("got frame %+v", f)
		}
		if f, err := c.readFrame(); err == nil || time.Since(began) > time.Second {
			t.Errorf("got frame %+v, after %v", f, time.Since(began))
		}
		synctest.Wait()
		if s := w.server.Stats(); s.Closed.Protocol != 2 || s.Closed.Lost != 1 {
			t.Errorf("%+v", s.Closed)
		}
	})
}

// TestPings: a client's ping frames are answered with their payload, in order with all replies.
func TestPings(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		for _, payload := range []string{"", "x", strings.Repeat("p", 125)} {
			c.send(opPing, []byte(payload))
			c.text("PING")
			if f := c.next(); f.op != opPong || string(f.payload) != payload {
				t.Errorf("got frame %d %q", f.op, f.payload)
			}
			if got := c.line(); got != "PONG" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// TestFragments: a publication may come in several frames with control frames between.
func TestFragments(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		whole := publishV1("t", "a", "payload")
		first := maskedFrame(opBinary, whole[:5])
		first[0] &^= 0x80
		last := maskedFrame(0, whole[5:])
		for _, b := range [][]byte{first, maskedFrame(opPing, nil), last} {
			if _, err := c.conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if f := c.next(); f.op != opPong {
			t.Errorf("got frame %d", f.op)
		}
		c.expect("a", "payload", "a")
	})
}

func TestClientCloses(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		c.send(opClose, []byte{3, 232})
		if f := c.next(); f.op != opClose || !bytes.Equal(f.payload, []byte{3, 232}) {
			t.Errorf("got frame %d %q", f.op, f.payload)
		}
		if _, err := c.readFrame(); err == nil {
			t.Error("connection still open")
		}
		synctest.Wait()
		if s := w.server.Stats(); s.Connections != 0 || s.Subscriptions != 0 || s.Closed.Lost != 1 {
			t.Errorf("%+v", s)
		}
		w.broker.mu.Lock()
		defer w.broker.mu.Unlock()
		if got := w.broker.calls["t:a"]; !slices.Equal(got, []bool{true, false}) {
			t.Errorf("SetInterest calls: %v", got)
		}
	})
}

// TestRepliesFirst is the first half of invariant 3: with a full queue of deliveries, a PONG comes after no more than
// what was already being written.
func TestRepliesFirst(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:a", "OK:SUB:t:a")
		payload := strings.Repeat("p", 1000)
		for range 900 {
			w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a", Payload: []byte(payload)})
		}
		synctest.Wait()
		c.text("PING")
		synctest.Wait()
		before := 0
		for {
			f := c.next()
			if f.op == opText {
				break
			}
			before++
		}
		// The window of the simulated stream and one batch.
		if limit := (streamWindow + batchBytes) / 1000; before > limit+2 {
			t.Errorf("%d deliveries before PONG, limit %d", before, limit)
		}
		for range 900 - before {
			c.expect("a", payload, "a")
		}
	})
}

func TestIdlePing(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		start := time.Now()
		answering, silent := w.dial("llps.v1"), w.dial("llps.v1")
		for range 3 {
			if f := answering.next(); f.op != opPing {
				t.Fatalf("got frame %d", f.op)
			}
			answering.send(opPong, nil)
		}
		// Pings at about 30, 61 and 92 s.
		if d := time.Since(start); d < 90*time.Second || d > 95*time.Second {
			t.Errorf("three pings took %v", d)
		}
		if f := silent.next(); f.op != opPing {
			t.Fatalf("got frame %d", f.op)
		}
		if f, err := silent.readFrame(); err == nil {
			t.Errorf("got frame %d", f.op)
		}
		if s := w.server.Stats(); s.Closed.Silent != 1 || s.Connections != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestBackPressure: while the Broker blocks, the client is not read from, and is not taken for dead either.
func TestBackPressure(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		stuck := make(chan struct{})
		w.broker.set(stuck, nil)
		c := w.dial("llps.v1")
		sent := make(chan int)
		go func() {
			n := 0
			for ; n < 30; n++ {
				_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Minute))
				if _, err := c.conn.Write(maskedFrame(opBinary, publishV1("t", "a", strings.Repeat("p", 60_000)))); err != nil {
					break
				}
			}
			sent <- n
		}()
		time.Sleep(time.Minute)
		if s := w.server.Stats(); s.MessagesIn != 0 || s.Connections != 1 || s.BytesIn > 70_000 {
			t.Errorf("%+v", s)
		}
		w.broker.set(nil, nil)
		close(stuck)
		if n := <-sent; n != 30 {
			t.Errorf("%d sent", n)
		}
		c.ask("PING", "PONG")
		if n := w.server.Stats().MessagesIn; n != 30 {
			t.Errorf("%d published", n)
		}
	})
}

// TestStopWhilePublishing: a blocked Broker does not hold up the end.
func TestStopWhilePublishing(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.broker.set(make(chan struct{}), nil)
		c := w.dial("llps.v1")
		c.publish("a", "p")
		synctest.Wait()
		w.stop()
		c.closed(1001)
	})
}
