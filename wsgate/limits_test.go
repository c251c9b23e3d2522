package wsgate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestPublishRate: what is over the rate is refused and counted, the client is told once a second, and nobody else notices.
func TestPublishRate(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Messages: 10}}, func(t *testing.T, w *world) {
		fast, other, console := w.dial("llps.v1"), w.dial("llps.v1"), w.dial()
		other.ask("SUB:t:#", "OK:SUB:t:#")
		for i := range 15 {
			fast.publish("a", fmt.Sprint(i))
		}
		for i := range 10 {
			other.expect("a", fmt.Sprint(i), "#")
		}
		if line := fast.line(); line != "ERR:rate_limited:1" {
			t.Errorf("got %q", line)
		}
		fast.ask("PING", "PONG") // and not a word more
		other.publish("b", "unhindered")
		other.expect("b", "unhindered", "#")

		time.Sleep(1500 * time.Millisecond)
		for i := range 12 {
			fast.publish("a", fmt.Sprint(i))
		}
		for i := range 10 {
			other.expect("a", fmt.Sprint(i), "#")
		}
		if line := fast.line(); line != "ERR:rate_limited:6" {
			t.Errorf("got %q", line)
		}
		fast.ask("PING", "PONG")
		other.quiet()
		for range 10 {
			console.text(`{"tenant":"x","channel":"a","payload":"p"}`)
		}
		console.ask(`{"tenant":"x","channel":"a","payload":"p","id":1}`, `{"event":"error","id":1,"error":"rate_limited","detail":"1"}`)
		if s := w.server.Stats(); s.TooFast != 8 || s.Errors["rate_limited"] != 3 || s.MessagesIn != 31 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPublishRateHTTP: requests of one connection are limited like its messages would be.
func TestPublishRateHTTP(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Messages: 2}}, func(t *testing.T, w *world) {
		conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for i, want := range []int{200, 200, 429, 429, 200} {
			if i == 4 {
				time.Sleep(time.Second)
			}
			if _, err := io.WriteString(conn, "POST /v1/publish?channel=a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\np"); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != want || want == 429 && (response.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), "rate_limited")) {
				t.Errorf("request %d: %s %s", i, response.Status, body)
			}
		}
		if s := w.server.Stats(); s.TooFast != 2 || s.MessagesIn != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPublishBytes: a valid message always fits, however low the rate.
func TestPublishBytes(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Bytes: 1000}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.publish("a", strings.Repeat("p", 65_535))
		c.ask("PING", "PONG")
		c.publish("a", strings.Repeat("p", 1000))
		if line := c.line(); line != "ERR:rate_limited:1" {
			t.Errorf("got %q", line)
		}
		time.Sleep(2 * time.Second)
		c.publish("a", strings.Repeat("p", 1000))
		c.ask("PING", "PONG")
		if n := w.server.Stats().MessagesIn; n != 2 {
			t.Errorf("%d taken", n)
		}
	})
}

// TestStrikes: who goes on publishing too fast is closed; after a minute of restraint all is forgiven.
func TestStrikes(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Messages: 1}, Limits: Limits{Strikes: 3}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		offend := func(times int) {
			for range times {
				c.publish("a", "")
				c.publish("a", "")
				c.publish("a", "")
				if line := c.line(); !strings.HasPrefix(line, "ERR:rate_limited:") {
					t.Errorf("got %q", line)
				}
				time.Sleep(1100 * time.Millisecond)
			}
		}
		offend(3)
		for range 4 {
			time.Sleep(20 * time.Second)
			c.send(opPong, nil)
		}
		offend(3)
		c.publish("a", "")
		c.publish("a", "")
		c.closed(1008)
		synctest.Wait()
		if s := w.server.Stats(); s.Closed.Rate != 1 {
			t.Errorf("%+v", s.Closed)
		}
	})
}

// TestCommandRate: subscribing too fast is slowed down, never refused.
func TestCommandRate(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Commands: 10}, Limits: Limits{Subscriptions: 5}}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		start := time.Now()
		for range 5 {
			c.ask("SUB:t:a", "OK:SUB:t:a")
			c.ask("UNSUB:t:a", "OK:UNSUB:t:a")
		}
		if d := time.Since(start); d < 500*time.Millisecond || d > 600*time.Millisecond {
			t.Errorf("took %v, want 5 at once and 5 in half a second", d)
		}
		c.text("SUB:t:a") // waits at the end of the world, and is cut short
	})
}

// TestSharedBudget: sessions that share a budget share what it allows, and each has its own besides.
func TestSharedBudget(t *testing.T) {
	shared := newBudget(3, 0)
	var a, b session
	a.credits.charge(newBudget(2, 0))
	a.credits.charge(shared)
	b.credits.charge(nil)
	b.credits.charge(shared)
	for i, want := range []struct {
		who   *session
		taken bool
	}{{&a, true}, {&a, true}, {&a, false}, {&b, true}, {&b, false}} {
		if taken := want.who.credits.take(1); taken != want.taken {
			t.Errorf("publication %d: taken %v", i, taken)
		}
	}
	if !(&session{}).credits.take(1 << 30) {
		t.Error("no budget, yet a limit")
	}
}

