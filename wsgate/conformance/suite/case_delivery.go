package suite

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

func deliveryCases() []Case {
	return []Case{
		{
			"5.broadcast.every-connection", "T", "a broadcast reaches every connection with a matching pattern, once each, and no other",
			0, everyConnection,
		},
		{"5.echo", "T", "a publisher that is subscribed gets its own messages", 0, func(ctx context.Context, t *trial) {
			c := t.subscriber(ctx, "a.#")
			c.publish("a.b", "mine")
			c.same(c.until(c), delivery{t.tenant, "a.b", "mine", []string{"a.#"}})
		}},
		{"5.order", "D", "messages of one connection come to another in their order", 0, inOrder},
		{
			"5.no-replay", "D", "nothing is stored: what was published before a subscription does not come",
			0, func(ctx context.Context, t *trial) {
				c, p := t.subscriber(ctx), t.dial(ctx)
				p.publish("a", "before")
				c.until(p)
				c.sub(t.tenant, "a")
				p.publish("a", "after")
				c.same(c.until(p), delivery{t.tenant, "a", "after", []string{"a"}})
			},
		},
		{"5.tenants.isolated", "D", "what is published in a tenant comes only in that tenant", needTenants, tenantsIsolated},
		{"5.tenants.no-wildcard", "D", "a tenant is never a wildcard", needTenants, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			for _, tenant := range []string{"*", "#", ">", "t*"} {
				c.line("SUB:" + tenant + ":a")
				c.expectFault(tenant, "invalid_tenant", "permission_denied")
			}
		}},
	}
}

func everyConnection(ctx context.Context, t *trial) {
	p := t.dial(ctx)
	var all []*conn
	for _, pattern := range []string{"a.b", "a.b", "a.*", "#", "b"} {
		all = append(all, t.subscriber(ctx, pattern))
	}
	p.publish("a.b", "1")
	p.publish("a.b", "2")
	for i, pattern := range []string{"a.b", "a.b", "a.*", "#"} {
		all[i].same(all[i].until(p), delivery{t.tenant, "a.b", "1", []string{pattern}}, delivery{t.tenant, "a.b", "2", []string{pattern}})
	}
	all[4].same(all[4].until(p))
}

func inOrder(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a.#"), t.dial(ctx)
	var want []delivery
	for i := range 500 {
		channel, payload := fmt.Sprint("a.", i%3), fmt.Sprint(i)
		p.publish(channel, payload)
		want = append(want, delivery{t.tenant, channel, payload, []string{"a.#"}})
	}
	c.same(c.until(p), want...)
}

func tenantsIsolated(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a", "#"), t.dial(ctx)
	c.sub(t.other(), "a")
	p.publish("a", "1")
	p.binary(publishV1(t.other(), "a", "2"))
	p.binary(publishV1(strings.ToUpper(t.tenant), "a", "3"))
	p.binary(publishV1("~", t.tenant, "4"))
	got := c.until(p)
	if t.token != "" { // there are no rights in the third
		p.expectFault("another tenant", "permission_denied")
	}
	c.same(got, delivery{t.tenant, "a", "1", []string{"a", "#"}}, delivery{t.other(), "a", "2", []string{"a"}})
}

func oneCases() []Case {
	var cases []Case
	for mode, name := range []string{1: "low-latency", 2: "random"} {
		if name == "" {
			continue
		}
		in := func(run func(ctx context.Context, t *trial, mode byte)) func(context.Context, *trial) {
			return func(ctx context.Context, t *trial) { run(ctx, t, byte(mode)) }
		}
		cases = append(
			cases,
			Case{
				"5.one-" + name + ".exactly-one", "T", "a deliver-one message comes to exactly one subscribed connection",
				0, in(exactlyOne),
			},
			Case{"5.one-" + name + ".any-connection", "T", "which connection of the node that is, is random", 0, in(anyConnection)},
			Case{"5.one-" + name + ".nobody", "T", "with no subscriber a deliver-one message is a silent no-op", 0, in(nobody)},
			Case{
				"5.one-" + name + ".all-patterns", "I", "the connection gets one frame, which lists all its patterns that match",
				0, in(oneWithPatterns),
			},
			Case{"5.one-" + name + ".publisher", "T/I", "the publisher, if subscribed, is a candidate", 0, in(publisherCounts)},
		)
	}
	return cases
}

