package wsgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trace"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// document is the part of OpenAPI that the test understands.
type document struct {
	Paths map[string]map[string]struct {
		Security  []map[string][]string
		Responses map[string]struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Required   []string
	Properties map[string]schema
	Items      *schema
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// check tells what about a decoded JSON value is not as the schema says. Members that it does not list are faults too: they are not documented.
func (d *document) check(s schema, v any, at string) []string {
	if name, found := strings.CutPrefix(s.Ref, "#/components/schemas/"); found {
		known, ok := d.Components.Schemas[name]
		if !ok {
			return []string{at + ": no schema " + name}
		}
		return d.check(known, v, at)
	}
	var faults []string
	switch v := v.(type) {
	case map[string]any:
		if s.Type != "object" {
			return []string{at + ": an object, want " + s.Type}
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				faults = append(faults, at+"."+name+": missing")
			}
		}
		for name, member := range v {
			if of, ok := s.Properties[name]; ok {
				faults = append(faults, d.check(of, member, at+"."+name)...)
			} else if s.Properties != nil {
				faults = append(faults, at+"."+name+": not documented")
			}
		}
	case []any:
		if s.Type != "array" {
			return []string{at + ": an array, want " + s.Type}
		}
		for i, item := range v {
			faults = append(faults, d.check(*s.Items, item, fmt.Sprint(at, "[", i, "]"))...)
		}
	default:
		if kind := map[string]string{"string": "string", "float64": "number", "bool": "boolean"}[fmt.Sprintf("%T", v)]; kind != s.Type {
			faults = append(faults, fmt.Sprintf("%s: a %s, want %s", at, kind, s.Type))
		}
	}
	return faults
}

// TestOpenAPIIsComplete: what is served below /v1 is documented, and what is documented is served.
func TestOpenAPIIsComplete(t *testing.T) {
	documented := map[string]bool{}
	for path, operations := range readDocument(t).Paths {
		for method := range operations {
			documented[strings.ToUpper(method)+" "+path] = true
		}
	}
	served := new(Server).pages(nil, nil)
	for page := range served {
		if _, path, _ := strings.Cut(page, " "); strings.HasPrefix(path, "/v1/") && !documented[page] {
			t.Errorf("%s is not documented", page)
		}
	}
	for page := range documented {
		if _, ok := served[page]; !ok {
			t.Errorf("%s is not served", page)
		}
	}
}

// traceOf answers as a node does.
func traceOf(_ context.Context, request []byte) (any, error) {
	r, err := trace.ParseRequest(request)
	switch {
	case err != nil:
		return nil, err
	case r.To == "nobody":
		return nil, fmt.Errorf("%w: no such node", fs.ErrInvalid)
	case r.To == "stopped":
		return nil, errors.New("stopped")
	}
	ms, b := 1.5, trace.Node{ID: 2, Name: "b"}
	hop := trace.Hop{Node: b, End: "sent", Ways: []trace.Way{{Hop: b, Cost: 1, Verdict: "taken", Why: "taken"}}}
	path := trace.Path{To: b, Missing: []trace.Node{b}, Took: &ms, Direct: &ms, DirectCost: &ms, Saved: &ms, Hops: []trace.Hop{hop}}
	return trace.Answer{Node: b, Messages: []trace.Message{{Trace: "1", Tenant: "t", Channel: "c", Paths: []trace.Path{path}}}}, nil
}

// TestOpenAPIIsTrue drives every operation to every status that the document has for it, and holds the answers to its schemas.
func TestOpenAPIIsTrue(t *testing.T) {
	d := readDocument(t)
	missing := map[string]bool{}
	for path, operations := range d.Paths {
		for method, operation := range operations {
			for status := range operation.Responses {
				missing[strings.ToUpper(method)+" "+path+" "+status] = true
			}
		}
	}
	ready := true
	cfg := Config{Ready: func() bool { return ready }, Trace: traceOf, Edges: func() []Edge { return []Edge{{Host: "h:1", Name: "n", Region: "r", Cost: 1}} }}
	drive := func(w *world, page, query, body, header string, want int) {
		method, path, _ := strings.Cut(page, " ")
		response := w.send(method, path+query, body, header)
		defer response.Body.Close()
		key := fmt.Sprint(page, " ", response.StatusCode)
		media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		told, ok := d.Paths[path][strings.ToLower(method)].Responses[fmt.Sprint(response.StatusCode)]
		content, known := told.Content[media]
		if response.StatusCode != want || !ok || !known {
			t.Errorf("%s%s: %s %s, want %d; documented: %v", page, query, response.Status, media, want, told)
			return
		}
		delete(missing, key)
		if media != "application/json" {
			return
		}
		text, err := io.ReadAll(response.Body)
		var v any
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if faults := d.check(content.Schema, v, ""); err != nil || len(faults) > 0 {
			t.Errorf("%s: %v %q in %s", key, err, faults, text)
		}
	}
	guarded(t, cfg, func(t *testing.T, w *world) {
		root, auth, nobody := bearer(master), bearer(w.token("")), "X: y"
		elsewhere := bearer(w.token(`"allow_ip_masks":["192.0.2.1"],`))
		old := w.token("")
		for _, page := range []string{"GET /ping", "GET /healthz", "GET /readyz", "GET /api-docs/openapi.json", "GET /v1/bootstrap"} {
			drive(w, page, "", "", nobody, 200)
		}
		drive(w, "GET /v1/mesh", "", "", root, 200)
		drive(w, "GET /v1/mesh", "", "", nobody, 401)
		drive(w, "GET /v1/mesh", "", "", auth, 403)
		drive(w, "POST /v1/trace", "", `{"to":"b"}`, root, 200)
		drive(w, "POST /v1/trace", "", `{"to":"nobody"}`, root, 400)
		drive(w, "POST /v1/trace", "", `{"to":"stopped"}`, root, 503)
		drive(w, "POST /v1/trace", "", strings.Repeat("p", 9000), root, 413)
		drive(w, "POST /v1/trace", "", `{"to":"b"}`, nobody, 401)
		drive(w, "POST /v1/trace", "", `{"to":"b"}`, auth, 403)
		w.server.tracing.Store(tracesMost)
		drive(w, "POST /v1/trace", "", `{"to":"b"}`, root, 429)
		w.server.tracing.Store(0)
		ready = false
		drive(w, "GET /readyz", "", "", nobody, 503)
		drive(w, "GET /v1/bootstrap", "?limit=0", "", nobody, 400)
		grants := `"tenant_grants":[{"tenant_ids":["t"],"allow_channels_pub":["a.(x|y*).c"],"allow_channels_sub":["?.*"]}],"expires_at":"` + in(time.Hour) + `"`
		drive(w, "POST /v1/get-token", "", `{"created_by":"me","right":{`+grants+`}}`, root, 200)
		drive(w, "POST /v1/get-token", "", `{`+grants+`}`, root, 200)
		drive(w, "POST /v1/get-token", "", `{}`, root, 400)
		drive(w, "POST /v1/get-token", "", `{"right":{`+grants+`}}`, root, 400) // no created_by
		drive(w, "POST /v1/get-token", "", strings.Replace(`{`+grants+`}`, in(time.Hour), in(25*time.Hour), 1), root, 400)
		drive(w, "POST /v1/get-token", "", `{`+grants+`}`, auth, 401)
		refresh := func(id, when string) string { return `{"token_id":"` + id + `","expires_at":"` + when + `"}` }
		drive(w, "PUT /v1/refresh-token", "", refresh(old[3:35], in(2*time.Hour)), root, 200)
		drive(w, "PUT /v1/refresh-token", "", refresh(old[3:35], "soon"), root, 400)
		drive(w, "PUT /v1/refresh-token", "", refresh("x", in(time.Hour)), root, 400)
		drive(w, "PUT /v1/refresh-token", "", refresh(strings.Repeat("0", 32), in(time.Hour)), root, 404)
		drive(w, "PUT /v1/refresh-token", "", refresh(old[3:35], in(time.Hour)), nobody, 401)
		drive(w, "DELETE /v1/revoke-token", "", `{"token":"`+old+`"}`, root, 200)
		drive(w, "PUT /v1/refresh-token", "", refresh(old[3:35], in(time.Hour)), root, 400)
		drive(w, "DELETE /v1/revoke-token", "", `{"token":"AT_x"}`, root, 400)
		drive(w, "DELETE /v1/revoke-token", "", `{"token":"`+old[:len(old)-4]+`AAAA"}`, root, 404)
		drive(w, "DELETE /v1/revoke-token", "", `{"token":"`+old+`"}`, nobody, 401)
		drive(w, "GET /v1/tokens", "", "", root, 200)
		drive(w, "GET /v1/tokens", "?limit=0", "", root, 400)
		drive(w, "GET /v1/tokens", "", "", auth, 401)
		drive(w, "POST /v1/publish", "?tenant=t&channel=a", "p", auth, 200)
		drive(w, "POST /v1/publish", "", `{"tenant":"t","channel":"a","payload":"p"}`, auth, 200)
		drive(w, "POST /v1/publish", "", `{}`, auth, 400)
		drive(w, "POST /v1/publish", "?tenant=t&channel=a", "p", nobody, 401)
		drive(w, "POST /v1/publish", "?tenant=t&channel=b", "p", auth, 403)
		drive(w, "POST /v1/publish", "?tenant=t&channel=a", "p", elsewhere, 403)
		drive(w, "POST /v1/publish", "?tenant=t&channel=a", strings.Repeat("p", 65_536), auth, 413)
		w.broker.set(nil, http.ErrServerClosed)
		drive(w, "POST /v1/publish", "?tenant=t&channel=a", "p", auth, 503)
		drive(w, "GET /v1/subscribe", "?tenant=t&channel=a", "", auth, 200)
		drive(w, "GET /v1/subscribe", "?tenant=t", "", auth, 400)
		drive(w, "GET /v1/subscribe", "?tenant=t&channel=a", "", nobody, 401)
		drive(w, "GET /v1/subscribe", "?tenant=t&channel=b", "", auth, 403)
		drive(w, "GET /v1/subscribe", "?tenant=t&channel=a", "", elsewhere, 403)
	})
	inWorld(t, Config{Limits: Limits{Connections: 1}}, func(t *testing.T, w *world) { // a node without a secret
		w.dial()
		drive(w, "GET /v1/subscribe", "?channel=a", "", "X: y", 503)
		for page := range new(access.Authority).Routes() {
			drive(w, page, "", "{}", bearer(master), 503)
		}
	})
	inWorld(t, Config{Limits: Limits{PerAddress: 1}}, func(t *testing.T, w *world) {
		w.dial()
		drive(w, "POST /v1/publish", "?channel=a", "p", "X: y", 429)
	})
	guarded(t, Config{Limits: Limits{PerToken: 1}}, func(t *testing.T, w *world) {
		text := w.token("")
		w.enter(text)
		drive(w, "GET /v1/subscribe", "?tenant=t&channel=a", "", bearer(text), 429)
	})
	if len(missing) > 0 {
		t.Errorf("documented and never seen: %q", slices.Sorted(maps.Keys(missing)))
	}
}
