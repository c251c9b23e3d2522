package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// ErrClosed is returned once the Client has ended, by Close or, without Config.Reconnect, by the loss of its connection.
// It comes with the cause, if there was another than Close.
var ErrClosed = errors.New("client: closed")

// errRefused ends a move to a node that grants less than the one in use.
var errRefused = errors.New("client: node to move to refuses a subscription")

// name is a subscription.
type name struct{ tenant, pattern string }

// Client is a connection to a node, or with Config.Reconnect one after the other. It is safe for concurrent use.
type Client struct {
	cfg      Config
	web      *http.Client
	nodes    *nodes
	messages chan Message
	better   chan string        // capacity 1: a node to move to
	cancel   context.CancelFunc // ends whatever still runs
	stopping chan struct{}      // closed by Close
	stop     sync.Once
	done     chan struct{} // closed at the very end, after cause was set
	cause    error

	// turn has a token taken by whoever delivers, so that messages come one at a time. It is a channel, as a Handler may
	// take long.
	turn    chan struct{}
	overlap *overlap // during a hand-over; under turn

	own     sync.WaitGroup // all goroutines but run; run alone starts them
	backoff time.Duration  // before the next attempt to connect anew; of run alone

	merged     mergeCounts
	unwanted   atomic.Uint64
	reconnects atomic.Uint64
	moves      atomic.Uint64

	mu      sync.Mutex
	link    *link                  // nil while there is none
	former  *link                  // the one before, while it is still there; nil otherwise
	changed chan struct{}          // closed when link next changes
	wanted  map[name]*Subscription // nil for those of Subscribe
	version uint64                 // of wanted
}

// Dial connects: to the node of Config.URL, or to the nearest if there are several to choose from. ctx bounds only the
// dialling.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	web := &http.Client{Transport: transport(cfg)}
	nodes, err := newNodes(cfg, web)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{
		cfg:      cfg,
		web:      web,
		nodes:    nodes,
		messages: make(chan Message, cfg.Buffer),
		better:   make(chan string, 1),
		cancel:   cancel,
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
		turn:     make(chan struct{}, 1),
		backoff:  firstDelay,
		changed:  make(chan struct{}),
		wanted:   map[name]*Subscription{},
	}
	l, err := c.first(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c.link = l
	go c.run(running, l)
	return c, nil
}

// first makes the first connection. Nodes that cannot be measured may still take it.
func (c *Client) first(ctx context.Context) (*link, error) {
	var unmeasured error
	if c.nodes.several() {
		_, unmeasured = c.nodes.refresh(ctx)
	}
	urls := c.nodes.order("")
	if len(urls) == 0 {
		return nil, unmeasured
	}
	l, err := c.dialFirst(ctx, urls)
	if err != nil {
		return nil, errors.Join(unmeasured, err)
	}
	if unmeasured != nil {
		c.cfg.OnError(unmeasured)
	}
	return l, nil
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
	return c.subscribe(ctx, sub, nil)
}

// subscribe is Subscribe for a Subscription, or nil.
func (c *Client) subscribe(ctx context.Context, sub name, s *Subscription) error {
	// Wanted before it is asked for, so that a reconnection in between does not miss it.
	isNew, err := c.want(sub, s)
	if err != nil {
		return err
	}
	if err = c.request(ctx, wordSub, sub); err != nil && isNew {
		c.unwant(sub)
		c.withdraw(ctx, sub)
	}
	return err
}

// withdraw takes a request to subscribe back of which the answer did not come in time, or was no.
func (c *Client) withdraw(ctx context.Context, sub name) {
	c.mu.Lock()
	links := []*link{c.link, c.former}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, l := range links {
		if l != nil && l.has(sub) {
			// Should it fail, what comes is counted as unwanted.
			_, _ = l.start(ctx, wordUnsub, sub)
		}
	}
}

