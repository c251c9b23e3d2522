package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// nearPath is one that near streams are for.
var nearPath = simnet.Path{Delay: 100 * time.Microsecond}

// startNear starts a station that takes near streams.
func startNear(ctx context.Context, t *testing.T, n *simnet.Net, number byte) *station {
	t.Helper()
	host := n.Host(fmt.Sprintf("10.0.0.%d", number))
	streams, err := host.Listen(":7946")
	if err != nil {
		t.Fatal(err)
	}
	return startStation(ctx, t, n, number, func(c *Config) { c.Streams, c.Connect = streams, host.DialContext })
}

// watch probes a link as the control plane would, until ctx ends.
func watch(ctx context.Context, l *Link) {
	for seq := uint32(0); ctx.Err() == nil; seq++ {
		l.Probe(seq)
		time.Sleep(50*time.Millisecond + 3*time.Microsecond)
	}
}

func TestNearStreamCarries(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond} {
		bubble(t, simnet.Path{Delay: delay}, func(ctx context.Context, t *testing.T, n *simnet.Net) {
			a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
			meet(ctx, t, a, b)
			near := delay < nearRTT/2
			if a.Link(b.self).Near() != near || b.Link(a.self).Near() != near {
				t.Fatalf("at %v: near %v and %v", delay, a.Link(b.self).Near(), b.Link(a.self).Near())
			}
			before := n.Counters("10.0.0.1", "10.0.0.2").Segments
			var want []string
			for i, size := range []int{0, 1, 100, 20_000, wire.MaxPayload} {
				a.spread(t, strconv.Itoa(i), size, b.self)
				b.spread(t, strconv.Itoa(i), size, a.self)
				want = append(want, strconv.Itoa(i))
			}
			time.Sleep(time.Second)
			if got := b.payloads(); !slices.Equal(got, want) {
				t.Errorf("b got %v", got)
			}
			if got := a.payloads(); !slices.Equal(got, want) {
				t.Errorf("a got %v", got)
			}
			if by := n.Counters("10.0.0.1", "10.0.0.2").Segments > before; by != near {
				t.Errorf("at %v: by TCP %v", delay, by)
			}
		})
	}
}

// TestNearStreamBlocked: where TCP stops getting through, nothing is lost, and once it does again it is used again. In between messages go by lanes.
func TestNearStreamBlocked(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
		meet(ctx, t, a, b)
		l := a.Link(b.self)
		go watch(ctx, l)
		go watch(ctx, b.Link(a.self))
		const count, each = 4000, time.Millisecond
		nearAt := map[int]bool{}
		for i := range count {
			switch i {
			case 500:
				blocked := nearPath
				blocked.Block = simnet.BlockTCP
				n.SetPath("10.0.0.1", "10.0.0.2", blocked)
			case 2500:
				n.SetPath("10.0.0.1", "10.0.0.2", nearPath)
			}
			a.spread(t, strconv.Itoa(i), 100, b.self)
			nearAt[i] = l.Near()
			time.Sleep(each)
		}
		time.Sleep(5 * time.Second)
		if got := b.payloads(); !slices.Equal(got, numbers(count)) {
			t.Errorf("%d of %d came", len(got), count)
		}
		if last := b.arrivals()[1999].at.Sub(b.arrivals()[0].at); last > 2*time.Second+10*time.Millisecond {
			t.Errorf("what was sent 2 s after the first came after %v", last)
		}
		if !nearAt[499] || nearAt[2499] || !l.Near() {
			t.Errorf("by the stream before, during and after: %v %v %v", nearAt[499], nearAt[2499], l.Near())
		}
		if l != a.Link(b.self) {
			t.Error("the link did not last")
		}
	})
}

