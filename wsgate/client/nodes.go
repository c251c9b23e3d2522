package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	pingTimeout      = 3 * time.Second // of measuring a node
	bootstrapTimeout = 5 * time.Second
	maxPong          = 64 << 10 // bytes of an answer to a measurement; it may be padded with space
)

// nodes are those that a Client may connect to.
type nodes struct {
	web       *http.Client
	static    []string
	bootstrap string // empty means there is none
	report    func(error)

	mu   sync.Mutex
	list []Node // sorted
}

// newNodes checks the configured addresses.
func newNodes(cfg Config, web *http.Client) (*nodes, error) {
	urls := cfg.URLs
	if cfg.URL != "" {
		urls = append([]string{cfg.URL}, urls...)
	}
	n := &nodes{web: web, bootstrap: cfg.Bootstrap, report: cfg.OnError}
	for _, raw := range urls {
		node, err := endpoint(raw)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(n.static, node) {
			n.static = append(n.static, node)
		}
	}
	switch {
	case len(n.static) > maxNodes:
		return nil, fmt.Errorf("client: %d URLs are over the limit of %d", len(n.static), maxNodes)
	case len(n.static) == 0 && n.bootstrap == "":
		return nil, errors.New("client: no URL")
	}
	n.list = unmeasured(n.static)
	return n, nil
}

func unmeasured(urls []string) []Node {
	list := make([]Node, len(urls))
	for i, u := range urls {
		list[i].URL = u
	}
	return list
}

// several tells whether there is, or could be, a choice.
func (n *nodes) several() bool { return n.bootstrap != "" || len(n.static) > 1 }

// known is a copy of what is known, sorted.
func (n *nodes) known() []Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

// order is the addresses in the order in which to try them: by distance, but avoid, if it is not empty, last.
func (n *nodes) order(avoid string) []string {
	var urls []string
	for _, node := range n.known() {
		if node.URL != avoid {
			urls = append(urls, node.URL)
		}
	}
	if avoid != "" {
		urls = append(urls, avoid)
	}
	return urls
}

// refresh finds and measures all nodes anew. That none answers is an error.
func (n *nodes) refresh(ctx context.Context) ([]Node, error) {
	urls, err := n.find(ctx)
	if err != nil {
		return nil, err
	}
	list := unmeasured(urls)
	faults := make([]error, len(list))
	var pings sync.WaitGroup
	for i := range list {
		pings.Go(func() {
			list[i].RTT, faults[i] = n.measure(ctx, list[i].URL)
			list[i].Alive = faults[i] == nil
		})
	}
	pings.Wait()
	sortNodes(list)
	n.mu.Lock()
	n.list = slices.Clone(list)
	n.mu.Unlock()
	if !list[0].Alive {
		return list, fmt.Errorf("client: no node answers: %w", errors.Join(faults...))
	}
	return list, nil
}

// find returns the addresses that are configured and those that the bootstrap page names, each once. If the page cannot be
// had, what is known stays.
func (n *nodes) find(ctx context.Context) ([]string, error) {
	urls := slices.Clone(n.static)
	if n.bootstrap == "" {
		return urls, nil
	}
	found, err := n.discover(ctx)
	if err != nil {
		for _, node := range n.known() {
			found = append(found, node.URL)
		}
		if len(urls)+len(found) == 0 {
			return nil, err
		}
		n.report(err)
	}
	for _, u := range found {
		if !slices.Contains(urls, u) && len(urls) < maxNodes {
			urls = append(urls, u)
		}
	}
	return urls, nil
}

// discover asks the bootstrap page.
func (n *nodes) discover(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	page, err := url.Parse(n.bootstrap)
	if err != nil {
		return nil, fmt.Errorf("client: bootstrap: %w", err)
	}
	body, err := n.fetch(ctx, n.bootstrap, maxBootstrap)
	if err != nil {
		return nil, fmt.Errorf("client: bootstrap: %w", err)
	}
	hosts, err := ParseBootstrap(body)
	if err != nil {
		return nil, err
	}
	for i, host := range hosts {
		hosts[i] = webSocketScheme(page.Scheme) + "://" + host + "/ws"
	}
	return hosts, nil
}

// measure is the time of a request to a node, without setting up the connection.
func (n *nodes) measure(ctx context.Context, node string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	page, err := pingPage(node)
	if err != nil {
		return 0, err
	}
	var ready time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { ready = time.Now() }})
	body, err := n.fetch(ctx, page, maxPong)
	took := time.Since(ready)
	if err != nil {
		return 0, err
	}
	if string(bytes.TrimSpace(body)) != "pong" {
		return 0, fmt.Errorf("client: %s does not say pong", page)
	}
	return took, nil
}

// fetch gets a page.
func (n *nodes) fetch(ctx context.Context, page string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	response, err := n.web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: %s", page, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s: over %d bytes", page, limit)
	}
	return body, err
}

// survey measures the nodes from time to time until ctx ends, and says on c.better which one to move to.
func (c *Client) survey(ctx context.Context) {
	var decision choice
	for {
		// Spread, so that the clients of a node that came do not move to it all at once.
		select {
		case <-time.After(c.cfg.Measure*3/4 + rand.N(c.cfg.Measure/2+1)):
		case <-ctx.Done():
			return
		}
		list, err := c.nodes.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.cfg.OnError(err)
			continue
		}
		target, found := decision.decide(c.url(), list)
		if !found {
			continue
		}
		select {
		case c.better <- target:
		default: // it has not got round to the last one
		}
	}
}
