package forward

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Event is what the control plane learns from links: Opened, Closed, Echoed or Woken.
type Event interface{ event() }

// Opened says that a link is ready. It may replace an earlier link to the same peer.
type Opened struct{ Link *Link }

// Closed says that a link ended, and why. It follows the link's Opened.
type Closed struct {
	Link *Link
	Err  error
}

// Echoed is the answer to a probe.
type Echoed struct {
	Link *Link
	Seq  uint32
	RTT  time.Duration
	At   time.Time
}

// Woken says that a link carries messages again after a while without: it is to be watched more closely.
type Woken struct{ Link *Link }

func (Woken) event()  {}
func (Opened) event() {}
func (Closed) event() {}
func (Echoed) event() {}

// Config is what an Endpoint needs. Fields without a default must be set.
type Config struct {
	Key    ed25519.PrivateKey
	Trust  *trust.Keeper // who is believed to be a node; default anybody, as in an open mesh
	Boot   uint64
	Socket net.PacketConn // closed when Run returns
	// Streams is where near streams come in, at the TCP port with the socket's number, and Connect opens them; both nil: there are none. Run closes Streams.
	Streams    net.Listener
	Connect    func(ctx context.Context, network, addr string) (net.Conn, error)
	Lanes      int // lanes of the links that this node dials; default 8, at least 2
	QueueBytes int // bound of messages waiting per link, four times that on links under 2 ms; default 64 KiB
	// FlightBytes bounds what this node sent as origin and is not acknowledged; the oldest are given up. Default 64 MiB.
	FlightBytes int
	Log         zerolog.Logger
	Strangers   zerolog.Logger // where refused peers are told of; it may leave out most

	// Emit takes an event. It may block for a moment, which slows the links down, but must not wait for the endpoint.
	Emit func(Event)
	// Control takes a frame of the control plane (wire.Kind.IsControl) from a peer, valid during the call. An error closes the link.
	Control func(from wire.NodeID, frame []byte) error
	// Deliver takes a message that has this node as a destination, valid during the call, and reports whether anybody here wanted it. It neither
	// blocks nor calls back.
	Deliver func(m *wire.Message) (taken bool)
	// Delivered follows calls of Deliver once no more follow at once, so that what they left can go together. It does not block for long. Default nothing.
	Delivered func()
	// Choose picks the node whose subscriber gets a message for one, among those not tried, reachable ones before others; this node only if it has a
	// subscriber; 0 if nobody is left. It must not block. Without it there are no such messages.
	Choose func(m *wire.Message, tried []wire.NodeID) wire.NodeID
	// Traced takes what a node, or this one, tells of a message that this one has traced, or says that it has. It must not block, and locks may be held. Default
	// nothing.
	Traced func(from wire.NodeID, h *wire.Hop)
	// Packet takes a SWIM packet, which it may keep; Stream a reliable stream of SWIM.
	Packet func(b []byte, from net.Addr, at time.Time)
	Stream func(net.Conn)
	// Call sends one datagram from another socket than the node's, for who checks whether it can be reached. Default: nobody is called.
	Call func(ctx context.Context, to netip.AddrPort, b []byte) error
}

const (
	defaultLanes      = 8
	maxLanes          = 16
	defaultQueueBytes = 64 << 10
	defaultFlight     = 64 << 20
	packetQueue       = 1500 // room for one SWIM packet
)

