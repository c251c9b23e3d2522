package wsgate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

func TestPublishByHTTP(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		c, auth := w.enter(w.token("")), bearer(w.token(""))
		c.ask("SUB:t:a.#", "OK:SUB:t:a.#")
		for _, test := range []struct {
			path, body string
			status     int
			want       string // the payload, or the error
		}{
			{"?tenant=t&channel=a.b", "any\x00bytes", 200, "any\x00bytes"},
			{"?tenant=t&channel=a", "", 200, ""},
			{"?tenant=t&channel=a&mode=deliver-one-random", "one", 200, "one"},
			{"", `{"tenant":"t","channel":"a","payload":"text"}`, 200, "text"},
			{"", `{"tenant":"t","channel":"a","payload_base64":"/wA="}`, 200, "\xff\x00"},
			{"", `{"tenant":"t","channel":"a","payload":"` + strings.Repeat("p", 65_535) + `"}`, 200, strings.Repeat("p", 65_535)},
			{"?tenant=t&channel=b", "p", 403, "permission_denied"},
			{"?channel=a", "p", 403, "permission_denied"},
			{"?tenant=t&channel=$mesh.x", "p", 403, "permission_denied"},
			{"?tenant=t&channel=a.*", "p", 400, "invalid_channel"},
			{"?tenant=:&channel=a", "p", 400, "invalid_tenant"},
			{"?tenant=t&channel=a&mode=all", "p", 400, "unknown_mode"},
			{"?tenant=t&channel=a", strings.Repeat("p", 65_536), 413, "payload_too_large"},
			{"?tenant=t&channel=a", strings.Repeat("p", 200_000), 413, "payload_too_large"},
			{"", `{"tenant":"t","channel":"a"}`, 400, "bad_json"},
			{"", `{"action":"subscribe","channel":"a"}`, 400, "unknown_command"},
			{"", ``, 400, "bad_json"},
		} {
			status, answer := w.call("POST", "/v1/publish"+test.path, test.body, auth)
			if status != test.status {
				t.Errorf("%s %.40q: %d %v, want %d", test.path, test.body, status, answer, test.status)
				continue
			}
			if status != 200 {
				if answer["error"] != test.want {
					t.Errorf("%s %.40q: %v, want %s", test.path, test.body, answer, test.want)
				}
				continue
			}
			if got := c.delivery(); string(got.Payload) != test.want {
				t.Errorf("%s %.40q: delivered %.40q", test.path, test.body, got.Payload)
			}
		}
		if status, answer := w.call("POST", "/v1/publish?channel=a", "p"); status != 401 {
			t.Errorf("without a token: %d %v", status, answer)
		}
		if n := w.server.authority.Stats().Passes; n != 1 {
			t.Errorf("%d passes, want that of the WebSocket", n)
		}
	})
}

// events reads an event stream.
type events struct {
	t    *testing.T
	in   *bufio.Reader
	body io.Closer
}

func (w *world) follow(query string, headers ...string) *events {
	w.t.Helper()
	response := w.send("GET", "/v1/subscribe?"+query, "", headers...)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		w.t.Fatalf("%s: %s %s", query, response.Status, body)
	}
	return &events{w.t, bufio.NewReader(response.Body), response.Body}
}

// next is the data of the next event, or the comment between two.
func (e *events) next() string {
	e.t.Helper()
	line, err := e.in.ReadString('\n')
	blank, err2 := e.in.ReadString('\n')
	if err != nil || err2 != nil || blank != "\n" {
		e.t.Fatalf("event %q %q: %v %v", line, blank, err, err2)
	}
	return strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "data: ")
}

func TestEventStream(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		text := w.token("")
		e := w.follow("tenant=t&channel=a.*&channel=a.b", bearer(text), "Last-Event-ID: 7")
		c := w.enter(w.token(""))
		for _, want := range []string{
			`{"event":"subscribed","tenant":"t","channel":"a.*"}`,
			`{"event":"subscribed","tenant":"t","channel":"a.b"}`,
		} {
			if got := e.next(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		c.publish("a.b", "line\nline")
		if got := e.next(); got != `{"event":"message","tenant":"t","channel":"a.b","payload":"line\nline","patterns":["a.*","a.b"]}` &&
			got != `{"event":"message","tenant":"t","channel":"a.b","payload":"line\nline","patterns":["a.b","a.*"]}` {
			t.Errorf("got %s", got)
		}
		for i := range 100 { // frames of all lengths, also several in one write
			c.publish("a.x", fmt.Sprint(i, strings.Repeat("x", 100*i)))
		}
		for i := range 100 {
			var m struct{ Payload string }
			if err := json.Unmarshal([]byte(e.next()), &m); err != nil || m.Payload != fmt.Sprint(i, strings.Repeat("x", 100*i)) {
				t.Fatalf("event %d: %.20s, %v", i, m.Payload, err)
			}
		}
		time.Sleep(35 * time.Second)
		if got := e.next(); got != ": ping" {
			t.Errorf("got %s, want a heartbeat", got)
		}
		w.call("DELETE", "/v1/revoke-token", `{"token":"`+text+`"}`, bearer(master))
		if got := e.next(); got != `{"event":"closed","code":1008,"reason":"token revoked"}` {
			t.Errorf("got %s", got)
		}
		if _, err := e.in.ReadByte(); err == nil {
			t.Error("goes on after its last event")
		}
	})
}

