package wsgate

import (
	_ "embed" // the OpenAPI document
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// openAPIPath is where the OpenAPI document is served.
const openAPIPath = "/api-docs/openapi.json"

//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "application/json")
	// The client is gone if this fails.
	_, _ = w.Write(openAPI)
}

// servePublish publishes the body of a request to the channel that the query names, or what the body says as JSON.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request) {
	pass, ok := s.enter(w, r, access.Bearer(r.Header))
	if !ok {
		return
	}
	share, ok := s.shares.request(pass.ID(), time.Now(), s.rules.Load())
	defer s.leave(pass, share) // nil where there is no room
	if !ok {
		w.Header().Set("Retry-After", "1")
		s.refuse(w, fault{code: codeRateLimited, detail: "too many connections with this token"})
		return
	}
	m, err := readPublication(w, r)
	if err == nil && !pass.MayPublish(m.Tenant, m.Channel) {
		err = fault{code: codePermissionDenied}
	}
	if err == nil && !s.affordable(r.Context(), share, len(m.Tenant)+len(m.Channel)+len(m.Payload)) {
		s.counts.tooFast.Add(1)
		w.Header().Set("Retry-After", "1")
		err = fault{code: codeRateLimited}
	}
	if err == nil {
		err = s.broker.Publish(r.Context(), m)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.counts.bytesIn.Add(uint64(len(m.Payload)))
	s.counts.messagesIn.Add(1)
	writeJSON(w, http.StatusOK, map[string]string{"message": "published"})
}

// readPublication reads and checks what is to be published.
func readPublication(w http.ResponseWriter, r *http.Request) (channel.Message, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, readLimit))
	if err != nil {
		return channel.Message{}, bodyFault(err)
	}
	var m channel.Message
	if query := r.URL.Query(); query.Has("channel") {
		m = channel.Message{Tenant: query.Get("tenant"), Channel: query.Get("channel"), Payload: body}
		if query.Has("mode") {
			m.Mode, err = channel.ParseMode(query.Get("mode"))
		}
	} else {
		var c command
		c, err = parseJSON(body)
		if err == nil && c.verb != verbPublish {
			err = fault{codeUnknownCommand, "action must be publish"}
		}
		m = channel.Message{Tenant: c.tenant, Channel: c.name, Mode: c.mode, Payload: c.payload}
	}
	if err != nil {
		return channel.Message{}, err
	}
	if m.Tenant, err = channel.NormalizeTenant(m.Tenant); err == nil {
		err = m.Validate()
	}
	return m, err
}

func bodyFault(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return fault{code: codePayloadTooLarge}
	}
	return fault{codeBadFrame, "the body broke off"}
}

// refuse answers why a request came to nothing, in the words of WebSocket replies.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	f := faultOf(err)
	s.counts.errors[f.code].Add(1)
	answer := map[string]string{"error": f.code.String()}
	if f.detail != "" {
		answer["detail"] = printable(f.detail)
	}
	writeJSON(w, f.code.status(), answer)
}

// status is the HTTP status of a code.
func (c code) status() int {
	switch c {
	case codePermissionDenied:
		return http.StatusForbidden
	case codePayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeLimitExceeded, codeRateLimited, codeSlowConsumer:
		return http.StatusTooManyRequests
	case codeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}
