package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/alloc"
)

var now = time.Date(2026, 5, 16, 12, 0, 0, 250e6, time.UTC)

func TestMay(t *testing.T) {
	r := rights(t, Statement{TenantGrants: []Grant{
		{TenantIDs: []string{"acme", "beta"}, AllowChannelsPub: []string{"orders.#"}, AllowChannelsSub: []string{"orders.#", "alerts.?"}},
		{TenantIDs: []string{"acme"}, AllowChannelsPub: []string{"news"}},
		{TenantIDs: []string{""}, AllowChannelsSub: []string{"a.b"}},
	}})
	for _, tc := range []struct {
		tenant, publish, subscribe string
		mayPublish, maySubscribe   bool
	}{
		{"acme", "orders.x", "orders.*", true, true},
		{"beta", "orders", "alerts.x", true, true},
		{"acme", "news", "alerts.*", true, false},
		{"beta", "news", "#", false, false},
		{"~", "a.b", "a.b", false, true},
		{"", "a.b", "a.b", false, false},
		{"other", "orders", "orders", false, false},
	} {
		if got := r.MayPublish(tc.tenant, tc.publish); got != tc.mayPublish {
			t.Errorf("MayPublish(%q, %q) = %v", tc.tenant, tc.publish, got)
		}
		if got := r.MaySubscribe(tc.tenant, pattern(t, tc.subscribe)); got != tc.maySubscribe {
			t.Errorf("MaySubscribe(%q, %q) = %v", tc.tenant, tc.subscribe, got)
		}
	}
	var zero Rights
	if zero.MayPublish("acme", "orders") || zero.MaySubscribe("acme", pattern(t, "orders")) {
		t.Error("the zero Rights allow something")
	}
}

// One rule must cover a pattern: that several do together is not enough.
func TestOneRuleMustCover(t *testing.T) {
	r := rights(t, Statement{TenantGrants: []Grant{{TenantIDs: []string{"t"}, AllowChannelsSub: []string{"a", "a.>"}}}})
	if r.MaySubscribe("t", pattern(t, "a.#")) {
		t.Error(`"a" and "a.>" together allow "a.#"`)
	}
}

func TestAdmits(t *testing.T) {
	r := rights(t, Statement{
		TenantGrants:    []Grant{{TenantIDs: []string{"t"}}},
		AllowIPMasks:    []string{"192.168.1.77/24", "10.0.0.9", "2001:db8::/32", "::ffff:172.16.0.0/108", "fe80::1"},
		AllowRegions:    []string{"EU", "us-east"},
		AllowedWSOrigin: []string{"https://app.example.com"},
	})
	for _, tc := range []struct {
		addr, region, origin string
		given                bool
		want                 error
	}{
		{"192.168.1.1", "EU", "https://app.example.com", true, nil},
		{"::ffff:192.168.1.1", "eu", "https://app.example.com", true, nil},
		{"10.0.0.9", "US-EAST", "https://app.example.com", true, nil},
		{"2001:db8:1::1", "EU", "https://app.example.com", true, nil},
		{"172.31.0.1", "EU", "https://app.example.com", true, nil},
		{"fe80::1%eth0", "EU", "https://app.example.com", true, nil},
		{"10.0.0.10", "EU", "https://app.example.com", true, ErrAddress},
		{"192.168.2.1", "EU", "https://app.example.com", true, ErrAddress},
		{"172.32.0.1", "EU", "https://app.example.com", true, ErrAddress},
		{"", "EU", "https://app.example.com", true, ErrAddress},
		{"10.0.0.9", "ASIA", "https://app.example.com", true, ErrRegion},
		{"10.0.0.9", "", "https://app.example.com", true, ErrRegion},
		{"10.0.0.9", "EU", "https://app.example.com", false, ErrOrigin},
		{"10.0.0.9", "EU", "https://app.example.com/", true, ErrOrigin},
		{"10.0.0.9", "EU", "https://APP.example.com", true, ErrOrigin},
		{"10.0.0.9", "EU", "", true, ErrOrigin},
		{"10.0.0.9", "EU", "", false, ErrOrigin},
	} {
		addr, _ := netip.ParseAddr(tc.addr)
		if got := r.Admits(addr, tc.region, tc.origin, tc.given); !errors.Is(got, tc.want) {
			t.Errorf("Admits(%q, %q, %q, %v) = %v, want %v", tc.addr, tc.region, tc.origin, tc.given, got, tc.want)
		}
	}
	open := rights(t, Statement{TenantGrants: []Grant{{TenantIDs: []string{"t"}}}})
	if err := open.Admits(netip.Addr{}, "", "", false); err != nil {
		t.Errorf("empty lists restrict: %v", err)
	}
}

