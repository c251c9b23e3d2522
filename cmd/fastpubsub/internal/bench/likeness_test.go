package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// appendDelivery is a delivery as wsgate lays it out.
func appendDelivery(b []byte, tenant, name string, payload []byte, patterns ...string) []byte {
	text := func(s string) { b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	b = append(b, 1)
	text(tenant)
	text(name)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(payload))), payload...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(patterns)))
	for _, p := range patterns {
		text(p)
	}
	return b
}

// What a likeness says of a delivery is what client.ParseDelivery says, whatever came before.
func TestLikenessIsParseDelivery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k likeness
		word := rapid.SampledFrom([]string{"a", "b", "aa"})
		for range 20 {
			b := appendDelivery(nil, word.Draw(t, "tenant"), word.Draw(t, "channel"), rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "payload"),
				rapid.SliceOfN(word, 1, 3).Draw(t, "patterns")...)
			switch rapid.IntRange(0, 3).Draw(t, "harm") {
			case 0:
				b = b[:rapid.IntRange(0, len(b)).Draw(t, "cut")]
			case 1:
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
			compareParse(t, &k, b)
		}
	})
}

func compareParse(t interface{ Fatalf(string, ...any) }, k *likeness, b []byte) {
	m, want := client.ParseDelivery(b)
	payload, patterns, err := k.parse(b)
	if (err != nil) != (want != nil) || err != nil && !errors.Is(err, client.ErrDelivery) {
		t.Fatalf("% x: %v, want %v", b, err, want)
	}
	if err == nil && (!bytes.Equal(payload, m.Payload) || patterns != len(m.Patterns)) {
		t.Fatalf("% x: % x by %d, want % x by %d", b, payload, patterns, m.Payload, len(m.Patterns))
	}
}

func FuzzLikeness(f *testing.F) {
	one := appendDelivery(nil, "~", "a.b", []byte("xyz"), "a.*", "a.b")
	f.Add(one, one)
	f.Add(one, appendDelivery(nil, "~", "a.b", nil, "a.*", "a.b"))
	f.Add(one, one[:len(one)-1])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var k likeness
		for _, b := range [][]byte{first, second, first} {
			compareParse(t, &k, b)
		}
	})
}

func TestLikenessAllocatesNothing(t *testing.T) {
	var k likeness
	b := appendDelivery(nil, "~", "a.b", make([]byte, 128), "a.b")
	if n := testing.AllocsPerRun(100, func() { _, _, _ = k.parse(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
