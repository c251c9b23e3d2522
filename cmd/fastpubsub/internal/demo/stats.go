package demo

import (
	"slices"
	"time"
)

const (
	// lostAfter is how long a message may take before it counts as lost.
	lostAfter = 3 * time.Second
	// forgetAfter is how long a message is remembered, so that late ones and copies are known for what they are. It is
	// well over the age at which nodes drop messages.
	forgetAfter = 10 * time.Second
	// sampleLimit bounds the latencies kept of a flow; the newest stay.
	sampleLimit = 512
)

// tally counts the messages of one flow or of many. Sent is the sum of delivered, lost, early and cut off, and of what is under way.
type tally struct {
	Sent       uint64 `json:"sent"`
	Delivered  uint64 `json:"delivered"`    // in time or late
	Lost       uint64 `json:"lost"`         // not come within lostAfter, nor later so far
	Early      uint64 `json:"early"`        // as lost, but sent before any that was delivered: the mesh may not have known of the subscriber yet
	CutOff     uint64 `json:"cut_off"`      // under way from or to a node when that was killed
	Late       uint64 `json:"late"`         // of the delivered, after lostAfter
	Duplicates uint64 `json:"duplicates"`   // copies of messages delivered already
	OutOfOrder uint64 `json:"out_of_order"` // of the delivered, after one that was sent later
}

func (t *tally) add(other tally) {
	t.Sent += other.Sent
	t.Delivered += other.Delivered
	t.Lost += other.Lost
	t.Early += other.Early
	t.CutOff += other.CutOff
	t.Late += other.Late
	t.Duplicates += other.Duplicates
	t.OutOfOrder += other.OutOfOrder
}

// fate is what became of a message.
type fate uint8

const (
	underWay fate = iota
	delivered
	lost
	early
	cutOff
)

// message is one that was sent.
type message struct {
	at   time.Duration
	fate fate
}

// sample is one delivery.
type sample struct{ at, latency time.Duration }

// flow is the messages from one metro to another. Times are since the start of the demo.
type flow struct {
	counts   tally
	messages []message // remembered, in the order of their numbers
	next     uint64    // number of the next message
	judged   uint64    // numbers below have their fate
	highest  uint64    // number after the highest delivered
	live     bool      // some message was delivered, and no end was killed since
	liveFrom uint64    // its number
	samples  []sample  // a ring once there are sampleLimit
	oldest   int       // where the ring begins

	path   []int         // relays that the last message passed
	since  time.Duration // when the first one came that way
	came   time.Duration // when the last one was delivered
	pauses pause
}

// send takes note of a message and returns its number.
func (f *flow) send(now time.Duration) uint64 {
	f.counts.Sent++
	f.messages = append(f.messages, message{at: now})
	f.next++
	return f.next - 1
}

// receive takes note of an arrival. A number that was never sent is ignored.
func (f *flow) receive(number uint64, now time.Duration) {
	if number >= f.next {
		return
	}
	m := f.message(number)
	if m == nil || m.fate == delivered { // nil: nobody knows any more, but this late it is most likely a copy
		f.counts.Duplicates++
		return
	}
	f.count(m.fate, -1)
	m.fate = delivered
	f.count(delivered, +1)
	latency := now - m.at
	if latency > lostAfter {
		f.counts.Late++
	}
	if number < f.highest {
		f.counts.OutOfOrder++
	}
	f.highest = max(f.highest, number+1)
	if !f.live {
		f.live, f.liveFrom = true, number
	}
	f.pauses.end(f.came, now)
	f.came = now
	f.keep(sample{now, latency})
}

// message is the message of that number, if it is remembered.
func (f *flow) message(number uint64) *message {
	first := f.next - uint64(len(f.messages))
	if number < first {
		return nil
	}
	return &f.messages[number-first]
}

// count adds to the count of a fate.
func (f *flow) count(of fate, n int) {
	switch of {
	case delivered:
		f.counts.Delivered += uint64(n)
	case lost:
		f.counts.Lost += uint64(n)
	case early:
		f.counts.Early += uint64(n)
	case cutOff:
		f.counts.CutOff += uint64(n)
	case underWay:
	}
}

// judge gives up on messages that are overdue, and forgets those of long ago.
func (f *flow) judge(now time.Duration) {
	for ; f.judged < f.next; f.judged++ {
		m := f.message(f.judged)
		if now-m.at <= lostAfter {
			break
		}
		if m.fate == underWay {
			m.fate = lost
			if !f.live || f.judged < f.liveFrom {
				m.fate = early
			}
			f.count(m.fate, +1)
		}
	}
	old := 0
	for old < len(f.messages) && now-f.messages[old].at > forgetAfter {
		old++
	}
	f.messages = slices.Delete(f.messages, 0, old)
}

// cut takes note that one end was killed: what was under way is cut off, and what is sent before the ends know each other again is early.
func (f *flow) cut() {
	for i := range f.messages {
		if f.messages[i].fate == underWay {
			f.messages[i].fate = cutOff
			f.count(cutOff, +1)
		}
	}
	f.live, f.judged = false, f.next
	f.liveFrom = f.next
}

// pending tells whether a message is under way that is not early.
func (f *flow) pending() bool {
	if !f.live {
		return false
	}
	for number := max(f.judged, f.liveFrom); number < f.next; number++ {
		if f.message(number).fate == underWay {
			return true
		}
	}
	return false
}

// close gives up on all messages under way.
func (f *flow) close() { f.judge(f.last() + lostAfter + 1) }

// last is when the last message was sent.
func (f *flow) last() time.Duration {
	if len(f.messages) == 0 {
		return 0
	}
	return f.messages[len(f.messages)-1].at
}

func (f *flow) keep(s sample) {
	if len(f.samples) < sampleLimit {
		f.samples = append(f.samples, s)
		return
	}
	f.samples[f.oldest] = s
	f.oldest = (f.oldest + 1) % sampleLimit
}

// median is the median latency of the deliveries from a time on; false if there were none. It uses memory, and returns it for the next call.
func (f *flow) median(from time.Duration, memory []time.Duration) (time.Duration, []time.Duration, bool) {
	memory = memory[:0]
	for _, s := range f.samples {
		if s.at >= from {
			memory = append(memory, s.latency)
		}
	}
	m, ok := median(memory)
	return m, memory, ok
}

// median is the middle value, the mean of the two middle ones if their number is even; false if there are none. It sorts the values.
func median(values []time.Duration) (time.Duration, bool) {
	n := len(values)
	if n == 0 {
		return 0, false
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// pause is the longest silence of a flow since it was armed, with the one that lasted then, in excess of the interval at which its messages are
// sent.
type pause struct {
	armed    bool
	interval time.Duration
	longest  time.Duration
}

// end takes note that something came now, after it had come at the time before.
func (p *pause) end(before, now time.Duration) {
	p.longest = max(p.longest, p.lasting(before, now))
}

// lasting is how long the silence since the time before has lasted in excess.
func (p *pause) lasting(before, now time.Duration) time.Duration {
	if !p.armed {
		return 0
	}
	return max(now-before-p.interval, 0)
}
