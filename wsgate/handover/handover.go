// Package handover is a client that follows the contract's rules for reconnecting to the letter and does nothing else, for tests of drains.
//
// A connection is made by opening it, subscribing to everything, and waiting for the OK of each; then it is the active one: publications go there and
// nowhere else. When the active connection says RECONNECT, or ends, a candidate is made in the same way, again after a second where that fails. The former
// connection is read for Overlap more once the candidate is active, and then closed by the client.
//
// A message is given to Config.On unless an equal one (tenant, channel, payload) came on another connection in the last 6 seconds or a little longer. The contract
// lets a client begin to look only when the candidate becomes active; but nodes hear of a message at different times, so one that came on the
// former connection just before may come on the candidate just after. Equal messages on one connection are both given to Config.On.
package handover

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

const (
	// Overlap is how long a former connection is read.
	Overlap = 5 * time.Second
	again   = time.Second // between attempts to connect
	most    = 256 << 10   // bytes of a message of the server
)

// Config configures a Client.
type Config struct {
	URL        string       // of the gateway, always the same
	HTTP       *http.Client // that connects; nil means http.DefaultClient
	Subscribe  []string     // tenant:pattern
	On         func(m client.Message)
	Reconnects *atomic.Int64 // counts RECONNECTs acted on, if not nil
	Faults     func(error)   // hears of connections that end without the client's doing, and of ERR lines; may be nil
}

// Client is a client. Run runs it.
type Client struct {
	cfg     Config
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	active *conn
	ready  chan struct{} // closed while there is an active connection
	recent map[key]*conn // the first connection that a message came on
	before map[key]*conn // the same, of the period before
	turnAt time.Time     // when recent becomes before
}

// key is a hash of a message.
type key [sha256.Size]byte

// conn is one connection.
type conn struct {
	ws      *websocket.Conn
	awaited int           // acknowledgements; of the reader alone
	settled chan struct{} // closed when all have come
	over    chan struct{} // closed when reading has ended
	leave   chan struct{} // closed, once, when another connection is needed
	left    sync.Once
}

// New returns a client that does nothing yet.
func New(cfg Config) *Client {
	if cfg.Faults == nil {
		cfg.Faults = func(error) {}
	}
	return &Client{cfg: cfg, ready: make(chan struct{}), recent: map[key]*conn{}}
}

// Run keeps the client connected until ctx ends, and returns when its connections are closed.
func (c *Client) Run(ctx context.Context) {
	defer c.running.Wait()
	var former *conn
	for {
		fresh := c.connect(ctx)
		if fresh == nil {
			if former != nil {
				c.close(former)
			}
			return
		}
		c.activate(fresh)
		if former != nil {
			old := former
			c.running.Go(func() {
				select {
				case <-time.After(Overlap):
				case <-ctx.Done():
				}
				c.close(old)
			})
		}
		former = fresh
		select {
		case <-fresh.leave:
			if c.cfg.Reconnects != nil {
				c.cfg.Reconnects.Add(1)
			}
		case <-fresh.over:
			c.retire(fresh)
			c.cfg.Faults(errors.New("handover: the active connection ended"))
		case <-ctx.Done():
			c.close(fresh)
			return
		}
	}
}

// Ready waits until there is an active connection.
func (c *Client) Ready(ctx context.Context) error {
	c.mu.Lock()
	ready := c.ready
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish writes a message to the active connection, and reports whether there was one and it took it.
func (c *Client) Publish(ctx context.Context, tenant, name string, payload []byte) error {
	frame := client.AppendPublish(nil, channel.Message{Tenant: tenant, Channel: name, Payload: payload})
	c.mu.Lock()
	active := c.active
	c.mu.Unlock()
	if active == nil {
		return errors.New("handover: not connected")
	}
	return active.ws.Write(ctx, websocket.MessageBinary, frame)
}

// connect makes a connection, however long that takes; nil when ctx ends.
func (c *Client) connect(ctx context.Context) *conn {
	for {
		fresh, err := c.open(ctx)
		if err == nil {
			return fresh
		}
		if ctx.Err() == nil {
			c.cfg.Faults(err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

// open makes one attempt.
func (c *Client) open(ctx context.Context) (*conn, error) {
	ws, response, err := websocket.Dial(ctx, c.cfg.URL, &websocket.DialOptions{HTTPClient: c.cfg.HTTP, Subprotocols: []string{"llps.v1"}}) //nolint:bodyclose // the library does
	if err != nil {
		return nil, fmt.Errorf("handover: connect: %w", err)
	}
	if response.Header.Get("Sec-WebSocket-Protocol") != "llps.v1" {
		return nil, errors.Join(errors.New("handover: no subprotocol"), ws.CloseNow())
	}
	ws.SetReadLimit(most)
	fresh := &conn{ws: ws, awaited: len(c.cfg.Subscribe), settled: make(chan struct{}), over: make(chan struct{}), leave: make(chan struct{})}
	if fresh.awaited == 0 {
		close(fresh.settled)
	}
	c.running.Go(func() { c.read(fresh) })
	for _, s := range c.cfg.Subscribe {
		if err := ws.Write(ctx, websocket.MessageText, []byte("SUB:"+s)); err != nil {
			c.close(fresh)
			return nil, fmt.Errorf("handover: subscribe: %w", err)
		}
	}
	select {
	case <-fresh.settled:
		return fresh, nil
	case <-fresh.over:
		return nil, errors.New("handover: the candidate ended")
	case <-ctx.Done():
		c.close(fresh)
		return nil, ctx.Err()
	}
}

// close closes a connection as the client's own will, and waits until all that came before has been read.
func (c *Client) close(old *conn) {
	_ = old.ws.Close(websocket.StatusNormalClosure, "") // an error means that it is over already
	<-old.over
	_ = old.ws.CloseNow()
}

// read takes in what comes until the connection ends.
func (c *Client) read(from *conn) {
	defer close(from.over)
	for {
		kind, body, err := from.ws.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			m, err := client.ParseDelivery(body)
			if err != nil {
				c.cfg.Faults(err)
			} else if c.fresh(m, from, time.Now()) {
				c.cfg.On(m)
			}
			continue
		}
		switch line := string(body); {
		case line == "RECONNECT":
			from.left.Do(func() { close(from.leave) })
		case strings.HasPrefix(line, "OK:SUB:"):
			if from.awaited--; from.awaited == 0 {
				close(from.settled)
			}
		case strings.HasPrefix(line, "ERR:"):
			c.cfg.Faults(errors.New("handover: " + line))
		}
	}
}

// activate makes a connection the one that is published to.
func (c *Client) activate(fresh *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == nil {
		close(c.ready)
	}
	c.active = fresh
}

// retire notes that the active connection has ended.
func (c *Client) retire(old *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == old {
		c.active, c.ready = nil, make(chan struct{})
	}
}

// fresh tells whether a message is to be handed on.
func (c *Client) fresh(m client.Message, from *conn, now time.Time) bool {
	k := key(sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(m.Tenant), m.Tenant, len(m.Channel), m.Channel, m.Payload)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.turnAt) {
		c.before, c.recent = c.recent, map[key]*conn{}
		c.turnAt = now.Add(Overlap + time.Second)
	}
	first := cmp.Or(c.recent[k], c.before[k], from)
	c.recent[k] = first
	return first == from
}
