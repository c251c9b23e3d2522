package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

const delay = 10 * time.Millisecond

// Opening takes one round trip, data one way (invariant 1).
func TestStreamDelay(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay, Loss: 0.5, Reorder: 0.5, Duplicate: 0.5}}, func(t *testing.T, n *Net) {
		start := time.Now()
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		wantTook(t, start, 2*delay, 2)
		if client.LocalAddr().String() != server.RemoteAddr().String() || client.RemoteAddr().String() != server.LocalAddr().String() {
			t.Errorf("%v-%v, %v-%v", client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
		}
		start = time.Now()
		p := []byte("hello, ")
		client.Write(p)
		clear(p) // Write must have copied
		write(t, client, "world")
		if got := readFull(t, server, 12); got != "hello, world" {
			t.Errorf("read %q", got)
		}
		wantTook(t, start, delay, 2)
		if c := n.Counters(ipA, ipB); c.StreamBytes != 12 || c.Segments != 3 || c.Sent != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestDialFailures(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}, Backlog: 1}, func(t *testing.T, n *Net) {
		a, b := n.Host(ipA), n.Host(ipB)
		dial := func(ctx context.Context) (net.Conn, error) { return a.DialContext(ctx, "tcp", ipB+":1") }
		start := time.Now()
		_, err := dial(t.Context())
		wantErr(t, err, syscall.ECONNREFUSED) // nobody listens
		wantTook(t, start, 2*delay, 2)

		l, _ := b.Listen(":1")
		first, err := dial(t.Context())
		wantErr(t, err, nil)
		_, err = dial(t.Context())
		wantErr(t, err, syscall.ECONNREFUSED) // backlog full (invariant 5)
		l.Close()                             // with the first not accepted
		_, err = first.Read(make([]byte, 1))
		wantErr(t, err, syscall.ECONNRESET)

		n.Cut(ipA, ipB)
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = dial(ctx)
		wantErr(t, err, context.DeadlineExceeded)
		wantTook(t, start, time.Second, 1)
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("%v is not a time-out", err)
		}
		_, err = dial(ctx) // over before it began
		wantErr(t, err, context.DeadlineExceeded)
	})
}

// A dial that was given up leaves nothing: not the port, not a live connection at the other end.
func TestDialGivenUp(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		a, b := n.Host(ipA), n.Host(ipB)
		l, _ := b.Listen(":1")
		for _, wait := range []time.Duration{delay / 2, delay * 3 / 2} { // the request, the answer is under way
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			_, err := a.DialContext(ctx, "tcp", ipB+":1")
			cancel()
			wantErr(t, err, context.DeadlineExceeded)
			server, err := l.Accept()
			wantErr(t, err, nil)
			_, err = server.Read(make([]byte, 1))
			wantErr(t, err, syscall.ECONNRESET)
			server.Close()
		}
		n.Cut(ipA, ipB)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.DialContext(ctx, "tcp", ipB+":1")
		wantErr(t, err, context.DeadlineExceeded)
		n.Heal(ipA, ipB)
		time.Sleep(time.Second)
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(a.streams)+len(a.dialled)+len(b.streams) > 0 || len(b.listeners[1].backlog) > 0 {
			t.Errorf("left: %v %v %v", a.streams, a.dialled, b.streams)
		}
	})
}

// EOF comes after the data; the other direction stays open after CloseWrite.
func TestHalfClose(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		write(t, client, "request")
		client.(interface{ CloseWrite() error }).CloseWrite()
		_, err := client.Write([]byte("x"))
		wantErr(t, err, syscall.EPIPE)
		got, err := io.ReadAll(server)
		if string(got) != "request" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		write(t, server, "answer")
		server.Close()
		got, err = io.ReadAll(client)
		if string(got) != "answer" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		client.Close()
		wantErr(t, client.Close(), net.ErrClosed)
		_, err = client.Read(nil)
		wantErr(t, err, net.ErrClosed)
		_, err = client.Write(nil)
		wantErr(t, err, net.ErrClosed)
		wantErr(t, client.SetDeadline(time.Time{}), net.ErrClosed)
	})
}

// Closing with unread data, and writing to what was closed, reset the stream.
func TestReset(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		write(t, client, "unread")
		write(t, server, "before")
		time.Sleep(2 * delay)
		server.Close()
		time.Sleep(2 * delay)
		if got := readFull(t, client, 6); got != "before" {
			t.Errorf("read %q", got)
		}
		_, err := client.Read(make([]byte, 1))
		wantErr(t, err, syscall.ECONNRESET)
		_, err = client.Write(make([]byte, 1))
		wantErr(t, err, syscall.EPIPE)
		client.Close()

		client, server = connect(t, n.Host(ipA), n.Host(ipB))
		server.Close()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		write(t, client, "too late")
		time.Sleep(3 * delay)
		_, err = client.Write(make([]byte, 1))
		wantErr(t, err, syscall.EPIPE)
	})
}

