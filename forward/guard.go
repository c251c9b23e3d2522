package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// Bounds of the QUIC connections that others open. Handshakes are what costs most, and whoever has not proved its address may have made it up.
const (
	handshakesMost = 256 // at a time; more are refused
	handshakesFree = 32  // at a time; beyond, callers prove their address first (RFC 9000 §8.1.2), which costs them a round trip and this node next to nothing
	freeRate       = 50  // and so they do beyond this many a second
	freeBurst      = 100

	callerRate  = 20   // handshakes a second of an address that is proved; what is over is refused
	callerBurst = 200  // after a restart of several nodes behind one address
	callerOpen  = 1024 // connections of an address
	barrenRate  = 20   // handshakes a second, of an address and also of this machine, that come to nothing: no link or stream is opened
	barrenBurst = 100
	nodesMost   = 1 << 12 // addresses and ports that links came from, which are let in all the same
	callersMost = 1 << 14
	callerSweep = 10 * time.Second

	idleMost  = 128 // connections with nothing on them, at a time; the oldest are closed for new ones
	idleAfter = 3 * time.Second

	guardTells = time.Minute // between log lines
)

var errRefused = errors.New("forward: connection refused")

// guard decides which connections others may open.
type guard struct {
	counters *Counters
	log      zerolog.Logger
	free     *rate.Limiter // of handshakes that need no proof

	mu      sync.Mutex // guards what follows, and all callings
	shaking int
	idle    []*calling // in the order in which they came to be
	callers map[netip.Addr]*caller
	nodes   map[netip.AddrPort]struct{} // that links or streams came from; emptied when full
	sweepAt time.Time
	toldAt  time.Time
	untold  int // refused since
}

// caller is an address, IPv6 by its /64. Addresses of this machine are limited in what comes to nothing alone.
type caller struct {
	open   int
	shake  *rate.Limiter
	barren float64 // handshakes that came to nothing, or are yet to come to something; it falls by barrenRate a second
	at     time.Time
}

// owes is barren now.
func (c *caller) owes(now time.Time) float64 {
	c.barren = max(0, c.barren-barrenRate*max(0, now.Sub(c.at).Seconds()))
	c.at = now
	return c.barren
}

// calling is a connection that another node, or whoever, opens.
type calling struct {
	guard *guard
	addr  netip.Addr
	state callState
	uses  int // links and streams on it
	who   *caller
	owing *caller // for which this still counts as barren
	conn  *quic.Conn
	timer *time.Timer
}

type callState uint8

const (
	callShaking callState = iota
	callIdle              // nothing is on it
	callBusy
	callOver
)

type callKey struct{}

func newGuard(counters *Counters, log zerolog.Logger) *guard {
	return &guard{counters: counters, log: log, free: rate.NewLimiter(freeRate, freeBurst), callers: map[netip.Addr]*caller{}, nodes: map[netip.AddrPort]struct{}{}}
}

// mustProve reports whether a caller has to prove its address first.
func (g *guard) mustProve(net.Addr) bool {
	g.mu.Lock()
	busy := g.shaking >= handshakesFree
	g.mu.Unlock()
	if !busy && g.free.Allow() {
		return false
	}
	g.counters.Proofs.Add(1)
	return true
}

// begin counts a handshake, or refuses it.
func (g *guard) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	g.counters.Handshakes.Add(1)
	addr := callerKey(info.RemoteAddr)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	c := &calling{guard: g, addr: addr}
	if info.AddrVerified || addr.IsLoopback() {
		c.owing = g.caller(addr, now)
	}
	if g.shaking >= handshakesMost || c.owing != nil && !g.affords(c.owing, addr, info.RemoteAddr, now) {
		g.refuse(DropHandshakes, now)
		return nil, errRefused
	}
	g.shaking++
	context.AfterFunc(ctx, c.end)
	return context.WithValue(ctx, callKey{}, c), nil
}

// affords reports whether an address may have another handshake, and counts it. g.mu is held.
func (g *guard) affords(who *caller, addr netip.Addr, from net.Addr, now time.Time) bool {
	if !addr.IsLoopback() && !who.shake.AllowN(now, 1) {
		return false
	}
	owed := who.owes(now)
	if _, node := g.nodes[portOf(from)]; !node && owed >= barrenBurst {
		return false
	}
	who.barren++
	return true
}

