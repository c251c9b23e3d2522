package client

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Config configures a Client. One of URL, URLs and Bootstrap is required; all nodes that they name are candidates.
type Config struct {
	URL       string   // of a WebSocket endpoint, such as ws://localhost:8080/ws; http and https mean ws and wss
	URLs      []string // further ones; at most 64 in all
	Bootstrap string   // of a page that lists nodes, such as http://localhost:8080/v1/bootstrap; https there means wss

	Token string      // AT_<id>_<secret>, sent as a bearer token to whichever node; empty sends none
	TLS   *tls.Config // for wss and https; nil means the defaults of crypto/tls

	// NewToken, if there is one, is asked before every connection instead of Token, as tokens expire. Calls may overlap.
	NewToken func(ctx context.Context) (string, error)

	// DialContext makes connections; nil means a net.Dialer, and the proxy that the environment names.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	Handler func(Message) // gets the messages; Message.Payload is valid only during the call. nil: use Receive
	OnError func(error)   // hears of faults that no call returns, a lost connection among them; must not block

	Buffer    int           // messages that wait for Receive; 0 means 256
	Reconnect bool          // dial again when the connection is lost, and move to a better node
	Ping      time.Duration // how often the connection is tested; 0 means 15 s
	Pong      time.Duration // for the answer, before the connection counts as lost; 0 means 10 s
	Measure   time.Duration // how often the nodes are measured, on average; 0 means 60 s, and less than 0 only at first
	Overlap   time.Duration // how long the former connection of a hand-over is read; 0 means 5 s
	Spread    time.Duration // a node that asks to be left is left after a random part of it; 0 means 1 s, less than 0 none
}

func (c Config) withDefaults() Config {
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	if c.Buffer <= 0 {
		c.Buffer = 256
	}
	setDefault(&c.Ping, 15*time.Second)
	setDefault(&c.Pong, 10*time.Second)
	setDefault(&c.Overlap, 5*time.Second)
	if c.Measure == 0 {
		c.Measure = 60 * time.Second
	}
	if c.Spread == 0 {
		c.Spread = time.Second
	}
	return c
}

func setDefault(field *time.Duration, value time.Duration) {
	if *field <= 0 {
		*field = value
	}
}
