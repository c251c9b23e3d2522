package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// vector is one message as bytes that were not made by this package, and what is known of it.
type vector struct {
	name     string
	hex      string              // spaced, a field a line
	append   func([]byte) []byte // writes it
	parse    func([]byte) (any, error)
	value    any   // what parse returns
	uvarints []int // offset of the last byte of each uvarint
	whole    []int // prefixes of these lengths are messages of their own
	trailing error // of one zero byte more; nil: it is taken
}

// vectors is one table for every format. The signatures were made by another implementation of Ed25519.
func vectors() []vector {
	message := Message{
		Class: ClassPublish, Mode: 2, HopsLeft: 16, Origin: 0x0102030405060708, Boot: 300, Age: 0x12345, Deadline: 5000,
		Via: []NodeID{0xa1a2a3a4a5a6a7a8, 0xb1b2b3b4b5b6b7b8}, Tenant: []byte("acme"), Channel: []byte("site.temp"),
		Destinations: []Destination{{ID: 0xc1, Seq: 300, Back: 2, Ahead: 129, Boot: 0xbeef}, {ID: 0xfffffffffffffffe}}, Payload: []byte("hi"),
	}
	bare := Message{
		Class: ClassControl, Batch: true, HopsLeft: 1, Origin: 1, Age: 1<<32 - 1,
		Tenant: []byte{}, Channel: []byte{}, Destinations: []Destination{{ID: 2}}, Payload: []byte{},
	}
	sealed := Message{
		Class: ClassAck, HopsLeft: 15, Origin: 1, Boot: 1, Age: 1, Deadline: 2, Via: []NodeID{3}, Avoid: []NodeID{0xd1, 0xd2}, Sealed: true,
		Tenant: []byte{}, Channel: []byte{}, Payload: []byte{0xff},
		Destinations: []Destination{
			{ID: 2, Tag: [TagSize]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}},
			{ID: 4, Seq: 1, Boot: 5, Tag: [TagSize]byte{15: 0xb0}},
		},
	}
	links := []Link{{2, 1}, {0xff00000000000000, 300_000}}
	place := Place{Axes: [PlaceAxes]int16{1, -1, 32767, -32768, 256}, Height: 5, Error: 7}
	records := []Record{
		signed(Record{Boot: 300, Kind: RecordLinks, Version: 7, Body: AppendLinks(nil, links)}),
		signed(Record{Boot: 300, Kind: RecordInterest, Version: 8, Base: 7, Body: []byte{0xde, 0xad}}),
	}
	digest := Digest{From: 0x0102030405060708, Entries: []DigestEntry{
		{Origin: 0xa1, Kind: RecordLinks, Stamp: Stamp{Boot: 300, Version: 7}},
		{Origin: 0xa1, Kind: RecordInterest, Stamp: Stamp{Boot: 300, Version: 128}},
	}}
	sums := Sums{From: 0x0102030405060708}
	for _, e := range append(slices.Clone(digest.Entries), DigestEntry{Origin: 0xff00000000000000, Kind: RecordLinks, Stamp: Stamp{Boot: 1, Version: 1}}) {
		sums.Add(e)
	}
	part := Part{Reply: true, Classes: 3, Digest: digest}
	want := Digest{From: 0x0102030405060708, Entries: []DigestEntry{{Origin: 0xa2, Kind: RecordInterest}}}
	probe := Probe{Kind: KindProbe, Seq: 7, Token: 1_700_000_000_123_456_789}
	echo := Probe{Kind: KindEcho, Seq: 1<<32 - 2, Token: -2, Held: 1500 * time.Microsecond}
	meta := Meta{
		ID: IDOf(testKey(0).Public().(ed25519.PublicKey)), Boot: 300, Edition: 129, Name: "zürich-1", Region: "eu", Client: "[::1]:8080",
		Located: true, Lat: 47.3769, Lon: -122.4194,
	}
	bareMeta := Meta{ID: meta.ID, Boot: 1}
	leaving := Meta{ID: meta.ID, Boot: 1, Leaving: true, Located: true, Lat: 1, Lon: -1}
	metaAddr, metaAddr6 := netip.MustParseAddrPort("10.0.0.1:7946"), netip.MustParseAddrPort("[2001:db8::1]:7946")
	ack := Ack{
		Boot: 300, OriginBoot: 301, Floor: 1000, Newest: 1300, Held: 2500 * time.Microsecond,
		Ranges: []Range{{1002, 1002}, {1100, 1300}}, Refused: []uint64{900, 1200},
	}
	compare := Shared{Kind: KindCompare, Flag: true, Body: []byte{0xde, 0xad, 0xbe, 0xef}}
	share := Shared{Kind: KindShare, Body: []byte{}}
	return append(hopVectors(), []vector{{
		name: "ack",
		hex: `07
			ac 02
			ad 02
			e8 07
			94 0a
			c4 13
			02 02 00 62 c8 01
			02 84 07 ac 02`,
		append: func(dst []byte) []byte { return AppendAck(dst, &ack) }, parse: parseAck, value: ack,
		uvarints: []int{2, 4, 6, 8, 10, 11, 12, 13, 14, 16, 17, 19}, trailing: ErrTrailing,
	}, {
		name: "message",
		hex: `01 00 02 10
			01 02 03 04 05 06 07 08
			ac 02
			00 01 23 45
			88 27
			02 a1 a2 a3 a4 a5 a6 a7 a8 b1 b2 b3 b4 b5 b6 b7 b8
			04 61 63 6d 65
			09 73 69 74 65 2e 74 65 6d 70
			02 00 00 00 00 00 00 00 c1 ac 02 02 81 01 be ef ff ff ff ff ff ff ff fe 00
			68 69`,
		append: appender(message), parse: parseMessage, value: message, uvarints: []int{13, 19, 42, 52, 62, 63, 65, 76}, whole: []int{77, 78},
	}, {
		name: "message without payload",
		hex: `01 02 80 01
			00 00 00 00 00 00 00 01
			00
			ff ff ff ff
			00
			00
			00
			00
			01 00 00 00 00 00 00 00 02 00`,
		append: appender(bare), parse: parseMessage, value: bare, uvarints: []int{12, 17, 20, 21, 30},
	}, {
		name: "sealed message",
		hex: `01 83 00 0f
			00 00 00 00 00 00 00 01
			01
			00 00 00 01
			02
			41 00 00 00 00 00 00 00 03
			00 00 00 00 00 00 00 d1 00 00 00 00 00 00 00 d2
			00
			00
			02
			00 00 00 00 00 00 00 02 00 a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af
			00 00 00 00 00 00 00 04 01 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 b0
			ff`,
		append: appender(sealed), parse: parseMessage, value: sealed, uvarints: []int{12, 17, 44, 45, 54, 79, 80, 81}, whole: []int{100},
	}, {
		name: "records",
		hex: `02
			03 a1 07 bf f3 ce 10 be 1d 70 dd 18 e7 4b c0 99 67 e4 d6 30 9b a5 0d 5f 1d dc 86 64 12 55 31 b8
			ac 02
			01
			07
			00
			15 02 00 00 00 00 00 00 00 02 01 ff 00 00 00 00 00 00 00 e0 a7 12
			fb e5 60 c2 43 3b e6 c9 d6 af c6 a8 8d e0 60 30 50 bd b5 62 70 48 d9 ac b4 e2 2b cf 5d b8 57 d6
			e7 5f 90 bf 8f fd 45 1b a8 f8 3b b4 94 54 0f 65 47 71 d3 ed 96 a6 4b 95 14 0d 13 5a 52 77 99 0d
			03 a1 07 bf f3 ce 10 be 1d 70 dd 18 e7 4b c0 99 67 e4 d6 30 9b a5 0d 5f 1d dc 86 64 12 55 31 b8
			ac 02
			02
			08
			07
			02 de ad
			8d d8 77 59 a5 e9 88 14 f7 3d 41 7e 2c 60 a2 62 3d ef 0c c1 ef f0 fc 36 25 48 81 68 2a 04 6b b5
			9f dc 33 54 1d 7a df f4 a6 ec 33 c1 7e be cf da 7f d9 1c 70 9e fc f9 dc 2a 9f 91 3b f3 74 11 08`,
		append: func(dst []byte) []byte { return AppendRecords(dst, records[0].Raw, records[1].Raw) },
		parse:  parseRecords,
		value:  records, uvarints: []int{34, 36, 37, 38, 157, 159, 160, 161}, whole: []int{1, 124}, trailing: ErrTruncated,
	}, {
		name: "links",
		hex: `02
			00 00 00 00 00 00 00 02 01
			ff 00 00 00 00 00 00 00 e0 a7 12`,
		append: func(dst []byte) []byte { return AppendLinks(dst, links) },
		parse:  parseLinks,
		value:  links, uvarints: []int{0, 9, 20}, trailing: ErrTruncated,
	}, {
		name: "links with a place",
		hex: `01
			00 00 00 00 00 00 00 02 01
			00 01 ff ff 7f ff 80 00 01 00 00 05 07`,
		append: func(dst []byte) []byte { return AppendPlace(AppendLinks(dst, links[:1]), place) },
		parse:  parsePlaced,
		value:  placed{links[:1], place}, uvarints: []int{0, 9}, whole: []int{10}, trailing: ErrTrailing,
	}, {
		name: "digest",
		hex: `03 01 02 03 04 05 06 07 08
			02
			00 00 00 00 00 00 00 a1 01 ac 02 07
			00 00 00 00 00 00 00 a1 02 ac 02 80 01`,
		append: func(dst []byte) []byte { return AppendDigest(dst, KindDigest, &digest) },
		parse:  parseDigest,
		value:  digestFrame{KindDigest, digest}, uvarints: []int{9, 20, 21, 32, 34}, trailing: ErrTrailing,
	}, {
		name: "want",
		hex: `04 01 02 03 04 05 06 07 08
			01
			00 00 00 00 00 00 00 a2 02 00 00`,
		append: func(dst []byte) []byte { return AppendDigest(dst, KindWant, &want) },
		parse:  parseDigest,
		value:  digestFrame{KindWant, want}, uvarints: []int{9, 19, 20}, trailing: ErrTrailing,
	}, {
		name:   "probe",
		hex:    `05 00 00 00 07 17 97 9c fe 3d 85 cd 15 00 00 00 00`,
		append: func(dst []byte) []byte { return AppendProbe(dst, probe) },
		parse:  parseProbe,
		value:  probe, trailing: ErrTrailing,
	}, {
		name:   "echo",
		hex:    `06 ff ff ff fe ff ff ff ff ff ff ff fe 00 00 05 dc`,
		append: func(dst []byte) []byte { return AppendProbe(dst, echo) },
		parse:  parseProbe,
		value:  echo, trailing: ErrTrailing,
	}, {
		name: "meta",
		hex: `02
			03 a1 07 bf f3 ce 10 be 1d 70 dd 18 e7 4b c0 99 67 e4 d6 30 9b a5 0d 5f 1d dc 86 64 12 55 31 b8
			ac 02
			81 01
			09 7a c3 bc 72 69 63 68 2d 31
			02 65 75
			0a 5b 3a 3a 31 5d 3a 38 30 38 30
			01 00 07 3a a9 ff ed 51 fe
			db 85 5b 27 28 26 bc 11 f6 6b e4 00 2c e9 8c 33 df bf 6a 3f e7 e9 59 fe fc 6b c6 55 b8 c4 b2 ad
			35 1a 62 e5 00 42 10 ea ac 14 32 81 45 f5 79 9a 6b dc 79 50 f4 5b f0 e0 52 96 87 ed c8 7e 74 0e`,
		append: func(dst []byte) []byte { return AppendMeta(dst, &meta, metaAddr, testKey(0)) },
		parse:  parseMeta,
		value:  meta, uvarints: []int{34, 36, 37, 47, 50},
	}, {
		name: "meta of a node without name or place",
		hex: `02
			03 a1 07 bf f3 ce 10 be 1d 70 dd 18 e7 4b c0 99 67 e4 d6 30 9b a5 0d 5f 1d dc 86 64 12 55 31 b8
			01
			00
			00 00 00
			00
			6f 89 6b f1 5e 13 89 55 af 01 ce 3b 13 80 bb 23 37 18 fb 22 a4 6e 5f 7a a2 c1 c1 84 b8 76 de 2a
			a5 d8 ba de a4 e7 13 02 29 d8 0f 48 2f 5e 13 18 49 44 07 94 84 e4 45 39 2a 47 42 c6 50 18 92 06`,
		append: func(dst []byte) []byte { return AppendMeta(dst, &bareMeta, metaAddr6, testKey(0)) },
		parse:  parseMeta,
		value:  bareMeta, uvarints: []int{33, 34, 35, 36, 37},
	}, {
		name: "meta of a node that leaves",
		hex: `02
			03 a1 07 bf f3 ce 10 be 1d 70 dd 18 e7 4b c0 99 67 e4 d6 30 9b a5 0d 5f 1d dc 86 64 12 55 31 b8
			01
			00
			00 00 00
			03 00 00 27 10 ff ff d8 f0
			d5 46 2b 9d f5 11 50 13 02 59 6a c0 20 4a 46 2f f7 95 0e 6a 96 54 1e d1 2e ac a6 15 9a 13 3f dd
			97 a6 ff 16 a9 0e 12 1d 94 17 7d 4e 61 a4 1e 06 be 81 80 6f 1e e4 76 be 4f 92 e1 09 b6 87 9d 09`,
		append: func(dst []byte) []byte { return AppendMeta(dst, &leaving, metaAddr, testKey(0)) },
		parse:  parseMeta,
		value:  leaving, uvarints: []int{33, 34, 35, 36, 37},
	}, {
		name:   "compare",
		hex:    `0b 01 04 de ad be ef`,
		append: func(dst []byte) []byte { return AppendShared(dst, &compare) },
		parse:  parseShared,
		value:  compare, uvarints: []int{2}, trailing: ErrTrailing,
	}, {
		name:   "share",
		hex:    `0c 00 00`,
		append: func(dst []byte) []byte { return AppendShared(dst, &share) },
		parse:  parseShared,
		value:  share, uvarints: []int{2}, trailing: ErrTrailing,
	}, {
		name: "sums",
		hex: `0f 01 02 03 04 05 06 07 08 03
			a9 eb 5c 62` + strings.Repeat(" 00", 4*62) + ` a6 e1 49 59`,
		append: func(dst []byte) []byte { return AppendSums(dst, &sums) },
		parse:  parseSums,
		value:  sums, uvarints: []int{9}, trailing: ErrTrailing,
	}, {
		name: "part",
		hex: `10 01 00 00 00 00 00 00 00 03 01 02 03 04 05 06 07 08
			02
			00 00 00 00 00 00 00 a1 01 ac 02 07
			00 00 00 00 00 00 00 a1 02 ac 02 80 01`,
		append: func(dst []byte) []byte { return AppendPart(dst, &part) },
		parse:  parsePart,
		value:  part, uvarints: []int{18, 29, 30, 41, 43}, trailing: ErrTrailing,
	}, {
		name:   "need",
		hex:    `0d 01`,
		append: func(dst []byte) []byte { return AppendNeed(dst, true) },
		parse:  parseNeed,
		value:  true, trailing: ErrTrailing,
	}, {
		name:   "frame",
		hex:    `05 03 01 02 03 04`,
		append: func(dst []byte) []byte { return AppendFrame(dst, []byte{3, 1}, []byte{2, 3, 4}) },
		parse:  parseFrame,
		value:  []byte{3, 1, 2, 3, 4}, uvarints: []int{0}, trailing: ErrTrailing,
	}}...)
}

