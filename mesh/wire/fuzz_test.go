package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
)

// seed gives the fuzzer the vectors of that name, whole and cut.
func seed(f *testing.F, names ...string) {
	for _, name := range names {
		b := golden(f, name)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
}

// same fails unless what was parsed is written as it was read.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("written again\n% x, read\n% x", got, want)
	}
}

func FuzzParseMessage(f *testing.F) {
	seed(f, "message", "message without payload", "sealed message", "traced message")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		var m Message
		if ParseMessage(b, &m) == nil {
			same(t, append(AppendMessageHead(nil, &m, m.Destinations), m.Payload...), b)
		}
	})
}

func FuzzParseAck(f *testing.F) {
	seed(f, "ack")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		var a Ack
		if ParseAck(b, &a) == nil {
			same(t, AppendAck(nil, &a), b)
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	seed(f, "records")
	f.Add(AppendRecords(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		records, err := ParseRecords(b)
		if err != nil {
			return
		}
		var raws, fields [][]byte
		for _, r := range records {
			raws = append(raws, r.Raw)
			// The record again, from its fields.
			again := binary.AppendUvarint(slices.Clone(r.Key), r.Boot)
			again = append(again, byte(r.Kind))
			again = binary.AppendUvarint(again, r.Version)
			again = binary.AppendUvarint(again, r.Base)
			again = appendText(again, r.Body)
			fields = append(fields, append(again, r.Raw[len(again):]...))
			if r.Origin != IDOf(r.Key) {
				t.Errorf("origin %v, want %v", r.Origin, IDOf(r.Key))
			}
			_ = r.Verify() // must not panic
		}
		same(t, AppendRecords(nil, raws...), b)
		same(t, AppendRecords(nil, fields...), b)
	})
}

func FuzzParseLinks(f *testing.F) {
	seed(f, "links")
	f.Add(AppendLinks(nil, nil))
	f.Add(AppendPlace(AppendLinks(nil, []Link{{1, 2}}), Place{Axes: [PlaceAxes]int16{1, -1}, Error: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if links, place, err := ParseLinks(b); err == nil {
			again := AppendLinks(nil, links)
			if place != (Place{}) {
				again = AppendPlace(again, place)
			}
			same(t, again, b)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	seed(f, "digest", "want")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if kind, digest, err := ParseDigest(b); err == nil {
			same(t, AppendDigest(nil, kind, &digest), b)
		}
	})
}

func FuzzParseShared(f *testing.F) {
	seed(f, "compare", "share")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if s, err := ParseShared(b); err == nil {
			same(t, AppendShared(nil, &s), b)
		}
	})
}

func FuzzParseSums(f *testing.F) {
	seed(f, "sums")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if s, err := ParseSums(b); err == nil {
			same(t, AppendSums(nil, &s), b)
		}
	})
}

func FuzzParsePart(f *testing.F) {
	seed(f, "part")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if p, err := ParsePart(b); err == nil {
			same(t, AppendPart(nil, &p), b)
		}
	})
}

func FuzzParseNeed(f *testing.F) {
	seed(f, "need")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if needed, err := ParseNeed(b); err == nil {
			same(t, AppendNeed(nil, needed), b)
		}
	})
}

func FuzzParseProbe(f *testing.F) {
	seed(f, "probe", "echo")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if probe, err := ParseProbe(b); err == nil {
			same(t, AppendProbe(nil, probe), b)
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	seed(f, "meta", "meta of a node without name or place", "meta of a node that leaves")
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		m, err := ParseMeta(b)
		if err != nil {
			return
		}
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		// But for the key and the signature, which are another's, it is written as it was read.
		again := appendMeta(nil, &m)
		const fields = 1 + ed25519.PublicKeySize
		if end := len(again) - ed25519.SignatureSize; end > len(b)-ed25519.SignatureSize || !bytes.Equal(again[fields:end], b[fields:end]) || again[0] != b[0] {
			t.Errorf("% x, want % x", again, b)
		}
		addr := netip.MustParseAddrPort("10.0.0.1:7946")
		if VerifyMeta(b, addr) == nil && VerifyMeta(b, netip.AddrPortFrom(addr.Addr(), 1)) == nil {
			t.Error("a description good at two addresses")
		}
	})
}

func FuzzSplitFrame(f *testing.F) {
	_, stream := testFrames()
	f.Add(stream, uint32(300))
	f.Add(golden(f, "frame"), uint32(5))
	f.Add(unhex(f, "ff ff ff ff 0f"), uint32(MaxControlFrame))
	f.Fuzz(func(t *testing.T, b []byte, limit uint32) {
		defer alloc.Bound(t, 64*len(b))()
		frame, rest, need, err := SplitFrame(b, int(limit))
		switch {
		case err != nil:
			if frame != nil || need != 0 {
				t.Errorf("%v, and a frame of %d bytes, need %d", err, len(frame), need)
			}
			same(t, rest, b)
		case frame == nil:
			if need <= len(b) || need > int(limit)+binary.MaxVarintLen32 {
				t.Errorf("need %d with %d there and a limit of %d", need, len(b), limit)
			}
			same(t, rest, b)
		default:
			if len(frame) > int(limit) {
				t.Errorf("frame of %d bytes, at most %d", len(frame), limit)
			}
			same(t, append(AppendFrame(nil, frame, nil), rest...), b)
		}
	})
}
