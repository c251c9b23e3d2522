package wsgate

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

const (
	// journalRate and journalBurst bound the lines a second about clients, of all together: whoever can connect can provoke them.
	journalRate  = 50
	journalBurst = 1000
	// journalText bounds what a client or an answer adds to a line, in bytes.
	journalText = 200
)

// journal is what the log says about single clients: at level debug, and no more than so many lines a second.
type journal struct {
	log  zerolog.Logger
	pace *rate.Limiter
	left atomic.Uint64 // lines left out since the last that was not
}

func newJournal(log zerolog.Logger) *journal {
	return &journal{log: log, pace: rate.NewLimiter(journalRate, journalBurst)}
}

// listens tells whether anything would be logged.
func (j *journal) listens() bool {
	return max(j.log.GetLevel(), zerolog.GlobalLevel()) <= zerolog.DebugLevel
}

// line begins a line; nil, which takes fields as well, if there is to be none.
func (j *journal) line() *zerolog.Event {
	switch {
	case !j.listens():
		return nil
	case !j.pace.Allow():
		j.left.Add(1)
		return nil
	}
	e := j.log.Debug()
	if left := j.left.Swap(0); left > 0 {
		e = e.Uint64("left_out", left)
	}
	return e
}

// Write logs a line of net/http, which any peer can provoke.
func (j *journal) Write(line []byte) (int, error) {
	j.line().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}

// opened logs that a session begins; whether it did, is for closed.
func (j *journal) opened(s *session) bool {
	e := j.line()
	kind := "websocket"
	if s.ws == nil {
		kind = "events"
	}
	told := e.Enabled()
	e.Uint64("conn", s.id).Str("remote", s.remote).Str("kind", kind).Msg("connection opened")
	return told
}

// closed logs that a session has ended, why, and what it was like: never left out where its beginning was told.
func (j *journal) closed(s *session, began time.Time, told bool, subscriptions int, err error) {
	if !j.listens() {
		return
	}
	e := j.log.Debug()
	if !told {
		e = j.line()
	}
	why, delivered, dropped := s.box.account()
	e.Uint64("conn", s.id).Str("remote", s.remote).Stringer("why", why).AnErr("read", err).Dur("lasted", time.Since(began)).Uint64("published", s.published).
		Uint64("refused", s.strikes.refused).Uint64("delivered", delivered).Uint64("dropped", dropped).Int("subscriptions", subscriptions).Msg("connection closed")
}

// refused logs why a request did not become a session.
func (j *journal) refused(r *http.Request, err error) {
	c := callerOf(r.Context())
	j.line().Uint64("conn", c.id).Uint64("request", c.requests).Str("remote", r.RemoteAddr).Err(err).Msg("upgrade refused")
}

// failures logs each request whose answer is an error, under the numbers of its connection and of the request on that.
func (j *journal) failures(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callerOf(r.Context())
		c.requests++
		number := c.requests
		if !j.listens() {
			next.ServeHTTP(w, r)
			return
		}
		n := &noted{ResponseWriter: w}
		next.ServeHTTP(n, r)
		if n.status >= http.StatusBadRequest {
			e := j.line().Uint64("conn", c.id).Uint64("request", number).Str("remote", r.RemoteAddr)
			e = e.Str("method", clip(r.Method)).Str("path", clip(r.URL.Path)) // no query: it holds names
			e.Int("status", n.status).Str("answer", strings.TrimSpace(string(n.answer))).Msg("request failed")
		}
	})
}

// noted is a ResponseWriter that remembers what is answered, if that is an error.
type noted struct {
	http.ResponseWriter
	status int // 0: nothing was answered
	answer []byte
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// WriteHeader begins the answer.
func (n *noted) WriteHeader(status int) {
	if n.status < http.StatusOK { // those before are not the answer
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer.
func (n *noted) Write(b []byte) (int, error) {
	n.status = max(n.status, http.StatusOK)
	if n.status >= http.StatusBadRequest {
		n.answer = append(n.answer, b[:min(len(b), journalText-len(n.answer))]...)
	}
	return n.ResponseWriter.Write(b)
}

// clip is the beginning of a text.
func clip(text string) string { return text[:min(len(text), journalText)] }
