package wan

import (
	"container/heap"
	"net/netip"
	"time"
)

const (
	// MaxDatagram is the longest payload of a packet between two sites, in bytes: an Ethernet frame less IPv4 and UDP
	// headers. WriteTo refuses longer ones with EMSGSIZE, as a socket does that may not fragment.
	MaxDatagram = 1500 - 20 - 8

	// queueLimit bounds the memory of packets under way, in bytes: 20,000 packets, a second's worth for 36 nodes.
	queueLimit = 32 << 20
	// parcelSize is what a packet under way counts, whatever its length, since its buffer is always a full one.
	parcelSize = MaxDatagram + 128

	// quantum is how late a packet may be so that it is sent together with others: it bounds the scheduler's wake-ups.
	quantum = 100 * time.Microsecond
)

// parcel is a packet under way.
type parcel struct {
	due      time.Time
	sequence uint64
	from     *socket
	toSite   int
	to       netip.AddrPort
	size     int
	payload  [MaxDatagram]byte

	// What became of it at its due time.
	blocked bool
	failed  bool
	late    time.Duration
}

// accept puts a packet on its way, or drops it.
func (e *Emulator) accept(p *parcel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Sent++
	e.stats.SentBytes += uint64(p.size)
	now := time.Now()
	due, fate := e.paths.send(now, p.from.site, p.toSite)
	switch {
	case e.closed:
		e.stats.Failed++
	case fate == fateBlocked:
		e.stats.Blocked++
	case fate == fateLost:
		e.stats.Lost++
	case e.stats.QueuedBytes+parcelSize > queueLimit:
		e.stats.Overflow++
	default:
		e.enqueue(now, due, p)
		return
	}
	e.parcels.Put(p)
}

// enqueue keeps a packet until it is due. The caller holds e.mu, and e is not closed.
func (e *Emulator) enqueue(now, due time.Time, p *parcel) {
	e.sequence++
	p.due, p.sequence = due, e.sequence
	p.from.underWay++
	e.stats.QueuedBytes += parcelSize
	heap.Push(&e.queue, p)
	if e.wakeAt.IsZero() || due.Before(e.wakeAt.Add(-quantum)) {
		e.wake(now, due)
	}
}

// wake sets the alarm. The caller holds e.mu, and e is not closed.
func (e *Emulator) wake(now, at time.Time) {
	e.wakeAt = at
	e.alarm.set(at.Sub(now))
}

// run is the scheduler.
func (e *Emulator) run() {
	defer close(e.done)
	var batch []*parcel
	for e.alarm.wait() {
		batch = e.sendDue(time.Now(), batch[:0])
	}
}

// sendDue sends the packets that are due. It uses and returns batch so that its memory serves again.
func (e *Emulator) sendDue(now time.Time, batch []*parcel) []*parcel {
	batch = e.takeDue(now, batch)
	for _, p := range batch {
		if !p.blocked {
			_, err := p.from.real.WriteToUDPAddrPort(p.payload[:p.size], p.to)
			p.failed, p.late = err != nil, time.Since(p.due)
		}
	}
	e.settle(batch)
	clear(batch)
	return batch
}

// takeDue takes the packets that are due out of the queue, and sets the alarm for the rest.
func (e *Emulator) takeDue(now time.Time, batch []*parcel) []*parcel {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > 0 && !e.queue[0].due.After(now) {
		p := heap.Pop(&e.queue).(*parcel)
		p.blocked = !e.paths.open(p.from.site, p.toSite)
		batch = append(batch, p)
	}
	e.wakeAt = time.Time{}
	if len(e.queue) > 0 { // and so e is not closed
		e.wake(now, later(e.queue[0].due, now.Add(quantum)))
	}
	return batch
}

// settle counts the packets of a batch, and shuts closed sockets that wait for nothing else.
func (e *Emulator) settle(batch []*parcel) {
	var idle []*socket
	e.mu.Lock()
	for _, p := range batch {
		switch {
		case p.blocked:
			e.stats.Blocked++
		case p.failed:
			e.stats.Failed++
		default:
			e.stats.Delivered++
			e.stats.LateTotal += p.late
			e.stats.LateMax = max(e.stats.LateMax, p.late)
		}
		if !e.closed { // Close has emptied the queue
			e.stats.QueuedBytes -= parcelSize
		}
		if p.from.underWay--; p.from.underWay == 0 && p.from.lingers {
			idle = append(idle, p.from)
		}
		p.from = nil
		e.parcels.Put(p)
	}
	e.mu.Unlock()
	for _, c := range idle {
		c.shut()
	}
}

// parcelQueue implements heap.Interface, the packet that is due first before the others.
type parcelQueue []*parcel

func (q parcelQueue) Len() int { return len(q) }

func (q parcelQueue) Less(i, j int) bool {
	if c := q[i].due.Compare(q[j].due); c != 0 {
		return c < 0
	}
	return q[i].sequence < q[j].sequence
}

func (q parcelQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *parcelQueue) Push(x any) { *q = append(*q, x.(*parcel)) }

func (q *parcelQueue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return p
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
