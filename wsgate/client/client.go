package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// ErrClosed is returned once the Client has ended, by Close or, without Config.Reconnect, by the loss of its connection.
// It comes with the cause, if there was another than Close.
var ErrClosed = errors.New("client: closed")

// Config configures a Client.
type Config struct {
	URL   string      // of the WebSocket endpoint, such as ws://localhost:8080/ws
	Token string      // AT_<id>_<secret>, sent as a bearer token; empty sends none
	TLS   *tls.Config // for wss; nil means the defaults of crypto/tls

	// DialContext makes connections; nil means a net.Dialer, and the proxy that the environment names.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	Handler func(Message) // gets the messages; Message.Payload is valid only during the call. nil: use Receive
	OnError func(error)   // hears of faults that no call returns, a lost connection among them; must not block

	Buffer    int           // messages that wait for Receive; 0 means 256
	Reconnect bool          // dial again when the connection is lost
	Ping      time.Duration // how often the connection is tested; it counts as lost after 10 s without answer. 0 means 15 s
}

// name is a subscription.
type name struct{ tenant, pattern string }

// Client is a connection to a node, or with Config.Reconnect one after the other. It is safe for concurrent use.
type Client struct {
	cfg      Config
	web      *http.Client
	messages chan Message
	cancel   context.CancelFunc // ends whatever still runs
	stopping chan struct{}      // closed by Close
	stop     sync.Once
	done     chan struct{} // closed at the very end, after cause was set
	cause    error

	mu      sync.Mutex
	link    *link         // nil while there is none
	changed chan struct{} // closed when link next changes
	wanted  map[name]struct{}
}

// Dial connects. ctx bounds only the dialling.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Buffer <= 0 {
		cfg.Buffer = 256
	}
	if cfg.Ping <= 0 {
		cfg.Ping = 15 * time.Second
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{
		cfg:      cfg,
		web:      &http.Client{Transport: transport(cfg)},
		messages: make(chan Message, cfg.Buffer),
		cancel:   cancel,
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
		changed:  make(chan struct{}),
		wanted:   map[name]struct{}{},
	}
	l, err := c.dial(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c.use(l)
	go c.run(running, l)
	return c, nil
}

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
func (c *Client) dial(ctx context.Context) (*link, error) {
	opts := &websocket.DialOptions{
		HTTPClient:      c.web,
		HTTPHeader:      http.Header{},
		Subprotocols:    []string{"llps.v1"},
		CompressionMode: websocket.CompressionDisabled,
	}
	if c.cfg.Token != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	ws, response, err := websocket.Dial(ctx, c.cfg.URL, opts)
	if err != nil {
		return nil, fmt.Errorf("client: dial: %w", err)
	}
	if response.Body != nil {
		_ = response.Body.Close()
	}
	if ws.Subprotocol() != "llps.v1" {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("client: dial: %s does not speak llps.v1", c.cfg.URL)
	}
	ws.SetReadLimit(maxMessage)
	return newLink(ws), nil
}

// Close ends the Client and waits for its goroutines, and so for a Handler that runs. The server gets a proper goodbye
// if it answers within seconds.
func (c *Client) Close() error {
	var err error
	c.stop.Do(func() {
		close(c.stopping)
		c.mu.Lock()
		l := c.link
		c.mu.Unlock()
		if l != nil {
			err = l.close()
		}
		c.cancel()
	})
	<-c.done
	return err
}

// Subscribe subscribes to a pattern and waits until the server says so. An empty tenant means "~". The error wraps one
// of package channel for bad names, or is a *ServerError for a refusal.
func (c *Client) Subscribe(ctx context.Context, tenant, pattern string) error {
	sub, err := parseName(tenant, pattern)
	if err != nil {
		return err
	}
	// Wanted before it is asked for, so that a reconnection in between does not miss it.
	c.want(sub, true)
	if err := c.request(ctx, "SUB", sub); err != nil {
		c.want(sub, false)
		return err
	}
	return nil
}

// Unsubscribe is the reverse of Subscribe. To have no such subscription is no error.
func (c *Client) Unsubscribe(ctx context.Context, tenant, pattern string) error {
	sub, err := parseName(tenant, pattern)
	if err != nil {
		return err
	}
	c.want(sub, false)
	return c.request(ctx, "UNSUB", sub)
}

func parseName(tenant, pattern string) (name, error) {
	tenant, err := channel.NormalizeTenant(tenant)
	if err != nil {
		return name{}, fmt.Errorf("client: %w", err)
	}
	if _, err := channel.ParsePattern(pattern); err != nil {
		return name{}, fmt.Errorf("client: %w", err)
	}
	return name{tenant, pattern}, nil
}

func (c *Client) want(sub name, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wanted {
		c.wanted[sub] = struct{}{}
	} else {
		delete(c.wanted, sub)
	}
}

// request makes a request, on the next connection if need be.
func (c *Client) request(ctx context.Context, word string, sub name) error {
	for {
		l, err := c.connected(ctx)
		if err != nil {
			return err
		}
		r, err := l.start(ctx, word, sub)
		if err == nil {
			err = l.wait(ctx, r)
		}
		if !errors.Is(err, ErrLost) || ctx.Err() != nil {
			return err
		}
	}
}

// Publish broadcasts a message. An empty tenant means "~". It returns when the message is on its way to the server, which
// acknowledges nothing: a fault it finds goes to Config.OnError. It blocks while the server pushes back. If ctx ends
// while the message is being written, the connection is lost, since half a message cannot be taken back.
func (c *Client) Publish(ctx context.Context, tenant, channelName string, payload []byte) error {
	tenant, err := channel.NormalizeTenant(tenant)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return c.Send(ctx, channel.Message{Tenant: tenant, Channel: channelName, Payload: payload})
}

// Send is Publish in any delivery mode. m.Tenant must not be empty.
func (c *Client) Send(ctx context.Context, m channel.Message) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	l, err := c.connected(ctx)
	if err != nil {
		return err
	}
	return l.write(ctx, websocket.MessageBinary, AppendPublish(nil, m))
}

// Ping is the time that a line takes to the server and back, its work included.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	l, err := c.connected(ctx)
	if err != nil {
		return 0, err
	}
	return l.ping(ctx)
}

// Receive is the next message. Its Payload is the caller's. It must not be used with a Handler.
func (c *Client) Receive(ctx context.Context) (Message, error) {
	select {
	case m := <-c.messages:
		return m, nil
	default:
	}
	select {
	case m := <-c.messages:
		return m, nil
	case <-c.done:
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
	// What came before the end is still to be had.
	select {
	case m := <-c.messages:
		return m, nil
	default:
		return Message{}, c.ended()
	}
}

// connected is the connection, waited for while there is none.
func (c *Client) connected(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, changed := c.link, c.changed
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-c.done:
			return nil, c.ended()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// use makes l the connection that calls use, unless it is lost already; nil means there is none.
func (c *Client) use(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l != nil && l.isLost() {
		return
	}
	c.link = l
	close(c.changed)
	c.changed = make(chan struct{})
}

// ended is the error of a Client that has ended; done is closed.
func (c *Client) ended() error {
	if c.cause == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, c.cause)
}
