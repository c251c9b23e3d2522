package simnet

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Config sets up a Net. The zero value is a perfect network without delay.
type Config struct {
	// Seed of all random draws.
	Seed uint64
	// Path between two hosts for which SetPath was not called.
	Path Path
	// ReceiveBuffer bounds what a packet socket holds until it is read, in bytes with 64 per packet on top;
	// 0 means 1 MiB.
	ReceiveBuffer int
	// StreamBuffer is the window of one direction of a stream, in bytes; 0 means 256 KiB.
	StreamBuffer int
	// Backlog is the number of connections a listener holds until they are accepted; 0 means 1,024.
	Backlog int
}

// Net is a simulated network. All its methods may be called from any goroutine of its bubble.
type Net struct {
	cfg  Config
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	// mu guards all below, and the state of every host, socket and stream. It is never held while blocking.
	mu       sync.Mutex
	closed   bool
	hosts    map[netip.Addr]*Host
	pairs    map[pairKey]*pair
	isolated map[netip.Addr]bool
	events   eventHeap
	sequence uint64
}

// New starts a network; Close ends it. It panics on a Config.Path that is not valid, as SetPath does.
func New(cfg Config) *Net {
	cfg.Path.check()
	cfg.ReceiveBuffer = cmp.Or(max(cfg.ReceiveBuffer, 0), 1<<20)
	cfg.StreamBuffer = cmp.Or(max(cfg.StreamBuffer, 0), 256<<10)
	cfg.Backlog = cmp.Or(max(cfg.Backlog, 0), 1024)
	n := &Net{
		cfg:      cfg,
		wake:     make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
		hosts:    make(map[netip.Addr]*Host),
		pairs:    make(map[pairKey]*pair),
		isolated: make(map[netip.Addr]bool),
	}
	go n.run()
	return n
}

// Close ends all sockets, as Kill does for every host, and waits for the scheduler.
func (n *Net) Close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		for _, addr := range slices.SortedFunc(maps.Keys(n.hosts), netip.Addr.Compare) {
			n.hosts[addr].vanish()
		}
		n.events = nil
		close(n.quit)
	}
	n.mu.Unlock()
	<-n.done
}

// Host is the living host with this IP address; where there is none, or it was killed, a new one without sockets. It
// panics if ip is not an IP address.
func (n *Net) Host(ip string) *Host {
	addr := mustAddr(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.hosts[addr]
	if old != nil && !old.dead {
		return old
	}
	h := newHost(n, addr)
	h.dead = n.closed
	n.hosts[addr] = h
	if old != nil {
		n.resumeAll()
	}
	return h
}

// Kill makes the host with this address vanish: its sockets end without a word to their peers. What is sent to it is
// lost (datagrams) or waits (streams) until Host is called for the address again. Killing no host does nothing.
func (n *Net) Kill(ip string) {
	addr := mustAddr(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[addr]; h != nil {
		h.vanish()
	}
}

// event is something that happens at a due time. Events due at the same time fire in the order they were scheduled.
type event struct {
	due      time.Time
	sequence uint64
	fire     func() // called with Net.mu held; must not block
}

// schedule has fire called at due. The caller holds n.mu.
func (n *Net) schedule(due time.Time, fire func()) {
	if n.closed {
		return
	}
	n.sequence++
	e := &event{due: due, sequence: n.sequence, fire: fire}
	heap.Push(&n.events, e)
	if n.events[0] == e {
		select {
		case n.wake <- struct{}{}:
		default: // a wake-up is already waiting
		}
	}
}

// run is the scheduler.
func (n *Net) run() {
	defer close(n.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.quit:
			return
		case <-n.wake:
		case <-timer.C:
		}
		if next, ok := n.fireDue(time.Now()); ok {
			timer.Reset(time.Until(next))
		}
	}
}

// fireDue fires all events due by now and tells when the next one is due, if there is one. It ends, because each event
// schedules others at least 1 ns (a tick) after the time it was called.
func (n *Net) fireDue(now time.Time) (next time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.events) > 0 {
		if n.events[0].due.After(now) {
			return n.events[0].due, true
		}
		heap.Pop(&n.events).(*event).fire()
	}
	return time.Time{}, false
}

// eventHeap implements heap.Interface, the earliest event first.
type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }

func (h eventHeap) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].sequence < h[j].sequence
}

func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *eventHeap) Push(x any) { *h = append(*h, x.(*event)) }

func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// mustAddr parses an IP address that the author of a test wrote.
func mustAddr(ip string) netip.Addr {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		panic(fmt.Sprintf("simnet: %v", err))
	}
	return addr.Unmap().WithZone("")
}
