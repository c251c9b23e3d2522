package suite

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

func tokenCases() []Case {
	return []Case{
		{
			"8.get-token.nested", "S",
			`POST /v1/get-token with {"right":{...},"created_by"} answers 200 {"token":"AT_<32 hex>_<secret>"}, which is good for a connection`,
			needMaster, getToken,
		},
		{
			"8.get-token.top-level", "D/I", "the members of right may stand at the top level",
			needMaster, func(ctx context.Context, t *trial) {
				status, answer := t.rest(ctx, http.MethodPost, "/v1/get-token", t.target.Master, t.everything())
				t.wantStatus("get-token", status, 200)
				token, _ := answer["token"].(string)
				t.dialBy(ctx, handshake{protocols: "llps.v1,at." + token}).alive()
			},
		},
		{
			"8.get-token.24-hours", "S/I", "an expiry 24 h ahead is granted, a few seconds of skew included",
			needMaster, func(ctx context.Context, t *trial) {
				right := t.everything()
				right["expires_at"] = inTime(24*time.Hour + time.Second)
				t.mint(ctx, right)
			},
		},
		{
			"8.get-token.bad-is-400", "D", "no JSON, a bad or missing expiry, one over 24 h, an invalid rule or no grants: 400",
			needMaster, badTokenRequests,
		},
		{
			"8.get-token.master-only", "D", "without a master token, or with a client's or a wrong one: 401",
			needMaster, func(ctx context.Context, t *trial) {
				t.forMastersOnly(ctx, http.MethodPost, "/v1/get-token", map[string]any{"right": t.everything(), "created_by": "c"})
			},
		},
		{
			"8.refresh.ok", "S", `PUT /v1/refresh-token {"token_id","expires_at"} answers {"message","new_expires_at"}, neither empty`,
			needMaster, refreshToken,
		},
		{"8.refresh.past", "D", "an expiry in the past ends a token softly: no new connection, none cut", needMaster, refreshIntoPast},
		{"8.refresh.unknown-is-404", "D", "an unknown id: 404", needMaster, func(ctx context.Context, t *trial) {
			status, _ := t.refresh(ctx, randomHex(16), inTime(time.Hour))
			t.wantStatus("refresh", status, 404)
		}},
		{
			"8.refresh.bad-is-400", "D", "no JSON, no id, a bad expiry, or one over 24 h: 400",
			needMaster, func(ctx context.Context, t *trial) {
				for _, body := range []any{
					"{", "",
					map[string]any{},
					map[string]any{"token_id": idOf(t.token)},
					map[string]any{"token_id": idOf(t.token), "expires_at": "soon"},
					map[string]any{"token_id": idOf(t.token), "expires_at": inTime(25 * time.Hour)},
				} {
					status, _ := t.rest(ctx, http.MethodPut, "/v1/refresh-token", t.target.Master, body)
					t.wantStatus(show(body), status, 400)
				}
			},
		},
		{
			"8.refresh.master-only", "D", "without a master token, or with a client's or a wrong one: 401",
			needMaster, func(ctx context.Context, t *trial) {
				t.forMastersOnly(ctx, http.MethodPut, "/v1/refresh-token", map[string]any{"token_id": idOf(t.token), "expires_at": inTime(time.Hour)})
			},
		},
	}
}

