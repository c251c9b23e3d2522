package web_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors is what the Go code and fastpubsub.js must agree on. Bytes are in hex.
type vectors struct {
	Publish     []publishVector  `json:"publish"`
	Deliveries  []deliveryVector `json:"deliveries"`
	Malformed   []string         `json:"malformed"` // no deliveries
	Tenants     names            `json:"tenants"`
	Channels    names            `json:"channels"`
	Patterns    names            `json:"patterns"`
	Matches     []matchVector    `json:"matches"`
	DefaultName string           `json:"default_tenant"`
}

type publishVector struct {
	Tenant  string `json:"tenant"`
	Channel string `json:"channel"`
	Mode    string `json:"mode"`
	Payload string `json:"payload"`
	Frame   string `json:"frame"`
}

type deliveryVector struct {
	Tenant   string   `json:"tenant"`
	Channel  string   `json:"channel"`
	Payload  string   `json:"payload"`
	Patterns []string `json:"patterns"`
	Frame    string   `json:"frame"`
}

type names struct {
	Valid   []string `json:"valid"`
	Invalid []string `json:"invalid"`
}

type matchVector struct {
	Pattern string   `json:"pattern"`
	Yes     []string `json:"yes"`
	No      []string `json:"no"`
}

// candidates are sorted into valid and invalid ones by package channel.
func candidates() (tenants, channels, patterns []string) {
	long := func(n int) string { return strings.Repeat("n", n) }
	tenants = []string{"~", "t", "a.b", ".", "A-z_0~@", long(128), long(129), "a:b", "a b", "é", "a#", "a\n", "a*"}
	channels = []string{
		"a", "a.b.c", "~.@", "A-z_0.9", long(256), long(257), "", ".", "a.", ".a", "a..b", "a.*", "#", "a>", "a:b", "a b", "a\n", "é", "a\x00",
		strings.Repeat("a.", 127) + "b", strings.Repeat("a.", 128) + "b", "$a.b", "$", "$.a", "a.$b", "$$a",
	}
	patterns = []string{
		"a", "a.b.c", "*", "#", ">", "a*", "a#", "a>", "a.*", "*.*.*", "a*.b*.c#", "*.#", "*.>", "~.@", "A-z_0.9*", long(255) + "*", long(256) + "*",
		strings.Repeat("*.", 127) + "#", "", ".", "a.", ".a", "a..b", "a..#", "#.", "a*b", "*a", "#.a", ">.a", "a#.b", "a>.b", "**", "##", ">>", "a**",
		"a*#", "a#*", "*>", "a#b", "#a", ">a", "a.*b.c", "a b", "a:b", "a,b", "a?", "$a", "$a*", "$a.#", "$*", "$#", "$", "$.a", "a.$b", "$$a", "é", "a\x00", "a\n", "a*\n",
	}
	return tenants, channels, patterns
}

// contract is the table of the client contract, section 6, and what its token rules say besides.
func contract() [][3]string {
	return [][3]string{
		{"a.b.c", "a.b.c", "a.b a.b.c.d A.b.c"},
		{"a.*", "a.b", "a a.b.c"},
		{"a.*.c", "a.x.c", "a.c a.x.y.c"},
		{"a.b*", "a.b a.b1", "a.c a.b.c a.b1.c"},
		{"a.b*.c", "a.b.c a.b9.c", "a.b.d a.c.c"},
		{"a.b.>", "a.b.c a.b.c.d", "a.b a"},
		{"a.b.#", "a.b a.b.c a.b.c.d", "a a.bc"},
		{"*.b.#", "x.b x.b.c", "b x.y.b"},
		{"#", "a a.b a.b.c", ""},
		{">", "a a.b a.b.c", ""},
		{"*", "a", "a.b"},
		{"a.b#", "a.b a.b1 a.b.c a.b1.c.d", "a a.c a.xb"},
		{"a.b>", "a.b.c a.b1.c.d", "a.b a.b1 a.c.d"},
		{"b*.#", "b b1 b1.c", "a a.b"},
		{"*.*", "a.b", "a a.b.c"},
		{"*.>", "a.b a.b.c", "a"},
		{"*.#", "a a.b a.b.c", ""},
		{"a*.b*", "a.b ax.bx", "a ax a.c b.b a.b.c"},
		{"a#", "a ab a.b ab.c.d", "b b.a"},
		{"a>", "a.b ab.c ab.c.d", "a ab b.a"},
		{"*.#", "a a.b", "$a $a.b"},
		{"$a.#", "$a $a.b", "a a.b"},
		{"$a*", "$a $ab", "a ab $b"},
	}
}