func (c *Config) validate() error {
	var errs []error
	if len(c.Key) != ed25519.PrivateKeySize || c.Boot == 0 || c.Socket == nil {
		errs = append(errs, errors.New("forward: config lacks key, boot or socket"))
	} else if err := c.trust(); err != nil {
		errs = append(errs, err)
	}
	if c.Emit == nil || c.Control == nil || c.Deliver == nil || c.Packet == nil || c.Stream == nil {
		errs = append(errs, errors.New("forward: config lacks a callback"))
	}
	if (c.Streams == nil) != (c.Connect == nil) {
		errs = append(errs, errors.New("forward: near streams need a listener and a dialler"))
	}
	if c.Delivered == nil {
		c.Delivered = func() {}
	}
	if c.Traced == nil {
		c.Traced = func(wire.NodeID, *wire.Hop) {}
	}
	if c.Lanes == 0 {
		c.Lanes = defaultLanes
	}
	if c.Lanes < 2 || c.Lanes > maxLanes {
		errs = append(errs, fmt.Errorf("forward: %d lanes, want 2 to %d", c.Lanes, maxLanes))
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	if c.FlightBytes == 0 {
		c.FlightBytes = defaultFlight
	}
	return errors.Join(errs...)
}

func (c *Config) trust() error {
	if c.Trust == nil {
		open, err := trust.Open(c.Key)
		if err != nil {
			return fmt.Errorf("forward: %w", err)
		}
		c.Trust = trust.NewKeeper(open)
	}
	if c.Trust.Current().ID() != wire.IDOf(c.Key.Public().(ed25519.PublicKey)) {
		return fmt.Errorf("forward: %w", trust.ErrKey)
	}
	return nil
}

// Endpoint is a node's side of all its links: the one UDP socket and what runs on it.
type Endpoint struct {
	cfg       Config
	self      wire.NodeID
	seed      laneSeed
	began     time.Time
	transport *quic.Transport
	listener  *quic.Listener
	server    *http3.Server
	client    *http3.Transport
	forwarder *Forwarder
	flights   *flights
	buffers   bufferPool
	counters  *Counters
	retrust   chan struct{}   // capacity 1: credentials are others
	group     sync.WaitGroup  // every goroutine of the endpoint
	ctx       context.Context //nolint:containedctx // the life of the endpoint, which connections outlast no call by
	stop      context.CancelFunc

	seals  *seals
	blames blames
	guard  *guard
	calls  *rate.Limiter // datagrams for who checks

	mu      sync.Mutex // guards what follows
	links   map[wire.NodeID]*Link
	inits   map[*quic.Conn]*gathering
	conns   map[*quic.Conn]struct{} // that others opened
	numbers uint64                  // of links
	ended   bool
}

// New checks the configuration and starts listening on the socket; nothing is served until Run.
func New(cfg Config) (*Endpoint, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg: cfg, self: wire.IDOf(cfg.Key.Public().(ed25519.PublicKey)), began: time.Now(),
		seed: laneSeed{maphash.MakeSeed()}, counters: new(Counters),
		blames: blames{peers: map[wire.NodeID]*blame{}}, links: map[wire.NodeID]*Link{}, inits: map[*quic.Conn]*gathering{}, conns: map[*quic.Conn]struct{}{}, retrust: make(chan struct{}, 1),
		client: &http3.Transport{EnableDatagrams: true, DisableCompression: true},
	}
	var err error
	if e.seals, err = newSeals(cfg.Key); err != nil {
		return nil, err
	}
	e.forwarder = newForwarder(e)
	e.flights = newFlights(e)
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.guard, e.calls = newGuard(e.counters, cfg.Log), rate.NewLimiter(callRate, callBurst)
	e.server = &http3.Server{
		Handler: http.HandlerFunc(e.serve), EnableDatagrams: true, MaxHeaderBytes: 4 << 10,
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	e.transport = &quic.Transport{
		Conn: coalesce(cfg.Socket), StatelessResetKey: resetKey(cfg.Key),
		ConnContext: e.beginHandshake, VerifySourceAddress: e.guard.mustProve, Tracer: &garbageCounter{e.counters},
	}
	if e.listener, err = e.transport.Listen(cfg.Trust.Server(http3.NextProtoH3), quicConfig()); err != nil {
		e.stop()
		return nil, fmt.Errorf("forward: listen: %w", err)
	}
	warnOfBuffers(cfg.Log, cfg.Socket)
	return e, nil
}

// leastBuffer is enough for a burst of some ms at the rate of a fast link. Quic-go asks for 7 MiB.
const leastBuffer = 2 << 20

// warnOfBuffers says so where the system gives the socket so little room that bursts are lost.
func warnOfBuffers(log zerolog.Logger, socket net.PacketConn) {
	receive, send := BufferSizes(socket)
	if receive > 0 && receive < leastBuffer || send > 0 && send < leastBuffer {
		log.Warn().Int("receive", receive).Int("send", send).
			Msg("the UDP socket's buffers are small, and bursts may be lost; to allow more: sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000")
	}
}

type connKey struct{}

// Self is the node's ID.
func (e *Endpoint) Self() wire.NodeID { return e.self }

// Forwarder forwards messages over the endpoint's links.
func (e *Endpoint) Forwarder() *Forwarder { return e.forwarder }

// Counters are the counters of links and forwarder.
func (e *Endpoint) Counters() *Counters { return e.counters }

// Flights is how much is under way.
func (e *Endpoint) Flights() FlightState { return e.flights.state() }

// Flow is messages published by this node for another, or by another for this one.
type Flow struct {
	Peer     wire.NodeID
	Messages int
}

// Flows are the messages published for each node, and those that came from each, since it was called last, in no order.
func (e *Endpoint) Flows() (sent, came []Flow) { return e.flights.flows() }

// Link is the link to a peer, if one is open.
func (e *Endpoint) Link(peer wire.NodeID) *Link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.links[peer]
}

