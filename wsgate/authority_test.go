package wsgate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

const (
	master    = "MT_0123456789abcdef"
	otherHMAC = "the secret of another system, 32 bytes or more"
)

// newAuthority is one that the tests of this package share the secrets of.
func newAuthority(t testing.TB) *access.Authority {
	t.Helper()
	keys, err := token.NewKeys(token.KeysConfig{Secret: []byte("a secret of the whole mesh"), HMAC: [][]byte{[]byte(otherHMAC)}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := access.New(access.Config{Keys: keys, Masters: token.Masters{token.HashMaster(master)}, Region: "EU"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// guarded runs a test against a server that wants tokens.
func guarded(t *testing.T, cfg Config, test func(t *testing.T, w *world)) {
	t.Helper()
	cfg.Authority = newAuthority(t)
	inWorld(t, cfg, test)
}

// send makes one HTTP request by hand; headers are whole lines.
func (w *world) send(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	conn, err := w.net.Host(clientIP).DialContext(w.t.Context(), "tcp", wsAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", method, path, len(body))
	for _, line := range headers {
		head += line + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"+body); err != nil {
		w.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return response
}

// call is send for a JSON answer.
func (w *world) call(method, path, body string, headers ...string) (int, map[string]any) {
	w.t.Helper()
	response := w.send(method, path, body, headers...)
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		w.t.Fatalf("%s %s: %s: %v", method, path, response.Status, err)
	}
	return response.StatusCode, answer
}

func bearer(text string) string { return "Authorization: Bearer " + text }

// in is a time from now as REST wants it.
func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// token issues one by REST; more is further members of the rights.
func (w *world) token(more string) string {
	w.t.Helper()
	status, answer := w.call("POST", "/v1/get-token", `{"created_by":"test","right":{"expires_at":"`+in(time.Hour)+`",`+more+`
		"tenant_grants":[{"tenant_ids":["t"],"allow_channels_pub":["a.#"],"allow_channels_sub":["a.#","$mesh.#"]}]}}`, bearer(master))
	text, _ := answer["token"].(string)
	if status != http.StatusOK || text == "" {
		w.t.Fatalf("get-token: %d %v", status, answer)
	}
	return text
}

// knock does a WebSocket handshake with the given header lines.
func (w *world) knock(headers ...string) (*rawClient, *http.Response) {
	w.t.Helper()
	conn, err := w.net.Host(clientIP).DialContext(w.t.Context(), "tcp", wsAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	return rawRequest(w.t, conn, "/ws", headers...)
}

// enter is a session with a token.
func (w *world) enter(text string) *rawClient {
	w.t.Helper()
	c, response := w.knock("Sec-WebSocket-Protocol: llps.v1,at." + text)
	if response.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("handshake: %s", response.Status)
	}
	return c
}

func plainJWT(t *testing.T, secret string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"right": map[string]any{"tenant_grants": []any{map[string]any{"tenant_ids": []string{"t"}, "allow_channels_pub": []string{"a"}, "allow_channels_sub": []string{"a"}}}},
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Tokens are judged before the upgrade: 401 for whom is not known, 403 for who may not come in here; nothing but llps.v1 is echoed, if offered.
func TestTokenHandshake(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		good, revoked := w.token(""), w.token("")
		w.call("DELETE", "/v1/revoke-token", `{"token":"`+revoked+`"}`, bearer(master))
		ended := w.token("")
		w.call("PUT", "/v1/refresh-token", `{"token_id":"`+ended[3:35]+`","expires_at":"`+in(-time.Minute)+`"}`, bearer(master))
		elsewhere, here := w.token(`"allow_ip_masks":["192.0.2.0/24"],`), w.token(`"allow_ip_masks":["`+clientIP+`/32"],`)
		us, eu := w.token(`"allow_regions":["US"],`), w.token(`"allow_regions":["eu"],`)
		page := w.token(`"allowed_ws_origin":["https://good.example"],`)
		for name, test := range map[string]struct {
			headers []string
			want    int
			echo    string
		}{
			"none":              {nil, 401, ""},
			"only a protocol":   {[]string{"Sec-WebSocket-Protocol: llps.v1"}, 401, ""},
			"garbage":           {[]string{bearer("AT_x")}, 401, ""},
			"unknown":           {[]string{bearer(good[:len(good)-4] + "AAAA")}, 401, ""},
			"master":            {[]string{bearer(master)}, 401, ""},
			"revoked":           {[]string{bearer(revoked)}, 401, ""},
			"ended":             {[]string{bearer(ended)}, 401, ""},
			"bearer":            {[]string{bearer(good)}, 101, ""},
			"bearer, protocol":  {[]string{bearer(good), "Sec-WebSocket-Protocol: llps.v1"}, 101, "llps.v1"},
			"SDK":               {[]string{"Sec-WebSocket-Protocol: llps.v1,at." + good}, 101, "llps.v1"},
			"docs":              {[]string{"Sec-WebSocket-Protocol: llps.v1, at." + good}, 101, "llps.v1"},
			"two lines":         {[]string{"Sec-WebSocket-Protocol: llps.v1", "Sec-WebSocket-Protocol: at." + good}, 101, "llps.v1"},
			"token alone":       {[]string{"Sec-WebSocket-Protocol: at." + good}, 101, ""},
			"header goes first": {[]string{bearer(revoked), "Sec-WebSocket-Protocol: llps.v1, at." + good}, 401, ""},
			"other scheme":      {[]string{"Authorization: Basic eDp5", "Sec-WebSocket-Protocol: llps.v1, at." + good}, 101, "llps.v1"},
			"other address":     {[]string{bearer(elsewhere)}, 403, ""},
			"this address":      {[]string{bearer(here)}, 101, ""},
			"other region":      {[]string{bearer(us)}, 403, ""},
			"this region":       {[]string{bearer(eu)}, 101, ""},
			"no origin":         {[]string{bearer(page)}, 403, ""},
			"other origin":      {[]string{bearer(page), "Origin: https://good.example.evil"}, 403, ""},
			"origin":            {[]string{bearer(page), "Origin: https://good.example"}, 101, ""},
			"JWT":               {[]string{bearer(plainJWT(t, otherHMAC))}, 101, ""},
			"JWT of nobody":     {[]string{bearer(plainJWT(t, "another secret of thirty-two bytes"))}, 401, ""},
		} {
			c, response := w.knock(test.headers...)
			if response.StatusCode != test.want {
				t.Errorf("%s: %s, want %d", name, response.Status, test.want)
			}
			if got := response.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != test.echo {
				t.Errorf("%s: echoes %q, want %q", name, got, test.echo)
			}
			if body, _ := json.Marshal(response.Header); strings.Contains(string(body), "AT_") {
				t.Errorf("%s: a token in %s", name, body)
			}
			if test.want == 401 && response.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: 401 without WWW-Authenticate", name)
			}
			if test.want == 101 {
				c.ask("PING", "PONG")
			}
			c.conn.Close()
		}
	})
}

// What a token does not allow is refused in every form, counted, and costs nobody the connection.
func TestRights(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		c := w.enter(w.token(""))
		for line, want := range map[string]string{
			"SUB:t:a.#":       "OK:SUB:t:a.#",
			"SUB:t:a.b.>":     "OK:SUB:t:a.b.>",
			"SUB:t:$mesh.x":   "OK:SUB:t:$mesh.x",
			"SUB:t:a#":        "ERR:permission_denied",
			"SUB:t:#":         "ERR:permission_denied",
			"SUB:u:a":         "ERR:permission_denied",
			"SUB::a":          "ERR:permission_denied",
			"SUB:t:$other":    "ERR:permission_denied",
			"UNSUB:t:b":       "OK:UNSUB:t:b",
			"SUB:t:a..b":      "ERR:invalid_pattern:empty token",
			"SUB:t:a.b.c.*.d": "OK:SUB:t:a.b.c.*.d",
		} {
			c.ask(line, want)
		}
		for _, name := range []string{"b", "a2", "$mesh.x"} {
			c.publish(name, "p")
			if got := c.line(); got != "ERR:permission_denied" {
				t.Errorf("publish to %s: %s", name, got)
			}
		}
		c.publish("a.x", "p")
		c.expect("a.x", "p", "a.#")
		c.binary(publishV1("u", "a.x", "p")) // the same channel elsewhere
		if got := c.line(); got != "ERR:permission_denied" {
			t.Errorf("other tenant: %s", got)
		}
		c.publish("a.x", "p") // what was allowed is so still
		c.expect("a.x", "p", "a.#")
		c.ask(`{"action":"publish","tenant":"t","channel":"b","payload":"x","id":1}`, `{"event":"error","id":1,"error":"permission_denied"}`)
		c.ask(`{"action":"subscribe","tenant":"t","channel":"b","id":2}`, `{"event":"error","id":2,"error":"permission_denied"}`)
		if n := w.server.Stats().Errors["permission_denied"]; n != 11 {
			t.Errorf("%d refusals counted, want 11", n)
		}
		if len(w.broker.published) != 2 {
			t.Errorf("published %v", w.broker.published)
		}
	})
}

// A revoked token ends its connections at once, ahead of all that waits for them, and nobody else's; one that expires ends none.
func TestRevocationCuts(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		text, other := w.token(""), w.token("")
		first, second, bystander := w.enter(text), w.enter(text), w.enter(other)
		first.ask("SUB:t:a", "OK:SUB:t:a")
		if status, answer := w.call("DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`, bearer(master)); status != 200 || answer["message"] == "" {
			t.Fatalf("revoke: %d %v", status, answer)
		}
		first.closed(1008)
		second.closed(1008)
		bystander.ask("PING", "PONG")
		if _, response := w.knock(bearer(text)); response.StatusCode != 401 {
			t.Errorf("entered with a revoked token: %s", response.Status)
		}
		w.call("PUT", "/v1/refresh-token", `{"token_id":"`+other[3:35]+`","expires_at":"`+in(10*time.Second)+`"}`, bearer(master))
		time.Sleep(20 * time.Second)
		bystander.ask("SUB:t:a", "OK:SUB:t:a")
		if _, response := w.knock(bearer(other)); response.StatusCode != 401 {
			t.Errorf("entered with an expired token: %s", response.Status)
		}
		if s := w.server.Stats(); s.Closed.Revoked != 2 || w.server.authority.Stats().Passes != 1 {
			t.Errorf("%+v, %+v", s.Closed, w.server.authority.Stats())
		}
	})
}