// digestFrame is what ParseDigest returns.
type digestFrame struct {
	Kind   Kind
	Digest Digest
}

func parseDigest(b []byte) (any, error) {
	kind, d, err := ParseDigest(b)
	return digestFrame{kind, d}, err
}

func parseShared(b []byte) (any, error) { return ParseShared(b) }

func parseSums(b []byte) (any, error) { return ParseSums(b) }

func parsePart(b []byte) (any, error) { return ParsePart(b) }

func parseNeed(b []byte) (any, error) { return ParseNeed(b) }

func parseRecords(b []byte) (any, error) { return ParseRecords(b) }

func parseLinks(b []byte) (any, error) {
	links, _, err := ParseLinks(b)
	return links, err
}

func parsePlaced(b []byte) (any, error) {
	links, place, err := ParseLinks(b)
	return placed{links, place}, err
}

type placed struct {
	links []Link
	place Place
}

func parseProbe(b []byte) (any, error) { return ParseProbe(b) }

func parseMeta(b []byte) (any, error) { return ParseMeta(b) }

func parseMessage(b []byte) (any, error) {
	var m Message
	err := ParseMessage(b, &m)
	return m, err
}

func parseAck(b []byte) (any, error) {
	var a Ack
	err := ParseAck(b, &a)
	return a, err
}

