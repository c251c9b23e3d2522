package forward

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/flight"
	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	flightTick  = 5 * time.Millisecond // grain of resends and acknowledgements while anything is under way
	resendBatch = 256                  // messages sent again to one destination in a tick
	cargoBytes  = 320                  // what an entry takes beside its payload and names; measured 200 to 300
	holdMost    = 64 << 20             // bytes held for order, of all origins
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

	mu     sync.Mutex // guards what follows
	table  *flight.Outgoing[*cargo]
	sent   int       // messages published for it since Flows was called last
	gone   time.Time // since when it is no member; zero: it is one
	cutOff time.Time // since when no route leads there, as far as was tried; zero: one does

	judge  flight.Judge
	judged *route.Table // what judge last knew the ways from
}

// incoming is the window of one origin. Its lock is held while messages are handed out, since their order is what it is for; Deliver neither blocks nor
// calls back.
type incoming struct {
	id   wire.NodeID
	next alarm

	mu     sync.Mutex // guards what follows
	window *flight.Incoming[*wire.Message]
	held   int           // bytes of the window as counted in flights.held
	avoid  []wire.NodeID // relays that its last message was to go around, and so acknowledgements are; replaced whole
	doubt  bool          // it sends again what was acknowledged
	came   int           // messages published since Flows was called last
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
	tried   []wire.NodeID // for one subscriber: where it was sent, the present destination last; nil: it is for all
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
	c.Avoid, c.Sealed, c.Destinations = nil, false, nil
	return c
}

// weight is the memory that a message takes in a table or window.
func weight(m *wire.Message) int { return len(m.Payload) + len(m.Tenant) + len(m.Channel) + cargoBytes }

// enter numbers a message for its destinations and keeps it until they have it. It adds them to to, but for those to which it is to take a detour.
// Destinations of unknown boot are left out.
func (f *flights) enter(m *wire.Message, s *Snapshot, ids []wire.NodeID, a aim, to []wire.Destination) ([]wire.Destination, []detour) {
	now := time.Now()
	c := &cargo{message: cloneMessage(m), born: now, tried: a.tried}
	deadline := now.Add(time.Duration(m.Deadline)*time.Millisecond - time.Duration(m.Age)*time.Microsecond)
	channel := uint64(flight.Unordered)
	if !a.unordered {
		channel = max(f.endpoint.seed.of(m), 1)
	}
	size := weight(m)
	var orphans []*cargo
	var detours []detour
	for _, id := range ids {
		boot, known := s.Boots[id]
		if !known {
			f.endpoint.counters.Drop(DropNoRoute, 1)
			continue
		}
		o := f.outgoing(id, boot, s)
		o.mu.Lock()
		orphans = append(orphans, f.renew(o, boot, s)...)
		if m.Class == wire.ClassPublish && !m.Aside() {
			o.sent++
		}
		o.follow(now, s)
		seq, back, ahead := o.table.Add(now, c, channel, size, deadline)
		d := wire.Destination{ID: id, Seq: seq, Back: back, Ahead: ahead, Boot: uint16(o.table.Boot)}
		if avoid := o.judge.Avoid(); avoid != nil {
			detours = addDetour(detours, avoid, d)
		} else {
			to = append(to, d)
		}
		at := f.rest(o)
		o.mu.Unlock()
		f.wake(at)
		f.bytes.Add(int64(size))
	}
	for f.bytes.Load() > int64(f.endpoint.cfg.FlightBytes) && f.evict() {
	}
	f.sendElsewhere(orphans)
	return to, detours
}

