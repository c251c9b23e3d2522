package wsgate

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// visitorsMost bounds the addresses that are told apart. Those for which there is no room share one allowance.
	visitorsMost = 1 << 16
	// visitorsSweep is how often addresses are forgotten that need not be remembered.
	visitorsSweep = 10 * time.Second
	// connectBurst is how many seconds' worth of connections an address may make at once: a proxy's clients all come anew together.
	connectBurst = 10
	// An address over its limits gets an answer, 429, as often as this; beyond, its connections are closed without a word.
	answersPerSecond = 10
	answersBurst     = 50
)

// visitors knows the addresses that have connections, or had them lately. IPv6 addresses count by their /64, which is what one subscriber has.
type visitors struct {
	limited atomic.Bool // something is

	mu      sync.Mutex // guards what follows
	most    int        // connections open at a time; 0: no limit
	pace    float64    // connections a second; 0: no limit
	known   map[netip.Addr]*visitor
	rest    *visitor // everybody for whom there is no room
	sweepAt time.Time
}

// visitor is an address. visitors.mu guards it.
type visitor struct {
	open     int
	connects *rate.Limiter // nil: no limit
	answers  *rate.Limiter // of refusals; nil: there were none
}

// verdict is what becomes of a connection.
type verdict uint8

const (
	welcome  verdict = iota
	tooMany          // of its address; to be told so
	tooOften         // the same
	unheard          // to be closed without a word
)

func newVisitors(most int, pace float64) *visitors {
	v := &visitors{most: most, pace: pace, known: map[netip.Addr]*visitor{}}
	v.rest = v.stranger()
	v.limited.Store(most > 0 || pace > 0)
	return v
}

// set changes the limits, for those who are there already, too. What an address has used stays used. Connections that came while nothing was limited do not count.
func (v *visitors) set(most int, pace float64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.most, v.pace = most, pace
	v.limited.Store(most > 0 || pace > 0)
	v.rest.connects = adjust(v.rest.connects, pace, pace*connectBurst, now)
	for _, who := range v.known {
		who.connects = adjust(who.connects, pace, pace*connectBurst, now)
	}
}

// off tells whether nothing is limited.
func (v *visitors) off() bool { return !v.limited.Load() }

func (v *visitors) stranger() *visitor {
	return &visitor{connects: newLimiter(v.pace, v.pace*connectBurst)}
}

// enter counts a connection, and judges it. The caller owes a leave, unless it is unheard.
func (v *visitors) enter(addr netip.Addr, now time.Time) (*visitor, verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	who := v.find(visitorKey(addr))
	said := welcome
	switch {
	case v.most > 0 && who.open >= v.most:
		said = tooMany
	case who.connects != nil && !who.connects.AllowN(now, 1):
		said = tooOften
	}
	if said != welcome {
		if who.answers == nil {
			who.answers = newLimiter(answersPerSecond, answersBurst)
		}
		if !who.answers.AllowN(now, 1) {
			return nil, unheard
		}
	}
	who.open++
	return who, said
}

func (v *visitors) leave(who *visitor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	who.open--
}

// find is the address's visitor. v.mu is held.
func (v *visitors) find(key netip.Addr) *visitor {
	who := v.known[key]
	if who == nil {
		if len(v.known) >= visitorsMost {
			return v.rest
		}
		who = v.stranger()
		v.known[key] = who
	}
	return who
}

// sweep forgets the addresses that have nothing open, and all of their allowance back. It makes a new map, as one that was large stays so.
func (v *visitors) sweep(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Before(v.sweepAt) {
		return
	}
	v.sweepAt = now.Add(visitorsSweep)
	kept := map[netip.Addr]*visitor{}
	for key, who := range v.known {
		if who.open > 0 || spent(who.connects, now) || spent(who.answers, now) {
			kept[key] = who
		}
	}
	v.known = kept
}

// spent tells whether less than all is there.
func spent(l *rate.Limiter, now time.Time) bool {
	return l != nil && l.TokensAt(now) < float64(l.Burst())
}

// visitorKey is what an address counts as.
func visitorKey(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil { // there is no address
		return netip.Addr{}
	}
	return p.Addr()
}

// guest is a connection that its address is answerable for.
type guest struct {
	net.Conn
	of   *visitors
	who  *visitor
	said verdict
	once sync.Once
}

// Close closes the connection.
func (g *guest) Close() error {
	g.once.Do(func() { g.of.leave(g.who) })
	return g.Conn.Close()
}

// guestOf is the guest behind a connection that net/http serves; nil: there is none.
func guestOf(c net.Conn) *guest {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = over.NetConn()
	}
	g, _ := c.(*guest)
	return g
}
