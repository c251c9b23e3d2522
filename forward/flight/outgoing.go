package flight

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Times of the origin's side.
const (
	leastTimeout = 100 * time.Millisecond
	mostTimeout  = 2 * time.Second
	firstGuess   = 200 * time.Millisecond // time to acknowledgement before the first sample

	spareMost = 32 // messages: about what a connection may send at first, not knowing the network
)

// Outgoing is what one run of a destination has not yet acknowledged. Items are the owner's messages.
type Outgoing[T any] struct {
	Boot uint64 // of the destination's run

	base     uint64 // sequence of entries[0]
	entries  []entry[T]
	store    []entry[T]        // what entries lies in, from where those before them were
	channels map[uint64]uint64 // newest sequence by channel, from the base on
	bytes    int
	kept     int // entries not done
	guess    time.Duration
	smoothed time.Duration // time to acknowledgement; 0 before the first sample
	variance time.Duration
	backOff  int       // doublings of the time-out since the last sample
	backedAt time.Time // when it was doubled last
	spare    int       // messages sent before that which do not wait for as much longer
	checkAt  time.Time // before this nothing times out
}

type entry[T any] struct {
	item     T
	channel  uint64
	back     uint64
	size     int
	sent     time.Time
	deadline time.Time
	tries    int  // time-outs on the present path
	again    bool // sent more than once
	due      bool // to be sent again at once
	done     bool // acknowledged or given up
}

// Resend is a message to send again.
type Resend[T any] struct {
	Seq, Back, Ahead uint64
	Item             T
	Sent             time.Time // when it was sent before
	Tries            int       // time-outs on the present path; 0: it is due for another reason
}

// NewOutgoing is the empty table for one run of a destination. Its sequences begin at first; guess is the time to acknowledgement to expect before the first sample, zero if unknown.
func NewOutgoing[T any](boot, first uint64, guess time.Duration) *Outgoing[T] {
	if guess <= 0 {
		guess = firstGuess
	}
	return &Outgoing[T]{Boot: boot, base: first, channels: map[uint64]uint64{}, guess: guess}
}

// Unordered is the channel of messages that neither wait for others nor are waited for.
const Unordered = 0

// Add enters a message that is sent now and returns what it carries for this destination. The channel is a hash: two
// channels that share one wait for each other, nothing worse.
func (o *Outgoing[T]) Add(now time.Time, item T, channel uint64, size int, deadline time.Time) (seq, back, ahead uint64) {
	seq = o.base + uint64(len(o.entries))
	if channel != Unordered {
		if last, ok := o.channels[channel]; ok {
			back = seq - last
		}
		o.channels[channel] = seq
	}
	o.makeRoom()
	o.entries = append(o.entries, entry[T]{item: item, channel: channel, back: back, size: size, sent: now, deadline: deadline})
	o.bytes += size
	o.kept++
	if check := now.Add(o.timeout(o.backOff)); o.kept == 1 || check.Before(o.checkAt) {
		o.checkAt = check
	}
	return seq, back, uint64(len(o.entries) - 1)
}

// Bytes and Len are what the table holds.
func (o *Outgoing[T]) Bytes() int { return o.bytes }

// Len is the number of messages not yet acknowledged or given up.
func (o *Outgoing[T]) Len() int { return o.kept }

// Timeout is how long an acknowledgement may take now.
func (o *Outgoing[T]) Timeout() time.Duration { return o.timeout(o.backOff) }

// timeout is how long an acknowledgement may take, doubled so many times.
func (o *Outgoing[T]) timeout(doublings int) time.Duration {
	guess := 2 * o.guess
	if o.smoothed > 0 {
		guess = 2*o.smoothed + 4*o.variance
	}
	return min(max(guess, leastTimeout)<<min(doublings, 5), mostTimeout)
}

