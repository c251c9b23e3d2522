package suite

import (
	"context"
	"strings"
)

// subsetRow is a rule for subscribing, patterns that it admits and patterns that it does not.
type subsetRow struct{ rule, yes, no string }

func subsetRows() []subsetRow {
	return []subsetRow{
		{"a.#", "a a.# a.> a.* a.b* a.b.# a.b> a.b.c", "a# a* # > * b *.a"},
		{"a.>", "a.> a.* a.b.# a.b a.b.c", "a a.# # b"},
		{"a.b", "a.b", "a a.b.c a.* a.b* a.b.# a.#"},
		{"a.?", "a.x a.y1", "a.* a.p* a a.x.y a.>"},
		{"a.*", "a.x a.p* a.*", "a a.# a.> a.x.y"},
		{"a.(x|y*)", "a.x a.y a.y1 a.y*", "a.z a.* a.x* a.x.y"},
		{"(a|b).#", "a b a.x b.#", "c * # (a|b)"},
		{"#", "# > * a a.b.c a.#", ""},
		{">", "# > a a.b.c", ""},
	}
}

func rightCases() []Case {
	var cases []Case
	for _, row := range subsetRows() {
		says := "the rule " + row.rule + " admits the subscriptions " + row.yes
		if row.no != "" {
			says += ", and not " + row.no
		}
		cases = append(cases, Case{"8.subset." + row.rule, "D/I", says, needMaster, func(ctx context.Context, t *trial) { t.admits(ctx, row) }})
	}
	return append(
		cases,
		Case{
			"8.rights.publish", "D", "publications outside the rights are answered ERR:permission_denied and delivered to nobody",
			needMaster, publishRights,
		},
		Case{"8.rights.deliver-one", "I", "deliver-one messages are no exception", needMaster, publishOneRights},
		Case{"8.rights.tenant", "D", "without a grant for a tenant everything in it is refused", needMaster, tenantRights},
		Case{
			"8.rights.grants-add-up", "D", "several grants, and several rules of one, add up; but one rule must admit the whole pattern",
			needMaster, grantsAddUp,
		},
		Case{"8.rights.nothing", "I", "a grant with empty lists allows nothing", needMaster, func(ctx context.Context, t *trial) {
			c := t.holder(ctx, grant(t.tenant, "", ""))
			c.denied("a")
			c.publish("a", "x")
			c.expectFault("a publication", "permission_denied")
		}},
	)
}

// grant lists rules for publishing and for subscribing.
func grant(tenant, pub, sub string) map[string]any {
	return map[string]any{"tenant_ids": []string{tenant}, "allow_channels_pub": list(pub), "allow_channels_sub": list(sub)}
}

func list(words string) []string { return append([]string{}, strings.Fields(words)...) }

// holder is a connection with a token of these grants.
func (t *trial) holder(ctx context.Context, grants ...map[string]any) *conn {
	return t.dialBy(ctx, handshake{protocols: "llps.v1,at." + t.mint(ctx, rights(grants...))})
}

// denied expects a subscription to be refused.
func (c *conn) denied(pattern string) {
	c.line("SUB:" + c.tenant + ":" + pattern)
	codes := []string{"permission_denied"}
	if strings.ContainsAny(pattern, "()") {
		codes = []string{"invalid_pattern", "permission_denied"}
	}
	c.expectFault("SUB of "+pattern, codes...)
}

func (t *trial) admits(ctx context.Context, row subsetRow) {
	c := t.holder(ctx, grant(t.tenant, "", row.rule))
	for pattern := range strings.FieldsSeq(row.yes) {
		c.sub(t.tenant, pattern)
	}
	for pattern := range strings.FieldsSeq(row.no) {
		c.denied(pattern)
	}
	c.alive()
}

func publishRights(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "#"), t.holder(ctx, grant(t.tenant, "a.b c.# d.> (e|f*).g "+fence, ""))
	var want []delivery
	for _, channel := range []string{"a.b", "c", "c.x.y", "d.x", "e.g", "f1.g"} {
		p.publish(channel, "x")
		want = append(want, delivery{t.tenant, channel, "x", []string{"#"}})
	}
	for _, channel := range []string{"a", "a.b.c", "A.b", "d", "e", "g.g", "f1.g.h", "x"} {
		p.publish(channel, "x")
		p.expectFault(channel, "permission_denied")
	}
	c.same(c.until(p), want...)
}

func publishOneRights(ctx context.Context, t *trial) {
	c, p := t.subscriber(ctx, "#"), t.holder(ctx, grant(t.tenant, "a "+fence, ""))
	for mode := range byte(2) {
		p.binary(publishV2(mode+1, t.tenant, "b", "x"))
		p.expectFault("a deliver-one message", "permission_denied")
	}
	c.same(c.until(p))
	p.binary(publishV2(1, t.tenant, "a", "x"))
	c.same([]delivery{c.delivery("the message")}, delivery{t.tenant, "a", "x", []string{"#"}})
}

func tenantRights(ctx context.Context, t *trial) {
	c := t.holder(ctx, grant(t.tenant, "#", "#"))
	c.sub(t.tenant, "a")
	for _, tenant := range []string{t.other(), strings.ToUpper(t.tenant), "~", t.tenant[:len(t.tenant)-1]} {
		c.line("SUB:" + tenant + ":a")
		c.expectFault("SUB in "+tenant, "permission_denied")
		c.binary(publishV1(tenant, "a", "x"))
		c.expectFault("a publication in "+tenant, "permission_denied")
	}
	c.binary(publishV1("", "a", "x"))
	c.expectFault("a publication in an empty tenant", "permission_denied")
}

func grantsAddUp(ctx context.Context, t *trial) {
	c := t.holder(ctx, grant(t.tenant, "", "a.b a.c.#"), grant(t.tenant, "", "x"), grant(t.other(), "", "y"))
	for _, pattern := range []string{"a.b", "a.c", "a.c.>", "x"} {
		c.sub(t.tenant, pattern)
	}
	c.sub(t.other(), "y")
	for _, pattern := range []string{"y", "a.*", "a.#", "a"} {
		c.denied(pattern)
	}
}
