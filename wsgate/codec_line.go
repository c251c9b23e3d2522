package wsgate

import (
	"fmt"
	"strings"
)

// maxLine bounds a text line, in bytes. The longest valid one is an UNSUB with 391.
const maxLine = 512

// parseLine reads one text line: SUB:<tenant>:<pattern>, UNSUB:<tenant>:<pattern> or PING. One line end is forgiven,
// since console clients send it. The error is a fault.
func parseLine(line string) (command, error) {
	if len(line) > maxLine {
		return command{}, fault{codeLimitExceeded, fmt.Sprintf("line of %d bytes, limit %d", len(line), maxLine)}
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "PING" {
		return command{verb: verbPing}, nil
	}
	word, rest, _ := strings.Cut(line, ":")
	tenant, pattern, complete := strings.Cut(rest, ":")
	switch {
	case word == "SUB" && complete:
		return command{verb: verbSubscribe, tenant: tenant, name: pattern}, nil
	case word == "UNSUB" && complete:
		return command{verb: verbUnsubscribe, tenant: tenant, name: pattern}, nil
	default:
		return command{}, fault{codeUnknownCommand, "want SUB:<tenant>:<pattern>, UNSUB:<tenant>:<pattern> or PING"}
	}
}

// appendLine appends a reply as a text line. A publication is not acknowledged in this form: it appends nothing.
func appendLine(dst []byte, r reply) []byte {
	switch r.event {
	case eventSubscribed:
		return appendJoined(dst, "OK:SUB:", r.tenant, ":", r.name)
	case eventUnsubscribed:
		return appendJoined(dst, "OK:UNSUB:", r.tenant, ":", r.name)
	case eventReady:
		return appendJoined(dst, "READY:", r.tenant, ":", r.name)
	case eventPong:
		return append(dst, "PONG"...)
	case eventReconnect:
		return append(dst, "RECONNECT"...)
	case eventError:
		return appendJoined(dst, "ERR:", r.fault.Error())
	case eventPublished:
		return dst
	default:
		panic("wsgate: reply without an event")
	}
}

func appendJoined(dst []byte, parts ...string) []byte {
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}
