package suite

import (
	"context"
	"fmt"
	"strings"
)

func nameCases() []Case {
	return []Case{
		{"6.tenant.valid", "D", "a tenant is 1 to 128 bytes of a-z A-Z 0-9 _ - ~ @ .", needTenants, func(ctx context.Context, t *trial) {
			for _, tenant := range []string{longTenant(), oddTenant(), "~"} {
				c := t.subscriber(ctx)
				c.sub(tenant, t.tenant)
				c.binary(publishV1(tenant, t.tenant, "x"))
				c.same(c.until(c), delivery{tenant, t.tenant, "x", []string{t.tenant}})
			}
		}},
		{"6.tenant.invalid", "D", "any other is refused, for SUB, UNSUB and publications", needTenants, invalidTenants},
		{"6.channel.valid", "D", "a channel is 1 to 256 bytes of the same characters, in tokens between dots", 0, validChannels},
		{"6.channel.invalid", "D/I", "any other is refused: no wildcards, no empty tokens", 0, func(ctx context.Context, t *trial) {
			c := t.subscriber(ctx, "#")
			for _, channel := range invalidChannels() {
				c.publish(channel, "x")
				c.expectFault(fmt.Sprintf("%q", short(channel)), "invalid_channel")
			}
			c.same(c.until(c))
		}},
		{"6.channel.case", "I", "channels differ by case", 0, func(ctx context.Context, t *trial) {
			c, p := t.subscriber(ctx, "News.Today"), t.dial(ctx)
			p.publish("news.today", "1")
			p.publish("News.today", "2")
			p.publish("News.Today", "3")
			c.same(c.until(p), delivery{t.tenant, "News.Today", "3", []string{"News.Today"}})
		}},
		{
			"6.pattern.valid", "D/I", "a pattern is 1 to 256 bytes; wildcards end a token, tails end the pattern",
			0, func(ctx context.Context, t *trial) {
				c := t.dial(ctx)
				for _, p := range []string{
					"*", "#", ">", "a*", "a#", "a>", "*.*.*", "a*.b*.c#", "*.#", "*.>", "~.@", "A-z_0.9*", "1",
					long(255) + "*", strings.Repeat("*.", 127) + "#", long(256),
				} {
					c.sub(t.tenant, p)
				}
			},
		},
		{
			"6.pattern.invalid", "I", "any other is refused: a wildcard within a token, a tail before the end, an empty token, another character",
			0, invalidPatterns,
		},
	}
}

func long(n int) string { return strings.Repeat("n", n) }

func invalidTenants(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for _, tenant := range []string{long(129), "a b", "é", "a#", "a*", ">", "a/b", "$a", "a\x7f", "a,b"} {
		c.line("SUB:" + tenant + ":a")
		c.expectFault(fmt.Sprintf("SUB in %q", tenant), "invalid_tenant")
		c.line("UNSUB:" + tenant + ":a")
		c.expectFault(fmt.Sprintf("UNSUB in %q", tenant), "invalid_tenant")
		c.binary(publishV1(tenant, "a", ""))
		c.expectFault(fmt.Sprintf("publication in %q", tenant), "invalid_tenant")
	}
	c.binary(publishV1("a:b", "a", ""))
	c.expectFault("publication in a:b", "invalid_tenant")
	c.alive()
}

func validChannels(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "#"), t.dial(ctx)
	var want []delivery
	for _, channel := range []string{
		"a", "0", "_", "-", "~", "@", "a.b.c", "~.@", "A-z_0.9", long(256), strings.Repeat("a.", 127) + "b", strings.Repeat("a.", 127) + "bc",
	} {
		p.publish(channel, "x")
		want = append(want, delivery{t.tenant, channel, "x", []string{"#"}})
	}
	for i, d := range c.until(p) {
		if i < len(want) {
			c.same([]delivery{d}, want[i])
		}
	}
	p.alive()
}

func invalidChannels() []string {
	return []string{
		"", ".", "a.", ".a", "a..b", "a.*", "*", "#", "a.#", "a>", "a*", "a:b", "a b", "a\n", "é", "a\x00", "a/b", "a,b", "a?", "(a|b)",
		long(257), strings.Repeat("a.", 128) + "b",
	}
}

