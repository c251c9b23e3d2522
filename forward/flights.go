package forward

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/flight"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	flightTick  = 5 * time.Millisecond // grain of resends and acknowledgements while anything is under way
	resendBatch = 256                  // messages sent again to one destination in a tick
	cargoBytes  = 320                  // what an entry takes beside its payload and names; measured 200 to 300
	heldMost    = 64 << 20             // bytes held for order, of all origins
	unknownMost = 1024                 // windows of origins that are no members
)

// flights is the node's in-flight table: what it sent as origin and is not acknowledged, and what it has seen as destination.
type flights struct {
	endpoint *Endpoint
	bytes    atomic.Int64 // of all outgoing entries
	held     atomic.Int64 // bytes that wait in all windows
	asleep   atomic.Int64 // until when the worker sleeps, as clock
	kick     chan struct{}

	mu  sync.Mutex // guards the maps; taken before an entry's lock, never the other way
	out map[wire.NodeID]*outgoing
	in  map[wire.NodeID]*incoming

	dueIn  []*incoming // the worker's own
	dueOut []*outgoing
}

// outgoing is the table of one destination.
type outgoing struct {
	id   wire.NodeID
	next alarm

	mu    sync.Mutex // guards what follows
	table *flight.Outgoing[*cargo]
	gone  time.Time // since when it is no member; zero: it is one
}

// incoming is the window of one origin. Its lock is held while messages are handed out, since their order is what it is for; Deliver neither blocks nor
// calls back.
type incoming struct {
	id   wire.NodeID
	next alarm

	mu     sync.Mutex // guards what follows
	window *flight.Incoming[*wire.Message]
	held   int // bytes of the window as counted in flights.held
	gone   time.Time
}

// alarm is when the worker has something to do for an entry, so that it need not look at those that rest.
type alarm struct{ ns atomic.Int64 } // as flights.clock; 0: never

// due reports whether it is time, and keeps the earliest of those that are not in soonest.
func (a *alarm) due(now int64, soonest *int64) bool {
	at := a.ns.Load()
	if at != 0 && at > now && at < *soonest {
		*soonest = at
	}
	return at != 0 && at <= now
}

// clock is a time in ns on the endpoint's clock, which nobody sets; 0 is never.
func (f *flights) clock(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return max(int64(at.Sub(f.endpoint.began)), 1)
}

// cargo is a message that its origin keeps until all destinations have acknowledged it: one copy for all.
type cargo struct {
	message wire.Message
	born    time.Time
}

func newFlights(e *Endpoint) *flights {
	return &flights{endpoint: e, kick: make(chan struct{}, 1), out: map[wire.NodeID]*outgoing{}, in: map[wire.NodeID]*incoming{}}
}

// cloneMessage copies a message into memory of its own.
func cloneMessage(m *wire.Message) wire.Message {
	c := *m
	b := make([]byte, 0, len(m.Tenant)+len(m.Channel)+len(m.Payload))
	b = append(append(append(b, m.Tenant...), m.Channel...), m.Payload...)
	t, ch := len(m.Tenant), len(m.Tenant)+len(m.Channel)
	c.Tenant, c.Channel, c.Payload = b[:t:t], b[t:ch:ch], b[ch:]
	c.Via = slices.Clone(m.Via)
	c.Destinations = nil
	return c
}

// weight is the memory that a message takes in a table or window.
func weight(m *wire.Message) int { return len(m.Payload) + len(m.Tenant) + len(m.Channel) + cargoBytes }

// enter numbers a message for its destinations and keeps it until they have it. Destinations of unknown boot are left out.
func (f *flights) enter(m *wire.Message, s *Snapshot, ids []wire.NodeID, to []wire.Destination) []wire.Destination {
	now := time.Now()
	c := &cargo{message: cloneMessage(m), born: now}
	deadline := now.Add(time.Duration(m.Deadline) * time.Millisecond)
	channel := f.endpoint.seed.of(m)
	size := weight(m)
	for _, id := range ids {
		boot, known := s.Boots[id]
		if !known {
			f.endpoint.counters.Drop(DropNoRoute, 1)
			continue
		}
		o := f.outgoing(id, boot, s)
		o.mu.Lock()
		f.renew(o, boot, s, id)
		seq, back, ahead := o.table.Add(now, c, channel, size, deadline)
		to = append(to, wire.Destination{ID: id, Seq: seq, Back: back, Ahead: ahead, Boot: uint16(o.table.Boot)})
		at := f.clock(o.table.Next())
		o.next.ns.Store(at)
		o.mu.Unlock()
		f.wake(at)
		f.bytes.Add(int64(size))
	}
	for f.bytes.Load() > int64(f.endpoint.cfg.FlightBytes) && f.evict() {
	}
	return to
}

