package wsgate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// maxID bounds the id of a JSON message, in bytes as sent.
const maxID = 128

// jsonCommand is a JSON message of a client. Members not listed are ignored, so that both sides can grow.
type jsonCommand struct {
	Action        *string         `json:"action"`
	Tenant        string          `json:"tenant"`
	Channel       string          `json:"channel"`
	Payload       *string         `json:"payload"`
	PayloadBase64 *string         `json:"payload_base64"`
	Mode          *string         `json:"mode"`
	Policy        string          `json:"policy"`
	ID            json.RawMessage `json:"id"`
}

// parseJSON reads one JSON message. The error is a fault; command.id is set even then, where the message had one.
func parseJSON(b []byte) (command, error) {
	var in jsonCommand
	err := json.Unmarshal(b, &in)
	id, idErr := parseID(in.ID)
	c := command{id: id, tenant: in.Tenant, name: in.Channel}
	if err = errors.Join(jsonFault(err), idErr); err != nil {
		return c, err
	}
	if in.Action == nil {
		if in.Payload == nil && in.PayloadBase64 == nil {
			return c, fault{codeBadJSON, "no action"}
		}
		c.verb = verbPublish
	} else if c.verb = jsonVerb(*in.Action); c.verb == 0 {
		return c, fault{codeUnknownCommand, "action must be subscribe, unsubscribe, publish or ping"}
	}
	if c.verb == verbSubscribe {
		c.policy, err = parsePolicy(in.Policy)
	}
	if c.verb == verbPublish {
		c.payload, err = parsePayload(in)
		if in.Mode != nil && err == nil {
			c.mode, err = channel.ParseMode(*in.Mode)
		}
	}
	return c, err
}

func jsonVerb(action string) verb {
	switch action {
	case "subscribe":
		return verbSubscribe
	case "unsubscribe":
		return verbUnsubscribe
	case "publish":
		return verbPublish
	case "ping":
		return verbPing
	default:
		return 0
	}
}

// jsonFault is what a client is told of an error of json.Unmarshal.
func jsonFault(err error) error {
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return fault{codeBadJSON, wrongType.Field + " must be a string"}
	default:
		return fault{codeBadJSON, "not a JSON object"}
	}
}

// parseID accepts a string or a number; null counts as none.
func parseID(raw json.RawMessage) ([]byte, error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case len(raw) > maxID:
		return nil, fault{codeBadJSON, fmt.Sprintf("id of %d bytes, limit %d", len(raw), maxID)}
	case raw[0] == '"' || raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		return raw, nil
	default:
		return nil, fault{codeBadJSON, "id must be a string or a number"}
	}
}

func parsePayload(in jsonCommand) ([]byte, error) {
	switch {
	case in.Payload != nil && in.PayloadBase64 != nil:
		return nil, fault{codeBadJSON, "payload and payload_base64"}
	case in.Payload != nil:
		return []byte(*in.Payload), nil
	case in.PayloadBase64 != nil:
		payload, err := base64.StdEncoding.DecodeString(*in.PayloadBase64)
		if err != nil {
			return nil, fault{codeBadJSON, "payload_base64 is not base64"}
		}
		return payload, nil
	default:
		return nil, fault{codeBadJSON, "no payload"}
	}
}

// jsonReply is a reply in JSON.
type jsonReply struct {
	Event   string          `json:"event"`
	ID      json.RawMessage `json:"id,omitempty"`
	Tenant  string          `json:"tenant,omitempty"`
	Channel string          `json:"channel,omitempty"`
	Error   string          `json:"error,omitempty"`
	Detail  string          `json:"detail,omitempty"`
}

// newJSONReply is a reply as a JSON object. A publication is acknowledged only if it had an id: else there is none.
func newJSONReply(r reply) []byte {
	out := jsonReply{ID: r.id, Tenant: r.tenant, Channel: r.name}
	switch r.event {
	case eventSubscribed:
		out.Event = "subscribed"
	case eventUnsubscribed:
		out.Event = "unsubscribed"
	case eventReady:
		out.Event = "ready"
	case eventPong:
		out.Event = "pong"
	case eventReconnect:
		out.Event = "reconnect"
	case eventPublished:
		if r.id == nil {
			return nil
		}
		out.Event = "published"
	case eventError:
		out.Event, out.Error, out.Detail = "error", r.fault.code.String(), printable(r.fault.detail)
	default:
		panic("wsgate: reply without an event")
	}
	return appendJSON(nil, out)
}

// jsonDelivery is a delivery in JSON; exactly one of the payloads is set.
type jsonDelivery struct {
	Event         string   `json:"event"`
	Tenant        string   `json:"tenant"`
	Channel       string   `json:"channel"`
	Payload       *string  `json:"payload,omitempty"`
	PayloadBase64 *string  `json:"payload_base64,omitempty"`
	Patterns      []string `json:"patterns"`
}

// appendJSONDelivery appends the delivery in JSON of a payload with m's names for a connection that it reaches by these patterns.
func appendJSONDelivery(dst []byte, m channel.Message, payload []byte, patterns []channel.Pattern) []byte {
	out := jsonDelivery{Event: "message", Tenant: m.Tenant, Channel: m.Channel, Patterns: make([]string, len(patterns))}
	for i, p := range patterns {
		out.Patterns[i] = p.String()
	}
	if utf8.Valid(payload) {
		text := string(payload)
		out.Payload = &text
	} else {
		text := base64.StdEncoding.EncodeToString(payload)
		out.PayloadBase64 = &text
	}
	return appendJSON(dst, out)
}

// appendJSON appends v without the escapes that only HTML needs. v is one of our own types, which always encode.
func appendJSON(dst []byte, v any) []byte {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("wsgate: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