// patience is how long this message's acknowledgement may take. Of those that were on their way when the time-out was last doubled, a few have the time that they
// had: mostly they are lost, too.
func (o *Outgoing[T]) patience(e *entry[T]) time.Duration {
	backOff := o.backOff
	if o.spare > 0 && e.sent.Before(o.backedAt) {
		backOff--
	}
	return o.timeout(max(e.tries, backOff))
}

// Ack takes an acknowledgement in and returns how many messages it freed, and which of them nobody wanted at the destination. One that does
// not fit what was sent is ignored.
func (o *Outgoing[T]) Ack(now time.Time, a *wire.Ack) (freed int, refused []T) {
	end := o.base + uint64(len(o.entries)) // one past the newest
	if a.Floor >= end || a.Newest >= end {
		return 0, nil
	}
	if e := o.at(a.Newest); e != nil && !e.done && !e.again { // RFC 6298 §3, Karn: no sample of what was sent twice
		o.sample(now.Sub(e.sent) - a.Held)
	}
	for _, seq := range a.Refused {
		if e := o.at(seq); e != nil && !e.done {
			refused = append(refused, e.item)
			freed += o.finish(seq)
		}
	}
	for seq := o.base; seq <= a.Floor; seq++ {
		freed += o.finish(seq)
	}
	for _, r := range a.Ranges {
		if r.Last >= end {
			break
		}
		for seq := max(r.First, o.base); seq <= r.Last; seq++ {
			freed += o.finish(seq)
		}
	}
	o.trim()
	return freed, refused
}

// Take gives up the messages that are wanted elsewhere and returns them, oldest first.
func (o *Outgoing[T]) Take(wanted func(T) bool) (taken []T) {
	for i := range o.entries {
		if e := &o.entries[i]; !e.done && wanted(e.item) {
			taken = append(taken, e.item)
			o.finish(o.base + uint64(i))
		}
	}
	o.trim()
	return taken
}

func (o *Outgoing[T]) sample(took time.Duration) {
	if took <= 0 {
		return
	}
	o.backOff = 0
	if o.smoothed == 0 { // RFC 6298, section 2.2, takes half, knowing nothing; here the cost of the route has said what to expect
		off := took - o.guess
		o.smoothed, o.variance = took, min(max(off, -off, took/8), took/2)
		return
	}
	off := took - o.smoothed
	o.smoothed += off / 8
	o.variance += (max(off, -off) - o.variance) / 4
}

func (o *Outgoing[T]) at(seq uint64) *entry[T] {
	if seq < o.base || seq-o.base >= uint64(len(o.entries)) {
		return nil
	}
	return &o.entries[seq-o.base]
}

// finish marks a message as done and says 1 if it was not.
func (o *Outgoing[T]) finish(seq uint64) int {
	e := o.at(seq)
	if e == nil || e.done {
		return 0
	}
	var none T
	e.done, e.item = true, none
	o.bytes -= e.size
	o.kept--
	return 1
}

// trim moves the base past what is done.
func (o *Outgoing[T]) trim() {
	n := 0
	for n < len(o.entries) && o.entries[n].done {
		// Only now may its channel start afresh: a message that was acknowledged may still be held for an earlier one.
		if e := &o.entries[n]; o.channels[e.channel] == o.base+uint64(n) {
			delete(o.channels, e.channel)
		}
		n++
	}
	if n == 0 {
		return
	}
	o.base += uint64(n)
	o.entries = o.entries[n:]
	if len(o.entries) == 0 && cap(o.store) > keptEntries { // a burst is over
		o.entries, o.store = nil, nil
	}
}

// keptEntries is the most room that an empty table keeps.
const keptEntries = 256

// makeRoom prepares for another entry. Where those that are done have left as much room as the rest takes, that moves there.
func (o *Outgoing[T]) makeRoom() {
	n := len(o.entries)
	if n < cap(o.entries) {
		return
	}
	if gone := cap(o.store) - n; n > 0 && gone >= n {
		o.store = o.store[:cap(o.store)]
		copy(o.store, o.entries)
		clear(o.store[gone:]) // where they were; nothing overlaps
		o.entries = o.store[:n]
		return
	}
	o.store = make([]entry[T], max(2*n, 16))
	o.entries = o.store[:copy(o.store, o.entries)]
}