// follow tells the judge of the ways that there are now. If a way around relays is one of them no more, what is under way on it is due. o.mu is held.
func (o *outgoing) follow(now time.Time, s *Snapshot) {
	if o.judged == s.Table && !o.judge.Over(now) {
		return
	}
	o.judged = s.Table
	if o.judge.Route(now, s.way(o.id)) {
		o.table.Reroute(now)
	}
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

// renew starts a table afresh for a later run of its destination: what the earlier run had not acknowledged went with it, but for what other
// nodes may want. o.mu is held.
func (f *flights) renew(o *outgoing, boot uint64, s *Snapshot) (orphans []*cargo) {
	if boot <= o.table.Boot {
		return nil
	}
	orphans = f.takeBack(o, isForOne)
	for i, c := range orphans { // the later run is another node
		orphans[i] = &cargo{c.message, c.born, c.tried[:len(c.tried)-1]}
	}
	f.bytes.Add(-int64(o.table.Bytes()))
	f.endpoint.counters.Drop(DropRestarted, o.table.Len())
	o.table = f.table(o.id, boot, s)
	return orphans
}

// rest notes when the worker has something to do for a table. o.mu is held.
func (f *flights) rest(o *outgoing) (at int64) {
	next := o.table.Next()
	if leave := o.cutOff.Add(cutOffPatience); !next.IsZero() && !o.cutOff.IsZero() && leave.Before(next) {
		next = leave
	}
	at = f.clock(next)
	o.next.ns.Store(at)
	return at
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

// flows are the messages published for each destination, and those that came from each origin, since it was called last.
func (f *flights) flows() (sent, came []Flow) {
	f.mu.Lock()
	out, in := slices.Collect(maps.Values(f.out)), slices.Collect(maps.Values(f.in))
	f.mu.Unlock()
	for _, o := range out {
		sent = drain(sent, &o.mu, o.id, &o.sent)
	}
	for _, i := range in {
		came = drain(came, &i.mu, i.id, &i.came)
	}
	return sent, came
}

// drain adds a peer's count to the flows, if there is one, and begins it anew.
func drain(flows []Flow, mu *sync.Mutex, peer wire.NodeID, count *int) []Flow {
	mu.Lock()
	defer mu.Unlock()
	if *count > 0 {
		flows = append(flows, Flow{peer, *count})
		*count = 0
	}
	return flows
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
		f.sendAck(m.Origin, &wire.Ack{OriginBoot: m.Boot}, m.Avoid) // tells the origin which run it talks to
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
		One: m.Mode != 0, Deadline: now.Add(time.Duration(m.Deadline)*time.Millisecond - time.Duration(m.Age)*time.Microsecond),
	}
	if in.window.Holds(a) {
		if f.held.Load()+int64(a.Size) > holdMost {
			e.counters.Drop(DropRefused, 1)
			return
		}
		c := cloneMessage(m)
		a.Item = &c
	}
	if !slices.Equal(in.avoid, m.Avoid) {
		in.avoid = slices.Clone(m.Avoid)
	}
	switch in.window.Receive(now, a, f.deliver) {
	case flight.Duplicate:
		e.counters.Duplicates.Add(1)
		in.doubt = true
	case flight.Refused:
		e.counters.Drop(DropRefused, 1)
	case flight.Accepted:
		if m.Class == wire.ClassPublish && !m.Aside() {
			in.came++
		}
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

func (f *flights) deliver(m *wire.Message) (taken bool) {
	f.endpoint.counters.Delivered.Add(1)
	return f.endpoint.cfg.Deliver(m)
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
	var orphans []*cargo
	o.mu.Lock()
	switch {
	case a.Boot > o.table.Boot:
		orphans = f.renew(o, a.Boot, e.forwarder.snapshot.Load())
	case a.Boot == o.table.Boot:
		now, before := time.Now(), o.table.Bytes()
		var freed int
		freed, orphans = o.table.Ack(now, a)
		o.judge.Heard(now, freed, e.forwarder.snapshot.Load().way(o.id))
		o.cutOff = time.Time{}
		f.rest(o)
		f.bytes.Add(int64(o.table.Bytes() - before))
	}
	o.mu.Unlock()
	f.sendElsewhere(orphans)
}

// reroute sends at once what is under way to destinations whose path is broken: those given, whose shortest path is, and those to which messages went around
// relays by a path that is left.
func (f *flights) reroute(s *Snapshot, broken []wire.NodeID) {
	now := time.Now()
	due := false
	f.mu.Lock()
	for _, o := range f.out {
		o.mu.Lock()
		if o.judge.Avoid() != nil {
			o.follow(now, s)
			due = f.rest(o) != 0 || due
		}
		o.mu.Unlock()
	}
	for _, id := range broken {
		if o := f.out[id]; o != nil {
			o.mu.Lock()
			o.table.Reroute(now)
			due = f.rest(o) != 0 || due
			o.mu.Unlock()
		}
	}
	f.mu.Unlock()
	if due {
		f.wake(f.clock(now))
	}
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
