package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

func lineCases() []Case {
	return []Case{
		{
			"3.sub.acked-verbatim", "S", "SUB:<tenant>:<pattern> is answered OK:SUB:<tenant>:<pattern>, byte for byte",
			0, func(ctx context.Context, t *trial) {
				c := t.dial(ctx)
				for _, p := range []string{"a", "a.b.c", "a.*", "a.b*", "a.b.>", "a.b.#", "#", ">", "*", "a#", "a>", "A_b-C~@.9*", "*.*.#"} {
					c.sub(t.tenant, p)
				}
				c.alive()
			},
		},
		{"3.sub.duplicate-answers-ok", "I", "a second SUB of the same is answered OK", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.sub(t.tenant, "a")
			c.sub(t.tenant, "a")
			c.alive()
		}},
		{
			"3.sub.duplicate-is-one", "I", "a second SUB adds no second subscription: one UNSUB ends it, and deliveries list it once",
			0, duplicateIsOne,
		},
		{"3.sub.no-lists", "S", "SUB takes one pattern, no list with commas", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.line("SUB:" + t.tenant + ":a,b")
			c.expectFault("a list", "invalid_pattern")
			c.alive()
		}},
		{"3.sub.no-colon", "D", "a pattern has no colon: the tenant ends at the first", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.line("SUB:" + t.tenant + ":a:b")
			c.expectFault("a colon", "invalid_pattern")
			c.alive()
		}},
		{
			"3.sub.empty-tenant", "D/I", "an empty tenant means ~, and is acknowledged as that",
			needTenants, func(ctx context.Context, t *trial) {
				c := t.dial(ctx)
				c.line("SUB::" + t.tenant)
				c.expect("OK:SUB:~:" + t.tenant)
				c.line("UNSUB::" + t.tenant)
				c.expect("OK:UNSUB:~:" + t.tenant)
			},
		},
		{"3.unsub.acked-verbatim", "S", "UNSUB is answered OK:UNSUB, byte for byte", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.sub(t.tenant, "a.*.B>")
			c.unsub(t.tenant, "a.*.B>")
			c.alive()
		}},
		{"3.unsub.unknown-answers-ok", "I", "UNSUB without such a subscription is answered OK", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.unsub(t.tenant, "never.was")
			c.alive()
		}},
		{"3.unsub.stops", "S", "after OK:UNSUB nothing comes by that pattern any more", 0, unsubStops},
		{"3.ping.pong", "S", "every PING is answered by exactly PONG", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			for range 100 {
				c.line("PING")
			}
			for range 100 {
				c.expect("PONG")
			}
			c.alive()
		}},
		{"3.err.unknown-command", "I", "a line that nobody knows is answered ERR:unknown_command, and costs nothing more", 0, unknownLines},
		{"3.err.not-fatal", "S", "an ERR ends neither the connection nor its subscriptions", 0, errorsAreNotFatal},
		{"3.err.one-each", "S", "every request has one answer, in the order of the requests", 0, oneAnswerEach},
	}
}

func duplicateIsOne(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a", "a"), t.dial(ctx)
	p.publish("a", "1")
	c.same(c.until(p), delivery{t.tenant, "a", "1", []string{"a"}})
	c.unsub(t.tenant, "a")
	p.publish("a", "2")
	c.same(c.until(p))
}

func unsubStops(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a", "b.#"), t.dial(ctx)
	c.unsub(t.tenant, "a")
	p.publish("a", "1")
	p.publish("b.c", "2")
	c.same(c.until(p), delivery{t.tenant, "b.c", "2", []string{"b.#"}})
}

func unknownLines(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for _, line := range []string{"", "HELLO", "sub:t:a", "SUB", "SUB:", "SUB:" + t.tenant, "PING:1", "ping", " PING", "PONG", "OK:SUB:t:a", "RECONNECT"} {
		c.line(line)
		c.expectFault(fmt.Sprintf("%q", line), "unknown_command", "invalid_tenant", "invalid_pattern")
	}
	c.alive()
}

func errorsAreNotFatal(ctx context.Context, t *trial) {
	c := t.subscriber(ctx, "a")
	c.line("SUB:" + t.tenant + ":a..b")
	c.expectFault("a..b", "invalid_pattern")
	c.line("HELLO")
	c.expectFault("HELLO", "unknown_command")
	c.publish("a.*", "")
	c.expectFault("a wildcard", "invalid_channel")
	c.publish("a", "1")
	c.same(c.until(c), delivery{t.tenant, "a", "1", []string{"a"}})
	c.alive()
}

