package wsgate

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// mute is a Broker that takes everything.
type mute struct{}

func (mute) Publish(_ context.Context, m channel.Message) error { return m.Validate() }
func (mute) SetInterest(string, channel.Pattern, bool)          {}
func (mute) AfterSpread(func())                                 {}

// FuzzHTTP: no request makes a handler panic, answer what is no HTTP status, or take memory out of proportion to it; with tokens and without.
func FuzzHTTP(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"POST /v1/publish?tenant=a&channel=b.c&mode=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"POST /v1/publish?channel=b HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /v1/bootstrap?lat=1&lon=2&n=3 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
		"GET /v1/subscribe?channel=a.%23&policy=latest HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7\r\n\r\n",
		"POST /v1/get-token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + master + "\r\nContent-Length: 22\r\n\r\n{\"expires_at\":\"2030\"}}",
		"POST /v1/revoke-token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + master + "\r\nContent-Length: 15\r\n\r\n{\"token\":\"AT_\"}",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	open, closed := fuzzed(f, nil), fuzzed(f, newAuthority(f))
	f.Fuzz(func(t *testing.T, b []byte, tokens bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // streams go on until then
		defer cancel()
		r.RemoteAddr = "192.0.2.1:1234"
		w := httptest.NewRecorder()
		defer alloc.Bound(t, 1<<20+64*len(b))()
		handler := open
		if tokens {
			handler = closed
		}
		handler.ServeHTTP(w, r.WithContext(ctx))
		if w.Code < 100 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
		if len(w.Body.Bytes()) > 256<<10 {
			t.Errorf("an answer of %d bytes", w.Body.Len())
		}
	})
}

// fuzzed is all that a server answers to.
func fuzzed(f *testing.F, authority *access.Authority) http.Handler {
	f.Helper()
	s, err := New(Config{Hub: NewHub(HubConfig{}), Broker: mute{}, Authority: authority, Rates: Rates{Messages: 1e9, Bytes: 1e12}})
	if err != nil {
		f.Fatal(err)
	}
	g := &gathering{server: s, door: &door{}, sessions: map[*session]struct{}{}}
	return s.knocks.heard(s.answerable(s.routes(
		func(w http.ResponseWriter, r *http.Request) { g.upgrade(r.Context(), w, r) },
		func(w http.ResponseWriter, r *http.Request) { g.stream(r.Context(), w, r) },
	)))
}
