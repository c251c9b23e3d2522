package mesh

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// behind is a Network whose UDP socket lies behind a firewall: only whom it has sent to can send to it. With an address of its own outside, which the node does
// not know, it is a NAT.
type behind struct {
	Network
	outside *simnet.Host // nil: the address is the node's own

	mu   sync.Mutex // guards what follows
	conn *behindConn
}

func (b *behind) ListenPacket(addr string) (net.PacketConn, error) {
	c := &behindConn{net: b, known: map[string]bool{}}
	var err error
	if b.outside == nil {
		c.PacketConn, err = b.Network.ListenPacket(addr)
		c.local = c.PacketConn.LocalAddr()
	} else {
		c.local = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		c.PacketConn, err = b.outside.ListenPacket(b.outside.Addr().String() + ":0")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = c
	return c, err
}

// rebind gives the node another address outside, as a NAT does that forgets.
func (b *behind) rebind(outside *simnet.Host) error {
	conn, err := outside.ListenPacket(outside.Addr().String() + ":0")
	if err != nil {
		return err
	}
	b.mu.Lock()
	c := b.conn
	b.mu.Unlock()
	c.mu.Lock()
	old := c.PacketConn
	c.PacketConn, c.known = conn, map[string]bool{}
	_ = conn.SetReadDeadline(c.deadline)
	c.mu.Unlock()
	return old.Close()
}

type behindConn struct {
	net   *behind
	local net.Addr

	mu sync.Mutex // guards what follows
	net.PacketConn
	known    map[string]bool
	deadline time.Time
	closed   bool
}

func (c *behindConn) current() (conn net.PacketConn, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.PacketConn, c.closed
}

func (c *behindConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		conn, _ := c.current()
		n, from, err := conn.ReadFrom(b)
		if now, closed := c.current(); err != nil && now != conn && !closed {
			continue
		}
		if err != nil {
			return n, from, err
		}
		c.mu.Lock()
		known := c.known[from.String()]
		c.mu.Unlock()
		if known {
			return n, from, nil
		}
	}
}

func (c *behindConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	c.known[to.String()] = true
	conn := c.PacketConn
	c.mu.Unlock()
	n, err := conn.WriteTo(b, to)
	if now, closed := c.current(); err != nil && now != conn && !closed { // it left while the address changed: a NAT drops it
		return len(b), nil
	}
	return n, err
}

func (c *behindConn) SetReadBuffer(int) error  { return nil }
func (c *behindConn) SetWriteBuffer(int) error { return nil }

func (c *behindConn) LocalAddr() net.Addr { return c.local }

func (c *behindConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	return c.PacketConn.SetReadDeadline(at)
}

func (c *behindConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.PacketConn.Close()
}

// startBehind is start for a node behind a firewall or NAT.
func (c *cluster) startBehind(i int, b *behind, joins ...int) *clusterNode {
	c.t.Helper()
	c.adjust = func(_ int, cfg *Config) {
		b.Network, cfg.NoTCP = cfg.Network, true
		if b.outside != nil {
			cfg.Listen = fmt.Sprintf("192.168.7.%d:7946", i+1)
		}
		cfg.Network = b
	}
	defer func() { c.adjust = nil }()
	return c.start(i, 1, joins...)
}