func revocationCases() []Case {
	return []Case{
		{
			"8.revoke.ok", "S", `DELETE /v1/revoke-token with a body {"token"} answers {"message"}; the token is refused from then on`,
			needMaster, revokeToken,
		},
		{"8.revoke.cuts", "I", "a revocation cuts the connections of the token, and no others", needMaster, revokeCuts},
		{"8.revoke.bad", "D", "no JSON: 400; a token that is none: 400, 401 or 404", needMaster, badRevocations},
		{
			"8.revoke.master-only", "D", "without a master token, or with a client's or a wrong one: 401",
			needMaster, func(ctx context.Context, t *trial) {
				t.forMastersOnly(ctx, http.MethodDelete, "/v1/revoke-token", map[string]any{"token": t.token})
			},
		},
		{"8.tokens.list", "D", "GET /v1/tokens lists what is known of tokens, with ids, and never a secret", needMaster, listTokens},
		{
			"8.tokens.master-only", "D", "without a master token, or with a client's or a wrong one: 401",
			needMaster, func(ctx context.Context, t *trial) {
				t.forMastersOnly(ctx, http.MethodGet, "/v1/tokens", nil)
			},
		},
		{"8.docs.openapi", "D", "GET /api-docs/openapi.json describes the calls", needMaster, func(ctx context.Context, t *trial) {
			status, answer := t.rest(ctx, http.MethodGet, "/api-docs/openapi.json", "", nil)
			t.wantStatus("openapi.json", status, 200)
			paths, _ := answer["paths"].(map[string]any)
			for _, path := range []string{"/ping", "/v1/get-token", "/v1/refresh-token", "/v1/revoke-token", "/v1/tokens"} {
				if paths[path] == nil {
					t.fail("no word of %s", path)
				}
			}
		}},
	}
}

func (t *trial) wantStatus(what string, got int, want ...int) {
	if !slices.Contains(want, got) {
		t.fail("%s: status %d, want %d", what, got, want)
	}
}