// TestCredit: what a session takes ahead is part of what the budget allows, whatever the sizes.
func TestCredit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		messages := rapid.Float64Range(0, 20_000).Draw(r, "messages")
		bytes := rapid.Float64Range(0, 1e6).Draw(r, "bytes")
		shared := newBudget(messages, bytes)
		sessions := make([]session, rapid.IntRange(1, 3).Draw(r, "sessions"))
		for i := range sessions {
			sessions[i].credits.charge(shared)
		}
		began := time.Now()
		taken, total := 0, 0
		for range 300 {
			n := rapid.IntRange(0, 2000).Draw(r, "n")
			if sessions[rapid.IntRange(0, len(sessions)-1).Draw(r, "who")].credits.take(n) {
				taken++
				total += n
			}
		}
		took := time.Since(began).Seconds()
		if messages > 0 && float64(taken) > max(messages, 1)+messages*took+1 {
			r.Errorf("%d messages in %f s", taken, took)
		}
		if bytes > 0 && float64(total) > max(bytes, maxPublication)+bytes*took+1 {
			r.Errorf("%d bytes in %f s", total, took)
		}
	})
}

// TestBudgetAllocatesNothing pins what a message costs.
func TestBudgetAllocatesNothing(t *testing.T) {
	var s session
	s.credits.charge(newBudget(1e12, 1e15))
	if n := testing.AllocsPerRun(100, func() { s.credits.take(100) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBudget(b *testing.B) {
	var s session
	s.credits.charge(newBudget(1e12, 1e15))
	for b.Loop() {
		s.credits.take(100)
	}
}

// TestPerAddress: an address has so many connections; more are told so, as long as there are not too many of them, too.
func TestPerAddress(t *testing.T) {
	inWorld(t, Config{Limits: Limits{PerAddress: 2}}, func(t *testing.T, w *world) {
		a := w.dial("llps.v1")
		w.dial("llps.v1")
		for range 3 {
			_, response := w.handshake("/ws")
			if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "10" || !response.Close {
				t.Errorf("third: %s %v", response.Status, response.Header)
			}
		}
		elsewhere, err := w.net.Host("10.0.0.3").DialContext(t.Context(), "tcp", wsAddr)
		if err != nil {
			t.Fatal(err)
		}
		if _, response := rawHandshake(t, elsewhere, "/ws"); response.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("another address: %s", response.Status)
		}
		a.send(opClose, []byte("\x03\xe8"))
		a.next()
		synctest.Wait()
		w.dial("llps.v1")
		if n := w.server.Stats().AddressOver; n != 3 {
			t.Errorf("%d counted", n)
		}
	})
}

// TestConnectRate: an address that connects too fast is told to wait, then not even that; later it is welcome again, and then forgotten.
func TestConnectRate(t *testing.T) {
	inWorld(t, Config{Rates: Rates{Connects: 2}}, func(t *testing.T, w *world) {
		knock := func() int {
			conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			answer, _ := io.ReadAll(conn)
			if len(answer) == 0 {
				return 0
			}
			var status int
			_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
			if status == 429 && !strings.Contains(string(answer), "\r\nRetry-After: 1\r\n") {
				t.Errorf("%q", answer)
			}
			return status
		}
		got := map[int]int{}
		for range 2*connectBurst + answersBurst + 10 {
			got[knock()]++
		}
		if got[200] != 2*connectBurst || got[429] != answersBurst || got[0] != 10 {
			t.Errorf("by status: %v", got)
		}
		time.Sleep(time.Second)
		if status := knock(); status != 200 {
			t.Errorf("after a second: %d", status)
		}
		time.Sleep(connectBurst*time.Second + visitorsSweep + 2*time.Second)
		if n := w.server.visitors.count(); n != 0 {
			t.Errorf("%d addresses remembered", n)
		}
	})
}

func TestVisitors(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := visitorKey(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s counts as %s", in, got)
		}
	}
	if visitorKey(netip.Addr{}).IsValid() {
		t.Error("no address")
	}
	now := time.Now()
	v := newVisitors(1, 1)
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range visitorsMost {
		if who, said := v.enter(address(i), now); said != welcome {
			t.Fatal(i)
		} else {
			v.leave(who)
		}
	}
	first, said := v.enter(address(visitorsMost), now)
	if said != welcome || len(v.known) != visitorsMost {
		t.Errorf("%d known, the next is %d", len(v.known), said)
	}
	if _, said = v.enter(address(visitorsMost+1), now); said != tooMany {
		t.Error("those without room do not share an allowance")
	}
	v.leave(first)
	v.sweep(now)
	if len(v.known) != visitorsMost {
		t.Error("forgotten too soon")
	}
	v.sweep(now.Add(time.Minute))
	if len(v.known) != 0 {
		t.Errorf("%d known", len(v.known))
	}
	if !newVisitors(0, 0).off() {
		t.Error("limits where there are none")
	}
}

// count is how many addresses are remembered.
func (v *visitors) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.known)
}