// everyPair has every node send to every other, and checks that all comes once and directly between those that are not excepted.
func (c *cluster) everyPair(relayed func(from, to int) bool) {
	c.t.Helper()
	for i, n := range c.nodes {
		n.subscribe(c.t, fmt.Sprint("to.", i))
	}
	time.Sleep(2 * time.Second)
	for i, from := range c.nodes {
		for j := range c.nodes {
			if i != j {
				from.publish(c.t, fmt.Sprint("to.", j), fmt.Sprint("from ", i))
			}
		}
	}
	time.Sleep(3 * time.Second)
	for j, n := range c.nodes {
		count := map[string]int{}
		for _, r := range n.received() {
			count[r.payload]++
			i := slices.IndexFunc(c.nodes, func(o *clusterNode) bool { return o.ID() == r.trace.Origin })
			if direct := len(r.trace.Via) == 0; i >= 0 && direct == relayed(i, j) {
				c.t.Errorf("n%d to n%d went via %v", i, j, r.trace.Via)
			}
		}
		for i := range c.nodes {
			if text := fmt.Sprint("from ", i); i != j && count[text] != 1 {
				c.t.Errorf("%s came to n%d %d times", text, j, count[text])
			}
		}
		n.mu.Lock()
		n.got = nil
		n.mu.Unlock()
	}
}

// A node that can only dial out is a full member, whether its ID is the smaller, which dials, or not; and stays one.
func TestNodeThatCanOnlyDialOut(t *testing.T) {
	for out := range 3 {
		inBubble(t, thirty, func(c *cluster) {
			for i := range 3 {
				seed := 0 // whom all can reach
				if out == 0 {
					seed = 1
				}
				if i == out {
					c.startBehind(i, &behind{}, seed)
				} else {
					c.start(i, 1, seed)
				}
			}
			c.meshed(15 * time.Second)
			c.everyPair(func(int, int) bool { return false })
			time.Sleep(45 * time.Second) // SWIM has had time to give up whom it does not reach
			c.everyPair(func(int, int) bool { return false })
		})
	}
}

// Two nodes behind firewalls find each other through a third, and open both by dialling each other.
func TestTwoNodesThatCanOnlyDialOut(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		c.start(0, 1)
		c.startBehind(1, &behind{}, 0)
		c.startBehind(2, &behind{}, 0)
		c.meshed(15 * time.Second)
		time.Sleep(20 * time.Second)
		c.everyPair(func(int, int) bool { return false })
		time.Sleep(45 * time.Second)
		c.everyPair(func(int, int) bool { return false })
	})
}

// A node behind a NAT, which knows only an address that nobody else can reach, is a full member; when the NAT gives it another port, or the whole network another
// address, its links go on, and nothing is lost.
func TestNATRebinding(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b := c.start(0, 1), c.start(1, 1, 0)
		nat := &behind{outside: c.net.Host("10.8.0.1")}
		f := c.startBehind(2, nat, 0)
		c.meshed(20 * time.Second)
		for i, n := range c.nodes {
			n.subscribe(t, fmt.Sprint("to.", i))
		}
		time.Sleep(2 * time.Second)
		numbers := func() []uint64 {
			return []uint64{a.endpoint.Link(f.ID()).Number, b.endpoint.Link(f.ID()).Number, f.endpoint.Link(a.ID()).Number, f.endpoint.Link(b.ID()).Number}
		}
		before := numbers()
		stops := []func() int{c.stream(a, "to.2", 20*time.Millisecond), c.stream(f, "to.1", 20*time.Millisecond)}
		for i, outside := range []string{"10.8.0.1", "10.8.0.77"} {
			time.Sleep(5 * time.Second)
			moved := time.Now()
			if err := nat.rebind(c.net.Host(outside)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			for n, from := range map[*clusterNode]*clusterNode{b: f, f: a} {
				_, gap, _ := n.since(from.ID(), moved)
				t.Logf("move %d: gap of %v at %s", i, gap, n.Name())
				if gap > 700*time.Millisecond {
					t.Errorf("move %d: gap of %v at %s", i, gap, n.Name())
				}
			}
		}
		sent := []int{stops[0](), stops[1]()}
		time.Sleep(2 * time.Second)
		for i, n := range []*clusterNode{f, b} {
			if got, _, _ := n.since([]*clusterNode{a, f}[i].ID(), time.Time{}); got != sent[i] {
				t.Errorf("%d of %d messages came to %s", got, sent[i], n.Name())
			}
		}
		if after := numbers(); !slices.Equal(after, before) {
			t.Errorf("links were %v and are %v", before, after)
		}
		dead := map[string]int{}
		for range 30 {
			time.Sleep(2 * time.Second)
			for _, n := range c.nodes {
				v, _ := n.View()
				if len(v.Routes) != 2 {
					t.Errorf("%s has %d routes", n.Name(), len(v.Routes))
				}
				for _, m := range v.Members {
					if m.State != "alive" {
						dead[m.Name+" to "+n.Name()]++
					}
				}
			}
		}
		if len(dead) > 0 {
			t.Errorf("within a minute, looking every 2 s, members were dead so often: %v", dead)
		}
	})
}

