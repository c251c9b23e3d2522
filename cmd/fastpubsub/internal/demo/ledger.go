package demo

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// ledger is what is known of the messages between all ordered pairs of sites. It is safe for concurrent use.
type ledger struct {
	sites int
	began time.Time

	mu    sync.Mutex // guards flows
	flows []flow     // by pair
}

// pair numbers an ordered pair of sites: from times the number of sites, plus to.
type pair int

func newLedger(sites int, began time.Time) *ledger {
	return &ledger{sites: sites, began: began, flows: make([]flow, sites*sites)}
}

// now is the time since the start, on the monotonic clock that all metros of the demo share.
func (l *ledger) now() time.Duration { return time.Since(l.began) }

func (l *ledger) pair(from, to int) pair { return pair(from*l.sites + to) }

func (l *ledger) ends(p pair) (from, to int) { return int(p) / l.sites, int(p) % l.sites }

// pairs are all ordered pairs of different sites.
func (l *ledger) pairs() []pair {
	all := make([]pair, 0, l.sites*(l.sites-1))
	for p := range pair(l.sites * l.sites) {
		if from, to := l.ends(p); from != to {
			all = append(all, p)
		}
	}
	return all
}

// send takes note of a message of a pair that is sent now, and returns its number.
func (l *ledger) send(p pair) uint64 {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flows[p].send(now)
}

// passed takes note of the relays that a message of a pair passed; it comes before receive of the same message.
func (l *ledger) passed(p pair, relays []int) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := &l.flows[p]; !slices.Equal(f.path, relays) {
		f.path, f.since = slices.Clone(relays), now
	}
}

// receive takes note of a message of a pair that came now.
func (l *ledger) receive(p pair, number uint64) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flows[p].receive(number, now)
}

// judge gives up on messages that are overdue.
func (l *ledger) judge() {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.flows {
		l.flows[i].judge(now)
	}
}

// cut takes note that a site was killed.
func (l *ledger) cut(site int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.flows {
		if from, to := l.ends(pair(p)); from == site || to == site {
			l.flows[p].cut()
		}
	}
}

// look calls see for each flow. see must not keep it, nor call the ledger.
func (l *ledger) look(see func(pair, *flow)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.flows {
		if from, to := l.ends(pair(p)); from != to {
			see(pair(p), &l.flows[p])
		}
	}
}

// arm begins to measure the pauses of flows, whose messages are sent at this interval. Of one that does not deliver there is nothing to measure.
func (l *ledger) arm(flows []pair, interval time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range flows {
		f := &l.flows[p]
		f.pauses = pause{armed: f.live, interval: interval}
	}
}

// payloadSize is the length of a message's payload: pair, number.
const payloadSize = 4 + 8

func appendPayload(dst []byte, p pair, number uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p))
	return binary.BigEndian.AppendUint64(dst, number)
}

// parsePayload reads a payload; false if it is none of the demo's, since anybody may publish to its nodes.
func (l *ledger) parsePayload(b []byte) (p pair, number uint64, ok bool) {
	if len(b) != payloadSize {
		return 0, 0, false
	}
	wide := binary.BigEndian.Uint32(b)
	if wide >= uint32(len(l.flows)) {
		return 0, 0, false
	}
	return pair(wide), binary.BigEndian.Uint64(b[4:]), true
}