// SubscribeEverywhere is Subscribe, and then waits until every node that the server knows of knows of the subscription too,
// so that nothing published from then on is missed, wherever it is. Not every server tells that: then it ends with ctx. If
// ctx ends after the server itself has subscribed, the subscription remains.
func (c *Client) SubscribeEverywhere(ctx context.Context, tenant, pattern string) error {
	if err := c.Subscribe(ctx, tenant, pattern); err != nil {
		return err
	}
	sub, err := parseName(tenant, pattern)
	if err != nil {
		return err
	}
	for {
		l, changed, err := c.connected(ctx)
		if err != nil {
			return err
		}
		select {
		case <-l.everywhere(sub):
			return nil
		case <-changed: // the next connection has asked again
		case <-c.done:
			return c.ended()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unsubscribe is the reverse of Subscribe. To have no such subscription is no error, but to have a Subscription is.
func (c *Client) Unsubscribe(ctx context.Context, tenant, pattern string) error {
	sub, err := parseName(tenant, pattern)
	if err != nil {
		return err
	}
	c.mu.Lock()
	held := c.wanted[sub] != nil
	c.mu.Unlock()
	if held {
		return ErrSubscribed
	}
	c.unwant(sub)
	return c.request(ctx, wordUnsub, sub)
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

// want notes that a subscription is wanted, for a Subscription or nil, and tells whether it was not before.
func (c *Client) want(sub name, s *Subscription) (isNew bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, found := c.wanted[sub]; found {
		if s != nil || before != nil {
			return false, ErrSubscribed
		}
		return false, nil
	}
	c.wanted[sub] = s
	c.version++
	return true, nil
}

func (c *Client) unwant(sub name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.wanted, sub)
	c.version++
}

// request makes a request, on the next connection if need be.
func (c *Client) request(ctx context.Context, word string, sub name) error {
	for {
		l, _, err := c.connected(ctx)
		if err != nil {
			return err
		}
		c.echo(ctx, word, sub)
		r, err := l.start(ctx, word, sub)
		if err == nil {
			err = l.wait(ctx, r)
		}
		if !errors.Is(err, ErrLost) || ctx.Err() != nil {
			return err
		}
	}
}

// echo makes a request on the former connection too, while it is still there, so that both bring the same.
func (c *Client) echo(ctx context.Context, word string, sub name) {
	c.mu.Lock()
	former := c.former
	c.mu.Unlock()
	if former == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// The answer of the connection in use is the one that counts.
	_, _ = former.start(ctx, word, sub)
}

// Publish broadcasts a message. An empty tenant means "~". It returns when the message is on its way to the server, which
// acknowledges nothing: a fault it finds goes to Config.OnError. It blocks while the server pushes back, and while there is
// no connection. If ctx ends while the message is being written, the connection is lost, since half a message cannot be
// taken back.
//
// No error does not mean that the server has read the message. If the connection is lost, what was published and not yet
// read is lost, and nobody hears of it; an error that wraps ErrLost means that it may or may not have been read. Nothing is
// sent again. To be sure, call Ping afterwards: if it succeeds, and State counts as many Reconnects and Moves as before the Publish,
// the server has dealt with all that was published.
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
	l, _, err := c.connected(ctx)
	if err != nil {
		return err
	}
	return l.write(ctx, websocket.MessageBinary, AppendPublish(nil, m))
}

// Ping is the time that a line takes to the server and back, its work included.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	l, _, err := c.connected(ctx)
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

// connected is the connection, waited for while there is none, and a channel that is closed when it is another.
func (c *Client) connected(ctx context.Context) (*link, <-chan struct{}, error) {
	for {
		c.mu.Lock()
		l, changed := c.link, c.changed
		c.mu.Unlock()
		if l != nil {
			return l, changed, nil
		}
		select {
		case <-changed:
		case <-c.done:
			return nil, nil, c.ended()
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// ended is the error of a Client that has ended; done is closed.
func (c *Client) ended() error {
	if c.cause == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, c.cause)
}
