package forward

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

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
		f.endpoint.cfg.Delivered()
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
		avoid, doubt := in.avoid, in.doubt
		in.doubt = in.doubt && !due
		in.mu.Unlock()
		if due {
			f.sendAck(in.id, &a, avoid)
			if doubt {
				f.ackAround(in.id, &a, avoid)
			}
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
	if o.isCutOff(now) {
		f.leave(now, o)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.table.Bytes()
	snapshot := f.endpoint.forwarder.snapshot.Load()
	o.follow(now, snapshot)
	again, expired := o.table.Due(now, resendBatch)
	way, left := snapshot.way(o.id), false
	for _, r := range again {
		left = r.Tries > 0 && o.judge.Missed(now, r.Sent, way) || left
	}
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
		m.Avoid = o.judge.Avoid()
		if r.Tries%2 == 1 && !left {
			m.Avoid = o.judge.Detour(r.Tries, way)
		}
		d := wire.Destination{ID: o.id, Seq: r.Seq, Back: r.Back, Ahead: r.Ahead, Boot: uint16(o.table.Boot)}
		switch err := f.endpoint.forwarder.offer(&m, d); {
		case err == nil:
			o.cutOff = time.Time{}
			f.endpoint.counters.Resent.Add(1)
		case errors.Is(err, ErrLinkFull):
			o.table.Undo(now, r.Seq)
			full = true
		case errors.Is(err, ErrNoRoute) && o.cutOff.IsZero():
			o.cutOff = now
		}
	}
	if left {
		o.table.Hasten(now)
		f.endpoint.counters.Detours.Add(1)
	}
	f.rest(o)
}

// sendAck sends an acknowledgement around these relays; if that fails, the next says the same and more.
func (f *flights) sendAck(to wire.NodeID, a *wire.Ack, avoid []wire.NodeID) {
	a.Boot = f.endpoint.cfg.Boot
	m := wire.Message{Class: wire.ClassAck, Deadline: ackDeadline, Payload: wire.AppendAck(nil, a)}
	f.endpoint.forwarder.originate(&m)
	m.Avoid = avoid
	_ = f.endpoint.forwarder.offer(&m, wire.Destination{ID: to})
	f.endpoint.counters.Acks.Add(1)
}

// ackAround acknowledges a second time, by another way: the origin does not seem to hear.
func (f *flights) ackAround(to wire.NodeID, a *wire.Ack, avoid []wire.NodeID) {
	way := f.endpoint.forwarder.snapshot.Load().way(to)
	relays, _, _ := way(avoid)
	for _, id := range relays {
		if !slices.Contains(avoid, id) {
			avoid = append(slices.Clip(avoid), id)
		}
	}
	if len(relays) == 0 || len(avoid) > wire.MaxAvoid {
		return
	}
	if _, _, ok := way(avoid); ok {
		f.sendAck(to, a, avoid)
	}
}

// ackDeadline is the age in ms at which an acknowledgement is dropped.
const ackDeadline = 2000