// parseFrame takes b for a stream of one frame.
func parseFrame(b []byte) (any, error) {
	frame, rest, _, err := SplitFrame(b, MaxFrame)
	switch {
	case err == nil && frame == nil:
		err = ErrTruncated
	case err == nil && len(rest) > 0:
		err = ErrTrailing
	}
	return frame, err
}

func appender(m Message) func([]byte) []byte {
	return func(dst []byte) []byte { return append(AppendMessageHead(dst, &m, m.Destinations), m.Payload...) }
}

// testKey is the key whose seed is first, first+1, first+2 and so on.
func testKey(first byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = first + byte(i)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// signed is the record as signed by testKey(0).
func signed(r Record) Record {
	SignRecord(&r, testKey(0))
	return r
}

func unhex(tb testing.TB, spaced string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(spaced), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// golden is the vector of that name.
func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	all := vectors()
	return unhex(tb, all[slices.IndexFunc(all, func(v vector) bool { return v.name == name })].hex)
}

func TestGolden(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			if got := v.append([]byte("before")); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("appended\n% x, want\n% x", got[len("before"):], want)
			}
			got, err := v.parse(want)
			if err != nil || !reflect.DeepEqual(got, v.value) {
				t.Errorf("parsed %+v, %v, want\n%+v", got, err, v.value)
			}
		})
	}
}

