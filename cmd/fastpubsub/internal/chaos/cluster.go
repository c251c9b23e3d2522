package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/fleet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// cluster is the processes, the network between them, and the traffic.
type cluster struct {
	*fleet.Fleet

	cfg      Config
	ledger   *ledger
	secret   trust.Secret
	from, to [][]int // by channel: sites of publishers and subscribers
	clients  []*client.Client
	group    sync.WaitGroup // publishers
	stop     context.CancelFunc

	mu      sync.Mutex // guards what follows
	quiet   bool       // publishers rest
	resumed chan struct{}
}

// newCluster starts all nodes, connects clients and waits until every flow flows.
func newCluster(ctx context.Context, cfg Config, matrix *wan.Matrix) (c *cluster, err error) {
	c = &cluster{cfg: cfg, ledger: newLedger(matrix.Len()), secret: trust.NewSecret(), resumed: make(chan struct{})}
	c.Fleet, err = fleet.New(fleet.Config{Names: matrix.Names(), Delays: matrix, Seed: cfg.Seed, Secret: c.secret, Over: over})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close(err))
		}
	}()
	for _, n := range c.Nodes {
		if err := errors.Join(n.Start(), n.Ready(ctx)); err != nil {
			return c, err
		}
	}
	c.cast(rand.New(rand.NewPCG(cfg.Seed, 0xd2111)))
	if err := c.connect(ctx); err != nil {
		return c, err
	}
	if c.recovered(ctx, c.ledger.now(), settlePatience) < 0 {
		return c, fmt.Errorf("%w: not every subscriber hears every publisher after %v; logs are in %s", ErrBroken, settlePatience, c.Dir)
	}
	return c, nil
}

// over is the site through which a node joins: the first needs one for when it comes back.
func over(site int) int {
	if site == 0 {
		return 1
	}
	return (site - 1) / 2
}

// cast chooses who publishes and who subscribes to what.
func (c *cluster) cast(rnd *rand.Rand) {
	publishers, subscribers := min(2, len(c.Nodes)-1), min(3, len(c.Nodes)-1)
	for range c.cfg.Channels {
		sites := rnd.Perm(len(c.Nodes))
		c.from = append(c.from, sites[:publishers])
		c.to = append(c.to, sites[publishers:min(publishers+subscribers, len(sites))])
	}
}

func channelName(number int) string { return fmt.Sprint("chaos.", number) }

// connect opens two clients at every node, which come back by themselves, and starts to publish.
func (c *cluster) connect(ctx context.Context) error {
	for site, n := range c.Nodes {
		subscriber, err := c.dial(ctx, n, func(m client.Message) { c.ledger.receive(site, m.Payload) })
		if err != nil {
			return err
		}
		for channel, sites := range c.to {
			for _, to := range sites {
				if to != site {
					continue
				}
				if err := subscriber.Subscribe(ctx, "", channelName(channel)); err != nil {
					return err
				}
			}
		}
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	for site, n := range c.Nodes {
		publisher, err := c.dial(ctx, n, nil)
		if err != nil {
			return err
		}
		c.group.Go(func() { c.publish(ctx, site, publisher) })
	}
	return nil
}

func (c *cluster) dial(ctx context.Context, n *fleet.Node, handler func(client.Message)) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if handler == nil {
		handler = func(client.Message) {}
	}
	one, err := client.Dial(ctx, client.Config{URL: "ws://" + n.Gate + "/ws", Handler: handler, Reconnect: true})
	if err == nil {
		c.clients = append(c.clients, one)
	}
	return one, err
}

// publish publishes at a site, channel after channel, at the configured rate until ctx ends.
func (c *cluster) publish(ctx context.Context, site int, publisher *client.Client) {
	var channels []int
	for channel, sites := range c.from {
		for _, from := range sites {
			if from == site {
				channels = append(channels, channel)
			}
		}
	}
	if len(channels) == 0 {
		return
	}
	pace := time.NewTicker(time.Duration(float64(time.Second) * float64(len(c.from[0])) / c.cfg.Rate / float64(len(channels))))
	defer pace.Stop()
	payload := make([]byte, 100)
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if c.rest(ctx) != nil {
			return
		}
		channel := channels[i%len(channels)]
		c.ledger.publish(site, channel, payload)
		if publisher.Publish(ctx, "", channelName(channel), payload) != nil && ctx.Err() != nil {
			return
		}
	}
}

// rest waits while publishers are to rest.
func (c *cluster) rest(ctx context.Context) error {
	c.mu.Lock()
	quiet, resumed := c.quiet, c.resumed
	c.mu.Unlock()
	if !quiet {
		return nil
	}
	select {
	case <-resumed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause stops publishing; resume goes on with it.
func (c *cluster) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet, c.resumed = true, make(chan struct{})
}

func (c *cluster) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet {
		close(c.resumed)
	}
	c.quiet = false
}

// recovered waits until every subscriber has heard every publisher of its channels since a time, and returns how long after it
// that was; negative if it was not within patience. Only pairs for which among says so count, if given.
func (c *cluster) recovered(ctx context.Context, since, patience time.Duration, among ...func(from, to int) bool) time.Duration {
	for ctx.Err() == nil && c.ledger.now()-since < patience {
		all := true
		for channel := range c.from {
			for _, from := range c.from[channel] {
				for _, to := range c.to[channel] {
					if len(among) > 0 && !among[0](from, to) {
						continue
					}
					all = all && c.ledger.heardSince(from, to, channel, since)
				}
			}
		}
		if all {
			return c.ledger.now() - since
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return -1
}

// close ends everything. The logs stay if something went wrong.
func (c *cluster) close(cause error) error {
	if c.stop != nil {
		c.stop()
	}
	c.resume()
	var group sync.WaitGroup
	for _, one := range c.clients {
		group.Go(func() { _ = one.Close() })
	}
	c.group.Wait()
	group.Wait()
	return c.Close(cause != nil)
}

// sleep waits for a time or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
