package wsgate

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a connection that takes everything. It counts, and keeps what was written if it is to.
type sink struct {
	net.Conn
	keep bool

	mu      sync.Mutex
	written bytes.Buffer
	bytes   int
	gate    chan struct{} // writes wait for it to be closed, if not nil
}

func (s *sink) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes += len(p); s.keep {
		s.written.Write(p)
	}
	return len(p), nil
}

func (s *sink) Close() error { return nil }

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

// pushNow pushes and flushes.
func pushNow(b *outbox, f frames) bool {
	taken, owes := b.push(f)
	if owes {
		b.flush(time.Now(), true)
	}
	return taken
}

func testOutbox(conn net.Conn) *outbox {
	batches := &sync.Pool{New: func() any { return new(batch) }}
	return &outbox{
		conn: newFrameConn(conn, newIntakeBuffers(), nil), batches: batches, counts: new(counters), room: make(chan struct{}, 1),
		limits: outboxLimits{bytes: 1 << 20, frames: 8192, overflow: 30 * time.Second, stall: 10 * time.Second, linger: 5 * time.Second},
	}
}

// TestCork is invariant 3, also with a reply of somebody else in between.
func TestCork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &sink{keep: true}
		b := testOutbox(conn)
		b.cork()
		pushNow(b, frames{bytes: []byte("<delivery>"), messages: 1})
		if taken, err := b.offer([]byte("<notice>")); !taken || err != nil {
			t.Fatal(taken, err)
		}
		synctest.Wait()
		if got := conn.text(); got != "<notice>" {
			t.Errorf("corked: %s", got)
		}
		if _, err := b.offer([]byte("<ok>")); err != nil {
			t.Fatal(err)
		}
		b.uncork()
		synctest.Wait()
		if got := conn.text(); got != "<notice><ok><delivery>" {
			t.Errorf("uncorked: %s", got)
		}
	})
}

// TestEnd: an outbox that has ended takes nothing in, and wakes who waits for room in it.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &sink{keep: true, gate: make(chan struct{})}
		b := testOutbox(conn)
		pushNow(b, frames{bytes: []byte("<1>"), messages: 1})
		synctest.Wait() // the writer holds <1>
		if err := b.reply(t.Context(), make([]byte, maxReplies)); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 2)
		go func() { waiting <- b.reply(t.Context(), []byte("x")) }()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.reply(short, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no room: %v", err)
		}
		pushNow(b, frames{bytes: []byte("<2>"), messages: 1})
		b.shut(closeShutdown)
		b.shut(closeSlow) // too late
		if pushNow(b, frames{bytes: []byte("<3>"), messages: 1}) {
			t.Error("took a delivery after shut")
		}
		b.drop(closeStalled, time.Now())
		if err := <-waiting; !errors.Is(err, errEnding) {
			t.Errorf("waiter got %v", err)
		}
		close(conn.gate)
		b.writers.Wait()
		if got := conn.text(); got != "<1>" {
			t.Errorf("written: %.40s", got)
		}
		if n := b.counts.dropsEnded.Load(); n != 1 || b.reason() != closeShutdown {
			t.Errorf("%d dropped, reason %v", n, b.reason())
		}
	})
}

// TestTooLargeForQueue: such a delivery costs the others nothing.
func TestTooLargeForQueue(t *testing.T) {
	b := testOutbox(&sink{})
	b.corked = true
	pushNow(b, frames{bytes: []byte("small"), messages: 1})
	if pushNow(b, frames{bytes: make([]byte, 1<<20+1), messages: 1}) || b.frames.len() != 1 || b.counts.dropsTooLarge.Load() != 1 {
		t.Errorf("%d frames, %d dropped", b.frames.len(), b.counts.dropsTooLarge.Load())
	}
}