// TestVectors holds testdata/vectors.json, which fastpubsub.test.js checks fastpubsub.js against, to the Go code.
func TestVectors(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "vectors.json")
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the Go code says; after a look at the reason: go test ./wsgate/web -run Vectors -update", path)
	}
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	v := vectors{DefaultName: channel.DefaultTenant}
	messages := []channel.Message{
		{Tenant: "t", Channel: "a.b", Payload: []byte("hi")},
		{Tenant: "~", Channel: "a", Payload: nil},
		{Tenant: "t", Channel: "a", Mode: channel.DeliverLowestLatency, Payload: []byte{0xff, 0}},
		{Tenant: "t", Channel: "a", Mode: channel.DeliverRandom, Payload: []byte("grüße")},
		{Tenant: strings.Repeat("t", 128), Channel: strings.Repeat("c", 256), Payload: []byte{1, 2, 3}},
	}
	for _, m := range messages {
		v.Publish = append(v.Publish, publishVector{m.Tenant, m.Channel, m.Mode.String(), hex.EncodeToString(m.Payload), hex.EncodeToString(client.AppendPublish(nil, m))})
		patterns := []string{"#", m.Channel}
		frame := deliveryFrame(m, patterns...)
		v.Deliveries = append(v.Deliveries, deliveryVector{m.Tenant, m.Channel, hex.EncodeToString(m.Payload), patterns, hex.EncodeToString(frame)})
	}
	v.Malformed = malformed(t)
	tenants, channels, patterns := candidates()
	v.Tenants = sorted(tenants, func(s string) error { _, err := channel.NormalizeTenant(s); return err })
	v.Channels = sorted(channels, channel.ValidateChannel)
	v.Patterns = sorted(patterns, func(s string) error { _, err := channel.ParsePattern(s); return err })
	for _, row := range contract() {
		p, err := channel.ParsePattern(row[0])
		if err != nil {
			t.Fatal(err)
		}
		m := matchVector{row[0], strings.Fields(row[1]), strings.Fields(row[2])}
		for _, name := range slices.Concat(m.Yes, m.No) {
			if yes := strings.Contains(" "+row[1]+" ", " "+name+" "); p.Matches(name) != yes {
				t.Errorf("%s matches %s: %v", p, name, !yes)
			}
		}
		v.Matches = append(v.Matches, m)
	}
	return v
}

// malformed is frames that client.ParseDelivery refuses: each prefix of a valid one, and others.
func malformed(t *testing.T) []string {
	t.Helper()
	whole := deliveryFrame(channel.Message{Tenant: "t", Channel: "a.b", Payload: []byte("hi")}, "a.*", "#")
	frames := [][]byte{
		append(bytes.Clone(whole), 0),
		append([]byte{2}, whole[1:]...),
		deliveryFrame(channel.Message{Channel: "a"}, "a"),
		deliveryFrame(channel.Message{Tenant: "t"}, "a"),
		deliveryFrame(channel.Message{Tenant: "t", Channel: "a"}),
		deliveryFrame(channel.Message{Tenant: "t", Channel: "a"}, ""),
		{1, 0, 1, 't', 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 1, 'a'},
	}
	for n := range whole {
		frames = append(frames, whole[:n])
	}
	var list []string
	for _, frame := range frames {
		if m, err := client.ParseDelivery(frame); err == nil {
			t.Errorf("% x is %+v", frame, m)
		}
		list = append(list, hex.EncodeToString(frame))
	}
	return list
}

// deliveryFrame is the delivery of m, checked by the Go client if it is a valid one.
func deliveryFrame(m channel.Message, patterns ...string) []byte {
	text := func(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }
	frame := append([]byte{1}, text(m.Tenant)...)
	frame = append(frame, text(m.Channel)...)
	n := len(m.Payload)
	frame = append(frame, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	frame = append(frame, m.Payload...)
	frame = append(frame, byte(len(patterns)>>8), byte(len(patterns)))
	for _, p := range patterns {
		frame = append(frame, text(p)...)
	}
	return frame
}

func sorted(list []string, check func(string) error) names {
	n := names{Valid: []string{}, Invalid: []string{}}
	for _, s := range list {
		if check(s) == nil {
			n.Valid = append(n.Valid, s)
		} else {
			n.Invalid = append(n.Invalid, s)
		}
	}
	return n
}
