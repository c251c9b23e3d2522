package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// ErrImpostor reports that a later run with this node's key is alive elsewhere.
var ErrImpostor = errors.New("mesh: another node runs with this node's key, and started later")

// DefaultDeadline is the age at which messages are dropped.
const DefaultDeadline = 5 * time.Second

// Place is a point on the globe in degrees.
type Place struct{ Lat, Lon float64 }

// Config is one node's. Zero values mean the defaults named.
type Config struct {
	Identity  Identity           // required
	Trust     *trust.Credentials // who is believed to be a node; default anybody: an open mesh
	Listen    string             // UDP host:port of the node; default ":7946"
	Advertise string             // host:port that others reach it at; default Listen's, or the host's own address
	Client    string             // host:port where clients connect, for others to know; default none
	Join      []string           // host:port of live members
	Name      string             // for people; default the NodeID's first digits
	Region    string             // for people and clients
	Place     *Place             // default unknown
	DataDir   string             // where members last known are kept; default nowhere
	Network   Network            // default System
	NoTCP     bool               // near nodes exchange messages by UDP as others do, not by TCP on the port with the same number
	Log       zerolog.Logger     // default silent
	Deadline  time.Duration      // age at which this node's messages are dropped; default DefaultDeadline
	Timing    latency.Config     // of probes
	FullMesh  int                // up to how many nodes all are linked to each other; default core.DefaultFullMesh
	Seed      uint64             // of the node's randomness; default random

	// Shared is what all nodes are to hold alike; nil: nothing.
	Shared Shared
	// Deliver takes a message for local subscribers, with the relays that it passed, and reports whether any took it. Its slices are valid during
	// the call. It must not block. Modes other than Broadcast mean one subscriber; a batch is
	// what a node was given as one.
	Deliver func(m channel.Message, t Trace) (taken bool)
	// Delivered follows calls of Deliver once no more follow at once. It does not block for long. Default nothing.
	Delivered func()
	// Wants reports whether there is a local subscriber of a channel; nil: messages for one subscriber never go to local ones.
	Wants func(tenant, channel string) bool
}

// Trace says how a message came.
type Trace struct {
	Origin wire.NodeID
	Via    []wire.NodeID
	Age    time.Duration // as added up on the way
}

// Node is one node of the mesh: membership, links, routes and the data path.
type Node struct {
	cfg       Config
	meta      wire.Meta
	advertise netip.AddrPort
	trust     *trust.Keeper
	endpoint  *forward.Endpoint
	gossip    *gossip.Gossip
	core      *core.Core // owned by loop
	index     *interest.Index
	lookups   lookups
	spreads   spreads
	sharing   sharing
	tracing   tracing
	budgets   budgets
	checked   atomic.Uint64 // records whose signature was checked
	ages      *ages         // of messages that came
	unwanted  atomic.Uint64 // messages that came for nobody here: false positives, mostly
	computing atomic.Uint64 // ns of steps in which routes were computed
	log       zerolog.Logger
	events    chan core.Event
	asks      chan func(*core.Core)
	stopped   chan struct{} // closed when loop has ended
	group     sync.WaitGroup
	began     time.Time
	dials     context.Context //nolint:containedctx // ends with the loop; dials in progress hang on it
	endDials  context.CancelFunc

	newestBoot atomic.Uint64 // of the nodes that this one has had links with

	ready  atomic.Bool            // once Ready has said so
	client atomic.Pointer[string] // where clients connect

	mu    sync.Mutex // guards what follows
	addrs map[wire.NodeID]whereabouts
	held  map[core.RecordKey]wire.Stamp // versions in the core's store, so that a second copy costs no signature check
}

// eventQueue bounds events that wait for the loop; who brings more waits.
const eventQueue = 1024

