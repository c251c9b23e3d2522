package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

const (
	// maxNodes bounds how many nodes are known at a time.
	maxNodes = 64
	// maxBootstrap bounds the answer of a bootstrap page, in bytes.
	maxBootstrap = 1 << 20
	// A node is nearer than another if it is so by nearerBy and by one part in nearerShare of the other's time.
	nearerBy    = 10 * time.Millisecond
	nearerShare = 5
)

// Node is a node that a Client may connect to.
type Node struct {
	URL   string        // of its WebSocket endpoint
	RTT   time.Duration // of its /ping page, without setting up the connection; 0 until it was measured
	Alive bool          // it answered when it was measured last
}

// endpoint is the WebSocket address that a configured URL stands for: http and https mean ws and wss, and there no path
// means /ws.
func endpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http", "https":
		u.Scheme = webSocketScheme(u.Scheme)
		if u.Path == "" || u.Path == "/" {
			u.Path = "/ws"
		}
	default:
		return "", fmt.Errorf("client: %q is no ws, wss, http or https URL", raw)
	}
	if u.Host == "" {
		return "", fmt.Errorf("client: %q names no host", raw)
	}
	return u.String(), nil
}

func webSocketScheme(scheme string) string {
	if scheme == "https" || scheme == "wss" {
		return "wss"
	}
	return "ws"
}

// pingPage is the address of the page to measure a node with: ping instead of the last part of the path.
func pingPage(node string) (string, error) {
	u, err := url.Parse(node)
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.ResolveReference(&url.URL{Path: "ping"}).String(), nil
}

// edge is an element of a bootstrap list: a host, or an object that names one.
type edge string

// UnmarshalJSON implements json.Unmarshaler.
func (e *edge) UnmarshalJSON(b []byte) error {
	var host string
	if json.Unmarshal(b, &host) != nil {
		var object struct {
			Host string `json:"host"`
		}
		// Elements of other kinds are for newer clients.
		_ = json.Unmarshal(b, &object)
		host = object.Host
	}
	*e = edge(host)
	return nil
}

// ParseBootstrap reads the answer of a bootstrap page and returns the hosts it names, each once, in its order and at most
// 64: a list, or an object with a list "edges", of hosts such as "a.example.org:8080" or objects with a "host". All else is
// ignored, hosts that could not stand in a URL included. To name no host is an error.
func ParseBootstrap(body []byte) ([]string, error) {
	var list []edge
	if json.Unmarshal(body, &list) != nil {
		var page struct {
			Edges []edge `json:"edges"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("client: bootstrap: %w", err)
		}
		list = page.Edges
	}
	var hosts []string
	for _, e := range list {
		host := string(e)
		if validHost(host) && !slices.Contains(hosts, host) && len(hosts) < maxNodes {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("client: bootstrap: no host")
	}
	return hosts, nil
}

// validHost tells whether a host, perhaps with a port, is nothing but that in a URL. Go reads http more strictly than ws.
func validHost(host string) bool {
	u, err := url.Parse("http://" + host + "/ws")
	return err == nil && u.Hostname() != "" && u.String() == "http://"+host+"/ws" && u.Host == host && u.Path == "/ws"
}

// sortNodes puts those alive first, the nearest of them first.
func sortNodes(nodes []Node) {
	slices.SortStableFunc(nodes, func(a, b Node) int {
		if a.Alive != b.Alive {
			if a.Alive {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.RTT, b.RTT)
	})
}

// choice decides when to move to another node: when it was nearer by a margin, or alive while the one in use was not, in
// two rounds of measuring in a row.
type choice struct {
	current string
	better  []string // by the last round
}

// decide takes the next round of measuring, sorted, and returns the node to move to, if any.
func (c *choice) decide(current string, nodes []Node) (string, bool) {
	before := c.better
	if c.current != current {
		before = nil
	}
	c.current, c.better = current, nil
	if current == "" {
		return "", false
	}
	for _, n := range nodes {
		if n.Alive && n.URL != current && nearer(n, current, nodes) {
			c.better = append(c.better, n.URL)
		}
	}
	for _, url := range c.better {
		if slices.Contains(before, url) {
			c.better = nil
			return url, true
		}
	}
	return "", false
}

// nearer tells whether n is better by a margin than the node in use. One that is not on the list any more is not alive.
func nearer(n Node, current string, nodes []Node) bool {
	i := slices.IndexFunc(nodes, func(m Node) bool { return m.URL == current && m.Alive })
	if i < 0 {
		return true
	}
	rtt := nodes[i].RTT
	return rtt-n.RTT > max(nearerBy, rtt/nearerShare)
}
