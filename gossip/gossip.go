package gossip

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

// Event is what the control plane learns from gossip: Joined, Left, Announced or Exchanged.
type Event interface{ event() }

// Joined says that a node is alive, newly or under a new description.
type Joined struct{ Member Member }

// Left says that a run of a node has ended: gracefully, or declared dead.
type Left struct {
	ID       wire.NodeID
	Boot     uint64
	Graceful bool
}

// Announced carries versions that a member announced.
type Announced struct{ Digest wire.Digest }

// Exchanged carries the sums of all that a member holds, from a push/pull.
type Exchanged struct{ Sums wire.Sums }

func (Joined) event()    {}
func (Left) event()      {}
func (Announced) event() {}
func (Exchanged) event() {}

// Member is a node as SWIM knows it.
type Member struct {
	wire.Meta
	Addr netip.AddrPort // where its node socket is
}

// Config is what gossip needs. Fields without a default must be set.
type Config struct {
	Meta      wire.Meta          // of this node
	Key       ed25519.PrivateKey // which signs it
	Advertise netip.AddrPort     // of this node
	Seeds     []string           // host:port of live members, resolved at each try
	Keys      [][]byte           // 32 bytes each: packets and streams are sealed with the first and may be with any; default in the clear
	KnownFile string             // where members last known are kept; default nowhere
	Log       zerolog.Logger
	Strangers zerolog.Logger // where packets under other keys are told of; it may leave out most
	Rand      *rand.Rand     // default seeded at random

	// Write sends a packet to a node: id is zero if only its address is known. It does not keep b.
	Write func(b []byte, id wire.NodeID, addr net.Addr) error
	// Dial opens a reliable stream.
	Dial func(ctx context.Context, addr net.Addr) (net.Conn, error)
	// Resolve finds the addresses of a seed; default the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Emit takes an event; it may block for a moment but must not wait for gossip.
	Emit func(Event)
	// Sums are those of all records that this node holds, as a frame.
	Sums func() []byte
}

// Stats count what gossip did. All fields only grow.
type Stats struct {
	PacketsIn, PacketsOut, BytesIn, BytesOut atomic.Uint64
	PacketsDropped                           atomic.Uint64 // memberlist did not keep up
	Garbage                                  atomic.Uint64 // packets and streams that are not SWIM's
	Unsealed                                 atomic.Uint64 // packets that no key of this node opens
	Refused                                  atomic.Uint64 // members with bad descriptions
	Forged                                   atomic.Uint64 // descriptions that are not by the node that they are of
	Unchecked                                atomic.Uint64 // descriptions that came when too many were to be checked
	Crowded                                  atomic.Uint64 // members beyond membersMost
	Malformed                                atomic.Uint64 // user data that does not parse
	Problems                                 atomic.Uint64 // errors that memberlist logged
}

// Gossip is a node's membership.
type Gossip struct {
	cfg       Config
	transport *transport
	keys      *memberlist.Keyring // nil: all is in the clear
	announce  *announcements
	known     *known
	described *descriptions
	edition   atomic.Uint32 // of this node's description
	stats     Stats
	list      *memberlist.Memberlist
	running   atomic.Pointer[memberlist.Memberlist] // the same while Run runs
	leaving   atomic.Bool
	client    atomic.Pointer[string] // where clients connect
	seeds     atomic.Pointer[[]string]
	changed   chan struct{} // capacity 1: the description of this node is another
}

// SetSeeds makes others the addresses, host:port, that are tried while they are no members.
func (g *Gossip) SetSeeds(seeds []string) { g.seeds.Store(&seeds) }

// leaveSpread is how long a leaving node goes on gossiping, so that more than one member hears that it left.
const leaveSpread = 700 * time.Millisecond

