package wsgate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// Config configures a Server.
type Config struct {
	Hub    *Hub   // required; its Deliver is what the Broker calls for local subscribers
	Broker Broker // required

	// Authority decides who may come in; nil: everyone may, and do everything but publish on reserved channels.
	Authority *access.Authority

	Logger   zerolog.Logger // the zero value logs nothing
	Version  string         // shown on the text page
	Ready    func() bool    // what /readyz says; nil means always ready
	Edges    func() []Edge  // the nodes that clients can connect to, for GET /v1/bootstrap; nil means none
	Describe func() any     // the overlay's state for GET /v1/mesh, to be encoded as JSON; nil means {}
	// Trace traces messages through the overlay as the body of POST /v1/trace says, for as long as that says or the context lives, and returns what to answer as JSON. An
	// error that is fs.ErrInvalid, or one of package channel, is the client's. nil means unavailable.
	Trace    func(ctx context.Context, request []byte) (any, error)
	Handlers map[string]http.Handler // further pages, by http.ServeMux pattern; a pattern ServeMux refuses panics
	Home     string                  // the page to which / leads browsers; default none: they get the text page, as all others do

	TLS    *tls.Config // to serve with, HTTP/1.1 only; nil means without TLS
	Limits Limits      // SetLimits changes them
	Rates  Rates       // the same
	Timing Timing
}

// Limits bounds what clients can take. A zero field means its default.
type Limits struct {
	Connections   int  // WebSocket, open at a time; more get 503. Default 65,536
	PerAddress    int  // connections of any kind of an address (IPv6: of a /64), open at a time; more get 429. Default no limit
	SpareLoopback bool // addresses of this machine, such as a proxy's, have no limits per address

	PerToken      int // connections with one token, open at a time on this node; more get 429. Default no limit
	Subscriptions int // of a connection; at most 65,535. Default 10,000
	// TokenSubscriptions bounds those of all connections with one token, on this node; a client holds its own twice while it changes connections.
	// Default no limit
	TokenSubscriptions int
	QueueBytes         int // waiting for a connection; the oldest are dropped beyond. Default 16 MiB
	QueueFrames        int // the same as a number of deliveries. Default 32,768
	BadFrames          int // malformed binary messages before a connection is closed. Default 16
	Strikes            int // ERR:rate_limited, less than a minute apart, before a connection is closed. Default 30
	HeaderBytes        int // of an HTTP request. Default 16 KiB
}

// Rates bounds how much clients can do in a second. A second's worth can come at once. Zero means no limit.
type Rates struct {
	Messages float64 // published by a connection; what is over is refused
	Bytes    float64 // of tenant, channel and payload, published by a connection; what is over is refused. At least one message is taken
	// TokenMessages and TokenBytes are the same for all connections and requests with one token, on this node.
	TokenMessages, TokenBytes float64

	Commands float64 // to subscribe and unsubscribe, of a connection; 10,000 can come at once, or as many as Limits.Subscriptions. What is over waits
	Connects float64 // connections of any kind of an address (IPv6: of a /64); ten seconds' worth can come at once. What is over gets 429
}

// Timing says how long clients are waited for. The clock is looked at every second, or every eighth of the shortest
// time if that is less. A zero field means its default.
type Timing struct {
	Request  time.Duration // for a client's TLS handshake, and then for the head of its request. Default 5 s
	Ping     time.Duration // silence before a client is pinged. Default 30 s
	Pong     time.Duration // for the answer. Default 10 s
	Write    time.Duration // for a batch of at most 64 KiB and a message to be taken by the client. Default 10 s
	Overflow time.Duration // for a queue that overflowed to be half empty again. Default 30 s
	Spread   time.Duration // over which Drain tells clients to reconnect, so that they do not come all at once. Default 10 s
	Close    time.Duration // for the closing handshake, and for pages under way when the server stops. Default 5 s
}

// validate joins all faults of a Config.
func (c Config) validate() error {
	var faults []error
	if c.Hub == nil {
		faults = append(faults, errors.New("no Hub"))
	}
	if c.Broker == nil {
		faults = append(faults, errors.New("no Broker"))
	}
	if err := CheckLimits(c.Limits, c.Rates); err != nil {
		faults = append(faults, err)
	}
	if t := c.Timing; min(t.Request, t.Ping, t.Pong, t.Write, t.Overflow, t.Spread, t.Close) < 0 {
		faults = append(faults, fmt.Errorf("negative time: %+v", t))
	}
	return errors.Join(faults...)
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Connections, 65_536)
	setDefault(&l.Subscriptions, 10_000)
	setDefault(&l.QueueBytes, 16<<20)
	setDefault(&l.QueueFrames, 32_768)
	setDefault(&l.BadFrames, 16)
	setDefault(&l.Strikes, 30)
	setDefault(&l.HeaderBytes, 16<<10)
	return l
}

func (t Timing) withDefaults() Timing {
	setDefault(&t.Request, 5*time.Second)
	setDefault(&t.Ping, 30*time.Second)
	setDefault(&t.Pong, 10*time.Second)
	setDefault(&t.Write, 10*time.Second)
	setDefault(&t.Overflow, 30*time.Second)
	setDefault(&t.Spread, 10*time.Second)
	setDefault(&t.Close, 5*time.Second)
	return t
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// tick is how often a server looks at the clock for all of its connections.
func (t Timing) tick() time.Duration {
	shortest := min(t.Ping, t.Pong, t.Write, t.Overflow, t.Close)
	return max(min(shortest/8, time.Second), time.Millisecond)
}
