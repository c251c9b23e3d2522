package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trace"
)

// answering is a node that answers every trace the same, and what it was asked last.
func answering(t *testing.T, status int, answer any, asked *string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/trace" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		*asked = string(body)
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// relayed is a path from a by way of b to c.
func relayed() trace.Path {
	a, b, c := trace.Node{ID: 1, Name: "a"}, trace.Node{ID: 2, Name: "b"}, trace.Node{ID: 3, Name: "c"}
	return trace.Path{
		To: c, Arrived: true, Complete: true, Took: new(31.5), Direct: new(50.0), DirectCost: new(50.5), Saved: new(18.5),
		Hops: []trace.Hop{
			{Node: a, Told: true, Held: 1, End: "sent", Ways: []trace.Way{{Hop: b, Cost: 31, Verdict: "taken"}, {Hop: c, Cost: 50.5, Verdict: "dearer", Why: "costs 19.5 ms more"}}},
			{Node: b, Told: true, At: 11, Link: 10, Held: 0.5, End: "sent"},
			{Node: c, Told: true, At: 31.5, Link: 20, End: "delivered"},
		},
	}
}

func answerOf(paths ...trace.Path) trace.Answer {
	return trace.Answer{Node: trace.Node{ID: 1, Name: "a"}, Messages: []trace.Message{{Trace: "0000000000000009", At: time.Unix(1, 0), Paths: paths}}}
}

func TestTraceCommand(t *testing.T) {
	var asked string
	url := answering(t, http.StatusOK, answerOf(relayed()), &asked)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"trace", "--url", url, "c"}, streams{nil, &out, &errs}); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	want := `  AT ms  LINK ms  HELD ms  NODE
   0.00        -     1.00  a
  11.00    10.00     0.50  b
  31.50    20.00        -  c
direct 50.0 ms, by b 31.5 ms: saved 18.5 ms
  not from a direct: costs 19.5 ms more
`
	if out.String() != want || asked != `{"to":"c"}` {
		t.Errorf("asked %s, printed\n%s\nwant\n%s", asked, out.String(), want)
	}
	out.Reset()
	args := []string{"trace", "--url", url, "--channel", "x.#", "--tenant", "t", "--sample", "1", "--every", "4", "--timeout", "500ms", "--json"}
	if code := run(t.Context(), args, streams{nil, &out, &errs}); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var a trace.Answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil || len(a.Messages) != 1 || asked != `{"tenant":"t","channel":"x.#","sample":1,"every":4,"timeout_s":0.5}` {
		t.Errorf("asked %s, printed %s: %v", asked, out.String(), err)
	}
}

// Spans go to the collector, and whatever is printed says why it did not work.
func TestTraceCommandOTLP(t *testing.T) {
	var asked string
	url := answering(t, http.StatusOK, answerOf(relayed()), &asked)
	status, spans := http.StatusOK, 0
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		spans = strings.Count(string(body), `"spanId"`)
		if r.URL.Path != "/v1/traces" || r.Header.Get("Key") != "a=b" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		w.WriteHeader(status)
	}))
	defer collector.Close()
	var out, errs bytes.Buffer
	args := []string{"trace", "--url", url, "c", "--otlp", collector.URL, "--otlp-header", "Key=a=b"}
	if code := run(t.Context(), args, streams{nil, &out, &errs}); code != 0 || spans != 4 {
		t.Errorf("exit %d, %d spans: %s", code, spans, errs.String())
	}
	status = http.StatusTooManyRequests
	if code := run(t.Context(), args, streams{nil, &out, &errs}); code != exitFailure || !strings.Contains(errs.String(), "429") || !strings.Contains(out.String(), "saved 18.5 ms") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestTraceCommandFails(t *testing.T) {
	silent := relayed()
	silent.Arrived, silent.Took, silent.Saved, silent.Complete = false, nil, nil, false
	silent.Hops[1] = trace.Hop{Node: silent.Hops[1].Node}
	silent.Hops = silent.Hops[:2]
	for _, test := range []struct {
		args   []string
		status int
		answer any
		code   int
		want   string
	}{
		{[]string{"c"}, 400, map[string]string{"error": "bad_json", "detail": `no node "c" is known`}, exitFailure, `no node "c" is known`},
		{[]string{"c"}, 403, nil, exitFailure, "--token"},
		{[]string{"c"}, 429, map[string]string{"detail": "other traces"}, exitFailure, "other traces"},
		{[]string{"c"}, 200, "nonsense", exitFailure, "cannot unmarshal"},
		{[]string{"c"}, 200, answerOf(silent), exitFailure, "c has not said within 3s that it came"},
		{[]string{"--channel", "x", "--sample", "2"}, 200, answerOf(relayed()), exitFailure, "1 of 2 messages came in 15s"},
		{nil, 200, nil, exitUsage, "NODE or --channel"},
		{[]string{"c", "--channel", "x"}, 200, nil, exitUsage, "NODE or --channel"},
		{[]string{"--channel", "x*"}, 200, nil, exitUsage, "invalid channel"},
		{[]string{"c", "--timeout", "2m"}, 200, nil, exitUsage, "timeout_s is at most 60"},
		{[]string{"c", "--otlp", "collector:4318"}, 200, nil, exitUsage, "--otlp"},
	} {
		var asked string
		var out, errs bytes.Buffer
		args := append([]string{"trace", "--url", answering(t, test.status, test.answer, &asked)}, test.args...)
		if code := run(t.Context(), args, streams{nil, &out, &errs}); code != test.code || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%v: exit %d, %s, want %q in it", test.args, code, errs.String(), test.want)
		}
	}
}

// What is said of paths that are not as one wishes.
func TestPrintTraces(t *testing.T) {
	direct, lost, lossy, blocked := relayed(), relayed(), relayed(), relayed()
	direct.Hops, direct.Saved = []trace.Hop{direct.Hops[0], direct.Hops[2]}, nil
	lost.Hops[1], lost.Complete = trace.Hop{Node: lost.Hops[1].Node}, false
	lossy.Saved, lossy.DirectCost = new(-3.0), new(90.0)
	blocked.Saved, blocked.Direct = nil, nil
	full := relayed()
	full.Took, full.Saved, full.Arrived = nil, nil, false
	full.Hops = full.Hops[:2]
	full.Hops[1].End = "queue_full"
	for want, p := range map[string]trace.Path{
		"direct 31.5 ms: no relay makes it faster":                                                direct,
		"      ?        ?        ?  b (has not told of it)":                                       lost,
		"direct 50.0 ms, by b 31.5 ms: 3.0 ms lost; direct counts as 90.0 ms, with what it loses": lossy,
		"by b 31.5 ms: there is no direct link that works":                                        blocked,
		"  11.00    10.00     0.50  b (queue full)\nit has not arrived at c, as far as was told":  full,
	} {
		var out bytes.Buffer
		a := answerOf(p)
		if err := printTraces(&out, &a); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v: printed\n%s\nwant %q", err, out.String(), want)
		}
	}
	var out bytes.Buffer
	a := answerOf()
	a.Messages[0].Channel = "x"
	a.Messages = append(a.Messages, a.Messages[0])
	a.Messages[1].Local = true
	if err := printTraces(&out, &a); err != nil || !strings.Contains(out.String(), "no node has subscribers, as far as a knows") || !strings.Contains(out.String(), "a itself has subscribers") {
		t.Errorf("%v: %s", err, out.String())
	}
}
