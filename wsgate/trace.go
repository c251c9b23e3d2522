package wsgate

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"time"
)

const (
	// tracesMost bounds traces under way at one time: each waits for seconds, and has others tell of it.
	tracesMost = 8
	// traceLimit bounds the body of a request to trace, in bytes.
	traceLimit = 8 << 10
	// traceTime is how long an answer may take, whatever is usual for others.
	traceTime = 90 * time.Second
)

// serveTrace has the overlay trace messages as the body of a request says. It takes what GET /v1/mesh takes.
func (s *Server) serveTrace(w http.ResponseWriter, r *http.Request) {
	leave, ok := s.overlooks(w, r)
	if !ok {
		return
	}
	defer leave()
	if s.tracing.Add(1) > tracesMost {
		s.tracing.Add(-1)
		w.Header().Set("Retry-After", "5")
		s.refuse(w, fault{codeRateLimited, "other traces are under way; try again when they are done"})
		return
	}
	defer s.tracing.Add(-1)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, traceLimit))
	if err != nil {
		s.refuse(w, bodyFault(err))
		return
	}
	c, until := http.NewResponseController(w), time.Now().Add(traceTime)
	// Where the connection cannot do that the answer has as long as all others.
	_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until)
	answer, err := s.trace(r.Context(), body)
	if errors.Is(err, fs.ErrInvalid) {
		err = fault{codeBadJSON, err.Error()}
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}
