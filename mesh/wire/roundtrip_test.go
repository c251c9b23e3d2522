package wire

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

func nodeIDs() *rapid.Generator[NodeID] {
	return rapid.Map(rapid.OneOf(rapid.Uint64Range(1, 9), rapid.Uint64Min(1)), func(n uint64) NodeID { return NodeID(n) })
}

// octets are byte slices, never nil.
func octets(most int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), 0, most) }

func messages() *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message {
		sealed := rapid.Bool().Draw(t, "sealed")
		return Message{
			Sealed:       sealed,
			Trace:        rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64()).Draw(t, "trace"),
			Avoid:        rapid.SliceOfN(nodeIDs(), 0, MaxAvoid).Draw(t, "avoid"),
			Class:        Class(rapid.ByteRange(0, byte(maxClass)).Draw(t, "class")),
			Mode:         rapid.ByteMax(127).Draw(t, "mode"),
			Batch:        rapid.Bool().Draw(t, "batch"),
			HopsLeft:     rapid.ByteRange(0, MaxHops).Draw(t, "hops left"),
			Origin:       nodeIDs().Draw(t, "origin"),
			Boot:         rapid.Uint64().Draw(t, "boot"),
			Age:          rapid.Uint32().Draw(t, "age"),
			Deadline:     rapid.Uint32().Draw(t, "deadline"),
			Via:          rapid.SliceOfN(nodeIDs(), 0, MaxHops).Draw(t, "via"),
			Tenant:       octets(MaxTenant).Draw(t, "tenant"),
			Channel:      octets(MaxChannel).Draw(t, "channel"),
			Destinations: rapid.SliceOfN(destinations(sealed), 1, 50).Draw(t, "destinations"),
			Payload:      octets(300).Draw(t, "payload"),
		}
	})
}

func destinations(sealed bool) *rapid.Generator[Destination] {
	return rapid.Custom(func(t *rapid.T) Destination {
		d := Destination{ID: nodeIDs().Draw(t, "id"), Seq: rapid.Uint64().Draw(t, "sequence")}
		if d.Seq != 0 {
			d.Back = rapid.Uint64Max(d.Seq-1).Draw(t, "back")
			d.Ahead = rapid.Uint64Max(d.Seq-1).Draw(t, "ahead")
			d.Boot = rapid.Uint16().Draw(t, "boot")
		}
		if sealed {
			copy(d.Tag[:], rapid.SliceOfN(rapid.Byte(), TagSize, TagSize).Draw(t, "tag"))
		}
		return d
	})
}

func records() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		version := rapid.Uint64Min(1).Draw(t, "version")
		return Record{
			Boot:    rapid.Uint64Min(1).Draw(t, "boot"),
			Kind:    rapid.SampledFrom([]RecordKind{RecordLinks, RecordInterest}).Draw(t, "kind"),
			Version: version,
			Base:    rapid.Uint64Max(version-1).Draw(t, "base"),
			Body:    octets(200).Draw(t, "body"),
		}
	})
}

func linkLists() *rapid.Generator[[]Link] {
	link := rapid.Custom(func(t *rapid.T) Link {
		return Link{nodeIDs().Draw(t, "to"), rapid.Uint32Min(1).Draw(t, "cost")}
	})
	sorted := func(links []Link) []Link {
		slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.To, b.To) })
		return links
	}
	return rapid.Map(rapid.SliceOfNDistinct(link, 0, 40, func(l Link) NodeID { return l.To }), sorted)
}

func digests() *rapid.Generator[Digest] {
	entry := rapid.Custom(func(t *rapid.T) DigestEntry {
		return DigestEntry{
			Origin: nodeIDs().Draw(t, "origin"),
			Kind:   rapid.SampledFrom([]RecordKind{RecordLinks, RecordInterest}).Draw(t, "kind"),
			Stamp:  Stamp{rapid.Uint64().Draw(t, "boot"), rapid.Uint64().Draw(t, "version")},
		}
	})
	return rapid.Custom(func(t *rapid.T) Digest {
		return Digest{From: nodeIDs().Draw(t, "from"), Entries: rapid.SliceOfN(entry, 0, 40).Draw(t, "entries")}
	})
}

func probes() *rapid.Generator[Probe] {
	return rapid.Custom(func(t *rapid.T) Probe {
		return Probe{
			Kind:  rapid.SampledFrom([]Kind{KindProbe, KindEcho}).Draw(t, "kind"),
			Seq:   rapid.Uint32().Draw(t, "seq"),
			Token: rapid.Int64().Draw(t, "token"),
			Held:  time.Duration(rapid.Uint32().Draw(t, "held")) * time.Microsecond,
		}
	})
}