// share publishes count deliver-one messages for three connections and returns who got which.
func (t *trial) share(ctx context.Context, mode byte, count int) (got [3][]delivery) {
	p := t.dial(ctx)
	conns := [3]*conn{t.subscriber(ctx, "a"), t.subscriber(ctx, "a"), t.subscriber(ctx, "a")}
	for i := range count {
		p.binary(publishV2(mode, t.tenant, "a", fmt.Sprint(i)))
	}
	// Deliver-one messages may be slower than the marks: look until they are all there, and once more.
	total := 0
	for round := 0; t.ok() && round < 1000 && total < count; round++ {
		for i, c := range conns {
			more := c.until(p)
			got[i] = append(got[i], more...)
			total += len(more)
		}
	}
	for i, c := range conns {
		got[i] = append(got[i], c.until(p)...)
	}
	return got
}

func exactlyOne(ctx context.Context, t *trial, mode byte) {
	var times [30]int
	for _, list := range t.share(ctx, mode, len(times)) {
		for _, d := range list {
			var i int
			if _, err := fmt.Sscan(d.payload, &i); err != nil || i < 0 || i >= len(times) {
				t.fail("got %v", d)
				return
			}
			times[i]++
		}
	}
	for i, n := range times {
		if n != 1 {
			t.fail("message %d came %d times", i, n)
		}
	}
}

func anyConnection(ctx context.Context, t *trial, mode byte) {
	for _, list := range t.share(ctx, mode, 120) { // to miss one by chance: 3 × (2/3)^120 < 10^-20
		if len(list) == 0 {
			t.fail("a connection got none of 120 messages for three")
		}
	}
}

func nobody(ctx context.Context, t *trial, mode byte) {
	c, p := t.subscriber(ctx, "b"), t.dial(ctx)
	p.binary(publishV2(mode, t.tenant, "a", "x"))
	c.same(c.until(p))
	p.alive()
}

func oneWithPatterns(ctx context.Context, t *trial, mode byte) {
	c, p := t.subscriber(ctx, "a.b", "a.*", "#", "c"), t.dial(ctx)
	p.binary(publishV2(mode, t.tenant, "a.b", "x"))
	c.same([]delivery{c.delivery("the message")}, delivery{t.tenant, "a.b", "x", []string{"a.b", "a.*", "#"}})
	c.same(c.until(p))
}

func publisherCounts(ctx context.Context, t *trial, mode byte) {
	c := t.subscriber(ctx, "a")
	c.binary(publishV2(mode, t.tenant, "a", "x"))
	c.same([]delivery{c.delivery("the message")}, delivery{t.tenant, "a", "x", []string{"a"}})
}

func overlapCases() []Case {
	return []Case{
		{"7.overlap.both", "S", "two connections with the same subscriptions both get everything, until one is closed", 0, overlapBoth},
		{
			"7.overlap.publish-by-new", "S", "a client may publish by the new connection while it still reads the old",
			0, func(ctx context.Context, t *trial) {
				before, now := t.subscriber(ctx, "a"), t.subscriber(ctx, "a")
				now.publish("a", "x")
				want := delivery{t.tenant, "a", "x", []string{"a"}}
				before.same(before.until(now), want)
				now.same(now.until(now), want)
			},
		},
		{
			"7.resubscribe.all-acked", "S", "of many SUBs at once every one is acknowledged: the SDK switches only after the last",
			0, manySubs,
		},
		{
			"7.resubscribe.at-once", "S", "a new connection may take up a subscription that the old one holds or just held",
			0, resubscribeAtOnce,
		},
		{
			"7.close.without-status", "S", "a close frame without a status is answered with a close frame, and the connection ends",
			0, func(ctx context.Context, t *trial) {
				c := t.dial(ctx)
				c.alive()
				c.write(frame(opClose, true, nil))
				if status := c.closing(); t.ok() && status == abnormal {
					t.fail("ended without a close frame")
				}
			},
		},
		{"7.close.no-text", "I", "text that is not UTF-8 closes with 1007 (RFC 6455)", 0, func(ctx context.Context, t *trial) {
			c := t.dial(ctx)
			c.write(frame(opText, true, []byte("SUB:t:\xff\xfe")))
			if status := c.closing(); t.ok() && status != 1007 {
				t.fail("closed with %d", status)
			}
		}},
		{"7.close.others-live", "I", "the end of one connection costs the others nothing", 0, othersLive},
	}
}

