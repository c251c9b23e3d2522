// Package otlp sends traces to OpenTelemetry: a span for each hop of a message, under one for the message, by OTLP over HTTP as JSON
// (https://opentelemetry.io/docs/specs/otlp/, protobuf's JSON mapping).
//
// The official library was looked at and left: it makes spans of what its own process does now, by a provider, a processor and an exporter with gRPC's gateway below, while here all is known
// at once, of other nodes, with times given. What is needed of the format is the few types below.
//
// # Times
//
// A message begins at the time that its origin's clock says; all else is relative to that, as package trace has it: a hop's span begins when the node before had sent the message, and ends when
// this node has. So spans of one path follow each other without a gap.
package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trace"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Request is an ExportTraceServiceRequest.
type Request struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []attribute `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type span struct {
	TraceID    string      `json:"traceId"` // 32 hexadecimal digits, not base64
	SpanID     string      `json:"spanId"`  // 16
	Parent     string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      string      `json:"startTimeUnixNano"` // 64-bit integers are strings
	End        string      `json:"endTimeUnixNano"`
	Attributes []attribute `json:"attributes,omitempty"`
	Status     *status     `json:"status,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Message string `json:"message,omitempty"`
}

type attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

// value has one of its fields.
type value struct {
	String *string  `json:"stringValue,omitempty"`
	Double *float64 `json:"doubleValue,omitempty"`
	Bool   *bool    `json:"boolValue,omitempty"`
}

// Kinds of spans, and the status of one that failed.
const (
	kindInternal = 1
	kindProducer = 4
	kindConsumer = 5
	statusError  = 2
)

func text(key, v string) attribute           { return attribute{key, value{String: &v}} }
func number(key string, v float64) attribute { return attribute{key, value{Double: &v}} }
func truth(key string, v bool) attribute     { return attribute{key, value{Bool: &v}} }

// builder gathers spans by the node that they are of.
type builder struct {
	version string
	nodes   []trace.Node
	spans   map[wire.NodeID][]span
}

// Spans are those of an answer, each under the node that it is of. Version is the program's.
func Spans(a trace.Answer, version string) Request {
	b := builder{version: version, spans: map[wire.NodeID][]span{}}
	for i := range a.Messages {
		b.message(a.Node, &a.Messages[i])
	}
	var r Request
	for _, n := range b.nodes {
		r.ResourceSpans = append(r.ResourceSpans, resourceSpans{
			Resource:   resource{[]attribute{text("service.name", "fastpubsub"), text("service.instance.id", n.ID.String()), text("fastpubsub.node", n.Name)}},
			ScopeSpans: []scopeSpans{{scope{"fastpubsub", version}, b.spans[n.ID]}},
		})
	}
	return r
}

func (b *builder) add(n trace.Node, s span) {
	if _, known := b.spans[n.ID]; !known {
		b.nodes = append(b.nodes, n)
	}
	b.spans[n.ID] = append(b.spans[n.ID], s)
}

// message adds the spans of a message: one for all of it, at the origin, and the hops below.
func (b *builder) message(origin trace.Node, m *trace.Message) {
	root := span{
		TraceID: origin.ID.String() + m.Trace, SpanID: spanID(m.Trace, "root", 0), Name: "trace", Kind: kindInternal, Start: nanos(m.At, 0),
		Attributes: []attribute{truth("fastpubsub.sampled", m.Sampled)},
	}
	if m.Channel != "" {
		root.Name = "trace " + m.Channel
		root.Attributes = append(root.Attributes, text("messaging.system", "fastpubsub"), text("messaging.destination.name", m.Channel), text("fastpubsub.tenant", m.Tenant))
	} else if len(m.Paths) == 1 {
		root.Name = "trace to " + m.Paths[0].To.Name
	}
	end := 0.0
	for i := range m.Paths {
		p := &m.Paths[i]
		end = max(end, b.path(&root, m, p))
		if len(m.Paths) == 1 {
			root.Attributes = append(root.Attributes, compared(p)...)
		}
		if !p.Arrived {
			root.Status = &status{statusError, "it did not arrive at " + p.To.Name}
		}
	}
	root.End = nanos(m.At, end)
	b.add(origin, root)
}

