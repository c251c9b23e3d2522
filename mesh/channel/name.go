package channel

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of names and payloads, in bytes.
const (
	MaxTenantLen  = 128
	MaxNameLen    = 256 // channel and pattern
	MaxPayloadLen = 65535
)

// DefaultTenant is the tenant meant by an empty one.
const DefaultTenant = "~"

// What is wrong with a message or a subscription; the errors of this package wrap one of them with a short reason.
var (
	ErrTenant  = errors.New("channel: invalid tenant")
	ErrChannel = errors.New("channel: invalid channel")
	ErrPattern = errors.New("channel: invalid pattern")
	ErrPayload = errors.New("channel: payload too large")
	ErrMode    = errors.New("channel: unknown delivery mode")
)

// NormalizeTenant is the tenant s names: DefaultTenant for "", else s itself. Errors wrap ErrTenant.
func NormalizeTenant(s string) (string, error) {
	if s == "" {
		return DefaultTenant, nil
	}
	if err := validateTenant(s); err != nil {
		return "", err
	}
	return s, nil
}

// reserved starts the names of channels that the mesh itself publishes on.
const reserved = '$'

// MeshPrefix and the ID of a node is the channel that this node alone publishes on.
const MeshPrefix = "$mesh."

// IsReserved tells whether a channel or pattern starts with "$": only the mesh may publish there.
func IsReserved(name string) bool { return name != "" && name[0] == reserved }

// bare is a name without the "$" of a reserved one.
func bare(name string) string {
	if IsReserved(name) {
		return name[1:]
	}
	return name
}

// ValidateChannel tells whether s is a concrete channel name: no wildcard, no empty token. Errors wrap ErrChannel.
func ValidateChannel(s string) error {
	if err := checkLen(ErrChannel, s, MaxNameLen); err != nil {
		return err
	}
	for rest, more := bare(s), true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if err := checkWord(ErrChannel, token); err != nil {
			return err
		}
	}
	return nil
}

func validateTenant(s string) error {
	if err := checkLen(ErrTenant, s, MaxTenantLen); err != nil {
		return err
	}
	for i := range len(s) {
		if s[i] != '.' && !isWordByte(s[i]) {
			return badByte(ErrTenant, s[i])
		}
	}
	return nil
}

// checkLen comes before any look at the bytes, so that work on hostile input is bounded.
func checkLen(sentinel error, s string, limit int) error {
	if s == "" {
		return fmt.Errorf("%w: empty", sentinel)
	}
	if len(s) > limit {
		return fmt.Errorf("%w: %d bytes, limit %d", sentinel, len(s), limit)
	}
	return nil
}

// ValidateWord tells whether s is one token of a channel, without a "$" before it. Errors wrap ErrChannel.
func ValidateWord(s string) error {
	if err := checkLen(ErrChannel, s, MaxNameLen); err != nil {
		return err
	}
	return checkWord(ErrChannel, s)
}

func checkWord(sentinel error, token string) error {
	if token == "" {
		return fmt.Errorf("%w: empty token", sentinel)
	}
	for i := range len(token) {
		if !isWordByte(token[i]) {
			return badByte(sentinel, token[i])
		}
	}
	return nil
}

// badByte shows c quoted, so that the reason is printable ASCII whatever the input was.
func badByte(sentinel error, c byte) error {
	return fmt.Errorf("%w: byte %+q not allowed here", sentinel, []byte{c})
}

func isWordByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '_' || c == '-' || c == '~' || c == '@'
}