// TestNearStreamEnds with its link, and messages that waited for it go by lanes while the link lives.
func TestNearStreamEnds(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
		meet(ctx, t, a, b)
		l := a.Link(b.self)
		s := l.nearStream()
		s.flusher.turn <- struct{}{} // nothing is written
		for i := range 5 {
			a.spread(t, strconv.Itoa(i), 10, b.self)
			s.probe(time.Now())
		}
		s.stop(errNearSilent)
		time.Sleep(5 * time.Millisecond)
		if got := b.payloads(); !slices.Equal(got, numbers(5)) {
			t.Errorf("got %v", got)
		}
		<-s.flusher.turn
		time.Sleep(2 * nearRetryMin)
		s = l.nearStream()
		s.flusher.turn <- struct{}{}
		a.spread(t, "5", 10, b.self)
		slice := s.flusher.nextSlice(l.nearBox()) // is being written
		a.spread(t, "6", 10, b.self)
		s.stop(errNearSilent)
		time.Sleep(5 * time.Second)
		s.flusher.wrote(l.nearBox(), len(slice)) // or so it seems
		<-s.flusher.turn
		if got := b.payloads(); len(slice) == 0 || !slices.Equal(got, numbers(7)) {
			t.Errorf("got %v", got)
		}
		time.Sleep(2 * nearRetryMin)
		if !l.Near() {
			t.Error("no new stream")
		}
		l.mu.Lock()
		queued := l.queued
		l.mu.Unlock()
		if queued != 0 {
			t.Errorf("%d bytes wait", queued)
		}
		l.Close()
		time.Sleep(time.Second)
		if l.Near() {
			t.Error("outlived its link")
		}
	})
}

// outsider opens a TLS stream with a key and says what it thinks the link's number is.
func outsider(ctx context.Context, t *testing.T, n *simnet.Net, key byte, hello []byte) (answer []byte) {
	t.Helper()
	raw, err := n.Host("10.0.0.9").DialContext(ctx, "tcp", "10.0.0.2:7946")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	open, err := trust.Open(keyOf(key))
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, trust.NewKeeper(open).Client(nearProtocol))
	_, _ = conn.Write(hello)
	answer, _ = io.ReadAll(conn)
	return answer
}

// TestNearStreamRefused: only who has a link may open a stream for it, and one; others are gone soon, also those that say nothing.
func TestNearStreamRefused(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
		meet(ctx, t, a, b)
		number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
		link := b.Link(a.self).Number
		for name, c := range map[string]struct {
			key   byte
			hello []byte
			want  []byte
		}{
			"stranger":      {9, number(link), nil},
			"wrong link":    {1, number(link + 1), nil},
			"second stream": {1, number(link), []byte{nearWelcome}}, // and then nothing
			"cut short":     {1, []byte{0, 0}, nil},
		} {
			began := time.Now()
			if got := outsider(ctx, t, n, c.key, c.hello); !bytes.Equal(got, c.want) {
				t.Errorf("%s: answered %v", name, got)
			}
			if took := time.Since(began); took > 2*DialTimeout {
				t.Errorf("%s: held for %v", name, took)
			}
		}
		for _, garbage := range [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0x16, 3, 1, 0xff}, 1000)} {
			raw, err := n.Host("10.0.0.9").DialContext(ctx, "tcp", "10.0.0.2:7946")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = raw.Write(garbage)
			began := time.Now()
			_, _ = io.Copy(io.Discard, raw)
			if took := time.Since(began); took > 2*DialTimeout {
				t.Errorf("%.10q: held for %v", garbage, took)
			}
			_ = raw.Close()
		}
		if !a.Link(b.self).Near() {
			t.Error("the stream was lost")
		}
	})
}

// TestNearStreamFlood: of many that begin handshakes and say nothing, some are held for a while and the others refused and counted.
func TestNearStreamFlood(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		b := startNear(ctx, t, n, 2)
		const flood = nearHandling + 100
		var conns []net.Conn
		for range flood {
			raw, err := n.Host("10.0.0.9").DialContext(ctx, "tcp", "10.0.0.2:7946")
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, raw)
		}
		time.Sleep(10 * time.Millisecond)
		if got := b.counters.Dropped(DropStreams); got != flood-nearHandling {
			t.Errorf("%d refused", got)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	})
}

