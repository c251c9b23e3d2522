package chaos

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"
)

// life is one run of the node at a site.
type life struct{ site, run int }

// flow is what one life publishes to a channel, as another gets it.
type flow struct {
	from, to life
	channel  int
}

// stream is a flow at its origin.
type stream struct {
	from    life
	channel int
}

// progress is how far a flow is.
type progress struct {
	next uint64 // number after the highest that came
	came time.Duration
	gap  time.Duration // longest silence of this drill
}

// Counts are what became of messages: per flow, so that a message to three subscribers counts three times.
type Counts struct {
	Delivered  uint64 `json:"delivered"`
	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates"`
	OutOfOrder uint64 `json:"out_of_order"`
	Expired    uint64 `json:"expired"`
	CutOff     uint64 `json:"cut_off"`
}

// Loss is messages in a row that a subscriber lacks though its node and the publisher's lived and were not parted.
type Loss struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Channel int     `json:"channel"`
	First   uint64  `json:"first"` // number within what the publisher sent to the channel
	Count   uint64  `json:"count"`
	At      float64 `json:"at_s"` // when that was known, from the drill's beginning
	from    int
	to      int
}

// String is the loss for people.
func (l Loss) String() string {
	return fmt.Sprintf("lost: %d messages of %s to %s on channel %d from number %d on, known after %.1f s", l.Count, l.From, l.To, l.Channel, l.First, l.At)
}

// lossesMost bounds the losses kept of a drill.
const lossesMost = 100

// samplesMost bounds the latencies kept of a drill; then every second one is dropped, and only every second one kept from there on.
const samplesMost = 1 << 16

// ledger knows what was sent and what came. It is safe for concurrent use. Times are since its beginning.
type ledger struct {
	began time.Time

	mu      sync.Mutex // guards what follows
	runs    []int      // by site: the run of now
	fresh   []bool     // by site: the run began in this drill
	sent    map[stream]uint64
	flows   map[flow]*progress
	parted  func(from, to int) bool // by the present drill, for longer than a message lives
	counts  Counts
	losses  []Loss
	drill   time.Duration // when the present drill began
	samples []time.Duration
	every   int // of how many samples one is kept
	skipped int
}

func newLedger(sites int) *ledger {
	return &ledger{
		began: time.Now(), runs: make([]int, sites), fresh: make([]bool, sites), sent: map[stream]uint64{}, flows: map[flow]*progress{},
		parted: func(int, int) bool { return false }, every: 1,
	}
}

func (l *ledger) now() time.Duration { return time.Since(l.began) }

// payloadBytes is the least length of a payload.
const payloadBytes = 28

// publish notes that the node at a site publishes to a channel now and fills in the payload.
func (l *ledger) publish(site, channel int, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := stream{life{site, l.runs[site]}, channel}
	binary.BigEndian.PutUint32(payload, uint32(site))
	binary.BigEndian.PutUint32(payload[4:], uint32(s.from.run))
	binary.BigEndian.PutUint32(payload[8:], uint32(channel))
	binary.BigEndian.PutUint64(payload[12:], l.sent[s])
	binary.BigEndian.PutUint64(payload[20:], uint64(l.now()))
	l.sent[s]++
}

// receive notes what came to a site; what this ledger did not send is ignored.
func (l *ledger) receive(site int, payload []byte) {
	if len(payload) < payloadBytes {
		return
	}
	from := life{int(binary.BigEndian.Uint32(payload)), int(binary.BigEndian.Uint32(payload[4:]))}
	channel := int(binary.BigEndian.Uint32(payload[8:]))
	number, sentAt := binary.BigEndian.Uint64(payload[12:]), time.Duration(binary.BigEndian.Uint64(payload[20:]))
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.site >= len(l.runs) || number >= l.sent[stream{from, channel}] {
		return
	}
	now := l.now()
	f := flow{from, life{site, l.runs[site]}, channel}
	p := l.flows[f]
	switch {
	case p == nil:
		p = &progress{next: number, came: now}
		l.flows[f] = p
	case number+1 == p.next:
		l.counts.Duplicates++
		return
	case number < p.next: // a copy or late; either way a broken promise
		l.counts.OutOfOrder++
		return
	}
	l.counts.Delivered++
	l.passOver(f, p.next, number-p.next)
	p.next = number + 1
	p.gap = max(p.gap, now-p.came)
	p.came = now
	l.keep(now - sentAt)
}

// passOver counts messages of a flow that did not come.
func (l *ledger) passOver(f flow, first, n uint64) {
	switch {
	case n == 0:
	case f.from.run != l.runs[f.from.site] || l.fresh[f.from.site] || l.fresh[f.to.site]:
		l.counts.CutOff += n
	case l.parted(f.from.site, f.to.site):
		l.counts.Expired += n
	default:
		l.counts.Lost += n
		if len(l.losses) < lossesMost {
			at := (l.now() - l.drill).Seconds()
			l.losses = append(l.losses, Loss{from: f.from.site, to: f.to.site, Channel: f.channel, First: first, Count: n, At: at})
		}
	}
}

func (l *ledger) keep(latency time.Duration) {
	if l.skipped++; l.skipped < l.every {
		return
	}
	l.skipped = 0
	if len(l.samples) == samplesMost {
		for i := range samplesMost / 2 {
			l.samples[i] = l.samples[2*i]
		}
		l.samples = l.samples[:samplesMost/2]
		l.every *= 2
	}
	l.samples = append(l.samples, latency)
}

// died notes that the process at a site has ended; what its client publishes from here on belongs to the next run.
func (l *ledger) died(site int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[site]++
	l.fresh[site] = true
}

// begin starts the counts of a drill that parts nodes as told.
func (l *ledger) begin(parted func(from, to int) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parted = parted
	clear(l.fresh)
	l.counts, l.losses, l.samples, l.every, l.skipped = Counts{}, nil, l.samples[:0], 1, 0
	now := l.now()
	l.drill = now
	for f, p := range l.flows {
		if !l.living(f) {
			delete(l.flows, f)
			continue
		}
		p.gap, p.came = 0, now
	}
}

// living reports whether both runs of a flow go on.
func (l *ledger) living(f flow) bool {
	return f.from.run == l.runs[f.from.site] && f.to.run == l.runs[f.to.site]
}

// behind is how many living flows lack messages that were sent.
func (l *ledger) behind() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f, p := range l.flows {
		if l.living(f) && p.next < l.sent[stream{f.from, f.channel}] {
			n++
		}
	}
	return n
}

// end ends the counts of a drill, at rest: what has not come by now will not. The gap is the longest of flows that lived and were not parted.
func (l *ledger) end() (counts Counts, losses []Loss, gap time.Duration, samples []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f, p := range l.flows {
		if !l.living(f) {
			continue
		}
		sent := l.sent[stream{f.from, f.channel}]
		l.passOver(f, p.next, sent-p.next)
		p.next = sent
		if !l.parted(f.from.site, f.to.site) {
			gap = max(gap, p.gap)
		}
	}
	slices.Sort(l.samples)
	return l.counts, l.losses, gap, slices.Clone(l.samples)
}

// heardSince reports whether a subscriber has got something of a publisher's present run since a time.
func (l *ledger) heardSince(from, to, channel int, since time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.flows[flow{life{from, l.runs[from]}, life{to, l.runs[to]}, channel}]
	return p != nil && p.came >= since
}
