package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// stagger is how long one node may take to answer before the next is tried as well (after RFC 8305, section 5).
const stagger = 250 * time.Millisecond

// transport speaks HTTP/1.1 only, which WebSocket needs, and keeps no idle connection.
func transport(cfg Config) *http.Transport {
	t := &http.Transport{TLSClientConfig: cfg.TLS, DisableKeepAlives: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(true)
	if t.DialContext = cfg.DialContext; t.DialContext == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// dial makes one connection.
func (c *Client) dial(ctx context.Context, url string) (*link, error) {
	opts := &websocket.DialOptions{
		HTTPClient:      c.web,
		HTTPHeader:      http.Header{},
		Subprotocols:    []string{"llps.v1"},
		CompressionMode: websocket.CompressionDisabled,
	}
	token := c.cfg.Token
	if c.cfg.NewToken != nil {
		var err error
		if token, err = c.cfg.NewToken(ctx); err != nil {
			return nil, fmt.Errorf("client: token: %w", err)
		}
	}
	if token != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+token)
	}
	ws, response, err := websocket.Dial(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("client: dial: %w", err)
	}
	if response.Body != nil {
		_ = response.Body.Close()
	}
	if ws.Subprotocol() != "llps.v1" {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("client: dial: %s does not speak llps.v1", url)
	}
	ws.SetReadLimit(maxMessage)
	return newLink(url, ws), nil
}

// dialed is the outcome of a dial.
type dialed struct {
	link *link
	err  error
}

// dialFirst dials one address after the other until one takes the connection; it does not wait long for any. It returns
// when all dials have ended.
func (c *Client) dialFirst(ctx context.Context, urls []string) (*link, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(urls))
	next := time.NewTicker(stagger)
	defer next.Stop()
	started, ended := 0, 0
	start := func() {
		if started < len(urls) {
			url := urls[started]
			started++
			go func() {
				l, err := c.dial(ctx, url)
				results <- dialed{l, err}
			}()
		}
	}
	var first *link
	var faults []error
	start()
	for ended < started {
		select {
		case <-next.C:
			if first == nil {
				start()
			}
		case r := <-results:
			ended++
			switch {
			case r.err != nil && first == nil:
				faults = append(faults, r.err)
				start()
			case r.err == nil && first == nil:
				first = r.link
				cancel() // the others
			case r.err == nil:
				_ = r.link.ws.CloseNow()
			}
		}
	}
	if first == nil {
		return nil, errors.Join(faults...)
	}
	return first, nil
}