func overlapBoth(ctx context.Context, t *trial) {
	before, p := t.subscriber(ctx, "a", "b.#"), t.dial(ctx)
	now := t.subscriber(ctx, "a", "b.#")
	want := []delivery{{t.tenant, "a", "1", []string{"a"}}, {t.tenant, "b.c", "2", []string{"b.#"}}}
	p.publish("a", "1")
	p.publish("b.c", "2")
	before.same(before.until(p), want...)
	now.same(now.until(p), want...)
	before.write(frame(opClose, true, nil))
	before.closing()
	p.publish("a", "1")
	p.publish("b.c", "2")
	now.same(now.until(p), want...)
}

func manySubs(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	const n = 500
	for i := range n {
		c.line(fmt.Sprintf("SUB:%s:device.%d.#", t.tenant, i))
	}
	for i := range n {
		c.expect(fmt.Sprintf("OK:SUB:%s:device.%d.#", t.tenant, i))
	}
	c.alive()
}

func resubscribeAtOnce(ctx context.Context, t *trial) {
	p := t.dial(ctx)
	c := t.subscriber(ctx, "a")
	for i := range 10 {
		if !t.ok() {
			return
		}
		_ = c.socket.net.Close()
		c = t.subscriber(ctx, "a")
		p.publish("a", fmt.Sprint(i))
		c.same(c.until(p), delivery{t.tenant, "a", fmt.Sprint(i), []string{"a"}})
	}
}

func othersLive(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	for range 5 {
		dies := t.subscriber(ctx, "a")
		if t.ok() {
			_ = dies.socket.net.Close()
		}
		p.publish("a", "x")
		c.same(c.until(p), delivery{t.tenant, "a", "x", []string{"a"}})
	}
}

func helperCases() []Case {
	return []Case{
		{"9.pong-ahead", "S", "PONG goes ahead of queued deliveries, or the measured time would include the queue", 0, pongAhead},
		{
			"9.fragment-channels", "S", "<channel>._contrl.<16 hex> is a channel, and below <channel>.#",
			0, func(ctx context.Context, t *trial) {
				c, p := t.subscriber(ctx, "up.load.#"), t.dial(ctx)
				control := "up.load._contrl." + randomHex(8)
				p.publish(control, "FPSFREQ1")
				p.publish("up.load", "FPSFRAG1")
				c.same(c.until(p), delivery{t.tenant, control, "FPSFREQ1", []string{"up.load.#"}}, delivery{t.tenant, "up.load", "FPSFRAG1", []string{"up.load.#"}})
			},
		},
		{"9.batch-of-16-KiB", "S", "the default fragments of 16 KiB arrive whole and in order", 0, func(ctx context.Context, t *trial) {
			c, p := t.subscriber(ctx, "a"), t.dial(ctx)
			var want []delivery
			for i := range 20 {
				payload := strings.Repeat(string(rune('a'+i)), 16<<10)
				p.publish("a", payload)
				want = append(want, delivery{t.tenant, "a", payload, []string{"a"}})
			}
			c.same(c.until(p), want...)
		}},
	}
}

// pongAhead lets deliveries pile up for a connection that does not read, far more than sockets hold, and then asks for a PONG.
func pongAhead(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	if !t.ok() {
		return
	}
	if tcp, isTCP := c.socket.net.(*net.TCPConn); isTCP {
		_ = tcp.SetReadBuffer(16 << 10)
	}
	payload := strings.Repeat("x", 60_000)
	for range 300 {
		p.publish("a", payload)
	}
	p.alive()
	c.line("PING")
	p.alive()
	p.alive()
	var came []bool // true for PONG
	for t.ok() && !slices.Contains(came, true) && len(came) < 400 {
		c.lines, c.deliveries = nil, nil
		if !c.read("PONG") {
			break
		}
		came = append(came, slices.Contains(c.lines, "PONG"))
	}
	if c.closed {
		t.skip("the server has closed the slow connection")
		return
	}
	p.publish("a", "last")
	behind := 0
	for t.ok() && c.delivery("what was queued").payload != "last" {
		behind++
	}
	if t.ok() && behind == 0 {
		t.fail("PONG came after all %d deliveries", len(came)-1)
	}
}
