package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/otlp"
	"github.com/fastpubsub/fastpubsub/mesh/trace"
)

// traceCommand shows the way of messages.
type traceCommand struct {
	nodeAddress `embed:""`
	Node        string            `arg:"" optional:"" help:"Name or ID of the node to trace to."`
	Channel     string            `help:"Trace to all nodes with subscribers of this channel, in place of one node. They are not sent anything." placeholder:"NAME"`
	Tenant      string            `default:"~" help:"Tenant of the channel."`
	Sample      int               `help:"Trace so many of the messages that clients publish at the node asked, on channels that match the pattern --channel, in place of one made for it." placeholder:"N"`
	Every       int               `help:"Of these take one in so many." placeholder:"N"`
	Timeout     time.Duration     `help:"How long to wait at most, up to 1m; 3s by default, to sample 15s." placeholder:"TIME"`
	JSON        bool              `name:"json" help:"Print the node's whole answer as JSON."`
	OTLP        string            `name:"otlp" env:"FASTPUBSUB_OTLP" help:"Also send each message's hops as spans to this OpenTelemetry collector, by OTLP over HTTP, as http://127.0.0.1:4318." placeholder:"URL"`
	OTLPHeader  map[string]string `name:"otlp-header" env:"FASTPUBSUB_OTLP_HEADER" help:"Header for the collector, as for its key; may be given several times." placeholder:"NAME=VALUE"`
}

// invalid is how faults of requests begin, which says nothing to who has typed one.
const invalid = "invalid argument request: "

// answerMost bounds what is read of a node's answer, in bytes.
const answerMost = 256 << 20

// Run asks the node and prints what it was told.
func (c *traceCommand) Run(ctx context.Context, std streams) error {
	if (c.Node == "") == (c.Channel == "") {
		return fmt.Errorf("%w: give a NODE or --channel: fastpubsub status lists the nodes", errUsage)
	}
	r := trace.Request{To: c.Node, Channel: c.Channel, Sample: c.Sample, Every: c.Every, Timeout: c.Timeout.Seconds()}
	if c.Channel != "" {
		r.Tenant = c.Tenant
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if r, err = trace.ParseRequest(body); err != nil {
		return fmt.Errorf("%w: %s", errUsage, strings.TrimPrefix(err.Error(), invalid))
	}
	target := ""
	if c.OTLP != "" {
		if target, err = otlp.Target(c.OTLP); err != nil {
			return fmt.Errorf("%w: --otlp: %w", errUsage, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Wait()+askTime)
	defer cancel()
	res, err := c.ask(ctx, http.MethodPost, "/v1/trace", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	if err != nil {
		return err
	}
	var a trace.Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("%s: %w", c.URL, err)
	}
	if c.JSON {
		_, err = std.out.Write(text)
	} else {
		err = printTraces(std.out, &a)
	}
	if err == nil && target != "" && len(a.Messages) > 0 {
		err = otlp.Post(ctx, target, c.OTLPHeader, otlp.Spans(a, versionText()))
	}
	return errors.Join(err, shortOf(r, &a))
}

// shortOf is what an answer lacks of what was asked for.
func shortOf(r trace.Request, a *trace.Answer) error {
	if len(a.Messages) < r.Sample {
		return fmt.Errorf("%d of %d messages came in %v: --timeout waits for longer", len(a.Messages), r.Sample, r.Wait())
	}
	for _, m := range a.Messages {
		for _, p := range m.Paths {
			if !p.Arrived {
				return fmt.Errorf("%s has not said within %v that it came", p.To.Name, r.Wait())
			}
		}
	}
	return nil
}

func printTraces(out io.Writer, a *trace.Answer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range a.Messages {
		m := &a.Messages[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		if m.Channel != "" {
			fmt.Fprintf(w, "channel %s, tenant %s, at %s\n", m.Channel, m.Tenant, m.At.Local().Format("15:04:05.000"))
			if m.Local {
				fmt.Fprintf(w, "%s itself has subscribers, at no distance\n", a.Node.Name)
			} else if len(m.Paths) == 0 {
				fmt.Fprintf(w, "no node has subscribers, as far as %s knows\n", a.Node.Name)
			}
		}
		for j := range m.Paths {
			if j > 0 {
				fmt.Fprintln(w)
			}
			printPath(w, &m.Paths[j])
		}
	}
	return w.Flush()
}

// printPath writes a line for each hop, what direct would have taken, and the ways that were not taken.
func printPath(w io.Writer, p *trace.Path) {
	fmt.Fprintf(w, "AT ms\tLINK ms\tHELD ms\t  NODE\n")
	for i, h := range p.Hops {
		switch {
		case !h.Told:
			fmt.Fprintf(w, "?\t?\t?\t  %s (has not told of it)\n", h.Name)
		case i == 0:
			fmt.Fprintf(w, "%.2f\t-\t%.2f\t  %s%s\n", h.At, h.Held, h.Name, endOf(h.End))
		case h.End == "delivered":
			fmt.Fprintf(w, "%.2f\t%.2f\t-\t  %s\n", h.At, h.Link, h.Name)
		default:
			fmt.Fprintf(w, "%.2f\t%.2f\t%.2f\t  %s%s\n", h.At, h.Link, h.Held, h.Name, endOf(h.End))
		}
	}
	fmt.Fprintln(w, verdictOf(p))
	for _, h := range p.Hops {
		for _, way := range h.Ways {
			if way.Verdict == "taken" {
				continue
			}
			name := "by " + way.Hop.Name
			if way.Hop.ID == p.To.ID {
				name = "direct"
			}
			fmt.Fprintf(w, "  not from %s %s: %s\n", h.Name, name, way.Why)
		}
	}
}

// endOf is what became of a message at a node, unless it went on as it should.
func endOf(end string) string {
	if end == "sent" || end == "" {
		return ""
	}
	return " (" + strings.ReplaceAll(end, "_", " ") + ")"
}

// verdictOf compares the way taken with direct.
func verdictOf(p *trace.Path) string {
	var relays []string
	for _, h := range p.Hops[1:max(len(p.Hops)-1, 1)] {
		relays = append(relays, h.Name)
	}
	by := strings.Join(relays, ", ")
	switch {
	case p.Took == nil:
		return "it has not arrived at " + p.To.Name + ", as far as was told"
	case len(relays) == 0:
		return fmt.Sprintf("direct %.1f ms: no relay makes it faster", *p.Took)
	case p.Saved == nil:
		return fmt.Sprintf("by %s %.1f ms: there is no direct link that works", by, *p.Took)
	case *p.Saved < 0:
		return fmt.Sprintf("direct %.1f ms, by %s %.1f ms: %.1f ms lost; direct counts as %.1f ms, with what it loses", *p.Direct, by, *p.Took, -*p.Saved, deref(p.DirectCost))
	}
	return fmt.Sprintf("direct %.1f ms, by %s %.1f ms: saved %.1f ms", *p.Direct, by, *p.Took, *p.Saved)
}

func deref(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}
