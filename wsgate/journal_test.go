package wsgate

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines are those with a message, decoded; "" means all.
func (l *logged) lines(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if message == "" || fields["message"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// has tells whether a line has all of some fields.
func has(line, want map[string]any) bool {
	for name, value := range want {
		if line[name] != value {
			return false
		}
	}
	return true
}

// TestJournalOfSession: the lines of a connection bear its number; the last says why it ended and what it was like.
func TestJournalOfSession(t *testing.T) {
	var log logged
	inWorld(t, Config{Logger: zerolog.New(&log), Rates: Rates{Messages: 2}}, func(t *testing.T, w *world) {
		first, second := w.dial("llps.v1"), w.dial("llps.v1")
		second.ask("SUB:t:#", "OK:SUB:t:#")
		for range 3 {
			second.publish("a", "x")
		}
		time.Sleep(10 * time.Millisecond)
		_ = second.conn.Close()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		first.ask("PING", "PONG")
		opened, closed := log.lines(t, "connection opened"), log.lines(t, "connection closed")
		if len(opened) != 2 || !has(opened[1], map[string]any{"level": "debug", "conn": 2.0, "kind": "websocket"}) || opened[0]["conn"] != 1.0 {
			t.Errorf("opened: %v", opened)
		}
		want := map[string]any{"level": "debug", "conn": 2.0, "published": 2.0, "refused": 1.0, "delivered": 2.0, "dropped": 0.0, "subscriptions": 1.0, "why": closeLost.String()}
		if len(closed) != 1 || !has(closed[0], want) || closed[0]["remote"] != opened[1]["remote"] {
			t.Errorf("closed: %v, want %v", closed, want)
		}
	})
}

// TestJournalOfRequests: a request that fails is logged under its connection, with what was answered; one that does not is not, nor what its query holds.
func TestJournalOfRequests(t *testing.T) {
	var log logged
	guarded(t, Config{Logger: zerolog.New(&log), Limits: Limits{Connections: 1}}, func(t *testing.T, w *world) {
		w.enter(w.token("")) // connections 1 and 2
		text := w.token("")  // 3
		for _, test := range []struct {
			method, path, token string
			status              int
			answer              string
		}{
			{"GET", "/healthz", text, 200, ""},
			{"POST", "/v1/publish?channel=private", "AT_x", 401, "error"},
			{"POST", "/v1/publish?tenant=t&channel=private..", text, 400, "invalid_channel"},
			{"GET", "/v1/tokens", text, 401, "master token"},
			{"GET", "/nowhere/" + strings.Repeat("x", 1000), text, 404, "not found"},
		} {
			before := len(log.lines(t, "request failed"))
			if r := w.send(test.method, test.path, "", bearer(test.token)); r.StatusCode != test.status {
				t.Errorf("%s: %s", test.path, r.Status)
			}
			synctest.Wait()
			lines := log.lines(t, "request failed")[before:]
			if test.status < http.StatusBadRequest {
				if len(lines) > 0 {
					t.Errorf("%s: %v", test.path, lines)
				}
				continue
			}
			path, _, _ := strings.Cut(test.path, "?")
			want := map[string]any{"level": "debug", "status": float64(test.status), "method": test.method, "path": clip(path), "request": 1.0}
			if len(lines) != 1 || !has(lines[0], want) || !strings.Contains(lines[0]["answer"].(string), test.answer) || lines[0]["conn"].(float64) < 3 {
				t.Errorf("%s: %v, want %v", test.path, lines, want)
			}
		}
		if c, response := w.handshake("/ws", "at."+text); response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a connection too many: %s", response.Status)
		} else {
			_ = c.conn.Close()
		}
		synctest.Wait()
		if lines := log.lines(t, "request failed"); lines[len(lines)-1]["answer"] != "too many connections" {
			t.Errorf("%v", lines[len(lines)-1])
		}
		for _, line := range log.lines(t, "") {
			if all, _ := json.Marshal(line); strings.Contains(string(all), "private") || strings.Contains(string(all), text) {
				t.Errorf("%s", all)
			}
		}
	})
}

// TestJournalFlood: however many clients are refused, the log is bounded, and says what it left out; at info nothing is logged.
func TestJournalFlood(t *testing.T) {
	for _, level := range []zerolog.Level{zerolog.DebugLevel, zerolog.InfoLevel} {
		var log logged
		inWorld(t, Config{Logger: zerolog.New(&log).Level(level)}, func(t *testing.T, w *world) {
			kept := w.dial("llps.v1")
			for range 1200 {
				w.send("GET", "/nowhere", "")
			}
			synctest.Wait()
			before := len(log.lines(t, ""))
			_ = kept.conn.Close()
			time.Sleep(5 * time.Second)
			w.send("GET", "/nowhere", "")
			synctest.Wait()
			if level == zerolog.InfoLevel {
				for _, line := range log.lines(t, "") {
					if line["level"] == "debug" || line["level"] == "info" {
						t.Errorf("%v", line)
					}
				}
				return
			}
			lines := log.lines(t, "request failed")
			if before > 1150 || len(log.lines(t, "connection closed")) != 1 {
				t.Errorf("%d lines, closed: %v", before, log.lines(t, "connection closed"))
			}
			if left, _ := lines[len(lines)-1]["left_out"].(float64); left < 150 || left > 201 {
				t.Errorf("the last line: %v", lines[len(lines)-1])
			}
		})
	}
}
