package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	feed "github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
	"github.com/fastpubsub/fastpubsub/wsgate/web"
	"github.com/rs/zerolog"
)

// connectTime bounds how long a client may take to connect and subscribe.
const connectTime = 10 * time.Second

// station is one life of the node at a metro, with the publisher and the subscriber beside it.
type station struct {
	site    int
	name    string
	key     ed25519.PrivateKey
	boot    uint64
	listen  string // UDP
	join    []string
	cluster *cluster
	network *wan.Site
	pace    *pace

	after <-chan struct{} // closed when the life before has ended; nil: there was none
	done  chan struct{}   // closed when this one has
	stop  context.CancelFunc
	up    atomic.Bool // the clients are connected and subscribed

	// Set by open.
	node     *mesh.Node
	server   *wsgate.Server
	listener net.Listener
	window   net.Listener // for browsers, at one station; nil elsewhere
}

// mailbox is the channel on which a metro gets messages from another. The receiver comes first, so that one pattern is all it
// has to subscribe to and all the mesh has to know.
func mailbox(to, from string) string { return "demo." + to + "." + from }

// open makes node and server and opens their sockets.
func (s *station) open() error {
	listener, err := s.network.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	hub := wsgate.NewHub(wsgate.HubConfig{})
	place := s.cluster.places[s.name]
	node, err := mesh.New(mesh.Config{
		Identity: mesh.Identity{Key: s.key, Boot: s.boot}, Listen: s.listen, Client: listener.Addr().String(),
		Join: s.join, Name: s.name, Region: place.Country, Place: &mesh.Place{Lat: place.Lat, Lon: place.Lon},
		Network: s.network, NoTCP: true, Log: s.cluster.log, Timing: s.cluster.timing, Seed: s.cluster.seed + uint64(s.site) + 1,
		Deliver: func(m channel.Message, t mesh.Trace) bool {
			s.trace(m, t)
			return hub.Queue(m) > 0
		},
		Delivered: hub.Flush, Wants: hub.Wants,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server, err := wsgate.New(wsgate.Config{
		Hub: hub, Broker: node, Describe: node.Describe, Trace: node.ServeTrace, Logger: zerolog.Nop(),
		Home: web.Dashboard, Handlers: map[string]http.Handler{"GET " + web.Prefix: web.Handler()},
	})
	if err == nil && s.site == 0 && s.cluster.browsers != "" {
		s.window, err = new(net.ListenConfig).Listen(context.Background(), "tcp", s.cluster.browsers)
	}
	if err != nil {
		return errors.Join(err, listener.Close(), unused(node))
	}
	s.node, s.server, s.listener = node, server, listener
	return nil
}

// report has the node tell on reserved channels what it sees, while somebody reads that.
func (s *station) report(ctx context.Context) error {
	return feed.Run(ctx, feed.Config{Node: s.node, Clients: s.server.Deliveries})
}

// unused frees what a node that will not run holds.
func unused(n *mesh.Node) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return n.Run(ctx)
}

// trace takes note of the relays of a message that has come for a subscriber here.
func (s *station) trace(m channel.Message, t mesh.Trace) {
	p, _, ok := s.cluster.ledger.parsePayload(m.Payload)
	if _, to := s.cluster.ledger.ends(p); !ok || to != s.site {
		return
	}
	relays := make([]int, 0, 8)
	for _, id := range t.Via {
		site, known := s.cluster.sites[id]
		if !known {
			site = -1
		}
		relays = append(relays, site)
	}
	s.cluster.ledger.passed(p, relays)
}

// run lives until ctx ends or something fails. The clients go first, then the node leaves.
func (s *station) run(ctx context.Context) error {
	if s.after != nil {
		<-s.after
		if err := s.cluster.connect(ctx, s.site); err != nil {
			return err
		}
		if err := s.open(); err != nil {
			return err
		}
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	services, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	var group sync.WaitGroup
	serve := func(what string, work func(context.Context) error) {
		group.Go(func() {
			if err := work(services); err != nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	serve("node", s.node.Run)
	serve("clients", func(ctx context.Context) error { return s.server.Serve(ctx, s.listener) })
	serve("reports", s.report)
	if s.window != nil {
		serve("browsers", func(ctx context.Context) error { return s.server.Serve(ctx, s.window) })
	}
	if err := s.clients(ctx); err != nil {
		fail(err)
	}
	stopServices()
	group.Wait()
	return context.Cause(ctx)
}

// clients connects subscriber and publisher, and publishes until ctx ends.
func (s *station) clients(ctx context.Context) error {
	defer s.up.Store(false)
	subscriber, err := s.dial(ctx, func(m client.Message) {
		if p, number, ok := s.cluster.ledger.parsePayload(m.Payload); ok {
			s.cluster.ledger.receive(p, number)
		}
	})
	if err != nil {
		return err
	}
	defer subscriber.Close()
	publisher, err := s.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	subscribing, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := subscriber.Subscribe(subscribing, "", mailbox(s.name, "*")); err != nil {
		return err
	}
	s.up.Store(true)
	return s.publish(ctx, publisher)
}

func (s *station) dial(ctx context.Context, handler func(client.Message)) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	return client.Dial(ctx, client.Config{
		URL: s.url(), DialContext: s.network.DialContext, Handler: handler, Reconnect: true,
	})
}

// publish sends the messages of this metro when they are due.
func (s *station) publish(ctx context.Context, publisher *client.Client) error {
	ledger := s.cluster.ledger
	timer := time.NewTimer(0)
	defer timer.Stop()
	var payload []byte
	for {
		to, due, ok := s.pace.next()
		now := ledger.now()
		if !ok || due > now {
			timer.Reset(max(due-now, 0))
			if !ok {
				timer.Stop()
			}
			select {
			case <-ctx.Done():
				return nil
			case <-s.pace.changed:
			case <-timer.C:
			}
			continue
		}
		p := ledger.pair(s.site, to)
		payload = appendPayload(payload[:0], p, ledger.send(p))
		if err := publisher.Publish(ctx, "", mailbox(s.cluster.names[to], s.name), payload); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		s.pace.sent(now, to)
	}
}

// url is where clients connect.
func (s *station) url() string { return "ws://" + s.listener.Addr().String() + "/ws" }
