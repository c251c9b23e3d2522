package gossip

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

func keyOf(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// idle is a Gossip that is not to run.
func idle(t *testing.T, options ...option) (*Gossip, error) {
	t.Helper()
	cfg := Config{
		Meta: wire.Meta{ID: idFor(1), Boot: 1, Name: "n"}, Key: keyFor(1), Advertise: addrOf(1), Emit: func(Event) {}, Sums: func() []byte { return nil },
		Write: func([]byte, wire.NodeID, net.Addr) error { return nil }, Dial: func(context.Context, net.Addr) (net.Conn, error) { return nil, net.ErrClosed },
	}
	for _, o := range options {
		o(&cfg)
	}
	return New(cfg)
}

func keyed(numbers ...byte) option {
	return func(cfg *Config) {
		for _, n := range numbers {
			cfg.Keys = append(cfg.Keys, keyOf(n))
		}
	}
}

// sealAs is what memberlist's seal of a version is, under any key and with any plain text; data is authenticated with it.
func sealAs(t *testing.T, version byte, key, plain, data []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	return gcm.Seal(append([]byte{version}, nonce...), nonce, plain, data)
}

func sealedStreamAs(t *testing.T, version byte, plain []byte) []byte {
	t.Helper()
	head := binary.BigEndian.AppendUint32([]byte{streamSeal}, uint32(1+12+len(plain)+16))
	return append(head, sealAs(t, version, keyOf(1), plain, head)...)
}

// A member that holds the key cannot bring another down with what memberlist would panic over.
func TestSealedNonsense(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		a, b := start(1, 1, keyed(1)), start(2, 1, keyed(1), seeds(1))
		time.Sleep(5 * time.Second)
		padding := bytes.Repeat([]byte{255}, 16) // more than there is
		bad := map[string][]byte{
			"padding of another version":    sealAs(t, 0, keyOf(1), padding, nil),
			"nothing under another version": sealAs(t, 0, keyOf(1), nil, nil),
			"in the clear":                  {0, 1, 2, 3},
		}
		for _, packet := range bad {
			a.Receive(packet, net.UDPAddrFromAddrPort(addrOf(2)), time.Now())
		}
		if got := a.Stats().Garbage.Load(); got != uint64(len(bad)) {
			t.Errorf("%d packets of %d refused", got, len(bad))
		}
		a.Receive(sealAs(t, 1, keyOf(1), nil, nil), net.UDPAddrFromAddrPort(addrOf(2)), time.Now()) // memberlist copes with this one
		for name, stream := range map[string][]byte{
			"padding of another version": sealedStreamAs(t, 0, padding),
			"nothing":                    sealedStreamAs(t, 1, nil),
			"in the clear":               {6, 0, 0, 0, 0, 0, 0},
			"another seal":               sealAs(t, 1, keyOf(1), []byte{6}, nil),
		} {
			before := a.Stats().Garbage.Load()
			near, far := net.Pipe()
			go a.Accept(far)
			go func() { _, _ = io.Copy(io.Discard, near) }()
			_ = near.SetDeadline(time.Now().Add(time.Second))
			_, _ = near.Write(stream)
			time.Sleep(time.Second)
			_ = near.Close()
			if a.Stats().Garbage.Load() == before {
				t.Errorf("stream with %s is not refused", name)
			}
		}
		if a.others() != 1 || b.others() != 1 {
			t.Errorf("%d and %d others, want the mesh as it was", a.others(), b.others())
		}
	})
}

// Nodes under different keys do not meet; those that share one do, whichever they seal with.
func TestKeysPartMeshes(t *testing.T) {
	world(t, func(t *testing.T, n *simnet.Net, start func(int, uint64, ...option) *member) {
		a, b := start(1, 1, keyed(1, 2)), start(2, 1, keyed(2, 1), seeds(1))
		c, d := start(3, 1, keyed(3), seeds(1, 2)), start(4, 1, seeds(1, 2))
		time.Sleep(time.Minute)
		for i, m := range []*member{a, b, c, d} {
			if want := []int{1, 1, 0, 0}[i]; m.others() != want {
				t.Errorf("%v has %d others, want %d", m.id, m.others(), want)
			}
		}
		if err := errors.Join(a.SetKeys([][]byte{keyOf(3), keyOf(2)}), b.SetKeys([][]byte{keyOf(2), keyOf(3)})); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Minute, "the third is let in by keys that are set later", func() bool { return c.others() > 0 && a.others() == 2 })
	})
}

// A sealed stream is read as it is, however it comes.
func TestSealedStreamPasses(t *testing.T) {
	g, err := idle(t, keyed(1))
	if err != nil {
		t.Fatal(err)
	}
	want := sealedStreamAs(t, 1, []byte("hello"))
	for size := range len(want) {
		near, far := net.Pipe()
		go func() {
			for chunk := range slices.Chunk(want, size+1) {
				_, _ = near.Write(chunk)
			}
			_ = near.Close()
		}()
		if got, err := io.ReadAll(g.transport.seal(far)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d: %x, %v", size+1, got, err)
		}
	}
	near, far := net.Pipe()
	go func() { _, _ = near.Write(append([]byte{0}, want...)) }()
	stream := g.transport.seal(far)
	for range 3 { // and does not recover
		if n, err := stream.Read(make([]byte, 4)); n != 0 || !errors.Is(err, errUnsealed) {
			t.Errorf("%d, %v", n, err)
		}
	}
	_ = near.Close()
}

func TestSetKeys(t *testing.T) {
	g, err := idle(t, keyed(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{{2, 1}, {2, 3}, {3}, {4, 3, 5}, {5, 6, 3, 4}, {6}} {
		var keys [][]byte
		for _, n := range want {
			keys = append(keys, keyOf(n))
		}
		reader := slices.Clone(g.keys.GetKeys()) // memberlist reads without a lock what it got
		held := g.keys.GetKeys()
		if err := g.SetKeys(keys); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(held, reader, bytes.Equal) {
			t.Error("keys that memberlist may be reading were moved")
		}
		got := g.keys.GetKeys()
		if len(got) != len(keys) || !bytes.Equal(got[0], keys[0]) {
			t.Errorf("%x, want %x", got, keys)
		}
		for _, key := range keys {
			if !slices.ContainsFunc(got, func(k []byte) bool { return bytes.Equal(k, key) }) {
				t.Errorf("%x is not among the keys", key)
			}
		}
	}
	if g.SetKeys(nil) == nil || g.SetKeys([][]byte{{1}}) == nil {
		t.Error("no keys, or short ones, pass")
	}
	open, err := idle(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := open.SetKeys([][]byte{keyOf(1)}); !errors.Is(err, ErrOpen) {
		t.Errorf("keys for an open mesh: %v", err)
	}
	if _, err := idle(t, func(c *Config) { c.Keys = [][]byte{{1, 2}} }); err == nil {
		t.Error("a short key passes")
	}
}