// What a slow connection has not taken yet is not delivered any more.
func TestRevocationDropsWhatWaits(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		text := w.token("")
		slow, quick := w.enter(text), w.enter(w.token(""))
		slow.ask("SUB:t:a.b", "OK:SUB:t:a.b")
		for range 10 {
			quick.publish("a.b", strings.Repeat("p", 60_000))
		}
		quick.ask("PING", "PONG")
		w.call("DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`, bearer(master))
		frames := 0
		for f := slow.next(); f.op != opClose; f = slow.next() {
			frames++
		}
		if frames > 4 {
			t.Errorf("%d deliveries after the revocation, want what was being written", frames)
		}
	})
}

// Every connection leaves the index by token.
func TestPassesEnd(t *testing.T) {
	guarded(t, Config{Limits: Limits{Connections: 2}}, func(t *testing.T, w *world) {
		text := w.token("")
		c := w.enter(text)
		d := w.enter(text)
		if _, response := w.knock(bearer(text)); response.StatusCode != 503 {
			t.Errorf("third: %s", response.Status)
		}
		c.conn.Close()
		d.conn.Close()
		time.Sleep(time.Second)
		if response := w.send("GET", "/ws", "", bearer(text)); response.StatusCode == 101 { // no upgrade asked for
			t.Errorf("%s", response.Status)
		}
		if n := w.server.authority.Stats().Passes; n != 0 {
			t.Errorf("%d passes left", n)
		}
	})
}

