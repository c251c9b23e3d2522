package wsgate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"

	"pgregory.net/rapid"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// spaced reads hex with blanks.
func spaced(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func patterns(t testing.TB, texts ...string) []channel.Pattern {
	t.Helper()
	var ps []channel.Pattern
	for _, text := range texts {
		p, err := channel.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestParsePublishGolden(t *testing.T) {
	for _, test := range []struct {
		hex  string
		want publication
	}{
		{"00 01 74  00 03 61 2e 62  68 69", publication{0, []byte("t"), []byte("a.b"), []byte("hi")}},
		{"00 00  00 01 61", publication{0, nil, []byte("a"), nil}},
		{"02 00  00 01 74  00 01 61  ff", publication{0, []byte("t"), []byte("a"), []byte{0xff}}},
		{"02 01  00 01 74  00 01 61", publication{1, []byte("t"), []byte("a"), nil}},
		{"02 02  00 01 74  00 01 61  00", publication{2, []byte("t"), []byte("a"), []byte{0}}},
	} {
		b := spaced(t, test.hex)
		got, err := parsePublish(b)
		if err != nil || got.mode != test.want.mode || !bytes.Equal(got.tenant, test.want.tenant) ||
			!bytes.Equal(got.channel, test.want.channel) || !bytes.Equal(got.payload, test.want.payload) {
			t.Errorf("%s: %+v, %v", test.hex, got, err)
		}
		m := channel.Message{Tenant: string(got.tenant), Channel: string(got.channel), Mode: got.mode, Payload: got.payload}
		if again := client.AppendPublish(nil, m); b[0] == 0 && !bytes.Equal(again, b) {
			t.Errorf("%s: client writes % x", test.hex, again)
		}
		for n := range len(b) - len(got.payload) {
			if _, err := parsePublish(b[:n]); faultOf(err).code != codeBadFrame {
				t.Errorf("%s: first %d bytes: %v", test.hex, n, err)
			}
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	f.Add([]byte("\x00\x01t\x00\x01apayload"))
	f.Add([]byte("\x02\x01\x00\x01t\x00\x01apayload"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		p, err := parsePublish(b)
		if err != nil {
			if faultOf(err).code != codeBadFrame {
				t.Fatal(err)
			}
			return
		}
		m := channel.Message{Tenant: string(p.tenant), Channel: string(p.channel), Mode: p.mode, Payload: p.payload}
		again := client.AppendPublish(nil, m)
		if len(b) > 2 && b[0] == tagPublishV2 && b[1] == 0 {
			again = append([]byte{tagPublishV2, 0}, again...)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("% x comes back as % x", b, again)
		}
	})
}

func TestDeliveryGolden(t *testing.T) {
	m := channel.Message{Tenant: "t", Channel: "a.b", Payload: []byte("hi")}
	got := appendDelivery(nil, m, m.Payload, patterns(t, "a.*", "#"))
	want := spaced(t, "01  00 01 74  00 03 61 2e 62  00 00 00 02 68 69  00 02  00 03 61 2e 2a  00 01 23")
	if !bytes.Equal(got, want) {
		t.Errorf("got % x", got)
	}
	if n := deliveryLen(m, len(m.Payload)) + patternLen(patterns(t, "a.*")[0]) + patternLen(patterns(t, "#")[0]); n != len(want) {
		t.Errorf("length %d computed, %d real", n, len(want))
	}
}

// TestDeliveryRoundTrip: what the server writes the client reads, for all messages.
func TestDeliveryRoundTrip(t *testing.T) {
	names := rapid.StringMatching(`[a-zA-Z0-9_~@-]{1,9}(\.[a-z]{1,9}){0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		m := channel.Message{Tenant: names.Draw(t, "tenant"), Channel: names.Draw(t, "channel")}
		m.Payload = rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		texts := rapid.SliceOfN(names, 1, 5).Draw(t, "patterns")
		var ps []channel.Pattern
		for _, text := range texts {
			p, err := channel.ParsePattern(text)
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		b := appendDelivery(nil, m, m.Payload, ps)
		got, err := client.ParseDelivery(b)
		if err != nil || got.Tenant != m.Tenant || got.Channel != m.Channel || !bytes.Equal(got.Payload, m.Payload) ||
			strings.Join(got.Patterns, " ") != strings.Join(texts, " ") {
			t.Fatalf("%+v, %v", got, err)
		}

		var j struct {
			Event, Tenant, Channel string
			Payload                *string
			Base64                 []byte `json:"payload_base64"`
			Patterns               []string
		}
		if err := json.Unmarshal(appendJSONDelivery(nil, m, m.Payload, ps), &j); err != nil {
			t.Fatal(err)
		}
		payload := j.Base64
		if j.Payload != nil {
			payload = []byte(*j.Payload)
		}
		if (j.Payload != nil) != utf8.Valid(m.Payload) || !bytes.Equal(payload, m.Payload) || j.Event != "message" ||
			j.Tenant != m.Tenant || j.Channel != m.Channel || strings.Join(j.Patterns, " ") != strings.Join(texts, " ") {
			t.Fatalf("%+v", j)
		}
	})
}

func TestFrameHeaderGolden(t *testing.T) {
	for _, test := range []struct {
		n    int
		want string
	}{
		{0, "82 00"},
		{125, "82 7d"},
		{126, "82 7e 00 7e"},
		{65535, "82 7e ff ff"},
		{65536, "82 7f 00 00 00 00 00 01 00 00"},
	} {
		if got := appendFrameHeader(nil, frameBinary, test.n); !bytes.Equal(got, spaced(t, test.want)) {
			t.Errorf("%d: % x", test.n, got)
		}
	}
	if got := closeFrame(1001, "bye"); !bytes.Equal(got, spaced(t, "88 05 03 e9 62 79 65")) {
		t.Errorf("close: % x", got)
	}
	for b, want := range map[string]bool{
		"88 00": true, "89 01 61": true, "8a 00": true, "88 02 03 e9": true,
		"": false, "88": false, "08 00": false, "81 00": false, "88 01": false, "88 00 00": false, "88 80": false,
	} {
		if got := isControlFrame(spaced(t, b)); got != want {
			t.Errorf("isControlFrame(%s) = %v", b, got)
		}
	}
}

// FuzzParseLine: a line either is refused with a line that is fit for a text frame, or is what its command says.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{"PING", "SUB:t:a", "UNSUB::a.#\n", "SUB:t", "", "SUB:t:a:b\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		defer alloc.Bound(t, 64*len(line))()
		c, err := parseLine(line)
		if err != nil {
			checkFault(t, err)
			return
		}
		word := map[verb]string{verbSubscribe: "SUB:", verbUnsubscribe: "UNSUB:"}[c.verb]
		again := word + c.tenant + ":" + c.name
		if c.verb == verbPing {
			again = "PING"
		}
		if again != strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") || strings.Contains(c.tenant, ":") {
			t.Fatalf("%q comes back as %q", line, again)
		}
	})
}

// checkFault: any fault makes a clean line and valid JSON.
func checkFault(t *testing.T, err error) {
	t.Helper()
	var f fault
	if !errors.As(err, &f) {
		t.Fatalf("%v is no fault", err)
	}
	line := appendLine(nil, reply{event: eventError, fault: f})
	if !utf8.Valid(line) || strings.ContainsAny(string(line), "\r\n") || len(line) > 2*maxDetail {
		t.Fatalf("line %q", line)
	}
	if !json.Valid(newJSONReply(reply{event: eventError, fault: f})) {
		t.Fatalf("fault %+v", f)
	}
}

func TestParseJSON(t *testing.T) {
	for _, test := range []struct {
		in    string
		want  command
		fault string
	}{
		{in: `{"action":"subscribe","tenant":"t","channel":"a.#"}`, want: command{verb: verbSubscribe, tenant: "t", name: "a.#"}},
		{in: `{"action":"unsubscribe","channel":"a","id":7}`, want: command{verb: verbUnsubscribe, name: "a", id: []byte("7")}},
		{in: `{"action":"ping","id":"x","more":[1]}`, want: command{verb: verbPing, id: []byte(`"x"`)}},
		{in: `{"action":"publish","channel":"a","payload":"é\n"}`, want: command{verb: verbPublish, name: "a", payload: []byte("é\n")}},
		{in: `{"tenant":"t","channel":"a","payload":""}`, want: command{verb: verbPublish, tenant: "t", name: "a"}},
		{in: `{"channel":"a","payload_base64":"/wA="}`, want: command{verb: verbPublish, name: "a", payload: []byte{0xff, 0}}},
		{in: `{"channel":"a","payload":"p","id":null}`, want: command{verb: verbPublish, name: "a", payload: []byte("p")}},
		{in: `{"channel":"a"}`, fault: "bad_json:no action"},
		{in: `{"action":"publish","channel":"a"}`, fault: "bad_json:no payload"},
		{in: `{"channel":"a","payload":"p","payload_base64":""}`, fault: "bad_json:payload and payload_base64"},
		{in: `{"channel":"a","payload_base64":"*"}`, fault: "bad_json:payload_base64 is not base64"},
		{in: `{"action":"dance","id":1}`, want: command{id: []byte("1")}, fault: "unknown_command:action must be subscribe, unsubscribe, publish or ping"},
		{in: `{"action":1,"id":2}`, want: command{id: []byte("2")}, fault: "bad_json:action must be a string"},
		{in: `{"channel":["a"],"payload":"p"}`, fault: "bad_json:channel must be a string"},
		{in: `{"channel":"a","payload":{"b":1}}`, fault: "bad_json:payload must be a string"},
		{in: `{"action":"ping","id":{}}`, fault: "bad_json:id must be a string or a number"},
		{in: `{"action":"ping","id":"` + strings.Repeat("x", 127) + `"}`, fault: "bad_json:id of 129 bytes, limit 128"},
		{in: `{`, fault: "bad_json:not a JSON object"},
		{in: `{"action":"ping"} {}`, fault: "bad_json:not a JSON object"},
	} {
		got, err := parseJSON([]byte(test.in))
		if test.fault != "" {
			if err == nil || faultOf(err).Error() != test.fault || !bytes.Equal(got.id, test.want.id) {
				t.Errorf("%s: id %s, error %v", test.in, got.id, err)
			}
			continue
		}
		if err != nil || got.verb != test.want.verb || got.tenant != test.want.tenant || got.name != test.want.name ||
			!bytes.Equal(got.payload, test.want.payload) || !bytes.Equal(got.id, test.want.id) {
			t.Errorf("%s: %+v, %v", test.in, got, err)
		}
	}
}

// FuzzParseJSON: whatever comes in, the reply is valid JSON with the id that was sent.
func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"action":"subscribe","tenant":"t","channel":"a.#","id":1.5e9}`))
	f.Add([]byte(`{"channel":"a","payload_base64":"/wA=","id":"\u0000"}`))
	f.Add([]byte(`{"channel":7,"id":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer alloc.Bound(t, 64*len(b))()
		if !utf8.Valid(b) {
			return // refused before it is parsed
		}
		c, err := parseJSON(b)
		if err != nil {
			checkFault(t, err)
		} else if c.verb < verbSubscribe || c.verb > verbPing {
			t.Fatalf("verb %d", c.verb)
		}
		out := newJSONReply(reply{event: eventPong, id: c.id})
		var back struct{ ID json.RawMessage }
		if err := json.Unmarshal(out, &back); err != nil || !utf8.Valid(out) || !bytes.Equal(back.ID, c.id) {
			t.Fatalf("id %s comes back as %s: %v", c.id, out, err)
		}
	})
}

func TestRepliesGolden(t *testing.T) {
	for _, test := range []struct {
		reply      reply
		line, json string
	}{
		{reply{event: eventSubscribed, tenant: "t", name: "a.#"}, "OK:SUB:t:a.#", `{"event":"subscribed","tenant":"t","channel":"a.#"}`},
		{reply{event: eventUnsubscribed, tenant: "~", name: "a.>", id: []byte("1")}, "OK:UNSUB:~:a.>", `{"event":"unsubscribed","id":1,"tenant":"~","channel":"a.>"}`},
		{reply{event: eventReady, tenant: "t", name: "a.#"}, "READY:t:a.#", `{"event":"ready","tenant":"t","channel":"a.#"}`},
		{reply{event: eventPong}, "PONG", `{"event":"pong"}`},
		{reply{event: eventPublished}, "", ""},
		{reply{event: eventPublished, id: []byte(`"x"`)}, "", `{"event":"published","id":"x"}`},
		{reply{event: eventError, fault: fault{codeBadJSON, ""}}, "ERR:bad_json", `{"event":"error","error":"bad_json"}`},
		{reply{event: eventError, fault: fault{codeSlowConsumer, "12"}}, "ERR:slow_consumer:12", `{"event":"error","error":"slow_consumer","detail":"12"}`},
		{reply{event: eventError, fault: fault{codeUnavailable, "a\nb"}, id: []byte("-1")}, "ERR:unavailable:a b", `{"event":"error","id":-1,"error":"unavailable","detail":"a b"}`},
	} {
		if got := string(appendLine(nil, test.reply)); got != test.line {
			t.Errorf("%+v: line %s", test.reply, got)
		}
		if got := string(newJSONReply(test.reply)); got != test.json {
			t.Errorf("%+v: JSON %s", test.reply, got)
		}
	}
	m := channel.Message{Tenant: "t", Channel: "a", Payload: []byte("<&>\x00")}
	if got := string(appendJSONDelivery(nil, m, m.Payload, patterns(t, "a.>"))); got != `{"event":"message","tenant":"t","channel":"a","payload":"<&>\u0000","patterns":["a.>"]}` {
		t.Errorf("delivery %s", got)
	}
	m.Payload = []byte{0xff}
	if got := string(appendJSONDelivery(nil, m, m.Payload, patterns(t, "a", "#"))); got != `{"event":"message","tenant":"t","channel":"a","payload_base64":"/w==","patterns":["a","#"]}` {
		t.Errorf("delivery %s", got)
	}
}

func TestFaultOf(t *testing.T) {
	_, tenantErr := channel.NormalizeTenant("a b")
	for _, test := range []struct {
		err  error
		want string
	}{
		{tenantErr, `invalid_tenant:byte " " not allowed here`},
		{fmt.Errorf("forward: %w", tenantErr), `invalid_tenant:byte " " not allowed here`},
		{channel.ErrPayload, "payload_too_large"},
		{channel.ErrMode, "unknown_mode"},
		{errors.New(strings.Repeat("é", 150)), "unavailable:" + strings.Repeat("é", 100)},
	} {
		if got := faultOf(test.err).Error(); got != test.want {
			t.Errorf("%v: %q", test.err, got)
		}
	}
	for c := range numCodes {
		if c.String() == "" {
			t.Errorf("code %d has no word", c)
		}
	}
}
