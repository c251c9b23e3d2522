package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trace"
)

// traced asks the first metro's node for the way to another until it leads over a relay and all is known of it.
func traced(ctx context.Context, addr, to string) (p trace.Path, err error) {
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/trace", strings.NewReader(`{"to":"`+to+`"}`))
		if err != nil {
			return p, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil { // it is not there yet
			continue
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		var a trace.Answer
		if err != nil || response.StatusCode != http.StatusOK || json.Unmarshal(text, &a) != nil || len(a.Messages) != 1 {
			continue
		}
		if p = a.Messages[0].Paths[0]; p.Complete && p.Saved != nil {
			return p, nil
		}
	}
	return p, fmt.Errorf("the last: %+v: %w", p, ctx.Err())
}

// A trace names the relay and the time that it saves as the demo's own report does, which has both from the clients' side: it is faster from Auckland to Tokyo by
// Sydney.
func TestTraceIsAsTheReport(t *testing.T) {
	ctx, quit := context.WithTimeout(t.Context(), time.Minute)
	defer quit()
	defer http.DefaultClient.CloseIdleConnections()
	free, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- Run(running, Config{Metros: []string{"Auckland", "Sydney", "Tokyo"}, JSON: true, Rate: 20, WS: addr, Out: &out, Err: io.Discard})
	}()
	p, err := traced(ctx, addr, "Tokyo")
	if err == nil { // the report is about some seconds
		time.Sleep(3 * time.Second)
		p, err = traced(ctx, addr, "Tokyo")
	}
	stop()
	if runErr := <-ended; runErr != nil || err != nil {
		t.Fatal(runErr, err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Pairs, func(p pairReport) bool { return p.From == "Auckland" && p.To == "Tokyo" })
	line := r.Pairs[i]
	var names []string
	for _, h := range p.Hops {
		names = append(names, h.Name)
	}
	if line.Latency == nil || !slices.Equal(names, line.Path) || len(names) != 3 {
		t.Fatalf("trace %v, report %+v", names, line)
	}
	saved := line.Direct - *line.Latency
	t.Logf("trace: direct %.1f, saved %.1f; report: direct %.1f, saved %.1f", *p.Direct, *p.Saved, line.Direct, saved)
	if math.Abs(*p.Saved-saved) > 10 || math.Abs(*p.Direct-line.Direct) > 10 || saved < 20 {
		t.Errorf("saved %.1f ms by the trace, %.1f by the report: %+v", *p.Saved, saved, line)
	}
}