// An open gateway that strangers can reach says so, once; others do not.
func TestOpenGatewaySaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		authority *access.Authority
		addr      net.Addr
		want      int
	}{
		"open":          {nil, &net.TCPAddr{IP: net.IPv4zero}, 1},
		"open, IPv6":    {nil, &net.TCPAddr{IP: net.IPv6unspecified}, 1},
		"loopback":      {nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, 0},
		"loopback IPv6": {nil, &net.TCPAddr{IP: net.IPv6loopback}, 0},
		"tokens":        {newAuthority(t), &net.TCPAddr{IP: net.IPv4zero}, 0},
	} {
		var log bytes.Buffer
		s := &Server{authority: test.authority, log: zerolog.New(&log)}
		s.warnIfOpen(test.addr)
		if got := strings.Count(log.String(), "no token secret"); got != test.want {
			t.Errorf("%s: said %d times: %s", name, got, log.String())
		}
	}
}

// noBroker takes everything and does nothing.
type noBroker struct{ Broker }

func (noBroker) Publish(context.Context, channel.Message) error { return nil }

// Rights cost a publication nothing where names repeat, and no memory where they do not.
func TestRightsAllocateNothing(t *testing.T) {
	a := newAuthority(t)
	pass, err := a.Enter(plainJWT(t, otherHMAC), access.Visitor{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Leave(pass)
	if n := testing.AllocsPerRun(100, func() { pass.MayPublish("t", "a"); pass.MayPublish("t", "b") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	server, err := New(Config{Hub: NewHub(HubConfig{}), Broker: noBroker{}, Authority: a})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{server: server, pass: pass}
	p := publication{tenant: []byte("t"), channel: []byte("a"), payload: []byte("p")}
	publish := func() {
		err = s.publishFrame(t.Context(), p)
		s.publishPending(t.Context())
	}
	if n := testing.AllocsPerRun(100, publish); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}

// TestWhoSeesTheMesh: who may subscribe the nodes' reports also sees what GET /v1/mesh tells, and traces messages, and so does who has a master token; nobody else.
func TestWhoSeesTheMesh(t *testing.T) {
	guarded(t, Config{Trace: traceOf}, func(t *testing.T, w *world) {
		for rule, want := range map[string]int{"$mesh.#": 200, "$mesh.*": 403, "#": 403, "a.#": 403} {
			_, answer := w.call("POST", "/v1/get-token", `{"created_by":"test","right":{"expires_at":"`+in(time.Hour)+`",
				"tenant_grants":[{"tenant_ids":["~"],"allow_channels_pub":[],"allow_channels_sub":["`+rule+`"]}]}}`, bearer(master))
			text, _ := answer["token"].(string)
			if status, answer := w.call("GET", "/v1/mesh", "", bearer(text)); status != want {
				t.Errorf("with %s: %d %v", rule, status, answer)
			}
			if status, answer := w.call("POST", "/v1/trace", `{"to":"b"}`, bearer(text)); status != want {
				t.Errorf("trace with %s: %d %v", rule, status, answer)
			}
		}
		for header, want := range map[string]int{bearer(master): 200, bearer("MT_x"): 401, "X: y": 401, bearer(w.token("")): 403} { // rights in another tenant
			if status, answer := w.call("GET", "/v1/mesh", "", header); status != want {
				t.Errorf("%.30s: %d %v", header, status, answer)
			}
			if status, answer := w.call("POST", "/v1/trace", `{"to":"b"}`, header); status != want {
				t.Errorf("trace, %.30s: %d %v", header, status, answer)
			}
		}
	})
}
