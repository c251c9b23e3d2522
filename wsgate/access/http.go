package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

const (
	subprotocolPrefix = "at." // before a token among the WebSocket subprotocols offered
	listDefault       = 1000  // tokens in an answer
	listMost          = 10_000
)

// Bearer is the token of an Authorization header; "" if there is none.
func Bearer(h http.Header) string {
	scheme, text, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

// Offered is the token of a WebSocket handshake: that of the Authorization header, else one among the subprotocols offered, as in
// "llps.v1, at.AT_…"; "" if there is none.
func Offered(h http.Header) string {
	if text := Bearer(h); text != "" {
		return text
	}
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if text, found := strings.CutPrefix(strings.TrimSpace(name), subprotocolPrefix); found {
				return text
			}
		}
	}
	return ""
}

// VisitorOf is the client that sent a request. What proxies say of it is not believed.
func VisitorOf(r *http.Request) Visitor {
	var v Visitor
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		v.Addr = from.Addr().Unmap()
	}
	if values := r.Header.Values("Origin"); len(values) > 0 {
		v.Origin, v.OriginGiven = values[0], true
	}
	return v
}

// Refuse answers a request whose Enter failed: 403 for a good token that is not for this client, 503 where it is too early to tell, else 401.
func Refuse(w http.ResponseWriter, err error) {
	switch {
	case Barred(err):
		fail(w, http.StatusForbidden, err)
	case errors.Is(err, ErrUnsettled):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, err)
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="fastpubsub"`)
		fail(w, http.StatusUnauthorized, err)
	}
}

// Routes are the pages for whoever has a master token, by http.ServeMux pattern. Those of a nil Authority answer 503.
func (a *Authority) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /v1/get-token":      a.master(a.serveIssue),
		"PUT /v1/refresh-token":   a.master(a.serveRefresh),
		"DELETE /v1/revoke-token": a.master(a.serveRevoke),
		"GET /v1/tokens":          a.master(a.serveList),
	}
}

var (
	errMaster      = errors.New("a master token is required, as in Authorization: Bearer MT_…")
	errNoAuthority = errors.New("this node has no token secret and takes every client without a token")
	errLimit       = errors.New("limit must be 1 to " + strconv.Itoa(listMost))
)

// master is a page for whoever has a master token.
func (a *Authority) master(serve func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case a == nil:
			fail(w, http.StatusServiceUnavailable, errNoAuthority)
		case !a.IsMaster(Bearer(r.Header)):
			Refuse(w, errMaster)
		default:
			serve(w, r)
		}
	}
}

func (a *Authority) serveIssue(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	now := time.Now()
	request, err := token.ParseRequest(body, now)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	text, err := a.Issue(request, now)
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"token": text})
}

func (a *Authority) serveRefresh(w http.ResponseWriter, r *http.Request) {
	var in struct {
		TokenID   string `json:"token_id"`
		ExpiresAt string `json:"expires_at"`
	}
	if err := readJSON(r, &in); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	now := time.Now()
	id, err := token.ParseID(in.TokenID)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	expires, err := token.ParseExpiry(in.ExpiresAt, now)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	e, err := a.Refresh(id, expires, now)
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"message": "token refreshed", "new_expires_at": e.ExpiresAt().Format(time.RFC3339)})
}

func (a *Authority) serveRevoke(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if err := readJSON(r, &in); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if _, err := a.Revoke(in.Token, time.Now()); err != nil {
		fail(w, statusOf(err), err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"message": "token revoked"})
}

// tokenInfo is what a list tells of a token.
type tokenInfo struct {
	TokenID     string `json:"token_id"`
	CreatedBy   string `json:"created_by"`
	Description string `json:"description"`
	CreatedAt   string `json:"created_at"`
	ExpiresAt   string `json:"expires_at"`
	Revoked     bool   `json:"revoked"`
}

func (a *Authority) serveList(w http.ResponseWriter, r *http.Request) {
	most := listDefault
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > listMost {
			fail(w, http.StatusBadRequest, errLimit)
			return
		}
		most = n
	}
	entries := a.List(r.URL.Query().Get("client_id"))
	list := make([]tokenInfo, 0, min(len(entries), most))
	for _, e := range entries[:min(len(entries), most)] {
		list = append(list, tokenInfo{
			TokenID: e.ID.String(), CreatedBy: e.CreatedBy, Description: e.Description, Revoked: e.Revoked,
			CreatedAt: e.CreatedAt().Format(time.RFC3339), ExpiresAt: e.ExpiresAt().Format(time.RFC3339),
		})
	}
	answer(w, http.StatusOK, map[string]any{"tokens": list, "more": len(entries) > most})
}

// statusOf is the status for what the Authority refuses.
func statusOf(err error) int {
	switch {
	case errors.Is(err, token.ErrUnknown), errors.Is(err, token.ErrSignature):
		return http.StatusNotFound
	case errors.Is(err, token.ErrFull), errors.Is(err, token.ErrNoSecret), errors.Is(err, ErrUnsettled):
		return http.StatusServiceUnavailable
	case errors.Is(err, token.ErrRequest), errors.Is(err, token.ErrExpiry), errors.Is(err, token.ErrMalformed),
		errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrRevoked), errors.Is(err, token.ErrNotYet):
		return http.StatusBadRequest
	default:
		return http.StatusInternalServerError
	}
}

func readBody(r *http.Request) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r.Body, token.MaxRequestLen+1)) // what is longer is refused by who parses it
}

var errBody = errors.New("the body is not the JSON object wanted here")

// readJSON reads a body into a struct of strings. Members not listed are ignored.
func readJSON(r *http.Request, into any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if len(body) > token.MaxRequestLen || json.NewDecoder(bytes.NewReader(body)).Decode(into) != nil {
		return errBody
	}
	return nil
}

// answer answers with a JSON object that must not be cached.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone if this fails.
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": strings.TrimPrefix(strings.TrimPrefix(err.Error(), "token: "), "access: ")})
}