// Invariant 1: a message that ends early is refused wherever it ends.
func TestTruncated(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			for n := range want {
				// The end of the bytes is the end of the memory, so that reading past it would panic.
				_, err := v.parse(slices.Clone(want[:n])[:n:n])
				if slices.Contains(v.whole, n) {
					if err != nil {
						t.Errorf("first %d bytes of %d: %v", n, len(want), err)
					}
				} else if !errors.Is(err, ErrTruncated) {
					t.Errorf("first %d bytes of %d: %v, want %v", n, len(want), err, ErrTruncated)
				}
			}
		})
	}
}

// Invariant 2.
func TestTrailing(t *testing.T) {
	for _, v := range vectors() {
		if _, err := v.parse(append(unhex(t, v.hex), 0)); !errors.Is(err, v.trailing) {
			t.Errorf("%s and a byte: %v, want %v", v.name, err, v.trailing)
		}
	}
}

// Invariant 2: of all encodings of an integer only the shortest is taken.
func TestIntegerEncoding(t *testing.T) {
	for _, v := range vectors() {
		want := unhex(t, v.hex)
		for _, at := range v.uvarints {
			padded := slices.Insert(slices.Clone(want), at+1, 0)
			padded[at] |= 0x80
			if _, err := v.parse(padded); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, padded integer at %d: %v, want %v", v.name, at, err, ErrMalformed)
			}
			huge := bytes.Repeat([]byte{0xff}, binary.MaxVarintLen64)
			overflow := slices.Concat(want[:at], huge, []byte{1}, want[at+1:])
			if _, err := v.parse(overflow); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, integer over 64 bits at %d: %v, want %v", v.name, at, err, ErrMalformed)
			}
		}
	}
}