// Invariant 5: a writer waits for its reader, and gets its credit one round trip later.
func TestBackPressure(t *testing.T) {
	const window = 1000
	bubble(t, Config{Path: Path{Delay: delay}, StreamBuffer: window}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		client.SetWriteDeadline(time.Now().Add(time.Second))
		start := time.Now()
		size, err := client.Write(make([]byte, window+500))
		if size != window {
			t.Fatalf("wrote %d bytes", size)
		}
		wantErr(t, err, os.ErrDeadlineExceeded)
		wantTook(t, start, time.Second, 1)

		client.SetWriteDeadline(time.Time{})
		start = time.Now()
		go client.Write(make([]byte, 3*window))
		readFull(t, server, 4*window)
		wantTook(t, start, 6*delay, 12) // three windows, a round trip each
	})
}

func TestStreamReadDeadline(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		start := time.Now()
		client.SetDeadline(start.Add(time.Second))
		_, err := client.Read(make([]byte, 1))
		wantErr(t, err, os.ErrDeadlineExceeded)
		wantTook(t, start, time.Second, 1)
		_, err = client.Write(make([]byte, 1))
		wantErr(t, err, os.ErrDeadlineExceeded)
		client.SetDeadline(time.Time{}) // a time-out is not the end
		write(t, server, "x")
		readFull(t, client, 1)
		outcome := make(chan error)
		go func() { _, err := client.Read(make([]byte, 1)); outcome <- err }()
		synctest.Wait()
		client.Close()
		wantErr(t, <-outcome, net.ErrClosed)
	})
}

// Bytes of concurrent writers do not mix, however small the window.
func TestConcurrentWriters(t *testing.T) {
	bubble(t, Config{Path: Path{Delay: delay}, StreamBuffer: 7}, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(ipA), n.Host(ipB))
		var writers sync.WaitGroup
		for _, letter := range []string{"a", "b", "c"} {
			writers.Go(func() { io.WriteString(client, strings.Repeat(letter, 20)) })
		}
		got := readFull(t, server, 60)
		writers.Wait()
		for i := 0; i < 60; i += 20 {
			if part := got[i : i+20]; part != strings.Repeat(part[:1], 20) {
				t.Errorf("mixed: %q", part)
			}
		}
	})
}

// Invariant 3, as a property: whatever the path, its faults, the window and the sizes, the bytes arrive as written.
func TestStreamProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 800), 1, 10).Draw(rt, "sizes of writes")
		faults := rapid.SliceOfN(rapid.SampledFrom([]string{"cut", "heal", "fast", "slow"}), 0, 10).Draw(rt, "faults")
		window := rapid.IntRange(1, 1000).Draw(rt, "window")
		chunk := rapid.IntRange(1, 500).Draw(rt, "size of reads")
		seed := rapid.Uint64().Draw(rt, "seed")
		var want, got bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			n := New(Config{Seed: seed, StreamBuffer: window, Path: Path{Delay: delay, Jitter: delay}})
			defer n.Close()
			client, server := connect(t, n.Host(ipA), n.Host(ipB))
			var both sync.WaitGroup
			both.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				for _, size := range sizes {
					p := make([]byte, size)
					for i := range p {
						p[i] = byte(random.Uint32())
					}
					want.Write(p)
					client.Write(p)
				}
				client.Close()
			})
			both.Go(func() { io.CopyBuffer(&got, struct{ io.Reader }{server}, make([]byte, chunk)) })
			for _, fault := range faults {
				time.Sleep(7 * time.Millisecond)
				switch fault {
				case "cut":
					n.Cut(ipA, ipB)
				case "heal":
					n.Heal(ipA, ipB)
				case "fast":
					n.SetPath(ipA, ipB, Path{})
				case "slow":
					n.SetPath(ipB, ipA, Path{Delay: 5 * delay, Loss: 0.5})
				}
			}
			n.Heal(ipA, ipB)
			both.Wait()
		})
		if !bytes.Equal(want.Bytes(), got.Bytes()) {
			rt.Fatalf("wrote %d bytes, read %d, or others", want.Len(), got.Len())
		}
	})
}