// New checks the configuration and starts nothing.
func New(cfg Config) (*Gossip, error) {
	if err := cfg.Meta.Validate(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if cfg.Write == nil || cfg.Dial == nil || cfg.Emit == nil || cfg.Sums == nil || !cfg.Advertise.IsValid() {
		return nil, errors.New("gossip: config lacks a callback or an address")
	}
	if len(cfg.Key) != ed25519.PrivateKeySize || wire.IDOf(cfg.Key.Public().(ed25519.PublicKey)) != cfg.Meta.ID {
		return nil, errors.New("gossip: the key is not that of the node described")
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	g := &Gossip{cfg: cfg, announce: newAnnouncements(cfg.Meta.ID), changed: make(chan struct{}, 1)}
	g.client.Store(&cfg.Meta.Client)
	g.seeds.Store(&cfg.Seeds)
	g.known = newKnown(&g.cfg)
	g.described = newDescriptions(&g.stats, cfg.Log)
	g.transport = newTransport(&g.cfg, &g.stats)
	if len(cfg.Keys) > 0 {
		var err error
		if g.keys, err = memberlist.NewKeyring(cfg.Keys, cfg.Keys[0]); err != nil {
			return nil, fmt.Errorf("gossip: keys: %w", err)
		}
	}
	return g, nil
}

// Stats are the live counters.
func (g *Gossip) Stats() *Stats { return &g.stats }

// Receive takes a SWIM packet off the socket, or one that came over the mesh. It keeps b and never waits.
func (g *Gossip) Receive(b []byte, from net.Addr, at time.Time) { g.transport.receive(b, from, at) }

// Accept takes a reliable stream.
func (g *Gossip) Accept(conn net.Conn) { g.transport.accept(conn) }

// Announce puts a record version on the next SWIM packets.
func (g *Gossip) Announce(e wire.DigestEntry) { g.announce.add(e) }

// Introduce says that this run of a node, with a working link, is at this address. Unless it is a member, it is joined: its news was missed.
func (g *Gossip) Introduce(addr net.Addr, boot uint64) {
	if udp, ok := addr.(*net.UDPAddr); ok {
		at := udp.AddrPort()
		g.known.meet(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), boot, time.Now())
	}
}

// errNotRunning means that this node is no member yet, or no longer.
var errNotRunning = errors.New("gossip: not running")

// Ping measures the round trip to a run of a member with a SWIM probe of its own; it waits for the answer as long as for any.
func (g *Gossip) Ping(id wire.NodeID, boot uint64, addr netip.AddrPort) (time.Duration, error) {
	list := g.running.Load()
	if list == nil {
		return 0, errNotRunning
	}
	return list.Ping(memberName(id, boot), net.UDPAddrFromAddrPort(addr))
}

// SetClient tells the members where clients connect to this node from now on; empty means nowhere. The address must be one that Meta may have.
func (g *Gossip) SetClient(addr string) {
	g.client.Store(&addr)
	select {
	case g.changed <- struct{}{}:
	default: // what is to be told already will be this
	}
}

// Run is a member until ctx ends, then leaves and returns when all has ended.
func (g *Gossip) Run(ctx context.Context) error {
	list, err := memberlist.Create(g.settings())
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.list = list
	g.running.Store(list)
	defer g.running.Store(nil)
	var group sync.WaitGroup
	group.Go(func() { g.keepJoined(ctx) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-g.changed:
			if err := list.UpdateNode(time.Second); err != nil {
				g.cfg.Log.Debug().Err(err).Msg("update")
			}
		}
	}
	if list.NumMembers() > 1 {
		g.leaving.Store(true)
		if err := errors.Join(list.UpdateNode(time.Second), list.Leave(time.Second)); err != nil {
			g.cfg.Log.Debug().Err(err).Msg("leave")
		}
		time.Sleep(leaveSpread)
	}
	err = list.Shutdown()
	group.Wait()
	g.known.save()
	return err
}

// settings are memberlist's, between its LAN and WAN presets: intercontinental round trips must not look like
// failures, and detection within seconds suffices since links find dead paths by themselves.
func (g *Gossip) settings() *memberlist.Config {
	c := memberlist.DefaultWANConfig()
	c.Name = memberName(g.cfg.Meta.ID, g.cfg.Meta.Boot)
	c.Transport = g.transport
	c.AdvertiseAddr = g.cfg.Advertise.Addr().String()
	c.AdvertisePort = int(g.cfg.Advertise.Port())
	c.BindAddr, c.BindPort = c.AdvertiseAddr, c.AdvertisePort
	c.ProbeInterval = time.Second + 3*time.Microsecond // odd, so that tickers do not fall together for ever
	c.ProbeTimeout = 700 * time.Millisecond
	c.IndirectChecks = 5
	c.SuspicionMult = 5
	c.GossipInterval = 200*time.Millisecond + 7*time.Microsecond
	c.GossipNodes = 3
	c.GossipToTheDeadTime = 30 * time.Second
	c.PushPullInterval = 0         // keepJoined does that
	c.TCPTimeout = 2 * time.Second // of a join that hangs: a partition is to heal soon after it ends
	c.DisableTcpPings = true       // streams share the path of packets
	c.DeadNodeReclaimTime = time.Second
	c.UDPBufferSize = PacketBytes
	c.EnableCompression = false // costs CPU, gains nothing on packets this small
	c.RequireNodeNames = false
	c.Keyring = g.keys
	d := &delegate{g}
	c.Delegate, c.Events, c.Alive = d, d, d
	c.LogOutput = nil
	c.Logger = log.New(&logWriter{g}, "", 0)
	return c
}