// portOf is an address as one of nodes.
func portOf(addr net.Addr) netip.AddrPort {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := udp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// answered takes note that a handshake has succeeded, and reports whether the connection may stay: if so it must be used soon.
func (g *guard) answered(conn *quic.Conn) bool {
	c, _ := conn.Context().Value(callKey{}).(*calling)
	if c == nil {
		return true // it cannot be: all come through begin
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.state != callShaking {
		return false // it has ended meanwhile
	}
	g.shaking--
	c.state, c.conn = callOver, conn
	now := time.Now()
	if !c.addr.IsLoopback() {
		who := g.caller(c.addr, now)
		if who.open >= callerOpen {
			g.refuse(DropHandshakes, now)
			return false
		}
		who.open++
		c.who = who
	}
	c.rest()
	return true
}

// rest has the connection closed unless something comes to be on it. guard.mu is held.
func (c *calling) rest() {
	g := c.guard
	c.state = callIdle
	if len(g.idle) >= idleMost {
		g.idle[0].timer.Reset(0)
		g.idle = slices.Delete(g.idle, 0, 1)
	}
	g.idle = append(g.idle, c)
	c.timer = time.AfterFunc(idleAfter, func() {
		g.mu.Lock()
		idle := c.state == callIdle
		if idle {
			g.refuse(DropIdle, time.Now())
		}
		g.mu.Unlock()
		if idle {
			_ = c.conn.CloseWithError(codeDone, "nothing to do")
		}
	})
}

// rise ends the rest of a connection. guard.mu is held.
func (c *calling) rise(to callState) {
	g := c.guard
	c.timer.Stop()
	c.state = to
	g.idle = slices.DeleteFunc(g.idle, func(other *calling) bool { return other == c })
}

// use says that there is something on a connection until the returned function is called.
func use(conn *quic.Conn) (done func()) {
	c, _ := conn.Context().Value(callKey{}).(*calling)
	if c == nil {
		return func() {}
	}
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	if c.state == callIdle {
		c.rise(callBusy)
	}
	if c.owing != nil { // it has come to something
		c.owing.barren = max(0, c.owing.barren-1)
		c.owing = nil
		if len(c.guard.nodes) >= nodesMost {
			clear(c.guard.nodes)
		}
		c.guard.nodes[portOf(conn.RemoteAddr())] = struct{}{}
	}
	c.uses++
	return func() {
		c.guard.mu.Lock()
		defer c.guard.mu.Unlock()
		if c.uses--; c.uses == 0 && c.state == callBusy {
			c.rest()
		}
	}
}

// end takes note that the connection has ended, or its handshake failed.
func (c *calling) end() {
	g := c.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	switch c.state {
	case callShaking:
		g.shaking--
	case callIdle:
		c.rise(callOver)
	case callBusy, callOver:
	}
	c.state = callOver
	if c.who != nil {
		c.who.open--
		c.who = nil
	}
}

// refuse counts what is refused, and says so in the log once in a while. g.mu is held.
func (g *guard) refuse(why Reason, now time.Time) {
	g.counters.Drop(why, 1)
	g.untold++
	if g.toldAt.IsZero() || now.Sub(g.toldAt) >= guardTells {
		g.log.Warn().Int("refused", g.untold).Int("handshakes", g.shaking).Int("idle", len(g.idle)).Msg("connections from other nodes are refused: too many at once, or from one address")
		g.toldAt, g.untold = now, 0
	}
}

// caller is what is known of an address. g.mu is held.
func (g *guard) caller(addr netip.Addr, now time.Time) *caller {
	if now.After(g.sweepAt) || len(g.callers) >= callersMost {
		g.sweepAt = now.Add(callerSweep)
		for key, who := range g.callers {
			if who.open == 0 && who.shake.TokensAt(now) >= callerBurst && who.owes(now) == 0 {
				delete(g.callers, key)
			}
		}
	}
	if known := g.callers[addr]; known != nil {
		return known
	}
	if len(g.callers) >= callersMost { // these share one allowance
		addr = netip.Addr{}
		if rest := g.callers[addr]; rest != nil {
			return rest
		}
	}
	who := &caller{shake: rate.NewLimiter(callerRate, callerBurst)}
	g.callers[addr] = who
	return who
}

// callerKey is what an address counts as: one subscriber has a whole /64 of IPv6.
func callerKey(addr net.Addr) netip.Addr {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := udp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is4() || ip.IsLoopback() {
		return ip
	}
	if p, err := ip.Prefix(64); err == nil {
		return p.Addr()
	}
	return netip.Addr{}
}
