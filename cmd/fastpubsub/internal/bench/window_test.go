package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Invariant 1: whatever is taken and given back, no more messages and bytes are in flight than were allowed; and with nothing in flight something
// can be taken.
func TestWindowBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.IntRange(1, 1000).Draw(t, "messages")
		bytes := rapid.IntRange(1, 1<<20).Draw(t, "bytes")
		size := rapid.IntRange(minSize, 65535).Draw(t, "size")
		w := newWindow(messages, bytes, size, time.Second)
		flying := 0
		for range 50 {
			n := w.tryTake()
			flying += n
			if flying > messages || flying > 1 && flying*size > bytes || n > batchMessages || n > 1 && n*size > batchBytes {
				t.Fatalf("%d taken, %d in flight", n, flying)
			}
			if flying == 0 {
				t.Fatal("nothing in flight and nothing to be had")
			}
			back := rapid.IntRange(0, flying).Draw(t, "back")
			w.give(back)
			flying -= back
		}
	})
}

// A publisher and several readers: all goes through, none too many is in flight, and nobody waits for ever.
func TestWindowMoves(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 1000} {
		w := newWindow(limit, 1<<30, minSize, time.Minute)
		flying := make(chan struct{}, limit) // as a network that holds no more
		const total = 20_000
		var readers sync.WaitGroup
		var got atomic.Int64
		for range 3 {
			readers.Go(func() {
				for range flying {
					got.Add(1)
					w.give(1)
				}
			})
		}
		for sent := 0; sent < total; {
			n, err := w.take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				select {
				case flying <- struct{}{}:
				default:
					t.Fatalf("more than %d in flight", limit)
				}
			}
			sent += n
		}
		close(flying)
		readers.Wait()
		if got.Load() < total {
			t.Errorf("%d of %d", got.Load(), total)
		}
	}
}

func TestWindowStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 7 * time.Second
		w := newWindow(10, 1<<20, minSize, patience)
		ctx, cancel := context.WithCancelCause(t.Context())
		if n, err := w.take(ctx); n != 10 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		start := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			w.give(1) // not enough for a write, but a sign of life
		}()
		if _, err := w.take(ctx); !errors.Is(err, errStalled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 2*patience {
			t.Errorf("after %v", took)
		}
		go func() {
			time.Sleep(time.Second)
			w.give(1)
		}()
		if n, err := w.take(ctx); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		w.give(100) // a node that delivers twice does not widen the window
		if n, err := w.take(ctx); n != 10 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		cause := errors.New("enough")
		go func() {
			time.Sleep(time.Second)
			cancel(cause)
		}()
		if _, err := w.take(ctx); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
}