// New checks the configuration and opens the node's socket; nothing runs until Run. A node that is not run must be closed by running it
// with a context that has ended.
func New(cfg Config) (*Node, error) {
	if cfg.Network == nil {
		cfg.Network = System{}
	}
	if cfg.Listen == "" {
		cfg.Listen = ":7946"
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	if len(cfg.Identity.Key) == 0 || cfg.Deliver == nil {
		return nil, errors.New("mesh: config lacks identity or Deliver")
	}
	if err := validateSeeds(cfg.Join); err != nil {
		return nil, err
	}
	socket, err := cfg.Network.ListenPacket(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("mesh: listen: %w", err)
	}
	streams := nearStreams(cfg, socket.LocalAddr())
	n, err := build(cfg, socket, streams)
	if err != nil {
		_ = socket.Close()
		if streams != nil {
			_ = streams.Close()
		}
		return nil, err
	}
	return n, nil
}

// strangersEvery is how often peers that are not of this mesh may be logged, however many there are.
const strangersEvery = time.Minute

// nearStreams listens on the TCP port with the number of the node's UDP port. Without it messages to near nodes just cost more.
func nearStreams(cfg Config, socket net.Addr) net.Listener {
	if cfg.NoTCP {
		return nil
	}
	l, err := cfg.Network.Listen(socket.String())
	if err != nil {
		cfg.Log.Warn().Err(err).Msg("near nodes exchange messages by UDP alone, which costs more: the TCP port with that number cannot be had")
		return nil
	}
	return l
}

func build(cfg Config, socket net.PacketConn, streams net.Listener) (*Node, error) {
	advertise, err := Advertised(cfg.Advertise, socket.LocalAddr())
	if err != nil {
		return nil, err
	}
	n := &Node{
		ages: newAges(),
		cfg:  cfg, advertise: advertise, index: new(interest.Index), began: time.Now(),
		events: make(chan core.Event, eventQueue), asks: make(chan func(*core.Core)), stopped: make(chan struct{}),
		addrs: map[wire.NodeID]whereabouts{}, held: map[core.RecordKey]wire.Stamp{},
	}
	n.dials, n.endDials = context.WithCancel(context.Background())
	if cfg.Trust == nil {
		if cfg.Trust, err = trust.Open(cfg.Identity.Key); err != nil {
			return nil, err
		}
	}
	n.trust = trust.NewKeeper(cfg.Trust)
	strangers := cfg.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: strangersEvery})
	links := forward.Config{
		Key: cfg.Identity.Key, Trust: n.trust, Boot: cfg.Identity.Boot, Socket: socket, Log: cfg.Log, Strangers: strangers,
		Emit: n.linkEvent, Control: n.control, Deliver: n.arrived, Delivered: cfg.Delivered, Choose: n.choose, Traced: n.hopTold,
		Packet: func(b []byte, from net.Addr, at time.Time) { n.gossip.Receive(b, from, at) },
		Stream: func(c net.Conn) { n.gossip.Accept(c) },
		Call: func(_ context.Context, to netip.AddrPort, b []byte) error {
			return call(cfg.Network, socket.LocalAddr(), to, b)
		},
	}
	if streams != nil {
		links.Streams, links.Connect = streams, cfg.Network.DialContext
	}
	if n.endpoint, err = forward.New(links); err != nil {
		return nil, err
	}
	n.meta = wire.Meta{ID: n.endpoint.Self(), Boot: cfg.Identity.Boot, Name: cfg.Name, Region: cfg.Region, Client: cfg.Client}
	if n.meta.Name == "" {
		n.meta.Name = n.meta.ID.Short()
	}
	if cfg.Place != nil {
		n.meta.Located, n.meta.Lat, n.meta.Lon = true, cfg.Place.Lat, cfg.Place.Lon
	}
	n.client.Store(&n.meta.Client)
	n.log = cfg.Log.With().Str("node", n.meta.Name).Logger()
	rnd := rand.New(rand.NewPCG(cfg.Seed, uint64(n.meta.ID)))
	g := gossip.Config{
		Meta: n.meta, Key: cfg.Identity.Key, Advertise: advertise, Seeds: cfg.Join, Keys: cfg.Trust.SWIMKeys(), Log: n.log, Strangers: strangers,
		Rand:  rand.New(rand.NewPCG(cfg.Seed, ^uint64(n.meta.ID))),
		Write: n.writePacket, Dial: n.endpoint.DialStream, Emit: n.gossipEvent, Sums: n.sums,
	}
	if cfg.DataDir != "" {
		g.KnownFile = filepath.Join(cfg.DataDir, knownFile)
	}
	if n.gossip, err = gossip.New(g); err != nil {
		return nil, err
	}
	n.core = core.New(core.Config{Key: cfg.Identity.Key, Meta: n.meta, Index: n.index, Rand: rnd, Timing: cfg.Timing, FullMesh: cfg.FullMesh}, n.began)
	return n, nil
}

// Advertised is the address that others reach a node at: as given, or else what can be told from the address that its socket has.
func Advertised(given string, local net.Addr) (netip.AddrPort, error) {
	bound, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("mesh: local address: %w", err)
	}
	bound = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	if given != "" {
		addr, err := net.ResolveUDPAddr("udp", given)
		if err != nil || addr.Port == 0 || addr.IP == nil || addr.IP.IsUnspecified() {
			return netip.AddrPort{}, fmt.Errorf("mesh: advertise %q: want host:port that others can reach", given)
		}
		ap := addr.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	if !bound.Addr().IsUnspecified() {
		return bound, nil
	}
	return netip.AddrPortFrom(hostAddr(), bound.Port()), nil
}