// show is a request's body as a text.
func show(body any) string {
	text, err := json.Marshal(body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// idOf is the id within a token.
func idOf(token string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(token, "AT_"), "_")
	return id
}

// forMastersOnly expects 401 for whoever has no master token.
func (t *trial) forMastersOnly(ctx context.Context, method, path string, body any) {
	for _, bearer := range []string{"", t.token, "MT_" + randomHex(16), t.target.Master + "0", t.target.Master[:len(t.target.Master)-1]} {
		status, _ := t.rest(ctx, method, path, bearer, body)
		t.wantStatus(method+" "+path, status, 401)
	}
	if t.ok() {
		t.dial(ctx).alive() // nothing has happened to the token
	}
}

func getToken(ctx context.Context, t *trial) {
	status, answer := t.rest(ctx, http.MethodPost, "/v1/get-token", t.target.Master, map[string]any{
		"right": t.everything(), "created_by": "conformance", "description": "a token of a test",
	})
	t.wantStatus("get-token", status, 200)
	token, _ := answer["token"].(string)
	if t.ok() && !regexp.MustCompile(`^AT_[0-9a-f]{32}_[^_].*$`).MatchString(token) {
		t.fail("a token of the form %s", regexp.MustCompile(`[0-9A-Za-z]`).ReplaceAllString(short(token), "x"))
	}
	c := t.dialBy(ctx, handshake{protocols: "llps.v1,at." + token})
	c.sub(t.tenant, fence)
	c.same(c.until(c))
}

func badTokenRequests(ctx context.Context, t *trial) {
	without := func(member string) map[string]any {
		right := t.everything()
		delete(right, member)
		return right
	}
	with := func(member string, value any) map[string]any {
		right := maps.Clone(t.everything())
		right[member] = value
		return right
	}
	var bodies []any
	for _, right := range []map[string]any{
		without("expires_at"), without("tenant_grants"), with("expires_at", "tomorrow"), with("expires_at", 7),
		with("expires_at", inTime(24*time.Hour+5*time.Minute)), with("tenant_grants", []any{}), with("allow_ip_masks", []string{"10.0.0.0/33"}),
	} {
		bodies = append(bodies, map[string]any{"right": right, "created_by": "c"})
	}
	for _, rule := range []string{"", "a..b", "a.#.b", "#.a", "(a|b", "a b", "a.(", "a*b"} {
		right := rights(map[string]any{"tenant_ids": []string{t.tenant}, "allow_channels_pub": []string{}, "allow_channels_sub": []string{rule}})
		bodies = append(bodies, map[string]any{"right": right, "created_by": "c"})
	}
	for _, rule := range []string{"a.*", "a.?", "*"} { // publish rules have neither
		right := rights(map[string]any{"tenant_ids": []string{t.tenant}, "allow_channels_pub": []string{rule}, "allow_channels_sub": []string{}})
		bodies = append(bodies, map[string]any{"right": right, "created_by": "c"})
	}
	for _, body := range append(bodies, "", "{", "[]", `"x"`) {
		status, _ := t.rest(ctx, http.MethodPost, "/v1/get-token", t.target.Master, body)
		t.wantStatus(show(body), status, 400)
	}
}

func (t *trial) refresh(ctx context.Context, id, expiry string) (int, map[string]any) {
	return t.rest(ctx, http.MethodPut, "/v1/refresh-token", t.target.Master, map[string]any{"token_id": id, "expires_at": expiry})
}

func refreshToken(ctx context.Context, t *trial) {
	status, answer := t.refresh(ctx, idOf(t.token), inTime(2*time.Hour))
	t.wantStatus("refresh", status, 200)
	message, _ := answer["message"].(string)
	expiry, _ := answer["new_expires_at"].(string)
	if t.ok() && (message == "" || expiry == "") {
		t.fail("answered %v", answer)
	}
	if _, err := time.Parse(time.RFC3339, expiry); err != nil {
		t.fail("new_expires_at: %w", err)
	}
	t.dial(ctx).alive()
}

func refreshIntoPast(ctx context.Context, t *trial) {
	c := t.dial(ctx)
	status, _ := t.refresh(ctx, idOf(t.token), inTime(-time.Hour))
	t.wantStatus("refresh", status, 200)
	t.refused(ctx, t.usual(), 401)
	c.alive()
}

func (t *trial) revoke(ctx context.Context, token string) {
	status, answer := t.rest(ctx, http.MethodDelete, "/v1/revoke-token", t.target.Master, map[string]any{"token": token})
	t.wantStatus("revoke", status, 200)
	if message, _ := answer["message"].(string); t.ok() && message == "" {
		t.fail("answered %v", answer)
	}
}

func revokeToken(ctx context.Context, t *trial) {
	t.dial(ctx).alive()
	t.revoke(ctx, t.token)
	t.refused(ctx, t.usual(), 401)
	if status, _ := t.refresh(ctx, idOf(t.token), inTime(time.Hour)); t.ok() && status/100 == 2 {
		t.refused(ctx, t.usual(), 401) // whatever that answered, the token is not back
	}
}

func revokeCuts(ctx context.Context, t *trial) {
	one, two := t.dial(ctx), t.dial(ctx)
	other := t.dialBy(ctx, handshake{protocols: "llps.v1,at." + t.mint(ctx, t.everything())})
	t.revoke(ctx, t.token)
	one.closing()
	two.closing()
	other.alive()
}

func badRevocations(ctx context.Context, t *trial) {
	for _, body := range []any{"", "{", "[]"} {
		status, _ := t.rest(ctx, http.MethodDelete, "/v1/revoke-token", t.target.Master, body)
		t.wantStatus(show(body), status, 400)
	}
	for _, token := range []string{"", "nonsense", "AT_" + randomHex(16) + "_" + randomHex(16)} {
		status, _ := t.rest(ctx, http.MethodDelete, "/v1/revoke-token", t.target.Master, map[string]any{"token": token})
		t.wantStatus(token, status, 400, 401, 404)
	}
}

func listTokens(ctx context.Context, t *trial) {
	for _, path := range []string{"/v1/tokens", "/v1/tokens?client_id=conformance"} {
		status, answer := t.page(ctx, http.MethodGet, t.base+path, t.target.Master, nil)
		t.wantStatus(path, status, 200)
		if t.ok() && !json.Valid(answer) {
			t.fail("%s: no JSON: %q", path, short(string(answer)))
		}
		if secret := strings.TrimPrefix(t.token, "AT_"+idOf(t.token)+"_"); strings.Contains(string(answer), secret) {
			t.fail("%s: has the secret", path)
		}
		if t.ok() && path == "/v1/tokens" && !strings.Contains(string(answer), idOf(t.token)) {
			t.fail("%s: does not have the token's id", path)
		}
	}
}
