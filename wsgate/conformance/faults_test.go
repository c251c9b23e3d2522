package main

import (
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

// fault is a broken server, and the cases, among others, that it must fail.
type fault struct {
	fails  string
	server broken
}

func faults() map[string]fault {
	all := map[string]fault{}
	for _, some := range []map[string]fault{lineFaults(), deliveryFaults(), publishFaults(), otherFaults(), tokenFaults(), pageFaults()} {
		maps.Copy(all, some)
	}
	return all
}

func lineFaults() map[string]fault {
	return map[string]fault{
		"acknowledges in lower case": {
			"3.sub.acked-verbatim 3.unsub.acked-verbatim",
			broken{down: lines(func(line string) []string { return []string{"OK" + strings.ToLower(strings.TrimPrefix(line, "OK"))} })},
		},
		"does not acknowledge twice": {"3.sub.duplicate-answers-ok", broken{down: func(s *relay, m message) []message {
			if s.seen[m.body] && strings.HasPrefix(m.body, "OK:SUB") {
				return nil
			}
			s.seen[m.body] = true
			return []message{m}
		}}},
		"refuses to unsubscribe what is not there": {"3.unsub.unknown-answers-ok", broken{up: func(s *relay, m message) []message {
			if rest, found := strings.CutPrefix(m.body, "UNSUB:"); found && !s.seen[rest] {
				return []message{text("what?")}
			}
			s.seen[strings.TrimPrefix(m.body, "SUB:")] = true
			return []message{m}
		}}},
		"only the last of many acknowledgements": {"7.resubscribe.all-acked", broken{down: func(s *relay, m message) []message {
			if s.count++; s.count > 400 && s.count < 450 {
				return nil
			}
			return []message{m}
		}}},
		"acknowledges an empty tenant as it is": {
			"3.sub.empty-tenant",
			broken{down: lines(func(line string) []string { return []string{strings.Replace(line, ":~:", "::", 1)} })},
		},
		"takes lists": {"3.sub.no-lists", broken{up: lines(func(line string) []string {
			first, _, _ := strings.Cut(line, ",")
			return []string{first}
		})}},
		"takes colons": {
			"3.sub.no-colon",
			broken{up: lines(func(line string) []string { return []string{strings.Replace(line, ":a:b", ":a.b", 1)} })},
		},
		"drops PONG": {"3.ping.pong", broken{down: lines(func(line string) []string { return drop(line == "PONG", line) })}},
		"every PONG twice": {"3.ping.pong", broken{down: lines(func(line string) []string {
			if line == "PONG" {
				return []string{line, line}
			}
			return []string{line}
		})}},
		"PONG behind deliveries": {"9.pong-ahead", broken{delay: func(m message) bool { return m.body == "PONG" }}},
		"other words for errors": {
			"3.err.unknown-command 3.err.one-each 4.bad.first-byte 4.bad.mode 4.bad.truncated " +
				"4.bad.empty 5.tenants.no-wildcard 6.channel.invalid 6.pattern.invalid 6.tenant.invalid 6.payload.over",
			broken{down: lines(func(line string) []string {
				if strings.HasPrefix(line, "ERR:") {
					return []string{"ERR:sorry"}
				}
				return []string{line}
			})},
		},
		"JSON as it likes": {"3.json.subscribe 3.json.publish 3.json.malformed", broken{down: lines(func(line string) []string {
			if strings.HasPrefix(line, "{") {
				return []string{"{}"}
			}
			return []string{line}
		})}},
	}
}

func drop(yes bool, body string) []string {
	if yes {
		return nil
	}
	return []string{body}
}

func deliveryFaults() map[string]fault {
	patterns := func(change func(list []string) []string) broken {
		return broken{down: frames(func(body string) []string {
			head, list := splitDelivery(body)
			return []string{joinDelivery(head, change(list))}
		})}
	}
	return map[string]fault{
		"doubles deliveries": {
			"4.delivery.one-frame-all-patterns 5.broadcast.every-connection 5.one-random.exactly-one " +
				"5.one-low-latency.exactly-one 4.publish.v1 7.resubscribe.at-once 7.close.others-live",
			broken{down: frames(func(body string) []string { return []string{body, body} })},
		},
		"a delivery for each pattern": {
			"4.delivery.one-frame-all-patterns 5.one-random.all-patterns 5.one-low-latency.all-patterns",
			broken{down: frames(func(body string) (all []string) {
				head, list := splitDelivery(body)
				for _, p := range list {
					all = append(all, joinDelivery(head, []string{p}))
				}
				return all
			})},
		},
		"lists one pattern": {
			"4.delivery.one-frame-all-patterns 4.delivery.patterns-now",
			patterns(func(list []string) []string { return list[:1] }),
		},
		"lists a pattern twice": {"3.sub.duplicate-is-one", patterns(func(list []string) []string { return append(list, list[0]) })},
		"lists no pattern":      {"4.publish.v1", patterns(func([]string) []string { return nil })},
		"lists a foreign pattern": {
			"4.delivery.own-patterns 5.tenants.isolated",
			patterns(func(list []string) []string { return append(list, "foreign") }),
		},
		"a trailing byte":    {"4.publish.v1", broken{down: frames(func(body string) []string { return []string{body + "\x00"} })}},
		"another first byte": {"4.publish.v1", broken{down: frames(func(body string) []string { return []string{"\x02" + body[1:]} })}},
		"the pattern for a channel": {
			"4.delivery.concrete-channel",
			broken{down: frames(func(body string) []string { return []string{strings.ReplaceAll(body, "a.b", "a.*")} })},
		},
		"loses one in seven": {"5.order 7.overlap.both 9.batch-of-16-KiB", broken{down: func(s *relay, m message) []message {
			if s.count++; m.isDelivery() && s.count%7 == 0 {
				return nil
			}
			return []message{m}
		}}},
		"swaps": {"5.order", broken{down: func(s *relay, m message) []message {
			if !m.isDelivery() {
				return []message{m}
			}
			if s.held = append(s.held, m); len(s.held) < 2 && !strings.Contains(m.body, "mark") {
				return nil
			}
			list := s.held
			s.held = nil
			if len(list) == 2 && !strings.Contains(list[1].body, "mark") {
				list[0], list[1] = list[1], list[0]
			}
			return list
		}}},
		"no echo": {"5.echo 7.overlap.publish-by-new 5.one-random.publisher 5.one-low-latency.publisher", broken{
			up: func(s *relay, m message) []message {
				if m.isDelivery() && !strings.Contains(m.body, "mark") {
					s.seen["published"] = true
				}
				return []message{m}
			},
			down: func(s *relay, m message) []message {
				if s.seen["published"] && m.isDelivery() && !strings.Contains(m.body, "mark") {
					return nil
				}
				return []message{m}
			},
		}},
		"replays":            {"5.no-replay", replays()},
		"cuts long payloads": {"6.payload.65535", broken{down: frames(func(body string) []string { return drop(len(body) > 65_000, body) })}},
		"payloads are text": {"4.publish.opaque-payload", broken{down: frames(func(body string) []string {
			return []string{body[:1] + strings.ToValidUTF8(body[1:], strings.Repeat("?", 1))}
		})}},
	}
}

// replays gives a new subscriber what was published last.
func replays() broken {
	var mu sync.Mutex
	last := ""
	return broken{up: func(_ *relay, m message) []message {
		mu.Lock()
		defer mu.Unlock()
		if m.isDelivery() && strings.HasSuffix(m.body, "before") {
			last = m.body
		}
		if strings.HasPrefix(m.body, "SUB:") && strings.HasSuffix(m.body, ":a") && last != "" {
			return []message{m, {websocket.MessageBinary, last}}
		}
		return []message{m}
	}}
}

func publishFaults() map[string]fault {
	one := func(mode byte) func(string) []string {
		return func(body string) []string {
			if len(body) > 1 && body[0] == 2 && body[1] == mode {
				return []string{body[2:]}
			}
			return []string{body}
		}
	}
	return map[string]fault{
		"acknowledges publications": {"4.publish.no-ack", broken{up: func(_ *relay, m message) []message {
			if m.isDelivery() {
				return []message{m, text("PING")}
			}
			return []message{m}
		}}},
		"deliver-one 1 to all":     {"5.one-low-latency.exactly-one", broken{up: frames(one(1))}},
		"deliver-one 2 to all":     {"5.one-random.exactly-one", broken{up: frames(one(2))}},
		"deliver-one to the first": {"5.one-low-latency.any-connection 5.one-random.any-connection", toTheFirst()},
		"nobody there is an error": {"5.one-low-latency.nobody 5.one-random.nobody", broken{up: frames(func(body string) []string {
			if strings.HasPrefix(body, "\x02\x01") || strings.HasPrefix(body, "\x02\x02") {
				return []string{body, "?"}
			}
			return []string{body}
		})}},
		"no version 2": {
			"4.publish.v2-broadcast 4.publish.v2-low-latency 4.publish.v2-random",
			broken{up: frames(func(body string) []string { return drop(strings.HasPrefix(body, "\x02"), body) })},
		},
		"no empty payloads": {
			"4.publish.empty-payload",
			broken{up: frames(func(body string) []string { return drop(strings.HasSuffix(body, "\x00\x01a"), body) })},
		},
		"an empty tenant is bad": {
			"4.publish.empty-tenant",
			broken{up: frames(func(body string) []string { return drop(strings.HasPrefix(body, "\x00\x00\x00"), body) })},
		},
		"no fragments": {
			"4.publish.fragmented",
			broken{up: frames(func(body string) []string { return drop(strings.HasSuffix(body, "hello"), body) })},
		},
		"channels in lower case": {"6.channel.case 6.match.a.b.c 6.channel.valid", broken{up: frames(func(body string) []string {
			return []string{strings.NewReplacer("A", "a", "N", "n", "T", "t").Replace(body)}
		})}},
		"wildcards may be published to": {
			"6.channel.invalid 3.err.not-fatal",
			broken{up: frames(func(body string) []string { return []string{strings.ReplaceAll(body, "a.*", "a.x")} })},
		},
		"no odd characters": {"6.tenant.valid 6.channel.valid 6.pattern.valid 9.fragment-channels", broken{
			up: func(_ *relay, m message) []message {
				if strings.ContainsAny(m.body, "~@_") {
					return []message{text("SUB:::")}
				}
				return []message{m}
			},
		}},
		"65,536 bytes are fine": {
			"6.payload.over",
			broken{up: frames(func(body string) []string { return []string{body[:min(len(body), 65_540)]} })},
		},
		"unsubscribes nothing": {"3.unsub.stops 4.delivery.patterns-now 3.sub.duplicate-is-one", broken{up: lines(func(line string) []string {
			if rest, found := strings.CutPrefix(line, "UNSUB:"); found {
				return []string{"UNSUB:x-" + rest}
			}
			return []string{line}
		}), down: lines(func(line string) []string { return []string{strings.Replace(line, "OK:UNSUB:x-", "OK:UNSUB:", 1)} })}},
	}
}

// toTheFirst lets no connection but the first have any message of a number.
func toTheFirst() broken {
	var mu sync.Mutex
	var first *relay
	return broken{down: func(s *relay, m message) []message {
		mu.Lock()
		defer mu.Unlock()
		if !m.isDelivery() {
			return []message{m}
		}
		head, _ := splitDelivery(m.body)
		if last := head[len(head)-1]; last < '0' || last > '9' || strings.Contains(m.body, "mark") {
			return []message{m}
		}
		if first == nil {
			first = s
		}
		if s != first {
			return nil
		}
		return []message{m}
	}}
}

func otherFaults() map[string]fault {
	subscribed := func(change func(pattern string) string) broken { // to something else, of which nothing is said
		return broken{up: lines(func(line string) []string {
			parts := strings.SplitN(line, ":", 3)
			if len(parts) == 3 {
				parts[2] = change(parts[2])
			}
			return []string{strings.Join(parts, ":")}
		})}
	}
	page := func(path, says string) broken {
		return broken{page: func(r *http.Response, body string) string {
			if r.Request.URL.Path == path {
				r.StatusCode = http.StatusOK
				return says
			}
			return body
		}}
	}
	return map[string]fault{
		"matches nothing": {
			"6.match.a.b.c 6.match.a.* 6.match.a.*.c 6.match.a.b* 6.match.a.b*.c 6.match.a.b.> 6.match.a.b.# " +
				"6.match.*.b.# 6.match.# 6.match.> 6.match.* 6.match.a.b# 6.match.a.b> 6.match.b*.#",
			broken{down: frames(func(body string) []string { return drop(strings.Contains(body, "yes"), body) })},
		},
		"# as >": {"6.match.a.b.#", subscribed(func(p string) string { return strings.Replace(p, ".#", ".>", 1) })},
		"no subprotocol": {
			"2.handshake.subprotocol",
			broken{accept: func(_ *http.Request, _ http.ResponseWriter, opts *websocket.AcceptOptions) { opts.Subprotocols = nil }},
		},
		"echoes the token": {"2.handshake.token-not-echoed", broken{accept: func(r *http.Request, w http.ResponseWriter, _ *websocket.AcceptOptions) {
			w.Header().Set("X-Client", r.Header.Get("Sec-WebSocket-Protocol"))
		}}},
		"answers offers nobody made": {
			"2.handshake.no-offer 2.handshake.no-extension",
			broken{accept: func(_ *http.Request, w http.ResponseWriter, opts *websocket.AcceptOptions) {
				w.Header().Set("Sec-WebSocket-Protocol", "llps.v1")
				w.Header().Set("Sec-WebSocket-Extensions", "permessage-deflate")
			}},
		},
		"no protocol pongs": {"2.handshake.protocol-ping", broken{mute: 0x8a}},
		"nobody at /": {"1.ws.at-root", broken{accept: func(r *http.Request, _ http.ResponseWriter, _ *websocket.AcceptOptions) {
			if r.URL.Path == "/" {
				r.Header.Del("Sec-WebSocket-Key")
			}
		}}},
		"nobody at /ws": {"1.ws.at-ws", broken{accept: func(r *http.Request, _ http.ResponseWriter, _ *websocket.AcceptOptions) {
			if r.URL.Path == "/ws" {
				r.Header.Del("Sec-WebSocket-Key")
			}
		}}},
		"a page at /ws":    {"2.handshake.plain-get", page("/ws", "hello")},
		"ping in capitals": {"1.rest.ping", page("/ping", "PONG")},
		"no edges":         {"1.bootstrap.edges", page("/v1/bootstrap", `{"edges":[]}`)},
		"edges are URLs":   {"1.bootstrap.hosts", page("/v1/bootstrap", `{"edges":["wss://h/ws"]}`)},
		"a dead edge":      {"1.bootstrap.all-answer", page("/v1/bootstrap", `{"edges":["10.0.0.1:8080",{"host":"10.9.9.9:1"}]}`)},
		"closes with 1011": {
			"4.bad.repeated-closes-1008 6.message.1-MiB-closes-1009 7.close.no-text",
			broken{status: func(websocket.StatusCode) websocket.StatusCode { return 1011 }},
		},
		"no close frame": {"7.close.without-status 4.bad.repeated-closes-1008", broken{mute: 0x88}},
	}
}

func tokenFaults() map[string]fault {
	return map[string]fault{
		"anyone may come in": {
			"2.token.none-is-401 2.token.unknown-is-401 2.token.expired-is-401 2.token.origin 2.token.ip-mask 2.token.region " +
				"8.refresh.past 8.revoke.ok 8.revoke.cuts 8.subset.a.# 8.subset.a.> 8.subset.a.b 8.subset.a.? 8.subset.a.* 8.subset.a.(x|y*) " +
				"8.subset.(a|b).# 8.rights.publish 8.rights.deliver-one 8.rights.tenant 8.rights.grants-add-up 8.rights.nothing",
			broken{guarded: true, open: true},
		},
		"nobody may come in": {
			"8.get-token.nested 8.get-token.top-level 2.token.in-subprotocol",
			broken{guarded: true, offer: func(h http.Header) { h.Set("Sec-WebSocket-Protocol", "llps.v1") }},
		},
		"no look at the header": {"2.token.in-header 2.token.header-first", broken{guarded: true, offer: func(h http.Header) { h.Del("Authorization") }}},
		"the header last": {"2.token.header-first", broken{guarded: true, offer: func(h http.Header) {
			if strings.Contains(h.Get("Sec-WebSocket-Protocol"), "at.") {
				h.Del("Authorization")
			}
		}}},
		"no tails": {"8.subset.# 8.subset.>", broken{guarded: true, down: lines(func(line string) []string {
			if strings.HasPrefix(line, "OK:SUB") && strings.HasSuffix(line, ":#") {
				return []string{"ERR:permission_denied"}
			}
			return []string{line}
		})}},
	}
}

func pageFaults() map[string]fault {
	status := func(from, to int) broken {
		return broken{guarded: true, page: func(r *http.Response, body string) string {
			if r.StatusCode == from {
				r.StatusCode = to
			}
			return body
		}}
	}
	says := func(path, text string) broken {
		return broken{guarded: true, page: func(r *http.Response, body string) string {
			if r.Request.URL.Path == path {
				return text
			}
			return body
		}}
	}
	return map[string]fault{
		"bad requests are fine":   {"8.get-token.bad-is-400 8.refresh.bad-is-400 8.revoke.bad", status(400, 200)},
		"unknown tokens are fine": {"8.refresh.unknown-is-404", status(404, 200)},
		"everyone is a master": {
			"8.get-token.master-only 8.refresh.master-only 8.revoke.master-only 8.tokens.master-only",
			status(401, 200),
		},
		"issues nothing":           {"8.get-token.24-hours 8.get-token.nested", says("/v1/get-token", "{}")},
		"refreshes without a word": {"8.refresh.ok", says("/v1/refresh-token", "{}")},
		"revokes without a word":   {"8.revoke.ok", says("/v1/revoke-token", "{}")},
		"lists secrets":            {"8.tokens.list", listsSecrets()},
		"describes something else": {"8.docs.openapi", says("/api-docs/openapi.json", `{"paths":{"/ping":{}}}`)},
	}
}

// listsSecrets adds the last token to the list of tokens.
func listsSecrets() broken {
	var mu sync.Mutex
	last := ""
	return broken{guarded: true, page: func(r *http.Response, body string) string {
		mu.Lock()
		defer mu.Unlock()
		switch r.Request.URL.Path {
		case "/v1/get-token":
			last = body
		case "/v1/tokens":
			return "[" + body + "," + last + "]"
		}
		return body
	}}
}
