package wsgate

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

// chopper is a socket that takes a random part of a write that does not wait, often nothing or all.
type chopper struct {
	c     *frameConn
	parts int
}

func (s *chopper) Write(b []byte) int {
	n := min(rand.IntN(3*len(b)), len(b))
	if rand.IntN(4) == 0 {
		n = 0
	}
	if n > 0 && n < len(b) {
		s.parts++
	}
	if _, err := s.c.Conn.Write(b[:n]); err != nil {
		return 0
	}
	return n
}

// pushNumbered delivers count messages, each of which may be written at once, with pings in between.
func pushNumbered(t *testing.T, b *outbox, count int) (pings int) {
	t.Helper()
	for i := range count {
		f := newFrame(frameBinary, bytes.Repeat(fmt.Appendf(nil, "%04d", i), 1+i%900))
		b.mu.Lock()
		b.flushed = b.flushed.Add(-promptPause)
		b.mu.Unlock()
		if taken, owes := b.push(frames{bytes: f, messages: 1}); !taken {
			t.Fatalf("delivery %d not taken", i)
		} else if owes && i%4 != 3 { // now and then the next flush finds several
			b.flush(time.Now(), true)
		} else if owes {
			b.mu.Lock()
			b.owed = false
			b.mu.Unlock()
		}
		if i%3 == 0 {
			b.writers.Wait()
		}
		if i%10 == 0 {
			if taken, err := b.offer(newFrame(framePing, nil)); err != nil {
				t.Fatal(err)
			} else if taken {
				pings++
			}
		}
	}
	b.flush(time.Now(), true)
	b.writers.Wait()
	if n := b.counts.messagesOut.Load(); n != uint64(count) {
		t.Errorf("%d counted as written", n)
	}
	return pings
}

// TestPromptDeliveries: whether deliveries are written by who flushes, in part, or by the writer, the client gets all bytes in order (invariant 1).
func TestPromptDeliveries(t *testing.T) {
	conn := &sink{keep: true}
	b := testOutbox(conn)
	b.limits.bytes = 64 << 20
	socket := &chopper{c: b.conn}
	b.conn.prompt = socket
	pings := pushNumbered(t, b, 3000)
	if next, heard := deliveriesOf(t, []byte(conn.text())); next != 3000 || heard != pings {
		t.Errorf("%d deliveries in order, %d pings; want 3000 and %d", next, heard, pings)
	}
	if socket.parts == 0 {
		t.Error("none was written in part")
	}
}

// TestPromptDeliveriesOverTCP: the same with a socket, which the client reads from late.
func TestPromptDeliveriesOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := testOutbox(server)
	b.limits.bytes = 64 << 20
	got := make(chan []byte)
	written := b.counts.messagesOut.Load
	go func() {
		for written() < 100 { // some went before anybody reads
			runtime.Gosched()
		}
		all, err := io.ReadAll(client)
		if err != nil {
			t.Error(err)
		}
		got <- all
	}()
	pings := pushNumbered(t, b, 3000)
	_ = server.Close()
	if next, heard := deliveriesOf(t, <-got); next != 3000 || heard != pings {
		t.Errorf("%d deliveries in order, %d pings; want 3000 and %d", next, heard, pings)
	}
}

// deliveriesOf counts the deliveries of a stream, which must be in order and whole, and the pings.
func deliveriesOf(t *testing.T, stream []byte) (next, pings int) {
	t.Helper()
	for len(stream) > 0 {
		if stream[0] == framePing {
			pings++
			stream = stream[2:]
			continue
		}
		n, head := int(stream[1]), 2
		if n == 126 {
			n, head = int(stream[2])<<8|int(stream[3]), 4
		}
		if stream[0] != frameBinary || !bytes.Equal(stream[head:head+n], bytes.Repeat(fmt.Appendf(nil, "%04d", next), 1+next%900)) {
			t.Fatalf("delivery %d: % x", next, stream[:min(len(stream), 16)])
		}
		next++
		stream = stream[head+n:]
	}
	return next, pings
}