func metas() *rapid.Generator[Meta] {
	printable := func(most int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.RuneFrom(nil, unicode.Latin, unicode.Han, unicode.Nd, unicode.Sm), 0, -1, most)
	}
	return rapid.Custom(func(t *rapid.T) Meta {
		m := Meta{
			ID:      largestMeta().ID,
			Boot:    rapid.Uint64Min(1).Draw(t, "boot"),
			Edition: rapid.Uint32().Draw(t, "edition"),
			Name:    printable(MaxName).Draw(t, "name"),
			Region:  printable(MaxName).Draw(t, "region"),
			Client:  printable(maxClient).Draw(t, "client"),
			Leaving: rapid.Bool().Draw(t, "leaving"),
			Located: rapid.Bool().Draw(t, "located"),
		}
		if m.Located {
			m.Lat = float64(rapid.IntRange(-90e4, 90e4).Draw(t, "lat")) / 1e4
			m.Lon = float64(rapid.IntRange(-180e4, 180e4).Draw(t, "lon")) / 1e4
		}
		return m
	})
}

func TestMessageRoundTrip(t *testing.T) {
	var reused Message // as a lane's reader does
	rapid.Check(t, func(t *rapid.T) {
		m := messages().Draw(t, "message")
		b := appender(m)(nil)
		if err := ParseMessage(b, &reused); err != nil {
			t.Fatal(err)
		}
		if len(reused.Via) == 0 {
			reused.Via = []NodeID{}
		}
		if len(reused.Avoid) == 0 {
			reused.Avoid = []NodeID{}
		}
		if !reflect.DeepEqual(reused, m) {
			t.Fatalf("%+v, want %+v", reused, m)
		}
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(records(), 0, 4).Draw(t, "records")
		var raws [][]byte
		for i := range want {
			SignRecord(&want[i], testKey(byte(i)))
			raws = append(raws, want[i].Raw)
		}
		got, err := ParseRecords(AppendRecords(nil, raws...))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d records, %v, want %d", len(got), err, len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%+v, want %+v", got[i], want[i])
			}
			if err := got[i].Verify(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLinksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := linkLists().Draw(t, "links")
		if got, _, err := ParseLinks(AppendLinks(nil, want)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	})
}

func TestDigestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{KindDigest, KindWant, KindAsk, KindHave}).Draw(t, "kind")
		want := digests().Draw(t, "digest")
		gotKind, got, err := ParseDigest(AppendDigest(nil, kind, &want))
		if err != nil || gotKind != kind || got.From != want.From || !slices.Equal(got.Entries, want.Entries) {
			t.Fatalf("%d %+v, %v, want %d %+v", gotKind, got, err, kind, want)
		}
	})
}

func TestSharedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Shared{
			Kind: rapid.SampledFrom([]Kind{KindCompare, KindShare}).Draw(t, "kind"),
			Flag: rapid.Bool().Draw(t, "flag"), Body: octets(300).Draw(t, "body"),
		}
		if got, err := ParseShared(AppendShared(nil, &want)); err != nil || got.Kind != want.Kind || got.Flag != want.Flag || !bytes.Equal(got.Body, want.Body) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestSharedFaults(t *testing.T) {
	for name, test := range map[string]struct {
		frame []byte
		want  error
	}{
		"kind": {[]byte{byte(KindHave), 0, 0}, ErrMalformed},
		"flag": {[]byte{byte(KindShare), 2, 0}, ErrMalformed},
		"body": {AppendShared(nil, &Shared{Kind: KindShare, Body: make([]byte, MaxShared+1)}), ErrLimit},
	} {
		if _, err := ParseShared(test.frame); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestProbeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := probes().Draw(t, "probe")
		if got, err := ParseProbe(AppendProbe(nil, want)); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := metas().Draw(t, "meta")
		later := octets(3).Draw(t, "later")
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		b := appendMeta(nil, &want)
		if got, err := ParseMeta(slices.Insert(b, len(b)-ed25519.SignatureSize, later...)); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 300), 0, 5).Draw(t, "frames")
		for _, frame := range want {
			cut := rapid.IntRange(0, len(frame)).Draw(t, "cut")
			stream = AppendFrame(stream, frame[:cut], frame[cut:])
		}
		for _, frame := range want {
			got, rest, _, err := SplitFrame(stream, 300)
			if err != nil || !bytes.Equal(got, frame) {
				t.Fatalf("% x, %v, want % x", got, err, frame)
			}
			stream = rest
		}
		if len(stream) != 0 {
			t.Fatalf("%d bytes left", len(stream))
		}
	})
}
