package otlp

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trace"
)

// received is an ExportTraceServiceRequest as a collector reads it: its field names, and types, are those of the specification's JSON mapping, and written apart from what is tested.
type received struct {
	ResourceSpans []struct {
		Resource struct {
			Attributes []keyValue `json:"attributes"`
		} `json:"resource"`
		ScopeSpans []struct {
			Scope struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"scope"`
			Spans []receivedSpan `json:"spans"`
		} `json:"scopeSpans"`
	} `json:"resourceSpans"`
}

type receivedSpan struct {
	TraceID      string     `json:"traceId"`
	SpanID       string     `json:"spanId"`
	ParentSpanID string     `json:"parentSpanId"`
	Name         string     `json:"name"`
	Kind         int        `json:"kind"`
	Start        string     `json:"startTimeUnixNano"`
	End          string     `json:"endTimeUnixNano"`
	Attributes   []keyValue `json:"attributes"`
	Status       struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
}

type keyValue struct {
	Key   string `json:"key"`
	Value struct {
		StringValue *string  `json:"stringValue"`
		DoubleValue *float64 `json:"doubleValue"`
		BoolValue   *bool    `json:"boolValue"`
	} `json:"value"`
}

// collector is a server that takes traces strictly.
func collector(t *testing.T, got *received, status int, answer string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Key") != "secret" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(got); err != nil {
			t.Errorf("what came: %v", err)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func example(at time.Time) trace.Answer {
	a, b, c := trace.Node{ID: 1, Name: "a"}, trace.Node{ID: 2, Name: "b"}, trace.Node{ID: 3, Name: "c"}
	took, direct, saved := 31.5, 50.0, 18.5
	return trace.Answer{Node: a, Messages: []trace.Message{{
		Trace: "0000000000000009", At: at, Tenant: "t", Channel: "x.y", Sampled: true,
		Paths: []trace.Path{{
			To: c, Arrived: true, Complete: true, Took: &took, Direct: &direct, Saved: &saved,
			Hops: []trace.Hop{
				{Node: a, Told: true, Held: 1, Queued: 0.5, End: "sent", Ways: []trace.Way{{Hop: b, Cost: 31, Verdict: "taken"}, {Hop: c, Cost: 50.5, Verdict: "dearer", Why: "costs 19.5 ms more"}}},
				{Node: b, Told: true, At: 11, Link: 10, Held: 0.5, End: "sent"},
				{Node: c, Told: true, At: 31.5, Link: 20, End: "delivered"},
			},
		}},
	}}}
}

func TestPost(t *testing.T) {
	var got received
	at := time.Unix(1_700_000_000, 123)
	server := collector(t, &got, http.StatusOK, `{"partialSuccess":{}}`)
	target, err := Target(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := Post(t.Context(), target, map[string]string{"X-Key": "secret"}, Spans(example(at), "v1")); err != nil {
		t.Fatal(err)
	}
	spans := map[string]receivedSpan{}
	for i, r := range got.ResourceSpans {
		if name := "abc"[i : i+1]; len(r.Resource.Attributes) != 3 || *r.Resource.Attributes[0].Value.StringValue != "fastpubsub" || *r.Resource.Attributes[2].Value.StringValue != name {
			t.Errorf("resource %d: %+v", i, r.Resource)
		}
		for _, s := range r.ScopeSpans {
			if s.Scope.Name != "fastpubsub" || s.Scope.Version != "v1" {
				t.Errorf("scope %+v", s.Scope)
			}
			for _, span := range s.Spans {
				spans[span.Name] = span
			}
		}
	}
	root := spans["trace x.y"]
	if len(spans) != 4 || root.ParentSpanID != "" || root.Status.Code != 0 {
		t.Fatalf("%+v", spans)
	}
	before := root.Start
	for _, want := range []struct {
		name string
		kind int
		end  time.Duration
	}{{"a", kindProducer, time.Millisecond}, {"b", kindInternal, 11500 * time.Microsecond}, {"c", kindConsumer, 31500 * time.Microsecond}} {
		s := spans[want.name]
		id, err1 := hex.DecodeString(s.SpanID)
		traceID, err2 := hex.DecodeString(s.TraceID)
		if err1 != nil || err2 != nil || len(id) != 8 || len(traceID) != 16 || s.TraceID != root.TraceID || s.ParentSpanID != root.SpanID || s.SpanID == root.SpanID {
			t.Errorf("%s: IDs %+v", want.name, s)
		}
		if s.Start != before || s.End != strconv.FormatInt(at.Add(want.end).UnixNano(), 10) || s.Kind != want.kind {
			t.Errorf("%s: from %s to %s, after %s", want.name, s.Start, s.End, before)
		}
		before = s.End
	}
	if root.End != before || root.Start != strconv.FormatInt(at.UnixNano(), 10) {
		t.Errorf("root %+v", root)
	}
	if text := strings.Join(keys(root), " "); text != "fastpubsub.sampled messaging.system messaging.destination.name fastpubsub.tenant fastpubsub.took_ms fastpubsub.direct_ms fastpubsub.saved_ms" {
		t.Errorf("root has %s", text)
	}
	if text := strings.Join(keys(spans["a"]), " "); !strings.HasSuffix(text, "fastpubsub.next fastpubsub.next_cost_ms fastpubsub.alternate.1") {
		t.Errorf("a has %s", text)
	}
}

func keys(s receivedSpan) (keys []string) {
	for _, a := range s.Attributes {
		keys = append(keys, a.Key)
	}
	return keys
}

// What has not arrived is an error, and of nodes that told nothing there is no span.
func TestSpansOfWhatIsLost(t *testing.T) {
	a := example(time.Unix(1, 0))
	p := &a.Messages[0].Paths[0]
	p.Arrived, p.Complete, p.Took, p.Saved = false, false, nil, nil
	p.Missing = []trace.Node{p.Hops[1].Node}
	p.Hops = p.Hops[:2]
	p.Hops[1] = trace.Hop{Node: p.Hops[1].Node}
	text, err := json.Marshal(Spans(a, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"status":{"code":2,"message":"it did not arrive at c"}`, `{"key":"fastpubsub.missing","value":{"stringValue":"b"}}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(string(text), `"name":"b"`) {
		t.Errorf("a span of b: %s", text)
	}
}

func TestPostRefused(t *testing.T) {
	for _, test := range []struct {
		status       int
		answer, want string
	}{
		{http.StatusOK, `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}`, "3 spans were refused"},
		{http.StatusOK, `{"partialSuccess":{"rejectedSpans":2}}`, "2 spans were refused"},
		{http.StatusOK, `{"partialSuccess":{"rejectedSpans":"0"}}`, ""},
		{http.StatusAccepted, `thanks`, ""},
		{http.StatusUnauthorized, `who?`, `401 Unauthorized: "who?"`},
	} {
		var got received
		server := collector(t, &got, test.status, test.answer)
		target, err := Target(server.URL + "/v1/traces")
		if err != nil {
			t.Fatal(err)
		}
		err = Post(t.Context(), target, map[string]string{"X-Key": "secret"}, Spans(example(time.Now()), ""))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d %s: %v", test.status, test.answer, err)
		}
	}
	if err := Post(t.Context(), "http://127.0.0.1:1/v1/traces", nil, Request{}); err == nil {
		t.Error("nobody was there to take it")
	}
}

func TestTarget(t *testing.T) {
	for base, want := range map[string]string{
		"http://c:4318": "http://c:4318/v1/traces", "https://c/otlp/": "https://c/otlp/v1/traces", "http://c/v1/traces": "http://c/v1/traces", "c:4318": "", "": "", "grpc://c": "", "http://": "",
	} {
		if got, err := Target(base); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", base, got, err)
		}
	}
}