func TestStatementIsCanonical(t *testing.T) {
	r := rights(t, Statement{
		TenantGrants: []Grant{{TenantIDs: []string{"", "b"}, AllowChannelsPub: []string{">"}, AllowChannelsSub: []string{"(x*|xa).*.#"}}},
		AllowIPMasks: []string{"10.1.2.3/8", "::1", "::ffff:1.2.3.4"},
		ExpiresAt:    "whatever",
	})
	got, err := json.Marshal(r.Statement())
	want := `{"tenant_grants":[{"tenant_ids":["~","b"],"allow_channels_pub":["#"],"allow_channels_sub":["(x*).\u003e"]}],` +
		`"allow_ip_masks":["10.0.0.0/8","::1/128","1.2.3.4/32"]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if again := rights(t, r.Statement()); !reflect.DeepEqual(again, r) {
		t.Errorf("%+v became %+v", r, again)
	}
}

const bothShapes = `"tenant_grants":[{"tenant_ids":["t"],"allow_channels_pub":["a.#"],"allow_channels_sub":["a.*"]}],
	"allow_ip_masks":["10.0.0.0/8"],"allow_regions":["EU"],"allowed_ws_origin":["https://x"],"expires_at":"2026-05-16T15:00:00.9+02:00"`

func TestParseRequest(t *testing.T) {
	for name, body := range map[string]string{
		"right":     `{"right":{` + bothShapes + `},"created_by":"me","description":"why"}`,
		"top level": `{` + bothShapes + `,"created_by":"me","description":"why"}` + "\n",
	} {
		r, err := ParseRequest([]byte(body), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.CreatedBy != "me" || r.Description != "why" || !r.Expires.Equal(time.Date(2026, 5, 16, 13, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", name, r)
		}
		if !r.Rights.MayPublish("t", "a.b.c") || !errors.Is(r.Rights.Admits(netip.Addr{}, "", "", false), ErrAddress) {
			t.Errorf("%s: %+v", name, r.Rights)
		}
	}
	sdk := `{"right":{"tenant_grants":[{"tenant_ids":["t"],"allow_channels_pub":[],"allow_channels_sub":[]}],
		"allow_ip_masks":[],"allow_regions":[],"allowed_ws_origin":[],"expires_at":"2026-05-17T11:59:59Z"},"created_by":"me"}`
	if _, err := ParseRequest([]byte(sdk), now); err != nil {
		t.Errorf("as the SDK writes it: %v", err)
	}
	minimal := `{"tenant_grants":[{"tenant_ids":["t"]}],"expires_at":"2026-05-16T12:00:01Z"}`
	if _, err := ParseRequest([]byte(minimal), now); err != nil {
		t.Errorf("minimal: %v", err)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	right := func(member string) string {
		return `{"right":{"tenant_grants":[{"tenant_ids":["t"]}],` + member + `,"expires_at":"2026-05-16T13:00:00Z"},"created_by":"me"}`
	}
	grant := func(grant string) string {
		return `{"tenant_grants":[{"tenant_ids":["t"]},` + grant + `],"expires_at":"2026-05-16T13:00:00Z"}`
	}
	expiry := func(text string) string {
		return `{"tenant_grants":[{"tenant_ids":["t"]}],"expires_at":"` + text + `"}`
	}
	with := func(members string) string {
		return `{"tenant_grants":[{"tenant_ids":["t"]}],"expires_at":"2026-05-16T13:00:00Z",` + members + `}`
	}
	for _, tc := range []struct {
		body string
		want error
		text string // part of it
	}{
		{``, ErrRequest, "EOF"},
		{`[]`, ErrRequest, "array"},
		{`null`, ErrRights, "tenant_grants: none"},
		{`{"tenant_grants":[]}`, ErrRights, "tenant_grants: none"},
		{`{"right":null,"created_by":"me"}`, ErrRights, "tenant_grants: none"},
		{`{"right":{},"created_by":"me"}`, ErrRights, "tenant_grants: none"},
		{`{"right":{` + bothShapes + `}}`, ErrRequest, "created_by: missing"},
		{`{"right":{` + bothShapes + `},"created_by":" "}`, ErrRequest, "created_by: missing"},
		{`{"right":{` + bothShapes + `},"created_by":"me","expires_at":"x"}`, ErrRequest, "beside it"},
		{`{` + bothShapes + `} x`, ErrRequest, "more after"},
		{`{` + bothShapes + `,"allow_ip_mask":["10.0.0.0/8"]}`, ErrRequest, `unknown field "allow_ip_mask"`},
		{with(`"created_by":7`), ErrRequest, "number"},
		{with(`"created_by":"` + strings.Repeat("x", 65) + `"`), ErrRequest, "created_by: 65 bytes, limit 64"},
		{with(`"description":"` + strings.Repeat("x", 129) + `"`), ErrRequest, "description: 129 bytes, limit 128"},
		{with(`"description":"a\nb"`), ErrRequest, "description: not printable"},
		{grant(`{"tenant_ids":[]}`), ErrRights, "tenant_grants[1].tenant_ids: none"},
		{grant(`{}`), ErrRights, "tenant_grants[1].tenant_ids: none"},
		{grant(`{"tenant_ids":["a","b c"]}`), ErrRights, "tenant_grants[1].tenant_ids[1]: channel: invalid tenant"},
		{grant(`{"tenant_ids":["*"]}`), ErrRights, "tenant_grants[1].tenant_ids[0]"},
		{grant(`{"tenant_ids":["a"],"allow_channels_pub":["a","a.*"]}`), ErrRule, `tenant_grants[1].allow_channels_pub[1]: token: invalid rule "a.*"`},
		{grant(`{"tenant_ids":["a"],"allow_channels_sub":["a..b"]}`), ErrRule, "tenant_grants[1].allow_channels_sub[0]"},
		{grant(`{"tenant_ids":["` + strings.Repeat(`aaaaaaaa","`, 500) + `b"]}`), ErrRights, "limit 5000"},
		{right(`"allow_ip_masks":["10.0.0.0/33"]`), ErrRights, `allow_ip_masks[0]: "10.0.0.0/33" is no`},
		{right(`"allow_ip_masks":["fe80::1%eth0"]`), ErrRights, "allow_ip_masks[0]"},
		{right(`"allow_regions":["EU",""]`), ErrRights, "allow_regions[1]"},
		{right(`"allowed_ws_origin":["https://a b"]`), ErrRights, "allowed_ws_origin[0]"},
		{right(`"allow_regions":["` + strings.Repeat("x", 65) + `"]`), ErrRights, "allow_regions[0]"},
		{expiry(""), ErrExpiry, "missing"},
		{expiry("tomorrow"), ErrExpiry, `"tomorrow" is no RFC 3339 time`},
		{expiry("2026-05-16 13:00:00"), ErrExpiry, "RFC 3339"},
		{expiry("2026-05-16T12:00:00Z"), ErrExpiry, "not in the future"},
		{expiry("2026-05-16T12:00:00.9Z"), ErrExpiry, "not in the future"},
		{expiry("0000-01-01T00:00:00Z"), ErrExpiry, "before 1970"},
		{expiry("2026-05-17T12:00:11Z"), ErrExpiry, "more than 24h0m0s ahead"},
		{expiry("9999-12-31T23:59:59Z"), ErrExpiry, "more than 24h0m0s ahead"},
		{strings.Repeat(" ", MaxRequestLen+1), ErrRequest, "limit 16384"},
	} {
		_, err := ParseRequest([]byte(tc.body), now)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) || strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("%.100s: %v", tc.body, err)
		}
	}
	for _, text := range []string{"2026-05-17T12:00:10Z", "2026-05-17T12:00:00Z", "2026-05-16T12:00:01Z", "2026-05-16T05:00:01-07:00"} {
		if _, err := ParseRequest([]byte(expiry(text)), now); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseExpiryTakesThePast(t *testing.T) {
	if got, err := ParseExpiry(" 2026-05-16T11:00:00Z ", now); err != nil || !got.Equal(now.Truncate(time.Second).Add(-time.Hour)) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"right":{` + bothShapes + `},"created_by":"me","description":"why"}`))
	f.Add([]byte(`{` + bothShapes + `}`))
	f.Add([]byte(`{"tenant_grants":[{"tenant_ids":["",""],"allow_channels_sub":["(a|b*).?.>"]}],"expires_at":"2026-05-16T13:00:00Z"}`))
	keys := testKeys(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		defer alloc.Bound(t, 256*len(body))()
		r, err := ParseRequest(body, now)
		if err != nil {
			if !errors.Is(err, ErrRequest) && !errors.Is(err, ErrRights) && !errors.Is(err, ErrExpiry) || len(err.Error()) > 1000 {
				t.Fatal(err)
			}
			return
		}
		text, minted, err := keys.Mint(r, ID{1}, now) // invariant 3: what was accepted can be minted, and reads back
		if err != nil {
			t.Fatal(err)
		}
		if back, err := keys.Verify(text, now); err != nil || !reflect.DeepEqual(back, minted) {
			t.Fatalf("%+v reads back as %+v, %v", minted, back, err)
		}
	})
}

func TestMayPublishAllocatesNothing(t *testing.T) { // invariant 4
	r := manyRules(t)
	if n := testing.AllocsPerRun(100, func() { r.MayPublish("acme", "building.roof.x.temperature") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkMayPublish asks rights with 40 rules, of which the last allows.
func BenchmarkMayPublish(b *testing.B) {
	r := manyRules(b)
	b.ReportAllocs()
	for b.Loop() {
		if !r.MayPublish("acme", "building.roof.x.temperature") {
			b.Fatal("refused")
		}
	}
}

func BenchmarkNewRights(b *testing.B) {
	s := manyRules(b).Statement()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewRights(s); err != nil {
			b.Fatal(err)
		}
	}
}

func manyRules(t fataler) *Rights {
	g := Grant{TenantIDs: []string{"acme"}}
	for i := range 39 {
		g.AllowChannelsPub = append(g.AllowChannelsPub, fmt.Sprintf("building.(floor%d|floor%d*).#", i, i+100))
	}
	g.AllowChannelsPub = append(g.AllowChannelsPub, "building.roof.>")
	return rights(t, Statement{TenantGrants: []Grant{g}})
}

func rights(t fataler, s Statement) *Rights {
	t.Helper()
	r, err := NewRights(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
