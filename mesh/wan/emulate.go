package wan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Delays are the paths between sites numbered from 0; a *Matrix is one. It must be safe for concurrent use.
type Delays interface {
	// Len is the number of sites.
	Len() int
	// OneWay is the mean delay from one site to another; false means that there is no path.
	OneWay(from, to int) (time.Duration, bool)
	// Jitter is the mean deviation of the delay.
	Jitter(from, to int) time.Duration
}

// Stats tell what an Emulator did so far. Packets that pass without emulation are not counted.
type Stats struct {
	Sent      uint64 // packets written between sites
	SentBytes uint64 // their payloads
	Delivered uint64 // packets handed to the kernel at their time

	// Packets dropped, by reason.
	Lost     uint64 // by SetLoss
	Blocked  uint64 // by Block or because there is no path; by Kill also what a site sends to and gets from outside
	Overflow uint64 // queue full
	Failed   uint64 // the real socket was gone or refused

	QueuedBytes int           // memory of the packets under way
	LateTotal   time.Duration // sum over Delivered of how long after its due time a packet was sent on
	LateMax     time.Duration // the worst of it
}

// Emulator gives nodes on one computer the delays of a wide area network. All its methods may be called from any
// goroutine; those that take site numbers panic when one is out of range.
type Emulator struct {
	alarm   *alarm
	done    chan struct{}
	parcels sync.Pool // of *parcel

	// mu guards all below, and the state of every socket that is marked so.
	mu       sync.Mutex
	closed   bool
	paths    *paths
	sockets  map[netip.AddrPort]*socket // by real local address; one bound to all addresses is under the unspecified one
	foreign  map[netip.AddrPort]int     // nodes of other processes, by site
	queue    parcelQueue
	sequence uint64
	wakeAt   time.Time // when the alarm goes off; zero: it is not set
	stats    Stats
}

// NewEmulator starts an Emulator; Close ends it. The seed is that of jitter and loss. It fails when the operating system
// has no timer to give.
func NewEmulator(delays Delays, seed uint64) (*Emulator, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, fmt.Errorf("wan: emulator: %w", err)
	}
	e := &Emulator{
		alarm:   a,
		done:    make(chan struct{}),
		paths:   newPaths(delays, seed),
		sockets: make(map[netip.AddrPort]*socket),
		foreign: make(map[netip.AddrPort]int),
		parcels: sync.Pool{New: func() any { return new(parcel) }},
	}
	go e.run()
	return e, nil
}

// Close closes all UDP sockets, drops what is under way and waits for the scheduler. TCP is left alone.
func (e *Emulator) Close() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	sockets := e.sockets
	e.sockets, e.queue = nil, nil // what is left of both after this holds no packets and opens no sockets
	e.stats.QueuedBytes = 0
	e.mu.Unlock()
	if first {
		for _, c := range sockets {
			c.shut()
		}
		e.alarm.close()
	}
	<-e.done
}

// Site is site number i.
func (e *Emulator) Site(i int) *Site {
	e.check(i)
	return &Site{emulator: e, number: i}
}

// SetExtra adds a delay to the path between two sites, in each direction, in place of the extra delay set before; a
// negative one counts as 0.
func (e *Emulator) SetExtra(a, b int, extra time.Duration) {
	e.change(a, b, func(f *fault) { f.extra = max(extra, 0) })
}

// SetLoss has the path between two sites lose a share of packets, 0 to 1, in each direction.
func (e *Emulator) SetLoss(a, b int, share float64) {
	e.change(a, b, func(f *fault) { f.loss = share })
}

// Block blocks or opens the path between two sites.
func (e *Emulator) Block(a, b int, blocked bool) {
	e.change(a, b, func(f *fault) { f.blocked = blocked })
}

// BlockOneWay blocks or opens one direction of the path between two sites.
func (e *Emulator) BlockOneWay(from, to int, blocked bool) {
	e.check(from)
	e.check(to)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths.changeOneWay(from, to, func(f *fault) { f.blocked = blocked })
}

// Kill drops every UDP packet to and from a site, also those from and to addresses outside the emulation.
func (e *Emulator) Kill(site int) { e.setDead(site, true) }

// Revive undoes Kill.
func (e *Emulator) Revive(site int) { e.setDead(site, false) }

// Heal undoes all faults: SetExtra, SetLoss, Block and Kill.
func (e *Emulator) Heal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths.heal()
}

// Stats are the counters since the start.
func (e *Emulator) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

func (e *Emulator) change(a, b int, apply func(*fault)) {
	e.check(a)
	e.check(b)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths.change(a, b, apply)
}

func (e *Emulator) setDead(site int, dead bool) {
	e.check(site)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths.dead[site] = dead
}

// dropsOutside tells whether to drop a packet that a site sends to, or gets from, outside the queue, and counts it.
func (e *Emulator) dropsOutside(site int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.paths.dead[site] {
		e.stats.Blocked++
	}
	return e.paths.dead[site]
}

func (e *Emulator) check(site int) {
	if n := len(e.paths.dead); site < 0 || site >= n {
		panic(fmt.Sprintf("wan: site %d of %d", site, n))
	}
}

// Site is the network as seen from one site: an implementation of package mesh's network seam.
type Site struct {
	emulator *Emulator
	number   int
}

// ListenPacket opens a UDP socket, as net.ListenPacket does for "udp", that stands at the site.
func (s *Site) ListenPacket(addr string) (net.PacketConn, error) {
	return s.emulator.listen(s.number, addr)
}

// Listen opens a TCP listener, without emulation.
func (s *Site) Listen(addr string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(context.Background(), "tcp", addr)
}

// DialContext opens a TCP connection, without emulation.
func (s *Site) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, addr)
}
