package wan

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Relay lets nodes of separate processes live as far apart as the sites of an Emulator. Each node listens where it likes on loopback and advertises
// its site's door, a socket of the Relay. A packet that comes to the door of one site from the node of another is sent on, as the Emulator
// has it, to the node behind the door, from the sender's door, for that is where answers have to go.
type Relay struct {
	doors   []net.PacketConn // by site
	nodes   []netip.AddrPort // by site: where the node listens
	sites   map[netip.AddrPort]int
	strange atomic.Uint64
	group   sync.WaitGroup
}

// NewRelay opens a door for every node; nodes are by site. Close ends it, before the Emulator is closed.
func NewRelay(e *Emulator, nodes []netip.AddrPort) (*Relay, error) {
	r := &Relay{nodes: nodes, sites: make(map[netip.AddrPort]int, len(nodes))}
	e.mu.Lock()
	for site, addr := range nodes {
		r.sites[addr] = site
		e.foreign[addr] = site
	}
	e.mu.Unlock()
	for site := range nodes {
		door, err := e.Site(site).ListenPacket("127.0.0.1:0")
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("wan: relay: %w", err)
		}
		r.doors = append(r.doors, door)
	}
	for site := range r.doors {
		r.group.Go(func() { r.pass(site) })
	}
	return r, nil
}

// Door is what the node of a site is to advertise.
func (r *Relay) Door(site int) netip.AddrPort {
	return r.doors[site].LocalAddr().(*net.UDPAddr).AddrPort()
}

// Strange is how many packets came from no node, and were dropped.
func (r *Relay) Strange() uint64 { return r.strange.Load() }

// Close closes the doors and waits until nothing is read from them any more.
func (r *Relay) Close() {
	for _, door := range r.doors {
		_ = door.Close()
	}
	r.group.Wait()
}

// pass sends on what comes to the door of one site until it is closed.
func (r *Relay) pass(to int) {
	behind := net.UDPAddrFromAddrPort(r.nodes[to])
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := r.doors[to].ReadFrom(buffer)
		if err != nil {
			return
		}
		site, known := r.sites[registryKey(from.(*net.UDPAddr))]
		if !known || site == to {
			r.strange.Add(1)
			continue
		}
		_, _ = r.doors[site].WriteTo(buffer[:n], behind)
	}
}
