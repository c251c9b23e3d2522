package client

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

func spaced(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendPublishGolden(t *testing.T) {
	for _, test := range []struct {
		m    channel.Message
		want string
	}{
		{channel.Message{Tenant: "t", Channel: "a.b", Payload: []byte("hi")}, "00 01 74  00 03 61 2e 62  68 69"},
		{channel.Message{Tenant: "t", Channel: "a", Mode: channel.DeliverLowestLatency}, "02 01  00 01 74  00 01 61"},
		{channel.Message{Tenant: "t", Channel: "a", Mode: channel.DeliverRandom}, "02 02  00 01 74  00 01 61"},
	} {
		if got := AppendPublish(nil, test.m); !bytes.Equal(got, spaced(t, test.want)) {
			t.Errorf("%+v: % x", test.m, got)
		}
	}
}

func TestParseDelivery(t *testing.T) {
	b := spaced(t, "01  00 01 74  00 03 61 2e 62  00 00 00 02 68 69  00 02  00 03 61 2e 2a  00 01 23")
	m, err := ParseDelivery(b)
	if err != nil || m.Tenant != "t" || m.Channel != "a.b" || string(m.Payload) != "hi" || !slices.Equal(m.Patterns, []string{"a.*", "#"}) {
		t.Fatalf("%+v, %v", m, err)
	}
	for n := range b {
		if _, err := ParseDelivery(b[:n]); !errors.Is(err, ErrDelivery) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	for name, bad := range map[string]string{
		"bytes left over": "01  00 01 74  00 01 61  00 00 00 00  00 01  00 01 61  00",
		"no pattern":      "01  00 01 74  00 01 61  00 00 00 00  00 00",
		"empty pattern":   "01  00 01 74  00 01 61  00 00 00 00  00 01  00 00 00",
		"empty tenant":    "01  00 00  00 01 61  00 00 00 00  00 01  00 01 61",
		"empty channel":   "01  00 01 74  00 00  00 00 00 00  00 01  00 01 61",
		"huge payload":    "01  00 01 74  00 01 61  ff ff ff ff  00 01  00 01 61",
		"many patterns":   "01  00 01 74  00 01 61  00 00 00 00  ff ff  00 01 61",
		"tag":             "02  00 01 74  00 01 61  00 00 00 00  00 01  00 01 61",
	} {
		if _, err := ParseDelivery(spaced(t, bad)); !errors.Is(err, ErrDelivery) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseDelivery(f *testing.F) {
	f.Add([]byte("\x01\x00\x01t\x00\x01a\x00\x00\x00\x02hi\x00\x01\x00\x01#"))
	f.Add([]byte("\x01\x00\x01t\x00\x01a\x00\x00\x00\x00\xff\xff\x00\x01#"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseDelivery(b)
		if err != nil {
			if !errors.Is(err, ErrDelivery) {
				t.Fatal(err)
			}
			return
		}
		again := appendString(appendString([]byte{1}, m.Tenant), m.Channel)
		again = append(binary.BigEndian.AppendUint32(again, uint32(len(m.Payload))), m.Payload...)
		again = binary.BigEndian.AppendUint16(again, uint16(len(m.Patterns)))
		for _, p := range m.Patterns {
			again = appendString(again, p)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("% x comes back as % x", b, again)
		}
	})
}

func TestParseError(t *testing.T) {
	for line, want := range map[string]*ServerError{
		"ERR:limit_exceeded:3 subscriptions": {"limit_exceeded", "3 subscriptions"},
		"ERR:permission_denied":              {"permission_denied", ""},
		"ERR:a:b:c":                          {"a", "b:c"},
		"ERR:":                               {"", ""},
		"OK:SUB:t:a":                         nil,
	} {
		got, ok := parseError(line)
		if ok != (want != nil) || ok && *got != *want {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func BenchmarkParseDelivery(b *testing.B) {
	in := []byte("\x01\x00\x06tenant\x00\x0csome.channel\x00\x00\x00\x80" + string(make([]byte, 128)) + "\x00\x01\x00\x06some.#")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDelivery(in); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParseReady: a READY line names what it was made of.
func FuzzParseReady(f *testing.F) {
	f.Add("READY:~:a.#")
	f.Add("READY:")
	f.Fuzz(func(t *testing.T, line string) {
		if sub, ok := parseReady(line); ok && "READY:"+sub.tenant+":"+sub.pattern != line {
			t.Errorf("%q: %+v", line, sub)
		}
	})
}