// open is how many connections are counted.
func (v *visitors) open() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, who := range v.known {
		n += who.open
	}
	return n
}

// TestLimitsOnRealSockets: with TLS and without, connections of an address are counted, and no longer once they end, however they do.
func TestLimitsOnRealSockets(t *testing.T) {
	for name, secure := range map[string]*tls.Config{"TCP": nil, "TLS": selfSigned(t)} {
		t.Run(name, func(t *testing.T) {
			s, dial, stop := onSocket(t, Config{TLS: secure, Limits: Limits{PerAddress: 3}})
			connect := func() (*rawClient, int) {
				conn := dial()
				if secure != nil {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				c, response := rawHandshake(t, conn, "/ws")
				return c, response.StatusCode
			}
			for round := range 4 {
				for s.visitors.open() > 0 { // the end of the round before is about to be noticed
					runtime.Gosched()
				}
				var open []*rawClient
				for range 3 {
					c, status := connect()
					if status != http.StatusSwitchingProtocols {
						t.Fatalf("round %d: %d", round, status)
					}
					open = append(open, c)
				}
				c, status := connect()
				if status != http.StatusTooManyRequests {
					t.Errorf("round %d: %d", round, status)
				}
				c.conn.Close()
				for i, c := range open {
					switch (i + round) % 3 {
					case 0:
						c.send(opClose, []byte("\x03\xe8"))
						c.next()
					case 1:
						_, _ = c.conn.Write(maskedFrame(opBinary, make([]byte, 1<<20))) // the server says 1009, or resets before all is written
					}
					c.conn.Close()
				}
			}
			stop()
			if n := s.visitors.open(); n != 0 {
				t.Errorf("%d connections counted at the end", n)
			}
		})
	}
}

// TestMegabyte: a frame of 1 MiB is answered with 1009.
func TestMegabyte(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		for _, op := range []byte{opBinary, opText} {
			c := w.dial("llps.v1")
			go func() { _, _ = c.conn.Write(maskedFrame(op, make([]byte, 1<<20))) }() // the server stops reading
			f := c.next()
			if f.op != opClose || !bytes.HasPrefix(f.payload, []byte{0x03, 0xf1}) {
				t.Errorf("got frame %d % x", f.op, f.payload)
			}
			c.conn.Close()
		}
		time.Sleep(10 * time.Second)
		if s := w.server.Stats(); s.Closed.Protocol != 2 {
			t.Errorf("%+v", s.Closed)
		}
	})
}

// TestSlowloris: a request that comes a byte at a time, and one whose header never ends, are cut.
func TestSlowloris(t *testing.T) {
	inWorld(t, Config{Timing: Timing{Request: 3 * time.Second}, Limits: Limits{HeaderBytes: 4 << 10}}, func(t *testing.T, w *world) {
		dial := func() net.Conn {
			conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		conn, start := dial(), time.Now()
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte("GET /ws HTTP/1.1\r\nX: " + strings.Repeat("x", 100))[i : i+1]); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("kept for %v", d)
		}
		conn = dial()
		_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 10<<10))
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
			t.Errorf("%.60q", answer)
		}
	})
}

// TestGarbage: connections that send anything leave nothing behind.
func TestGarbage(t *testing.T) {
	inWorld(t, Config{Limits: Limits{PerAddress: 500}}, func(t *testing.T, w *world) {
		rnd := rand.New(rand.NewPCG(5, 6))
		var all sync.WaitGroup
		for i := range 2000 {
			garbage := make([]byte, rnd.IntN(300))
			for j := range garbage {
				garbage[j] = byte(rnd.Uint32())
			}
			host := fmt.Sprintf("10.0.%d.9", 1+i%20)
			all.Go(func() {
				conn, err := w.net.Host(host).DialContext(t.Context(), "tcp", wsAddr)
				if err != nil {
					return // the listener's queue is full
				}
				defer conn.Close()
				switch i % 4 {
				case 0:
					_, _ = conn.Write(garbage)
				case 1: // nothing, and no end
					_, _ = io.Copy(io.Discard, conn)
				default:
					_, _ = rawUpgrade(conn)
					_, _ = conn.Write(garbage)
					_ = conn.SetReadDeadline(time.Now().Add(time.Second))
					_, _ = io.Copy(io.Discard, conn)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		if s := w.server.Stats(); s.Connections != 0 || s.Subscriptions != 0 || s.Opened == 0 || w.server.visitors.count() != 0 {
			t.Errorf("%+v, %d addresses", s, w.server.visitors.count())
		}
	})
}

// rawUpgrade asks for a WebSocket and does not look at the answer.
func rawUpgrade(conn net.Conn) (int, error) {
	return io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}
