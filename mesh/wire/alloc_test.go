package wire

import (
	"bytes"
	"crypto/ed25519"
	"runtime"
	"slices"
	"testing"
)

// allocated is how many bytes parse allocates: the least of several runs, so that other allocations do not count.
func allocated(parse func()) uint64 {
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parse()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// Invariant 1: a count that its bytes do not bear out makes no parser allocate, and an honest one only a small multiple
// of its bytes.
func TestAllocationBounds(t *testing.T) {
	const (
		multiple = 8
		slack    = 1 << 10 // for an error
	)
	message := golden(t, "message without payload")
	countAt := len(message) - 10
	record := signed(Record{Boot: 1, Kind: RecordLinks, Version: 1}).Raw
	body := len(record) - 1 - 64
	links := make([]Link, MaxLinks)
	for i := range links {
		links[i] = Link{NodeID(i + 1), 1}
	}
	digest := Digest{From: 1, Entries: slices.Repeat([]DigestEntry{{Origin: 2, Kind: RecordLinks}}, MaxDigest)}
	junk := bytes.Repeat([]byte{1}, 64)

	for _, test := range []struct {
		name  string
		parse func([]byte) (any, error)
		input []byte
	}{
		{"message, 4,096 destinations claimed", parseMessage, slices.Concat(message[:countAt], unhex(t, "80 20"), junk)},
		{"message, 2^63 destinations claimed", parseMessage, slices.Concat(message[:countAt], unhex(t, "80 80 80 80 80 80 80 80 80 01"), junk)},
		{"message, 4,096 destinations", parseMessage, appender(largestMessage())(nil)},
		{"records, body of 2 MiB claimed", parseRecords, slices.Concat([]byte{2}, record[:body], unhex(t, "80 80 80 01"), junk)},
		{"records, body of 2^64-1 claimed", parseRecords, slices.Concat([]byte{2}, record[:body], unhex(t, "ff ff ff ff ff ff ff ff ff 01"), junk)},
		{"records, many small", parseRecords, AppendRecords(nil, slices.Repeat([][]byte{record}, 1000)...)},
		{"links, 4,096 claimed", parseLinks, slices.Concat(unhex(t, "80 20"), junk)},
		{"links, 2^64-1 claimed", parseLinks, slices.Concat(unhex(t, "ff ff ff ff ff ff ff ff ff 01"), junk)},
		{"links, 4,096", parseLinks, AppendLinks(nil, links)},
		{"digest, 65,536 claimed", parseDigest, slices.Concat(unhex(t, "03 00 00 00 00 00 00 00 01 80 80 04"), junk)},
		{"digest, 2^64-1 claimed", parseDigest, slices.Concat(unhex(t, "03 00 00 00 00 00 00 00 01 ff ff ff ff ff ff ff ff ff 01"), junk)},
		{"digest, 65,536", parseDigest, AppendDigest(nil, KindDigest, &digest)},
		{"meta, name of 2^64-1 claimed", parseMeta, slices.Concat([]byte{2}, testKey(0).Public().(ed25519.PublicKey), unhex(t, "01 00 ff ff ff ff ff ff ff ff ff 01"), junk)},
		{"meta of a megabyte", parseMeta, make([]byte, 1<<20)},
		{"probe of a megabyte", parseProbe, make([]byte, 1<<20)},
		{"frame of 2^32-1 claimed", parseFrame, slices.Concat(unhex(t, "ff ff ff ff 0f"), junk)},
	} {
		most := uint64(multiple*len(test.input) + slack)
		if len(test.input) == 1<<20 {
			most = slack
		}
		if got := allocated(func() { _, _ = test.parse(test.input) }); got > most {
			t.Errorf("%s: %d bytes allocated for %d, at most %d", test.name, got, len(test.input), most)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := largestMessage()
	frame := appender(m)(nil)
	stream := AppendFrame(nil, frame, nil)
	buf := make([]byte, 0, len(stream))
	probe := Probe{Kind: KindEcho, Seq: 1, Token: 2}
	datagram := AppendProbe(nil, probe)
	var reused Message
	for name, run := range map[string]func() error{
		"AppendMessageHead": func() error { buf = AppendMessageHead(buf[:0], &m, m.Destinations); return nil },
		"AppendFrame":       func() error { buf = AppendFrame(buf[:0], frame, nil); return nil },
		"AppendProbe":       func() error { buf = AppendProbe(buf[:0], probe); return nil },
		"ParseMessage":      func() error { return ParseMessage(frame, &reused) },
		"ParseProbe":        func() error { _, err := ParseProbe(datagram); return err },
		"SplitFrame":        func() error { _, _, _, err := SplitFrame(stream, MaxFrame); return err },
	} {
		if err := run(); err != nil { // also lets ParseMessage size its slices
			t.Fatalf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = run() }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}
