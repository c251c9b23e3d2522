//go:build !race

// The race detector has pools forget at random.

package wsgate

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// nobody is an overlay without anybody in it.
type nobody struct{ messages int }

func (n *nobody) Publish(_ context.Context, m channel.Message) error {
	n.messages += m.Count()
	return nil
}
func (*nobody) SetInterest(string, channel.Pattern, bool) {}
func (*nobody) AfterSpread(func())                        {}

// ingest is a session that has all the bytes of stream come in again and again.
func ingest(tb testing.TB, stream []byte) (run func(), overlay *nobody) {
	tb.Helper()
	overlay = &nobody{}
	server, err := New(Config{Hub: NewHub(HubConfig{}), Broker: overlay})
	if err != nil {
		tb.Fatal(err)
	}
	conn := &script{pieces: func() int { return mostIntake }}
	s := &session{server: server}
	s.use(newFrameConn(conn, server.intakes, nil))
	ctx := context.Background()
	return func() {
		conn.data = stream
		for len(conn.data) > 0 {
			if err := s.conn.in.fill(); err != nil {
				tb.Fatal(err)
			}
			if s.takeAll(ctx) {
				tb.Fatal("irregular")
			}
		}
	}, overlay
}

// publications is a stream of n publications of so many bytes, each run of them on one of several channels.
func publications(tenant string, n, size, run int) []byte {
	var stream []byte
	for i := range n {
		stream = append(stream, maskedFrame(opBinary, publishV1(tenant, fmt.Sprint("channel.", i/run%10), string(bytes.Repeat([]byte{'x'}, size))))...)
	}
	return stream
}

// TestIngestAllocatesNothing: publications that come in on one channel cost no memory, however many come together.
func TestIngestAllocatesNothing(t *testing.T) {
	for _, tenant := range []string{"t", ""} {
		run, overlay := ingest(t, publications(tenant, 400, 128, 1000))
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("tenant %q: %v allocations", tenant, n)
		}
		if overlay.messages != 21*400 {
			t.Errorf("%d messages published", overlay.messages)
		}
	}
}

// BenchmarkIngest is a publication from the client's bytes to the overlay, per message: a whole buffer of them on one channel, or every one on another.
func BenchmarkIngest(b *testing.B) {
	for _, run := range []int{1, 1000} {
		for _, size := range []int{16, 128, 1024} {
			b.Run(fmt.Sprintf("run=%d/size=%d", run, size), func(b *testing.B) {
				const count = 1000
				all, _ := ingest(b, publications("t", count, size, run))
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for i := 0; i < b.N; i += count {
					all()
				}
			})
		}
	}
}
