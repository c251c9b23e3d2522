package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// acknowledge answers subscriptions until the connection ends; after each it waits and says READY.
func acknowledge(ctx context.Context, ws *websocket.Conn, wait time.Duration) {
	for {
		_, body, err := ws.Read(ctx)
		if err != nil {
			return
		}
		name, found := strings.CutPrefix(string(body), "SUB:")
		if !found {
			continue
		}
		_ = ws.Write(ctx, websocket.MessageText, []byte("READY:"+name)) // of an earlier one, so to speak
		_ = ws.Write(ctx, websocket.MessageText, []byte("OK:SUB:"+name))
		time.AfterFunc(wait, func() { _ = ws.Write(ctx, websocket.MessageText, []byte("READY:"+name)) })
	}
}

// TestSubscribeEverywhere: it waits for READY of the connection in use, is answered at once by what was ready before, asks the
// next connection, and ends with ctx where the server does not know the line.
func TestSubscribeEverywhere(t *testing.T) {
	inFabric(t, func(t *testing.T, f *fabric) {
		a := f.fake("a", 5*time.Millisecond, func(ctx context.Context, ws *websocket.Conn, nth int) {
			if nth == 2 { // dies before it is ready
				ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
				acknowledge(ctx, ws, time.Second)
				return
			}
			acknowledge(ctx, ws, 300*time.Millisecond)
		})
		c := f.dial(f.config(a.url()))
		took := func(pattern string) time.Duration {
			start := time.Now()
			do(t, c.SubscribeEverywhere(t.Context(), "", pattern))
			return time.Since(start)
		}
		if d := took("x"); d < 310*time.Millisecond || d > 311*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if d := took("x"); d > 11*time.Millisecond {
			t.Errorf("took %v when it was known already", d)
		}
		do(t, c.Subscribe(t.Context(), "", "y"))
		time.Sleep(20 * time.Second)
		a.tap.breakAll()
		time.Sleep(300 * time.Millisecond) // the second connection is there
		if d := took("z"); d < 500*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("took %v over two connections", d)
		}
		if s := c.State(); s.Reconnects != 2 {
			t.Errorf("%+v", s)
		}
		do(t, c.Close())

		b := f.start("b", time.Millisecond, 0, wsgate.Limits{}) // knows no READY
		c = f.dial(f.config(b.url()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.SubscribeEverywhere(ctx, "t", "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		f.say("x", "1")
		time.Sleep(time.Second)
		if got := f.got(); len(got) != 1 {
			t.Errorf("the subscription is gone: %q", got)
		}
		if err := c.SubscribeEverywhere(ctx, "t", "a..b"); err == nil {
			t.Error("no error")
		}
		waiting := make(chan error)
		go func() { waiting <- c.SubscribeEverywhere(t.Context(), "t", "y") }()
		time.Sleep(time.Second)
		do(t, c.Close())
		if err := <-waiting; !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// TestHostileServers: whatever a server says, the client neither breaks nor grows, asks the server no more often than its
// delays allow, and can be closed.
func TestHostileServers(t *testing.T) {
	var seeds atomic.Uint64 // a generator of its own for every connection
	generator := func() *rand.Rand { return rand.New(rand.NewPCG(1, seeds.Add(1))) }
	write := func(ctx context.Context, ws *websocket.Conn, kind websocket.MessageType, body string) bool {
		return ws.Write(ctx, kind, []byte(body)) == nil
	}
	lines := []string{
		"OK:SUB:t:x", "OK:SUB:", "OK:", "READY:t:x", "READY:t:y", "READY:", "READY::", "RECONNECT", "RECONNECT ", "PONG", "ERR:", "ERR:permission_denied",
		"ERR:slow_consumer:9", "", ":", "\x00", "{\"event\":\"message\"}", strings.Repeat("OK:SUB:t:", 1000), strings.Repeat("x", 100_000),
	}
	delivery := "\x01\x00\x01t\x00\x01a\x00\x00\x00\x01x\x00\x01\x00\x01#"
	for name, server := range map[string]struct {
		connections int32 // at most, in the two minutes of the test
		serve       func(ctx context.Context, ws *websocket.Conn)
	}{
		"closes at once": {30, func(context.Context, *websocket.Conn) {}},
		"says nothing":   {30, func(ctx context.Context, ws *websocket.Conn) { _, _, _ = ws.Read(ctx); <-ctx.Done() }},
		"garbage lines": {30, func(ctx context.Context, ws *websocket.Conn) {
			random := generator()
			for write(ctx, ws, websocket.MessageText, lines[random.IntN(len(lines))]) {
				time.Sleep(40 * time.Millisecond)
			}
		}},
		"garbage frames": {30, func(ctx context.Context, ws *websocket.Conn) {
			random := generator()
			for {
				body := []byte(delivery)
				for range random.IntN(4) {
					body[random.IntN(len(body))] = byte(random.Uint32())
				}
				if !write(ctx, ws, websocket.MessageBinary, string(body[:random.IntN(len(body)+1)])) {
					return
				}
				time.Sleep(40 * time.Millisecond)
			}
		}},
		"endless text": {30, func(ctx context.Context, ws *websocket.Conn) {
			w, err := ws.Writer(ctx, websocket.MessageText)
			for err == nil {
				_, err = w.Write(make([]byte, 32<<10))
				time.Sleep(40 * time.Millisecond)
			}
		}},
		"acknowledges, then always wants to be left": {60, func(ctx context.Context, ws *websocket.Conn) {
			stop := time.AfterFunc(time.Second, func() {
				for write(ctx, ws, websocket.MessageText, "RECONNECT") {
					time.Sleep(40 * time.Millisecond)
				}
			})
			defer stop.Stop()
			acknowledge(ctx, ws, time.Second)
		}},
		"acknowledges nothing, but wants to be left": {30, func(ctx context.Context, ws *websocket.Conn) {
			for write(ctx, ws, websocket.MessageText, "RECONNECT") && write(ctx, ws, websocket.MessageBinary, delivery) {
				time.Sleep(40 * time.Millisecond)
			}
		}},
		"text that is none": {60, func(ctx context.Context, ws *websocket.Conn) { write(ctx, ws, websocket.MessageText, "\xff\xfe") }},
	} {
		t.Run(name, func(t *testing.T) {
			inFabric(t, func(t *testing.T, f *fabric) {
				var connections atomic.Int32
				var urls []string
				for i := range 2 {
					n := f.fake(fmt.Sprint(i), time.Duration(1+i)*time.Millisecond, func(ctx context.Context, ws *websocket.Conn, _ int) {
						connections.Add(1)
						server.serve(ctx, ws)
					})
					urls = append(urls, n.url())
				}
				c := f.dial(f.config(urls...))
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				asked := make(chan struct{})
				go func() {
					defer close(asked)
					for ctx.Err() == nil {
						_ = c.Subscribe(ctx, "t", "x")
						_, _ = c.Ping(ctx)
						time.Sleep(40 * time.Millisecond)
					}
				}()
				<-asked
				if n := connections.Load(); n > server.connections {
					t.Errorf("%d connections in two minutes", n)
				}
				start := time.Now()
				_ = c.Close()
				if d := time.Since(start); d > 11*time.Second {
					t.Errorf("Close took %v", d)
				}
			})
		})
	}
}
