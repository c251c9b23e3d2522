package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a request for a token.
const (
	MaxRequestLen     = 16 << 10 // bytes of the body
	MaxCreatedByLen   = 64       // bytes
	MaxDescriptionLen = 128      // bytes
)

// How long tokens live, and how far clocks may be apart.
const (
	MaxLife   = 24 * time.Hour   // from being issued, or refreshed, to the expiry
	Skew      = 10 * time.Second // more than that is allowed, for clients that compute the most by their own clock
	ClockSkew = time.Minute      // how far ahead the clock of who issued a token or changed a ledger may be

	lifeLimit = MaxLife + Skew + time.Second // as above between times of which one was cut to whole seconds
)

// Why a request is refused. The texts are fit for the caller's eyes.
var (
	ErrRequest = errors.New("token: invalid request")
	ErrExpiry  = errors.New("token: invalid expires_at")
)

// Request is a checked request for a token.
type Request struct {
	Rights      *Rights
	Expires     time.Time // in whole seconds
	CreatedBy   string    // "" only where the rights stood at the top level
	Description string
}

// requestBody is both shapes of the request: rights below "right", and rights at the top level.
type requestBody struct {
	Right *Statement `json:"right"`
	Statement
	CreatedBy   string `json:"created_by"`
	Description string `json:"description"`
}

// ParseRequest reads the body of POST /v1/get-token in either shape. Unknown members are refused: what is overlooked, such
// as a misspelt restriction, would widen the rights. Errors wrap ErrRequest, ErrRights or ErrExpiry.
func ParseRequest(body []byte, now time.Time) (Request, error) {
	var b requestBody
	if err := decodeStrictly(body, &b); err != nil {
		return Request{}, err
	}
	statement := b.Statement
	if b.Right != nil {
		if s := b.Statement; len(s.TenantGrants)+len(s.AllowIPMasks)+len(s.AllowRegions)+len(s.AllowedWSOrigin)+len(s.ExpiresAt) > 0 {
			return Request{}, fmt.Errorf(`%w: rights both in "right" and beside it`, ErrRequest)
		}
		if strings.TrimSpace(b.CreatedBy) == "" {
			return Request{}, fmt.Errorf("%w: created_by: missing", ErrRequest)
		}
		statement = *b.Right
	}
	if err := checkText(b.CreatedBy, MaxCreatedByLen); err != nil {
		return Request{}, fmt.Errorf("%w: created_by: %w", ErrRequest, err)
	}
	if err := checkText(b.Description, MaxDescriptionLen); err != nil {
		return Request{}, fmt.Errorf("%w: description: %w", ErrRequest, err)
	}
	rights, err := NewRights(statement)
	if err != nil {
		return Request{}, err
	}
	expires, err := ParseExpiry(statement.ExpiresAt, now)
	if err != nil {
		return Request{}, err
	}
	if !expires.After(now) {
		return Request{}, fmt.Errorf("%w: not in the future", ErrExpiry)
	}
	return Request{Rights: rights, Expires: expires, CreatedBy: b.CreatedBy, Description: b.Description}, nil
}

// ParseExpiry reads an RFC 3339 time that is at most MaxLife away and gives it in whole seconds. It may be past, as a
// refresh needs it. Errors wrap ErrExpiry.
func ParseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, fmt.Errorf("%w: missing", ErrExpiry)
	}
	expires, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %+.40q is no RFC 3339 time, such as 2026-05-16T12:00:00Z", ErrExpiry, text)
	}
	if err := checkExpiry(expires, now); err != nil {
		return time.Time{}, err
	}
	return expires.UTC().Truncate(time.Second), nil
}

func checkExpiry(expires, now time.Time) error {
	if expires.After(now.Add(MaxLife + Skew)) {
		return fmt.Errorf("%w: more than %v ahead", ErrExpiry, MaxLife)
	}
	if expires.Unix() < 0 {
		return fmt.Errorf("%w: before 1970", ErrExpiry)
	}
	return nil
}

// decodeStrictly reads one JSON value and nothing else. Errors wrap ErrRequest.
func decodeStrictly(body []byte, into any) error {
	if len(body) > MaxRequestLen {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrRequest, len(body), MaxRequestLen)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %.200s", ErrRequest, err.Error())
	}
	if len(bytes.TrimSpace(body[d.InputOffset():])) > 0 {
		return fmt.Errorf("%w: more after the JSON value", ErrRequest)
	}
	return nil
}

// checkText accepts what can be shown in one line.
func checkText(text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%d bytes, limit %d", len(text), limit)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return errors.New("not printable")
	}
	return nil
}