// Links are all open links.
func (e *Endpoint) Links() []*Link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.links))
}

// clock is ns on the endpoint's monotonic clock.
func (e *Endpoint) clock() int64 { return int64(time.Since(e.began)) }

// Run serves the socket until ctx ends, then closes every connection and the socket and waits for all goroutines.
func (e *Endpoint) Run(ctx context.Context) error {
	e.group.Go(func() { e.accept(e.ctx) })
	e.group.Go(func() { e.readPackets(e.ctx) })
	if e.cfg.Streams != nil {
		e.group.Go(e.acceptNear)
	}
	e.group.Go(func() { e.flights.run(e.ctx) })
	e.group.Go(func() { e.keepTrust(e.ctx) })
	<-ctx.Done()
	e.mu.Lock()
	e.ended = true
	links := slices.Collect(maps.Values(e.links))
	e.mu.Unlock()
	for _, l := range links {
		l.close(codeDone, "node stops")
	}
	e.stop()
	_ = e.listener.Close()
	if e.cfg.Streams != nil {
		_ = e.cfg.Streams.Close()
	}
	_ = e.server.Close()
	_ = e.client.Close()
	e.group.Wait()
	_ = e.transport.Close()
	return errors.Join(e.cfg.Socket.Close())
}

func (e *Endpoint) accept(ctx context.Context) {
	for {
		conn, err := e.listener.Accept(ctx)
		if err != nil {
			return
		}
		e.counters.Accepted.Add(1)
		if !e.guard.answered(conn) {
			_ = conn.CloseWithError(codeDone, "too many connections")
			continue
		}
		e.remember(conn)
		e.group.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = conn.CloseWithError(codeDone, "node stops") })
			defer stop()
			if err := e.server.ServeQUICConn(conn); err != nil {
				e.cfg.Log.Trace().Err(err).Stringer("remote", conn.RemoteAddr()).Msg("connection ended")
			}
			e.forget(conn)
		})
	}
}

// WritePacket sends a SWIM packet raw.
func (e *Endpoint) WritePacket(b []byte, to net.Addr) error {
	_, err := e.transport.WriteTo(b, to)
	return err
}

func (e *Endpoint) readPackets(ctx context.Context) {
	buf := make([]byte, packetQueue)
	for {
		n, from, err := e.transport.ReadNonQUICPacket(ctx, buf)
		if err != nil {
			return
		}
		e.cfg.Packet(append([]byte(nil), buf[:n]...), from, time.Now())
	}
}

// background runs work that the endpoint waits for at its end; once it is ending, nothing new begins.
func (e *Endpoint) background(work func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.group.Go(work)
	}
}

// adopt makes l the link to its peer unless an existing one is to be kept: then it is ErrDuplicate.
func (e *Endpoint) adopt(l *Link) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return ErrLinkClosed
	}
	old := e.links[l.Peer]
	if old != nil && !e.replaces(l, old) {
		return ErrDuplicate
	}
	e.numbers++
	l.Number, l.adopted = e.numbers, e.clock()
	e.links[l.Peer] = l
	if old != nil {
		e.group.Go(func() { e.retire(old, l) })
	}
	return nil
}

// replaces is the fixed rule by which both ends of two connections keep the same one.
func (e *Endpoint) replaces(l, old *Link) bool {
	if l.Boot != old.Boot {
		return l.Boot > old.Boot
	}
	if l.dialed == old.dialed {
		return true // its dialler knows that the earlier one is lost
	}
	return l.dialed == (e.self < l.Peer)
}

// work runs an adopted link to its end.
func (e *Endpoint) work(l *Link) {
	e.cfg.Emit(Opened{l})
	err := l.run(e.ctx)
	e.mu.Lock()
	if e.links[l.Peer] == l {
		delete(e.links, l.Peer)
	}
	e.mu.Unlock()
	e.cfg.Emit(Closed{l, err})
}