// backUp doubles the time-out of everything until there is a sample again: what is sent twice gives none, so a time-out that has become too
// short would stay so, and everything be sent twice for ever (RFC 6298, section 5). What was sent before the last doubling proves nothing more.
func (o *Outgoing[T]) backUp(now, sent time.Time) {
	if o.backOff < 5 && sent.After(o.backedAt) {
		o.backOff++
		o.backedAt, o.spare = now, spareMost
	}
}

// Reroute makes everything due: the path that it took is broken. What the time-outs have grown to says nothing of the new path, which some
// node on it may not know yet.
func (o *Outgoing[T]) Reroute(now time.Time) {
	o.backOff = 0
	for i := range o.entries {
		e := &o.entries[i]
		e.due, e.tries = !e.done, 0
	}
	o.checkAt = now
}

// Hasten makes everything due that was not sent just now: messages go another way from now on.
func (o *Outgoing[T]) Hasten(now time.Time) {
	o.backOff = 0
	for i := range o.entries {
		e := &o.entries[i]
		e.due, e.tries = !e.done && e.sent.Before(now), 0
	}
	o.checkAt = now
}

// Due returns at most limit messages to send again, oldest first, and how many were given up at their deadline. What is returned
// counts as sent now; Undo takes that back.
func (o *Outgoing[T]) Due(now time.Time, limit int) (again []Resend[T], expired int) {
	if o.kept == 0 || now.Before(o.checkAt) {
		return nil, 0
	}
	o.checkAt = now.Add(mostTimeout)
	for i := range o.entries {
		e := &o.entries[i]
		if e.done {
			continue
		}
		if !now.Before(e.deadline) {
			expired += o.finish(o.base + uint64(i))
			continue
		}
		at := e.sent.Add(o.patience(e))
		if e.due || !now.Before(at) {
			if len(again) == limit { // the rest has to wait for the next call
				o.checkAt = now
				break
			}
			r := Resend[T]{Seq: o.base + uint64(i), Back: e.back, Ahead: uint64(i), Item: e.item, Sent: e.sent}
			if !e.due {
				o.spare = max(o.spare-1, 0)
				o.backUp(now, e.sent)
				e.tries++
				r.Tries = e.tries
			}
			e.due, e.again, e.sent = false, true, now
			again = append(again, r)
			at = now.Add(o.patience(e))
		}
		for _, t := range [...]time.Time{at, e.deadline} {
			if t.Before(o.checkAt) {
				o.checkAt = t
			}
		}
	}
	o.trim()
	return again, expired
}

// Undo says that a message returned by Due could not be sent: it stays due.
func (o *Outgoing[T]) Undo(now time.Time, seq uint64) {
	if e := o.at(seq); e != nil && !e.done {
		e.due = true
		o.checkAt = now
	}
}

// Evict gives up the oldest message and returns its size; false if there is none.
func (o *Outgoing[T]) Evict() (size int, ok bool) {
	for i := range o.entries {
		if e := &o.entries[i]; !e.done {
			size = e.size
			o.finish(o.base + uint64(i))
			o.trim()
			return size, true
		}
	}
	return 0, false
}

// Oldest is when the oldest message was first due to be given up; zero if there is none.
func (o *Outgoing[T]) Oldest() time.Time {
	for i := range o.entries {
		if !o.entries[i].done {
			return o.entries[i].deadline
		}
	}
	return time.Time{}
}

// Base is the least sequence that is still kept, or the next one.
func (o *Outgoing[T]) Base() uint64 { return o.base }

// Next is when Due must be called again; zero if nothing is kept.
func (o *Outgoing[T]) Next() time.Time {
	if o.kept == 0 {
		return time.Time{}
	}
	return o.checkAt
}