// path adds the hops of a path that are known, and returns when the last ended, in ms.
func (b *builder) path(root *span, m *trace.Message, p *trace.Path) (end float64) {
	for i, h := range p.Hops {
		if !h.Told {
			continue
		}
		s := span{
			TraceID: root.TraceID, SpanID: spanID(m.Trace, p.To.ID.String(), i), Parent: root.SpanID, Name: h.Name, Kind: kindInternal,
			Start: nanos(m.At, h.At-h.Link), End: nanos(m.At, h.At+h.Held),
			Attributes: []attribute{
				text("fastpubsub.destination", p.To.Name), text("fastpubsub.end", h.End),
				number("fastpubsub.link_ms", h.Link), number("fastpubsub.held_ms", h.Held), number("fastpubsub.queued_ms", h.Queued),
			},
		}
		for j, w := range h.Ways {
			if w.Verdict == wire.VerdictTaken.String() {
				s.Attributes = append(s.Attributes, text("fastpubsub.next", w.Hop.Name), number("fastpubsub.next_cost_ms", w.Cost))
			} else {
				s.Attributes = append(s.Attributes, text(fmt.Sprintf("fastpubsub.alternate.%d", j), fmt.Sprintf("%s: %s", w.Hop.Name, w.Why)))
			}
		}
		switch {
		case i == 0:
			s.Kind = kindProducer
		case i == len(p.Hops)-1 && p.Arrived:
			s.Kind = kindConsumer
			s.Attributes = append(s.Attributes, compared(p)...)
		case h.End != wire.EndSent.String():
			s.Status = &status{statusError, h.End}
		}
		b.add(h.Node, s)
		end = max(end, h.At+h.Held)
	}
	return end
}

// compared is what direct would have been.
func compared(p *trace.Path) (out []attribute) {
	for _, n := range []struct {
		key string
		v   *float64
	}{{"fastpubsub.took_ms", p.Took}, {"fastpubsub.direct_ms", p.Direct}, {"fastpubsub.saved_ms", p.Saved}} {
		if n.v != nil {
			out = append(out, number(n.key, *n.v))
		}
	}
	var missing []string
	for _, n := range p.Missing {
		missing = append(missing, n.Name)
	}
	if missing != nil {
		out = append(out, text("fastpubsub.missing", strings.Join(missing, ", ")))
	}
	return out
}

// spanID is not zero, and the same for the same span.
func spanID(traceID, of string, hop int) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s %d", traceID, of, hop)
	return fmt.Sprintf("%016x", max(h.Sum64(), 1))
}

func nanos(at time.Time, ms float64) string {
	return strconv.FormatInt(at.Add(time.Duration(ms*float64(time.Millisecond))).UnixNano(), 10)
}

// tracesPath is where a collector takes traces.
const tracesPath = "/v1/traces"

// Target is where a collector with that base address, as http://127.0.0.1:4318, takes traces.
func Target(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("otlp: %q: want the address of a collector, as http://127.0.0.1:4318", base)
	}
	if !strings.HasSuffix(u.Path, tracesPath) {
		u.Path = strings.TrimSuffix(u.Path, "/") + tracesPath
	}
	return u.String(), nil
}

// Post sends spans to a collector's address, as Target has it, with these headers besides. An answer by which it has not taken all is an error.
func Post(ctx context.Context, target string, headers map[string]string, r Request) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("otlp: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("otlp: %w", err)
	}
	for key, v := range headers {
		req.Header.Set(key, v)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("otlp: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("otlp: %s: %w", target, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("otlp: %s: %s: %.200q", target, res.Status, answer)
	}
	var said struct {
		PartialSuccess struct {
			RejectedSpans json.RawMessage `json:"rejectedSpans"` // a string by the specification; some write a number
			ErrorMessage  string          `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &said) == nil { // else it is no JSON, as with some; it has taken them all the same
		if n := strings.Trim(string(said.PartialSuccess.RejectedSpans), `"`); n != "" && n != "0" {
			return fmt.Errorf("otlp: %s: %s spans were refused: %.200q", target, n, said.PartialSuccess.ErrorMessage)
		}
	}
	return nil
}