func (f *flights) outgoing(id wire.NodeID, boot uint64, s *Snapshot) *outgoing {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.out[id]
	if o == nil {
		o = &outgoing{id: id, table: f.table(id, boot, s)}
		f.out[id] = o
	}
	return o
}

// table is an empty table for a run of a destination. Its sequences must lie above any that this run of ours has used towards it, even if that was
// forgotten meanwhile; nobody sends a million messages a second for long.
func (f *flights) table(id wire.NodeID, boot uint64, s *Snapshot) *flight.Outgoing[*cargo] {
	first := uint64(1)
	if up := time.Since(f.endpoint.began); up >= goneAfter {
		first = uint64(up / time.Microsecond)
	}
	guess := time.Duration(0)
	if s.Table != nil {
		if r, ok := s.Table.Lookup(id); ok {
			guess = 2*time.Duration(r.Cost)*time.Microsecond + flight.AckDelay
		}
	}
	return flight.NewOutgoing[*cargo](boot, first, guess)
}

// renew starts a table afresh for a later run of its destination: what the earlier run had not acknowledged went with it.
func (f *flights) renew(o *outgoing, boot uint64, s *Snapshot, id wire.NodeID) {
	if boot <= o.table.Boot {
		return
	}
	f.bytes.Add(-int64(o.table.Bytes()))
	f.endpoint.counters.Drop(DropRestarted, o.table.Len())
	o.table = f.table(id, boot, s)
}

// evict gives up the oldest message of all; false if there is none.
func (f *flights) evict() bool {
	var oldest *outgoing
	var at time.Time
	for _, o := range f.outgoings() {
		o.mu.Lock()
		if t := o.table.Oldest(); !t.IsZero() && (oldest == nil || t.Before(at)) {
			oldest, at = o, t
		}
		o.mu.Unlock()
	}
	if oldest == nil {
		return false
	}
	oldest.mu.Lock()
	size, ok := oldest.table.Evict()
	oldest.mu.Unlock()
	if ok { // else it was acknowledged meanwhile
		f.bytes.Add(-int64(size))
		f.endpoint.counters.Drop(DropEvicted, 1)
	}
	return true
}

func (f *flights) outgoings() []*outgoing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.out))
}

// arrived takes a numbered message that has this node as destination.
func (f *flights) arrived(m *wire.Message, d wire.Destination) {
	e := f.endpoint
	if d.Boot != uint16(e.cfg.Boot) {
		e.counters.Drop(DropRestarted, 1)
		f.sendAck(m.Origin, &wire.Ack{OriginBoot: m.Boot}) // tells the origin which run it talks to
		return
	}
	now := time.Now()
	in := f.incoming(m, d)
	if in == nil {
		e.counters.Drop(DropRefused, 1)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	defer f.noteHeld(in)
	switch {
	case m.Boot < in.window.Boot:
		e.counters.Drop(DropRestarted, 1)
		return
	case m.Boot > in.window.Boot: // the origin has restarted: the holes of its earlier run will not fill
		in.window.Flush(f.deliver)
		in.window = flight.NewIncoming[*wire.Message](m.Boot, d.Seq-d.Ahead)
	}
	a := flight.Arrival[*wire.Message]{
		Seq: d.Seq, Back: d.Back, Ahead: d.Ahead, Item: m, Size: weight(m),
		Deadline: now.Add(time.Duration(m.Deadline)*time.Millisecond - time.Duration(m.Age)*time.Microsecond),
	}
	if in.window.Holds(a) {
		if f.held.Load()+int64(a.Size) > heldMost {
			e.counters.Drop(DropRefused, 1)
			return
		}
		c := cloneMessage(m)
		a.Item = &c
	}
	switch in.window.Receive(now, a, f.deliver) {
	case flight.Duplicate:
		e.counters.Duplicates.Add(1)
	case flight.Refused:
		e.counters.Drop(DropRefused, 1)
	case flight.Accepted:
	}
	at := f.clock(in.window.Next())
	in.next.ns.Store(at)
	f.wake(at)
}

// noteHeld keeps the sum of what all windows hold, after this one may have changed.
func (f *flights) noteHeld(in *incoming) {
	_, now := in.window.Held()
	f.held.Add(int64(now - in.held))
	in.held = now
}

func (f *flights) deliver(m *wire.Message) {
	f.endpoint.counters.Delivered.Add(1)
	f.endpoint.cfg.Deliver(m)
}

// incoming is the window of a message's origin. Peers may make up origins, so there is none for more than unknownMost that are no members: nil.
func (f *flights) incoming(m *wire.Message, d wire.Destination) *incoming {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.in[m.Origin]
	if in == nil {
		boots := f.endpoint.forwarder.snapshot.Load().Boots
		if _, member := boots[m.Origin]; !member && len(f.in) >= len(boots)+unknownMost {
			return nil
		}
		in = &incoming{id: m.Origin, window: flight.NewIncoming[*wire.Message](m.Boot, d.Seq-d.Ahead)}
		f.in[m.Origin] = in
	}
	return in
}

// acknowledged takes an acknowledgement from a destination.
func (f *flights) acknowledged(from wire.NodeID, a *wire.Ack) {
	e := f.endpoint
	f.mu.Lock()
	o := f.out[from]
	f.mu.Unlock()
	if o == nil || a.OriginBoot != e.cfg.Boot {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.Boot > o.table.Boot {
		f.renew(o, a.Boot, e.forwarder.snapshot.Load(), from)
		return
	}
	if a.Boot == o.table.Boot {
		before := o.table.Bytes()
		o.table.Ack(time.Now(), a)
		o.next.ns.Store(f.clock(o.table.Next()))
		f.bytes.Add(int64(o.table.Bytes() - before))
	}
}

// reroute sends at once what is under way to destinations whose path broke.
func (f *flights) reroute(ids []wire.NodeID) {
	if len(ids) == 0 {
		return
	}
	now := time.Now()
	f.mu.Lock()
	for _, id := range ids {
		if o := f.out[id]; o != nil {
			o.mu.Lock()
			o.table.Reroute(now)
			o.next.ns.Store(f.clock(o.table.Next()))
			o.mu.Unlock()
		}
	}
	f.mu.Unlock()
	f.wake(f.clock(now))
}

// wake makes the worker look at this time at the latest.
func (f *flights) wake(at int64) {
	if at == 0 || at >= f.asleep.Load() {
		return
	}
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// run sends acknowledgements and what is to be sent again until ctx ends.
func (f *flights) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		case <-timer.C:
		}
		now := time.Now()
		f.asleep.Store(math.MaxInt64) // whoever has something to do from here on kicks
		next := f.work(now)
		if now.Sub(swept) > sweepEvery {
			f.sweep(now)
			swept = now
		}
		next = max(next, f.clock(now.Add(flightTick)))
		f.asleep.Store(next)
		timer.Reset(time.Duration(next - f.clock(time.Now())))
	}
}

