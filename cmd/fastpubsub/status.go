package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
)

// statusCommand shows what a node knows.
type statusCommand struct {
	nodeAddress `embed:""`
	JSON        bool `name:"json" help:"Print the node's whole answer as JSON."`
	Check       bool `help:"Only tell by the exit code whether the node is ready."`
}

// nodeAddress is the node that a command asks about the mesh.
type nodeAddress struct {
	URL   string `name:"url" default:"http://127.0.0.1:8080" help:"Address of the node's client port." placeholder:"URL"`
	Token string `help:"Where clients need tokens: an access token that may subscribe to $mesh.#, or a master token." placeholder:"AT_..."`
}

// askTime bounds how long a command waits for a node's answer, apart from what it asks the node to wait for.
const askTime = 10 * time.Second

// ask makes a request of the node. The answer is one with status 200, and its body the caller's to close.
func (a *nodeAddress) ask(ctx context.Context, method, page string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, httpBase(a.URL)+page, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if a.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%s: %s: give --token one that may subscribe to $mesh.# in the tenant ~, or a master token", req.URL, res.Status)
	}
	var why struct{ Detail string }
	if json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&why) == nil && why.Detail != "" {
		return nil, fmt.Errorf("%s: %s: %s", req.URL, res.Status, strings.TrimPrefix(why.Detail, invalid))
	}
	return nil, fmt.Errorf("%s: %s", req.URL, res.Status)
}

// Run asks the node and prints its answer.
func (c *statusCommand) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	page := "/v1/mesh"
	if c.Check {
		page = "/readyz"
	}
	res, err := c.ask(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if c.Check {
		return nil
	}
	if c.JSON {
		_, err := io.Copy(std.out, res.Body)
		return err
	}
	var v mesh.View
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		return fmt.Errorf("%s: %w", c.URL, err)
	}
	return printView(std.out, &v)
}

// httpBase is the address of a node's pages, given that or its WebSocket address.
func httpBase(url string) string {
	if rest, ok := strings.CutPrefix(url, "ws"); ok {
		url = "http" + rest
	}
	return strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/ws")
}

func printView(out io.Writer, v *mesh.View) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "node %s (%v) at %s, up %s\n", v.Node.Name, v.Node.ID, v.Node.Addr, (time.Duration(v.Node.Uptime) * time.Second).String())
	fmt.Fprintf(w, "\nMEMBER\tID\tADDRESS\tREGION\tSTATE\n")
	for _, m := range v.Members {
		fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%s\n", m.Name, m.ID, m.Addr, dash(m.Region), m.State)
	}
	fmt.Fprintf(w, "\nLINK\tSTATE\tRTT ms\t±\tLOSS\tCOST ms\tMESSAGES OUT\tIN\n")
	for _, l := range v.Links {
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.2f\t%.1f%%\t%s\t%d\t%d\n", l.Name, l.State, l.RTT, l.Deviation, 100*l.Loss, known(l.Cost), l.MessagesOut, l.MessagesIn)
	}
	fmt.Fprintf(w, "\nTO\tNEXT HOP\tCOST ms\tDIRECT ms\tALTERNATE\tms\tPATH\n")
	for _, r := range v.Routes {
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\t%s\t%s\t%s\n", r.Name, r.NextName, r.Cost, known(r.Direct), dash(r.AlternateName), known(r.AlternateCost), strings.Join(r.Path, " > "))
	}
	return w.Flush()
}

// known is a cost in ms, or a dash: there is none, or it is not measured yet.
func known(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ms)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
