package suite

import (
	"context"
	"fmt"
	"strings"
)

func frameCases() []Case {
	return []Case{
		{
			"4.publish.v1", "S", "u16 len, tenant, u16 len, channel, payload broadcasts",
			0, func(ctx context.Context, t *trial) { t.publishes(ctx, publishV1(t.tenant, "a", "x")) },
		},
		{
			"4.publish.v2-broadcast", "S", "2, mode 0 and v1 broadcasts",
			0, func(ctx context.Context, t *trial) { t.publishes(ctx, publishV2(0, t.tenant, "a", "x")) },
		},
		{
			"4.publish.v2-low-latency", "S", "2, mode 1 and v1 reaches the one subscriber",
			0, func(ctx context.Context, t *trial) { t.publishes(ctx, publishV2(1, t.tenant, "a", "x")) },
		},
		{
			"4.publish.v2-random", "S", "2, mode 2 and v1 reaches the one subscriber",
			0, func(ctx context.Context, t *trial) { t.publishes(ctx, publishV2(2, t.tenant, "a", "x")) },
		},
		{"4.publish.empty-payload", "S", "an empty payload is legal", 0, func(ctx context.Context, t *trial) {
			c, p := t.subscriber(ctx, "a"), t.dial(ctx)
			p.publish("a", "")
			c.same(c.until(p), delivery{t.tenant, "a", "", []string{"a"}})
		}},
		{"4.publish.opaque-payload", "S", "any bytes are a payload and come as they were", 0, opaquePayload},
		{"4.publish.fragmented", "I", "a message in several WebSocket frames is one", 0, fragmented},
		{"4.publish.no-ack", "S", "a publication is not answered", 0, func(ctx context.Context, t *trial) {
			p := t.dial(ctx)
			p.publish("a", "x")
			p.binary(publishV2(1, t.tenant, "a", "x"))
			p.alive()
		}},
		{
			"4.publish.empty-tenant", "D", "an empty tenant means ~, and is delivered as that",
			needTenants, func(ctx context.Context, t *trial) {
				c := t.subscriber(ctx)
				c.sub("~", t.tenant)
				c.binary(publishV1("", t.tenant, "x"))
				c.same(c.until(c), delivery{"~", t.tenant, "x", []string{t.tenant}})
			},
		},
		{
			"4.delivery.concrete-channel", "S", "a delivery names the channel that was published to, not the pattern",
			0, func(ctx context.Context, t *trial) {
				c, p := t.subscriber(ctx, "a.*"), t.dial(ctx)
				p.publish("a.b", "x")
				c.same(c.until(p), delivery{t.tenant, "a.b", "x", []string{"a.*"}})
			},
		},
		{
			"4.delivery.one-frame-all-patterns", "S", "a connection gets one frame a message, which lists all its patterns that match, each once",
			0, allPatternsInOne,
		},
		{"4.delivery.own-patterns", "S", "a delivery lists the patterns of this connection only", 0, ownPatterns},
		{"4.delivery.patterns-now", "S", "a pattern that was unsubscribed is listed no more, a new one is", 0, patternsNow},
	}
}

// publishes checks that a frame with x for a arrives once.
func (t *trial) publishes(ctx context.Context, b []byte) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	p.binary(b)
	d := c.delivery("the message")
	c.same([]delivery{d}, delivery{t.tenant, "a", "x", []string{"a"}})
	c.same(c.until(p))
}

func opaquePayload(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	payloads := []string{all.String(), "\x00", "\xff\xfe", "\x01\x00\x01t", "PONG", strings.Repeat("\r\n", 500)}
	var want []delivery
	for _, payload := range payloads {
		p.publish("a", payload)
		want = append(want, delivery{t.tenant, "a", payload, []string{"a"}})
	}
	c.same(c.until(p), want...)
}

func fragmented(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	b := publishV1(t.tenant, "a", "hello")
	p.write(frame(opBinary, false, b[:1]), frame(opContinuation, false, b[1:7]), frame(opPing, true, nil), frame(opContinuation, true, b[7:]))
	c.same(c.until(p), delivery{t.tenant, "a", "hello", []string{"a"}})
}

func allPatternsInOne(ctx context.Context, t *trial) {
	patterns := []string{"a.b.c", "a.*.c", "a.b.*", "*.b.c", "a.b*.c", "a.b.>", "a.b.#", "a.#", "#", ">", "a.b.c#"}
	c, p := t.subscriber(ctx, append(patterns, "a.b", "b.#", "a.b.c>")...), t.dial(ctx)
	p.publish("a.b.c", "1")
	p.publish("a.b.c", "2")
	c.same(c.until(p), delivery{t.tenant, "a.b.c", "1", patterns}, delivery{t.tenant, "a.b.c", "2", patterns})
}

func ownPatterns(ctx context.Context, t *trial) {
	one, two, none, p := t.subscriber(ctx, "a.*"), t.subscriber(ctx, "a.b", "a.#"), t.subscriber(ctx, "b"), t.dial(ctx)
	p.publish("a.b", "x")
	one.same(one.until(p), delivery{t.tenant, "a.b", "x", []string{"a.*"}})
	two.same(two.until(p), delivery{t.tenant, "a.b", "x", []string{"a.b", "a.#"}})
	none.until(p)
}

func patternsNow(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a.*", "a.b"), t.dial(ctx)
	c.unsub(t.tenant, "a.*")
	c.sub(t.tenant, "a.>")
	p.publish("a.b", "x")
	c.same(c.until(p), delivery{t.tenant, "a.b", "x", []string{"a.b", "a.>"}})
}

func badFrameCases() []Case {
	bad := func(says string, frames ...[]byte) func(ctx context.Context, t *trial) {
		return func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			for _, b := range frames {
				c.binary(b)
				c.expectFault(fmt.Sprintf("%s % x", says, b), "bad_frame")
			}
			c.alive()
		}
	}
	v1 := string(publishV1("t", "a", ""))
	return []Case{
		{
			"4.bad.first-byte", "I", "a binary message that begins with neither 0 nor 2 is answered ERR:bad_frame",
			0, bad("first byte", []byte("\x01"+v1), []byte("\x03\x00"+v1), []byte("\xff")),
		},
		{"4.bad.mode", "I", "so is v2 with an unknown mode", 0, bad("mode", []byte("\x02\x03"+v1), []byte("\x02\xff"+v1))},
		{
			"4.bad.truncated", "I", "so is one that ends within its names",
			0, bad("truncated", []byte{0}, []byte{2}, []byte{2, 0}, []byte{0, 5, 't'}, []byte{0, 1, 't', 0}, []byte{0, 1, 't', 0, 9, 'a'}),
		},
		{"4.bad.empty", "I", "so is an empty one", 0, bad("empty", nil)},
		{"4.bad.repeated-closes-1008", "I", "who sends nothing but bad frames is closed with 1008 within 1,000 of them", 0, badForEver},
	}
}

func badForEver(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for range 1000 {
		if !t.ok() || c.socket.write(frame(opBinary, true, []byte{9})) != nil || !c.read("an answer") {
			break
		}
	}
	if status := c.closing(); t.ok() && status != 1008 {
		t.fail("closed with %d", status)
	}
}
