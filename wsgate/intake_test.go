package wsgate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"

	"pgregory.net/rapid"
)

// script is a connection that brings bytes in pieces of given lengths, then ends.
type script struct {
	net.Conn
	data   []byte
	pieces func() int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data[:min(max(s.pieces(), 1), len(s.data))])
	s.data = s.data[n:]
	return n, nil
}

// clientFrame is a masked frame with any first byte, its length in the form asked for if that is wider than needed.
func clientFrame(first byte, key [4]byte, payload []byte, wide bool) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126 && !wide:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

// take reads all of a stream: data messages as the intake takes them, the rest as the library would, frame by frame.
func take(in *intake) (messages, rest [][]byte, err error) {
	for {
		first, msg, ok, irregular := in.next()
		switch {
		case ok:
			messages = append(messages, append([]byte{first}, msg...))
		case irregular:
			var whole []byte
			for p := make([]byte, 100); len(whole) == 0 || in.lent > 0; {
				n, err := in.Read(p)
				if whole = append(whole, p[:n]...); err != nil {
					return messages, rest, err
				}
			}
			rest = append(rest, whole)
		default:
			if err := in.fill(); err != nil {
				return messages, rest, err
			}
		}
	}
}

// TestIntakeSplits: however the bytes come, whole data messages are taken, unmasked and in order, and the library gets exactly the frames in between.
func TestIntakeSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var messages, rest [][]byte
		for i := range rapid.IntRange(0, 40).Draw(t, "frames") {
			payload := bytes.Repeat([]byte{byte(i), byte(i >> 3)}, rapid.SampledFrom([]int{0, 1, 62, 63, 64, 250, 300, 4100, 33_000, 40_000}).Draw(t, "length"))
			first := rapid.SampledFrom([]byte{frameBinary, frameBinary, frameBinary, frameText, framePing, frameClose, 0x02, 0x00, 0xc2}).Draw(t, "first")
			key := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key"))
			f := clientFrame(first, key, payload, rapid.Bool().Draw(t, "wide"))
			stream = append(stream, f...)
			if (first == frameBinary || first == frameText) && len(payload) <= mostIntake-maxClientHeader {
				messages = append(messages, append([]byte{first}, payload...))
			} else {
				rest = append(rest, f)
			}
		}
		ahead := rapid.IntRange(0, min(len(stream), 4096)).Draw(t, "read ahead")
		piece := rapid.SampledFrom([]int{1, 7, 511, 512, 513, 5000, 1 << 20})
		conn := &script{data: stream[ahead:], pieces: func() int { return piece.Draw(t, "piece") }}
		c := newFrameConn(conn, newIntakeBuffers(), stream[:ahead])
		gotMessages, gotRest, err := take(c.in)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if !slices.EqualFunc(gotMessages, messages, bytes.Equal) || !slices.EqualFunc(gotRest, rest, bytes.Equal) {
			t.Fatalf("%d messages and %d other frames, want %d and %d", len(gotMessages), len(gotRest), len(messages), len(rest))
		}
		if c.in.release(); len(c.in.buf) != idleIntake {
			t.Fatalf("%d bytes kept", len(c.in.buf))
		}
	})
}

// TestIntakeShrinks: once a burst is over, an idle connection keeps the smallest buffer.
func TestIntakeShrinks(t *testing.T) {
	burst := bytes.Repeat(clientFrame(frameBinary, [4]byte{1, 2, 3, 4}, make([]byte, 100), false), 2000)
	conn := &script{data: append(burst, clientFrame(frameBinary, [4]byte{}, []byte("x"), false)...), pieces: func() int { return mostIntake }}
	in := newFrameConn(conn, newIntakeBuffers(), nil).in
	largest := 0
	for len(conn.data) > 0 {
		if err := in.fill(); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(in.buf))
		for ok := true; ok; {
			_, _, ok, _ = in.next()
		}
	}
	if err := in.fill(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if largest != mostIntake || len(in.buf) != idleIntake {
		t.Errorf("%d bytes in the burst, %d after it", largest, len(in.buf))
	}
}