// TestSealedKeepsOrder: records written without waiting, in part, and by flushes, arrive as one stream.
func TestSealedKeepsOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := newSealed(raw, func() {})
	if !s.prompt() {
		t.Skip("needs a system whose sockets can be written to directly")
	}
	s.gather()
	var want bytes.Buffer
	got := make(chan []byte)
	full, announce := make(chan struct{}), sync.Once{}
	partial := false
	go func() {
		<-full // so that there is no room at some time
		all, _ := io.ReadAll(server)
		got <- all
	}()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 0; want.Len() < 16<<20; i++ {
		record := bytes.Repeat([]byte{byte(i)}, 1+rnd.IntN(16<<10))
		want.Write(record)
		if _, err := s.Write(record); err != nil {
			t.Fatal(err)
		}
		if !s.try() {
			partial = true
			announce.Do(func() { close(full) })
			if s.prompt() {
				t.Fatal("some waits, and more would be taken")
			}
			if err := s.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = raw.Close()
	announce.Do(func() { close(full) })
	if !bytes.Equal(<-got, want.Bytes()) || !partial {
		t.Errorf("what came differs, or there was always room: %v", !partial)
	}
}

// TestHostilePeerOnNearStream: a member that sends what does not belong there loses its link.
func TestHostilePeerOnNearStream(t *testing.T) {
	for name, frame := range map[string][]byte{
		"control": {byte(wire.KindRecords), 1, 2}, "garbage": {0xff}, "cut probe": {byte(wire.KindProbe), 1},
	} {
		bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
			a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
			meet(ctx, t, a, b)
			if _, err := a.Link(b.self).nearStream().Write(wire.AppendFrame(nil, frame, nil)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if b.Link(a.self) != nil {
				t.Errorf("%s: the link lives", name)
			}
		})
	}
}

// TestNearStreamEchoesAreBounded: a peer that asks and does not read gets no more than so many answers kept.
func TestNearStreamEchoesAreBounded(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
		meet(ctx, t, a, b)
		s := b.Link(a.self).nearStream()
		s.flusher.turn <- struct{}{} // as if a did not read
		probe := wire.AppendProbe(nil, wire.Probe{Kind: wire.KindProbe})
		for range 200_000 {
			if err := s.probed(probe); err != nil {
				t.Fatal(err)
			}
		}
		<-s.flusher.turn
		b.Link(a.self).mu.Lock()
		queued := b.Link(a.self).queued
		b.Link(a.self).mu.Unlock()
		if bound := 2*nearFactor*b.cfg.QueueBytes + 100; queued > bound {
			t.Errorf("%d bytes wait", queued)
		}
	})
}

// TestAcknowledgedByNearStream: where messages go by a stream, so do acknowledgements, and QUIC rests; what of them waits when the stream ends is not for lanes.
func TestAcknowledgedByNearStream(t *testing.T) {
	bubble(t, nearPath, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := startNear(ctx, t, n, 1), startNear(ctx, t, n, 2)
		meet(ctx, t, a, b)
		time.Sleep(time.Second)
		before := n.Counters("10.0.0.2", "10.0.0.1").Sent
		for i := range 100 {
			a.spread(t, strconv.Itoa(i), 100, b.self)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if sent := n.Counters("10.0.0.2", "10.0.0.1").Sent - before; sent > 20 {
			t.Errorf("%d datagrams", sent)
		}
		if left := a.Flights().Outgoing; left != 0 || b.counters.Acks.Load() < 50 {
			t.Errorf("%d of 100 not acknowledged, by %d acknowledgements", left, b.counters.Acks.Load())
		}
		s := b.Link(a.self).nearStream()
		s.flusher.turn <- struct{}{}
		a.spread(t, "100", 100, b.self)
		time.Sleep(100 * time.Millisecond)
		s.stop(errNearSilent)
		time.Sleep(5 * time.Second)
		<-s.flusher.turn
		if a.Link(b.self) == nil || a.Flights().Outgoing != 0 {
			t.Errorf("link %v, %d not acknowledged", a.Link(b.self), a.Flights().Outgoing)
		}
	})
}