func oneAnswerEach(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for i := range 50 {
		c.line(fmt.Sprintf("SUB:%s:a.%d", t.tenant, i))
		c.line(fmt.Sprintf("SUB:%s:..%d", t.tenant, i))
		c.line(fmt.Sprintf("UNSUB:%s:a.%d", t.tenant, i))
	}
	for i := range 50 {
		c.expect(fmt.Sprintf("OK:SUB:%s:a.%d", t.tenant, i))
		c.expectFault("SUB of an invalid pattern", "invalid_pattern")
		c.expect(fmt.Sprintf("OK:UNSUB:%s:a.%d", t.tenant, i))
	}
	c.alive()
}

// same compares deliveries, but for the order of patterns.
func (c *conn) same(got []delivery, want ...delivery) {
	if !c.ok() {
		return
	}
	if len(got) != len(want) {
		c.fail("got %d deliveries %s, want %d %s", len(got), short(fmt.Sprint(got)), len(want), short(fmt.Sprint(want)))
		return
	}
	for i := range got {
		slices.Sort(got[i].patterns)
		slices.Sort(want[i].patterns)
		if got[i].tenant != want[i].tenant || got[i].channel != want[i].channel || got[i].payload != want[i].payload ||
			!slices.Equal(got[i].patterns, want[i].patterns) {
			c.fail("delivery %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func jsonCases() []Case {
	return []Case{
		{
			"3.json.subscribe", "D/I", `{"action":"subscribe",...} subscribes, and deliveries come as {"event":"message",...}`,
			0, jsonSubscribe,
		},
		{"3.json.publish", "D/I", `{"tenant","channel","payload"} publishes, to clients of either form`, 0, jsonPublish},
		{"3.json.malformed", "I", "what begins with { but is no command is an error, and ends nothing", 0, jsonMalformed},
	}
}

// event is a JSON answer.
type event struct {
	Event   string `json:"event"`
	Error   string `json:"error"`
	Tenant  string `json:"tenant"`
	Channel string `json:"channel"`
	Payload string `json:"payload"`
}

// send sends a JSON object and returns the next event; a server that answers in lines has no JSON, which is no fault.
func (c *conn) send(object map[string]any) event {
	text, err := json.Marshal(object)
	if err != nil {
		c.fail("%w", err)
	}
	c.line(string(text))
	return c.event()
}

func (c *conn) event() event {
	var e event
	line := c.nextLine("a JSON event")
	if c.ok() && line[0] != '{' {
		c.skip("optional, and answered " + short(line))
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		c.fail("%q: %w", short(line), err)
	}
	return e
}

func jsonSubscribe(ctx context.Context, t *trial) {
	c, p := t.dial(ctx), t.dial(ctx)
	e := c.send(map[string]any{"action": "subscribe", "tenant": t.tenant, "channel": "a.#"})
	if want := (event{Event: "subscribed", Tenant: t.tenant, Channel: "a.#"}); t.ok() && e != want {
		t.fail("got %+v, want %+v", e, want)
	}
	p.publish("a.b", "hello")
	for e = c.event(); t.ok() && e.Event == "ready"; e = c.event() {
	}
	if want := (event{Event: "message", Tenant: t.tenant, Channel: "a.b", Payload: "hello"}); t.ok() && e != want {
		t.fail("got %+v, want %+v", e, want)
	}
}

func jsonPublish(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	e := p.send(map[string]any{"action": "subscribe", "tenant": t.tenant, "channel": "a"})
	if t.ok() && e.Event != "subscribed" {
		t.fail("got %+v", e)
	}
	for _, payload := range []string{"1", "grüße"} {
		object, err := json.Marshal(map[string]any{"tenant": t.tenant, "channel": "a", "payload": payload})
		if err != nil {
			t.fail("%w", err)
		}
		p.line(string(object))
		for e = p.event(); t.ok() && e.Event == "ready"; e = p.event() {
		}
		if want := (event{Event: "message", Tenant: t.tenant, Channel: "a", Payload: payload}); t.ok() && e != want {
			t.fail("got %+v, want %+v", e, want)
		}
		c.same([]delivery{c.delivery("what was published as JSON")}, delivery{t.tenant, "a", payload, []string{"a"}})
	}
}

func jsonMalformed(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for _, text := range []string{"{", `{"action":7}`, `{"action":"dance"}`, `{}`, `{"action":"subscribe","tenant":"t","channel":"a..b"}`} {
		c.line(text)
		if e := c.event(); t.ok() && (e.Event != "error" || e.Error == "") {
			t.fail("%s: got %+v", text, e)
		}
	}
	if e := c.send(map[string]any{"action": "ping"}); t.ok() && e.Event != "pong" {
		t.fail("got %+v", e)
	}
}