// Invariant 4: writing over the input changes nothing that was parsed, except in a frame or a message.
func TestMemory(t *testing.T) {
	for _, v := range vectors() {
		input := slices.Grow(unhex(t, v.hex), 8)
		value, err := v.parse(input)
		if err != nil {
			t.Fatal(err)
		}
		clear(input)
		owned := reflect.DeepEqual(value, v.value)
		switch value := value.(type) {
		case Message:
			for _, field := range [][]byte{value.Tenant, value.Channel, value.Payload} {
				if cap(field) != len(field) || len(bytes.Trim(field, "\x00")) != 0 {
					t.Errorf("%s: field % x of capacity %d, want zeros, as in the input, and no more room", v.name, field, cap(field))
				}
			}
		case []byte:
			if cap(value) != len(value) || owned {
				t.Errorf("%s: % x of capacity %d, want a part of the input and no more room", v.name, value, cap(value))
			}
		default:
			if !owned {
				t.Errorf("%s: changed with the input to %+v", v.name, value)
			}
		}
	}
}

// Invariant 4: a record that is kept keeps no other alive, and its parts cannot grow into each other.
func TestRecordMemory(t *testing.T) {
	records, err := ParseRecords(golden(t, "records"))
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	first := slices.Clone(records[0].Raw)
	clear(records[1].Raw)
	_ = append(records[0].Key, 1)
	_ = append(records[0].Body, 1)
	if !bytes.Equal(records[0].Raw, first) {
		t.Errorf("% x, want % x", records[0].Raw, first)
	}
	if got, most := cap(records[0].Raw), 2*len(first); got > most {
		t.Errorf("%d bytes kept for a record of %d", got, len(first))
	}
}
