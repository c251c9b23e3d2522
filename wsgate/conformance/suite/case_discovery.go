package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

func discoveryCases() []Case {
	return []Case{
		{"1.ws.at-ws", "S", "WebSocket is served at /ws", 0, func(ctx context.Context, t *trial) { t.servesAt(ctx, "/ws") }},
		{"1.ws.at-root", "D", "WebSocket is served at / as well", 0, func(ctx context.Context, t *trial) { t.servesAt(ctx, "/") }},
		{"1.rest.ping", "S", "GET /ping, without a token, answers 2xx and a body that is pong but for space around it", 0, pingAnswers},
		{
			"1.bootstrap.edges", "S", `the bootstrap page is {"edges":[...]}, of strings or objects with a host, and not empty`,
			0, func(ctx context.Context, t *trial) { t.edges(ctx) },
		},
		{"1.bootstrap.hosts", "S", "a listed host can be pasted between wss:// and /ws", 0, edgesAreHosts},
		{"1.bootstrap.all-answer", "S", "every listed node answers /ping: one that does not fails the choice of the SDK", 0, edgesAnswer},
	}
}

func (t *trial) servesAt(ctx context.Context, path string) {
	h := t.usual()
	h.path = path
	t.dialBy(ctx, h).alive()
}

func pingAnswers(ctx context.Context, t *trial) { t.pings(ctx, t.base) }

func (t *trial) pings(ctx context.Context, base string) {
	status, answer := t.page(ctx, http.MethodGet, base+"/ping", "", nil)
	if status/100 != 2 || string(bytes.TrimSpace(answer)) != "pong" {
		t.fail("%s/ping: status %d, %q", base, status, short(string(answer)))
	}
}

// edges are the hosts of the bootstrap page.
func (t *trial) edges(ctx context.Context) (hosts []string) {
	status, answer := t.page(ctx, http.MethodGet, t.target.Bootstrap, "", nil)
	if status == http.StatusNotFound {
		t.skip("no page at " + t.target.Bootstrap + ": where is it?")
	}
	var page struct {
		Edges []json.RawMessage `json:"edges"`
	}
	if err := json.Unmarshal(answer, &page); err != nil || status/100 != 2 {
		t.fail("status %d, %q: %v", status, short(string(answer)), err)
	}
	for _, edge := range page.Edges {
		var object struct {
			Host string `json:"host"`
		}
		if json.Unmarshal(edge, &object.Host) != nil && json.Unmarshal(edge, &object) != nil || object.Host == "" {
			t.fail("%s names no host", short(string(edge)))
		}
		hosts = append(hosts, object.Host)
	}
	if len(hosts) == 0 {
		t.fail("no edges in %q", short(string(answer)))
	}
	return hosts
}

func edgesAreHosts(ctx context.Context, t *trial) {
	for _, host := range t.edges(ctx) {
		if u, err := url.Parse("wss://" + host + "/ws"); err != nil || u.Host != host || u.Path != "/ws" {
			t.fail("%q is no host", host)
		}
	}
}

func edgesAnswer(ctx context.Context, t *trial) {
	base, err := url.Parse(t.base)
	if err != nil {
		t.fail("%w", err)
		return
	}
	for _, host := range t.edges(ctx) {
		t.pings(ctx, base.Scheme+"://"+host)
	}
}