func TestEventStreamRefuses(t *testing.T) {
	guarded(t, Config{}, func(t *testing.T, w *world) {
		auth := bearer(w.token(""))
		for _, test := range []struct {
			query  string
			header string
			status int
			want   string
		}{
			{"tenant=t&channel=a", "X: y", 401, "no token"},
			{"tenant=t", auth, 400, "invalid_pattern"},
			{"tenant=t&channel=a..b", auth, 400, "invalid_pattern"},
			{"tenant=t&channel=a&channel=b", auth, 403, "permission_denied"},
			{strings.Repeat("channel=a&", 101), auth, 400, "invalid_pattern"},
		} {
			status, answer := w.call("GET", "/v1/subscribe?"+test.query, "", test.header)
			if text := fmt.Sprint(answer["error"]); status != test.status || !strings.Contains(text, test.want) {
				t.Errorf("%.40s: %d %v, want %d %s", test.query, status, answer, test.status, test.want)
			}
		}
		if response := w.send("HEAD", "/v1/subscribe?channel=a", "", auth); response.StatusCode != 400 {
			t.Errorf("HEAD: %s", response.Status)
		}
	})
}

// A stream that does not keep up loses the oldest and is told; when the client is gone, so is the subscription.
func TestEventStreamSlow(t *testing.T) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 200_000}}, func(t *testing.T, w *world) {
		e := w.follow("tenant=t&channel=a")
		if got := e.next(); !strings.Contains(got, "subscribed") {
			t.Fatal(got)
		}
		for i := range 100 {
			w.hub.Deliver(channel.Message{Tenant: "t", Channel: "a", Payload: []byte(fmt.Sprint(i, strings.Repeat("x", 10_000)))})
		}
		time.Sleep(2 * time.Second)
		told := ""
		for told == "" {
			if got := e.next(); strings.Contains(got, "slow_consumer") {
				told = got
			}
		}
		var notice struct{ Detail string }
		if err := json.Unmarshal([]byte(told), &notice); err != nil || notice.Detail != fmt.Sprint(w.server.Stats().Drops.Slow) {
			t.Errorf("told %s, dropped %d", told, w.server.Stats().Drops.Slow)
		}
		e.body.Close()
	})
}

func TestStreamEndsWithClient(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		conn, err := w.net.Host(clientIP).DialContext(t.Context(), "tcp", wsAddr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /v1/subscribe?channel=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := w.hub.subscriptions(); n != 1 {
			t.Errorf("%d subscriptions", n)
		}
		conn.Close()
		time.Sleep(time.Second)
		if n := w.hub.subscriptions(); n != 0 || w.server.Stats().Connections != 0 {
			t.Errorf("%d subscriptions, %d connections", n, w.server.Stats().Connections)
		}
	})
}

// TestEventStreamPolicy: a stream chooses what goes when it is too slow, and one that asks for what there is not is refused.
func TestEventStreamPolicy(t *testing.T) {
	inWorld(t, Config{Limits: Limits{QueueBytes: 200_000, QueueFrames: 100}}, func(t *testing.T, w *world) {
		if r := w.send("GET", "/v1/subscribe?tenant=t&channel=a&policy=newest", ""); r.StatusCode != http.StatusBadRequest {
			t.Errorf("unknown policy: %s", r.Status)
		}
		e := w.follow("tenant=t&channel=a&policy=latest")
		if got := e.next(); !strings.HasPrefix(got, `{"event":"subscribed"`) {
			t.Error(got)
		}
		w.stuff("a")
		w.feed("a", 0, 500)
		synctest.Wait()
		var numbers []string
		for len(numbers) == 0 || numbers[len(numbers)-1] != "000499" {
			if _, after, ok := strings.Cut(e.next(), `"payload":"`); ok && after[0] == '0' {
				numbers = append(numbers, after[:6])
			}
		}
		if len(numbers) > 3 {
			t.Errorf("%d of 500 came, want the latest", len(numbers))
		}
	})
}
