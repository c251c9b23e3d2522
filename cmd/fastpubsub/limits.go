package main

import (
	"fmt"
	"time"

	"github.com/fastpubsub/fastpubsub/wsgate"
)

// limitOptions say what clients may have and do. A node takes over at SIGHUP all but MaxHeader and HandshakeTimeout, which its listener was made with.
type limitOptions struct {
	MaxConnections    int           `default:"65536" help:"WebSocket connections open at a time; more get 503." group:"limits"`
	MaxPerAddress     int           `default:"10000" help:"Connections open at a time from one address (IPv6: one /64); more get 429; loopback has no such limit. 0: no limit, for a node behind a proxy." group:"limits"`
	MaxSubscriptions  int           `default:"10000" help:"Subscriptions of a connection." group:"limits"`
	MaxPerToken       int           `default:"0" help:"Connections open at a time with one token, on this node; more get 429. 0: no limit." group:"limits"`
	MaxTokenSubs      int           `name:"max-token-subscriptions" default:"0" help:"Subscriptions of all connections with one token, on this node. A client that moves to another connection holds its own twice for a while: allow for that. 0: no limit." group:"limits"`
	MaxHeader         int           `default:"16384" help:"Bytes of the head of an HTTP request." group:"limits"`
	MaxStrikes        int           `default:"30" help:"How often a connection may be told that it publishes too fast, less than a minute apart, before it is closed." group:"limits"`
	RateMessages      float64       `default:"0" help:"Messages a second that a connection may publish; more are refused. 0: no limit." group:"limits"`
	RateBytes         float64       `default:"0" help:"Bytes a second that a connection may publish; more are refused. 0: no limit." group:"limits"`
	RateTokenMessages float64       `default:"0" help:"Messages a second that all with one token may publish on this node. 0: no limit." group:"limits"`
	RateTokenBytes    float64       `default:"0" help:"Bytes a second that all with one token may publish on this node. 0: no limit." group:"limits"`
	RateSubscriptions float64       `default:"1000" help:"Times a second that a connection may subscribe and unsubscribe, after as many at once as it may have subscriptions; more wait. 0: no limit." group:"limits"`
	RateConnections   float64       `default:"200" help:"Connections a second from one address (IPv6: one /64), and ten seconds' worth at once; more get 429. 0: no limit, for a node behind a proxy." group:"limits"`
	HandshakeTimeout  time.Duration `default:"5s" help:"Time for a client's TLS handshake, and for the head of its request." group:"limits"`
}

func (o *limitOptions) check() error {
	if err := wsgate.CheckLimits(o.limits(), o.rates()); err != nil {
		return fmt.Errorf("%w: --max-... and --rate-...: %w", errUsage, err)
	}
	return nil
}

func (o *limitOptions) limits() wsgate.Limits {
	return wsgate.Limits{
		Connections: o.MaxConnections, PerAddress: o.MaxPerAddress, SpareLoopback: true, Subscriptions: o.MaxSubscriptions,
		PerToken: o.MaxPerToken, TokenSubscriptions: o.MaxTokenSubs, HeaderBytes: o.MaxHeader, Strikes: o.MaxStrikes,
	}
}

func (o *limitOptions) rates() wsgate.Rates {
	return wsgate.Rates{
		Messages: o.RateMessages, Bytes: o.RateBytes, TokenMessages: o.RateTokenMessages, TokenBytes: o.RateTokenBytes,
		Commands: o.RateSubscriptions, Connects: o.RateConnections,
	}
}
