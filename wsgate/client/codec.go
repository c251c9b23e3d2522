package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// ErrDelivery reports a binary message that is not a delivery.
var ErrDelivery = errors.New("client: malformed delivery")

// Message is a delivered message.
type Message struct {
	Tenant   string
	Channel  string
	Payload  []byte
	Patterns []string // those this client subscribed with that match; at least one
}

// ServerError is a fault that the server reported.
type ServerError struct {
	Code   string // a word such as "invalid_pattern"
	Detail string // may be empty
}

// Error is the fault with its detail.
func (e *ServerError) Error() string {
	if e.Detail == "" {
		return "client: server reports " + e.Code
	}
	return "client: server reports " + e.Code + ": " + e.Detail
}

// AppendPublish appends the binary message that publishes m, version 1 for a broadcast and version 2 for the other modes.
// m must be valid.
func AppendPublish(dst []byte, m channel.Message) []byte {
	if m.Mode != channel.Broadcast {
		dst = append(dst, 0x02, byte(m.Mode))
	}
	dst = appendString(dst, m.Tenant)
	dst = appendString(dst, m.Channel)
	return append(dst, m.Payload...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// ParseDelivery reads a delivery, of which Payload is a part. Errors wrap ErrDelivery.
func ParseDelivery(b []byte) (Message, error) {
	var m Message
	if len(b) == 0 || b[0] != 0x01 {
		return m, fmt.Errorf("%w: no delivery tag", ErrDelivery)
	}
	in := input{rest: b[1:]}
	m.Tenant = in.name()
	m.Channel = in.name()
	m.Payload = in.bytes(int(in.uint32()))
	n := int(in.uint16())
	if n == 0 || n > len(in.rest)/3 { // a pattern takes 3 bytes at least
		return Message{}, fmt.Errorf("%w: %d patterns in %d bytes", ErrDelivery, n, len(in.rest))
	}
	m.Patterns = make([]string, n)
	for i := range m.Patterns {
		m.Patterns[i] = in.name()
	}
	if in.failed || len(in.rest) != 0 {
		return Message{}, fmt.Errorf("%w: truncated, or with an empty name or bytes left over", ErrDelivery)
	}
	return m, nil
}

// input reads fields off the front of rest. After a field that is not there it has failed, and all that follows is empty.
type input struct {
	rest   []byte
	failed bool
}

func (in *input) bytes(n int) []byte {
	if n > len(in.rest) {
		in.rest, in.failed = nil, true
		return nil
	}
	b := in.rest[:n:n]
	in.rest = in.rest[n:]
	return b
}

func (in *input) uint16() uint16 {
	if b := in.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (in *input) uint32() uint32 {
	if b := in.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// name is a string that must not be empty.
func (in *input) name() string {
	b := in.bytes(int(in.uint16()))
	if len(b) == 0 {
		in.failed = true
	}
	return string(b)
}

// parseReady reads a READY line.
func parseReady(line string) (name, bool) {
	rest, ok := strings.CutPrefix(line, "READY:")
	if !ok {
		return name{}, false
	}
	tenant, pattern, ok := strings.Cut(rest, ":")
	return name{tenant, pattern}, ok
}

// parseError reads an ERR line.
func parseError(line string) (*ServerError, bool) {
	rest, ok := strings.CutPrefix(line, "ERR:")
	if !ok {
		return nil, false
	}
	code, detail, _ := strings.Cut(rest, ":")
	return &ServerError{Code: code, Detail: detail}, true
}

// answersRequest tells whether the error can be the answer to SUB or UNSUB.
func (e *ServerError) answersRequest() bool {
	switch e.Code {
	case "permission_denied", "limit_exceeded", "rate_limited", "invalid_tenant", "invalid_pattern", "unknown_command":
		return true
	default:
		return false
	}
}