func TestUnmask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "payload")
		key := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key"))
		want := slices.Clone(b)
		for i := range want {
			want[i] ^= key[i%4]
		}
		if unmask(b, key); !bytes.Equal(b, want) {
			t.Fatalf("% x, want % x", b, want)
		}
	})
}

// FuzzIntake: no stream makes it panic, take what is no message, or give the library more than there was.
func FuzzIntake(f *testing.F) {
	f.Add(clientFrame(frameBinary, [4]byte{1, 2, 3, 4}, []byte("hello"), false), byte(3))
	f.Add(clientFrame(framePing, [4]byte{}, nil, false), byte(1))
	f.Add([]byte{frameBinary, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 'x'}, byte(9))
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		defer alloc.Bound(t, 64*len(stream))()
		conn := &script{data: slices.Clone(stream), pieces: func() int { return int(piece) }}
		messages, rest, _ := take(newFrameConn(conn, newIntakeBuffers(), nil).in)
		total := 0
		for _, m := range messages {
			if m[0] != frameBinary && m[0] != frameText {
				t.Errorf("took a frame that starts with %#x", m[0])
			}
			total += 6 + len(m) - 1
		}
		for _, r := range rest {
			total += len(r)
		}
		if total > len(stream) {
			t.Errorf("%d bytes out of %d", total, len(stream))
		}
	})
}

// TestPipelined: what a client sends at once is published in order, broadcasts of one channel together, whatever stands between them.
func TestPipelined(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		c := w.dial("llps.v1")
		c.ask("SUB:t:#", "OK:SUB:t:#")
		var sent []string
		var stream []byte
		add := func(channel, payload string) {
			stream = append(stream, maskedFrame(opBinary, publishV1("t", channel, payload))...)
			sent = append(sent, channel+"="+payload)
		}
		for i := range 50 {
			add("a", fmt.Sprint("first ", i))
		}
		add("b", "another channel")
		add("a", "")
		stream = append(stream, maskedFrame(opPing, []byte("between"))...)
		add("a", string(make([]byte, 17<<10))) // over a batch
		add("a", "after a large one")
		whole := publishV1("t", "a", "in fragments")
		stream = append(stream, clientFrame(opBinary, [4]byte{}, whole[:5], false)...)
		stream = append(stream, maskedFrame(opPing, []byte("within"))...)
		stream = append(stream, clientFrame(0x80, [4]byte{9, 9, 9, 9}, whole[5:], false)...)
		sent = append(sent, "a=in fragments")
		for i := range 50 {
			add("a", fmt.Sprint("last ", i))
		}
		stream = append(stream, maskedFrame(opBinary, append([]byte{tagPublishV2, 1}, publishV1("t", "a", "for one")...))...)
		sent = append(sent, "a=for one")
		add("a", "the end")
		go func() {
			if _, err := c.conn.Write(stream); err != nil {
				t.Error(err)
			}
		}()
		var got []string
		for pongs := 0; len(got) < len(sent) || pongs < 2; {
			f := c.next()
			if f.op == opPong {
				pongs++
				continue
			}
			if f.op != opBinary {
				t.Fatalf("got %d %q", f.op, f.payload)
			}
			channel, rest, ok := cutString(f.payload[1+2+1:])
			if !ok || len(rest) < 4 {
				t.Fatalf("% x", f.payload)
			}
			n := binary.BigEndian.Uint32(rest)
			got = append(got, string(channel)+"="+string(rest[4:4+n]))
		}
		if !slices.Equal(got, sent) {
			t.Errorf("got %.300q, want %.300q", got, sent)
		}
		if s := w.server.Stats(); s.MessagesIn != uint64(len(sent)) || s.MessagesOut != uint64(len(sent)) {
			t.Errorf("%d in, %d out, want %d", s.MessagesIn, s.MessagesOut, len(sent))
		}
		if w.broker.batches() == 0 {
			t.Error("no batch")
		}
	})
}