// Where datagrams pass one way only, or between some pairs not at all, messages go around, both ways.
func TestPairsBlocked(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		const size = 6
		deaf := thirty
		deaf.Block = simnet.BlockUDP
		blocked := func(i, j int) bool { return (i*j+i+j)%3 == 0 && i != j } // a third of the pairs
		for i := range size {
			for j := range size {
				if blocked(i, j) && (i < j || (i+j)%2 == 0) { // half of them one way
					c.net.SetPath(ipOf(i), ipOf(j), deaf)
				}
			}
		}
		for i := range size {
			joins := []int{}
			for j := range i {
				joins = append(joins, j)
			}
			c.start(i, 1, joins...)
		}
		c.meshed(20 * time.Second)
		time.Sleep(5 * time.Second)
		c.everyPair(blocked)
		time.Sleep(45 * time.Second)
		c.everyPair(blocked)
	})
}

// A pair that loses one direction in the midst of traffic goes on by the third node, both ways.
func TestOneDirectionIsLost(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		a, b, relay := triangle(c)
		a.subscribe(t, "back")
		time.Sleep(time.Second)
		stops := []func() int{c.stream(a, "news", 20*time.Millisecond), c.stream(b, "back", 20*time.Millisecond)}
		time.Sleep(3 * time.Second)
		lost := time.Now()
		c.net.SetPath(a.ip, b.ip, simnet.Path{Delay: 40 * time.Millisecond, Block: simnet.BlockUDP})
		time.Sleep(4 * time.Second)
		sent := []int{stops[0](), stops[1]()}
		time.Sleep(2 * time.Second)
		for i, n := range []*clusterNode{b, a} {
			from := []*clusterNode{a, b}[i].ID()
			got, _, _ := n.since(from, time.Time{})
			_, gap, last := n.since(from, lost)
			if gap > time.Second || !slices.Equal(last.trace.Via, []wire.NodeID{relay.ID()}) || got != sent[i] {
				t.Errorf("%s: %d of %d came, a gap of %v, the last via %v", n.Name(), got, sent[i], gap, last.trace.Via)
			}
		}
	})
}

// A mesh may be of IPv6.
func TestMeshOfIPv6(t *testing.T) {
	inBubble(t, thirty, func(c *cluster) {
		c.adjust = func(i int, cfg *Config) {
			ip := fmt.Sprintf("fd00::%x", i+1)
			cfg.Listen, cfg.Network = net.JoinHostPort(ip, "7946"), c.net.Host(ip)
			if i > 0 {
				cfg.Join = []string{"[fd00::1]:7946"}
			}
		}
		for i := range 3 {
			c.start(i, 1)
		}
		c.meshed(10 * time.Second)
		c.everyPair(func(int, int) bool { return false })
	})
}

// since is how many messages of an origin have come since a moment, the longest time without any since, and the last.
func (n *clusterNode) since(origin wire.NodeID, moment time.Time) (count int, gap time.Duration, last received) {
	for _, r := range n.received() {
		if r.trace.Origin != origin || r.at.Before(moment) {
			continue
		}
		if !moment.IsZero() {
			gap, moment = max(gap, r.at.Sub(moment)), r.at
		}
		count++
		last = r
	}
	return count, gap, last
}
