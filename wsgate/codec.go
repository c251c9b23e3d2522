package wsgate

import (
	"errors"
	"strings"
	"unicode"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// verb is what a client asks for.
type verb uint8

const (
	verbSubscribe verb = iota + 1
	verbUnsubscribe
	verbPublish
	verbPing
)

// command is one request of a client, whatever form it came in. Names are as sent: nothing is validated yet.
type command struct {
	verb    verb
	tenant  string
	name    string       // a pattern for verbSubscribe and verbUnsubscribe, a channel for verbPublish
	mode    channel.Mode // for verbPublish
	payload []byte
	policy  policy // for verbSubscribe
	id      []byte // the JSON token to repeat in the reply, or nil
}

// event is what a reply reports.
type event uint8

const (
	eventSubscribed event = iota + 1
	eventUnsubscribed
	eventPublished
	eventReady
	eventPong
	eventReconnect
	eventError
)

// reply answers one command, or reports a fault nobody asked about. appendLine and appendJSONReply write it.
type reply struct {
	event  event
	tenant string // for eventSubscribed, eventUnsubscribed and eventReady
	name   string // their pattern
	fault  fault  // for eventError
	id     []byte // as in command
}

// code is a word of the error vocabulary.
type code uint8

const (
	codeInvalidTenant code = iota
	codeInvalidChannel
	codeInvalidPattern
	codePayloadTooLarge
	codeBadFrame
	codeBadJSON
	codeUnknownMode
	codeUnknownCommand
	codePermissionDenied
	codeLimitExceeded
	codeRateLimited
	codeSlowConsumer
	codeUnavailable
	numCodes
)

// String is the word on the wire.
func (c code) String() string {
	return [numCodes]string{
		codeInvalidTenant:    "invalid_tenant",
		codeInvalidChannel:   "invalid_channel",
		codeInvalidPattern:   "invalid_pattern",
		codePayloadTooLarge:  "payload_too_large",
		codeBadFrame:         "bad_frame",
		codeBadJSON:          "bad_json",
		codeUnknownMode:      "unknown_mode",
		codeUnknownCommand:   "unknown_command",
		codePermissionDenied: "permission_denied",
		codeLimitExceeded:    "limit_exceeded",
		codeRateLimited:      "rate_limited",
		codeSlowConsumer:     "slow_consumer",
		codeUnavailable:      "unavailable",
	}[c]
}

// fault is an error as the client is told of it.
type fault struct {
	code   code
	detail string // may be empty
}

// Error is the fault as on the wire.
func (f fault) Error() string {
	if f.detail == "" {
		return f.code.String()
	}
	return f.code.String() + ":" + printable(f.detail)
}

// faultOf says how a client is told of err: a fault as it is, the errors of package channel by their code and reason,
// anything else (the Broker's) as codeUnavailable.
func faultOf(err error) fault {
	if f, ok := errors.AsType[fault](err); ok {
		return f
	}
	for _, known := range []struct {
		err  error
		code code
	}{
		{channel.ErrTenant, codeInvalidTenant},
		{channel.ErrChannel, codeInvalidChannel},
		{channel.ErrPattern, codeInvalidPattern},
		{channel.ErrPayload, codePayloadTooLarge},
		{channel.ErrMode, codeUnknownMode},
	} {
		if errors.Is(err, known.err) {
			_, reason, found := strings.Cut(err.Error(), known.err.Error()+": ")
			if !found {
				reason = ""
			}
			return fault{known.code, reason}
		}
	}
	return fault{codeUnavailable, err.Error()}
}

// maxDetail bounds the free text of an error, in bytes.
const maxDetail = 200

// printable makes text fit for a line and a terminal: valid UTF-8, no control characters, at most maxDetail bytes.
func printable(text string) string {
	text = text[:min(len(text), maxDetail)]
	text = strings.ToValidUTF8(text, "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