// hostAddr is an address of this host for others: the first global IPv4, else IPv6, else loopback.
func hostAddr() netip.Addr {
	best := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return best
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if prefix.Addr().Is4() {
			return prefix.Addr()
		}
		if best.IsLoopback() {
			best = prefix.Addr()
		}
	}
	return best
}

// ID is the node's ID.
func (n *Node) ID() wire.NodeID { return n.meta.ID }

// Name is the node's name.
func (n *Node) Name() string { return n.meta.Name }

// Addr is where other nodes reach it.
func (n *Node) Addr() netip.AddrPort { return n.advertise }

// Counters are the data path's counters.
func (n *Node) Counters() *forward.Counters { return n.endpoint.Counters() }

// SetClient tells the mesh where clients connect to this node from now on, in place of Config.Client; empty means nowhere.
func (n *Node) SetClient(addr string) error {
	meta := n.meta
	meta.Client = addr
	if err := meta.Validate(); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	n.client.Store(&addr)
	n.gossip.SetClient(addr)
	return nil
}

// SetTrust makes others the node's credentials, of the same key. Links move to them without a gap; nodes that are not believed any more are cut off soon
// after. It is not for concurrent use.
func (n *Node) SetTrust(c *trust.Credentials) error {
	if err := n.trust.Replace(c); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	if !c.IsOpen() {
		if err := n.gossip.SetKeys(c.SWIMKeys()); err != nil {
			return fmt.Errorf("mesh: %w", err)
		}
	}
	n.endpoint.Retrust()
	return nil
}

// SetSeeds makes others the addresses of live members, host:port, that the node tries while they are none.
func (n *Node) SetSeeds(seeds []string) error {
	if err := validateSeeds(seeds); err != nil {
		return err
	}
	n.gossip.SetSeeds(slices.Clone(seeds))
	return nil
}

func validateSeeds(seeds []string) error {
	for _, seed := range seeds {
		if _, port, err := net.SplitHostPort(seed); err != nil || port == "" {
			return fmt.Errorf("mesh: join %q: want host:port", seed)
		}
	}
	return nil
}

// readyAfter is when a node counts as ready whatever it lacks: some node may always be out of reach.
const readyAfter = 10 * time.Second

// Ready reports whether the node is of use to clients: it has met its mesh, if it was told of one, has a route to every member, and knows what each has
// subscribers for. Once ready, it stays so.
func (n *Node) Ready() bool {
	if n.ready.Load() {
		return true
	}
	settled := false
	if !n.ask(func(c *core.Core) { settled = c.Settled() && (len(n.cfg.Join) == 0 || c.Known() > 0) }) {
		return false
	}
	if settled || time.Since(n.began) >= readyAfter {
		n.ready.Store(true)
	}
	return n.ready.Load()
}

// Run is a member of the mesh until ctx ends or something fails; then it withdraws its links, leaves, and returns when all has ended.
func (n *Node) Run(ctx context.Context) error { //nolint:contextcheck // loop and links outlive ctx, so that leaving can use them
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loopCtx, endLoop := context.WithCancel(context.Background())
	linkCtx, endLinks := context.WithCancel(context.Background())
	defer endLoop()
	defer endLinks()
	var loop, links sync.WaitGroup
	links.Go(func() {
		if err := n.endpoint.Run(linkCtx); err != nil {
			n.log.Debug().Err(err).Msg("links ended")
		}
	})
	loop.Go(func() { n.loop(loopCtx, stop) })
	gossipErr := n.gossip.Run(n.withdrawn(ctx))
	stop(gossipErr) // where it failed by itself
	endLinks()
	n.endDials()
	links.Wait()
	n.group.Wait()
	endLoop()
	loop.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, ErrImpostor) {
		return cause
	}
	return gossipErr
}

// withdrawn is a context that ends shortly after ctx, when this node's links have been withdrawn from the mesh, so that nobody routes through it any more
// when it leaves.
func (n *Node) withdrawn(ctx context.Context) context.Context {
	after, end := context.WithCancel(context.Background())
	n.group.Go(func() {
		defer end()
		<-ctx.Done()
		n.post(core.Leaving{})
		time.Sleep(withdrawTime)
	})
	return after
}

// withdrawTime is how long the news takes to be everywhere that traffic comes from.
const withdrawTime = 300 * time.Millisecond

// post hands an event to the loop; it waits while the queue is full and gives up when the loop has ended.
func (n *Node) post(e core.Event) {
	select {
	case n.events <- e:
	case <-n.stopped:
	}
}

// ask runs f in the loop and waits for it; false if the loop has ended.
func (n *Node) ask(f func(*core.Core)) bool {
	done := make(chan struct{})
	select {
	case n.asks <- func(c *core.Core) { f(c); close(done) }:
		<-done
		return true
	case <-n.stopped:
		return false
	}
}