// work does what is due and returns when there is more to do: now, if it could not do all.
func (f *flights) work(now time.Time) (next int64) {
	at := f.clock(now)
	next = f.clock(now.Add(sweepEvery))
	f.mu.Lock()
	f.dueIn, f.dueOut = f.dueIn[:0], f.dueOut[:0]
	for _, in := range f.in {
		if in.next.due(at, &next) {
			f.dueIn = append(f.dueIn, in)
		}
	}
	for _, o := range f.out {
		if o.next.due(at, &next) {
			f.dueOut = append(f.dueOut, o)
		}
	}
	f.mu.Unlock()
	var a wire.Ack
	for _, in := range f.dueIn {
		in.mu.Lock()
		in.window.Expire(now, f.deliver)
		f.noteHeld(in)
		due := in.window.Ack(now, &a)
		in.next.ns.Store(f.clock(in.window.Next()))
		in.mu.Unlock()
		if due {
			f.sendAck(in.id, &a)
		}
		if in.next.due(at, &next) {
			next = at
		}
	}
	for _, o := range f.dueOut {
		f.resend(now, o)
		if o.next.due(at, &next) { // more than a tick's worth, or the link was full
			next = at
		}
	}
	return next
}

// resend sends again what is due to one destination.
func (f *flights) resend(now time.Time, o *outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.table.Bytes()
	again, expired := o.table.Due(now, resendBatch)
	f.bytes.Add(int64(o.table.Bytes() - before))
	f.endpoint.counters.Drop(DropExpired, expired)
	full := false
	for _, r := range again {
		if full { // what follows would find no room either
			o.table.Undo(now, r.Seq)
			continue
		}
		m := r.Item.message
		m.AddAge(now.Sub(r.Item.born))
		d := wire.Destination{ID: o.id, Seq: r.Seq, Back: r.Back, Ahead: r.Ahead, Boot: uint16(o.table.Boot)}
		switch err := f.endpoint.forwarder.offer(&m, d); {
		case err == nil:
			f.endpoint.counters.Resent.Add(1)
		case errors.Is(err, ErrLinkFull):
			o.table.Undo(now, r.Seq)
			full = true
		}
	}
	o.next.ns.Store(f.clock(o.table.Next()))
}

// sendAck sends an acknowledgement; if that fails, the next says the same and more.
func (f *flights) sendAck(to wire.NodeID, a *wire.Ack) {
	a.Boot = f.endpoint.cfg.Boot
	m := wire.Message{Class: wire.ClassAck, Deadline: ackDeadline, Payload: wire.AppendAck(nil, a)}
	_ = f.endpoint.forwarder.Send(&m, to)
	f.endpoint.counters.Acks.Add(1)
}

// ackDeadline is the age in ms at which an acknowledgement is dropped.
const ackDeadline = 2000