func invalidPatterns(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	for _, p := range []string{
		"", ".", "a.", ".a", "a..b", "a..#", "#.", "a*b", "*a", "#.a", ">.a", "a#.b", "a>.b", "**", "##", ">>", "a**", "a*#", "a#*", "*>", "*#",
		"a#b", "#a", ">a", "a.*b.c", "a b", "a,b", "a?", "é", "a\x00", "a/b", long(257), long(256) + "*",
	} {
		c.line("SUB:" + t.tenant + ":" + p)
		c.expectFault(fmt.Sprintf("%q", short(p)), "invalid_pattern")
	}
	c.alive()
}

// matchRow is a pattern, channels that it matches and channels that it does not, and who says so.
type matchRow struct{ pattern, yes, no, mark string }

func matchRows() []matchRow {
	return []matchRow{
		{"a.b.c", "a.b.c", "a.b a.b.c.d A.b.c", "D"},
		{"a.*", "a.b", "a a.b.c", "D"},
		{"a.*.c", "a.x.c", "a.c a.x.y.c", "D"},
		{"a.b*", "a.b a.b1", "a.c a.b.c a.b1.c", "D"},
		{"a.b*.c", "a.b.c a.b9.c", "a.b.d a.c.c", "D"},
		{"a.b.>", "a.b.c a.b.c.d", "a.b a", "D"},
		{"a.b.#", "a.b a.b.c a.b.c.d", "a a.bc", "D"},
		{"*.b.#", "x.b x.b.c", "b x.y.b", "I"},
		{"#", "a a.b a.b.c x.y.z.w", "", "I"},
		{">", "a a.b a.b.c x.y.z.w", "", "I"},
		{"*", "a", "a.b", "D"},
		{"a.b#", "a.b a.b1 a.b.c a.b1.c.d", "a a.c a.xb", "I"},
		{"a.b>", "a.b.c a.b1.c.d", "a.b a.b1 a.c.d", "I"},
		{"b*.#", "b b1 b1.c", "a a.b", "I"},
	}
}

// matchCases are the table of section 6, a case for each row.
func matchCases() []Case {
	var cases []Case
	for _, row := range matchRows() {
		says := row.pattern + " matches " + row.yes
		if row.no != "" {
			says += ", and not " + row.no
		}
		cases = append(cases, Case{"6.match." + row.pattern, row.mark, says, 0, func(ctx context.Context, t *trial) { t.matches(ctx, row) }})
	}
	return cases
}

func (t *trial) matches(ctx context.Context, row matchRow) {
	c, p := t.subscriber(ctx, row.pattern), t.dial(ctx)
	var want []delivery
	for channel := range strings.FieldsSeq(row.yes) {
		p.publish(channel, "yes")
		want = append(want, delivery{t.tenant, channel, "yes", []string{row.pattern}})
	}
	for channel := range strings.FieldsSeq(row.no) {
		p.publish(channel, "no")
	}
	c.same(c.until(p), want...)
}

func limitCases() []Case {
	return []Case{
		{"6.payload.65535", "D/I", "a payload of 65,535 bytes is delivered, with the longest names too", needTenants, largest},
		{"6.payload.over", "D", "one of 65,536 is not: ERR:payload_too_large, or closed with 1009", 0, func(ctx context.Context, t *trial) {
			c, p := t.subscriber(ctx, "a"), t.dial(ctx)
			p.publish("a", long(65_536))
			p.read("a refusal")
			if p.closed {
				if t.ok() && p.socket.status != 1009 {
					t.fail("closed with %d", p.socket.status)
				}
				p = t.dial(ctx)
			} else {
				p.expectFault("65,536 bytes", "payload_too_large")
			}
			c.same(c.until(p))
		}},
		{"6.message.1-MiB-closes-1009", "D", "a message of 1 MiB closes with 1009", 0, tooBig},
	}
}

func largest(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "a"), t.dial(ctx)
	p.publish("a", long(65_535))
	c.same(c.until(p), delivery{t.tenant, "a", long(65_535), []string{"a"}})
	c.sub(longTenant(), long(256))
	p.binary(publishV2(0, longTenant(), long(256), long(65_535)))
	c.same(c.until(p), delivery{longTenant(), long(256), long(65_535), []string{long(256)}})
}

func tooBig(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	if !t.ok() {
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = c.socket.write(frame(opBinary, true, make([]byte, 1<<20))) // the server need not read it all
	}()
	if status := c.closing(); t.ok() && status != 1009 {
		t.fail("closed with %d", status)
	}
	_ = c.socket.net.Close()
	<-written
}
