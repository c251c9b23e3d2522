package mesh

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// publisher is a stream of messages to one channel at one node. It has the channel to itself there, so its numbers say
// in which order its messages must come.
type publisher struct {
	node, channel int
	every         time.Duration
	burst         int // messages at once
	bytes         int
}

func (p publisher) String() string {
	return fmt.Sprintf("n%d publishes to c%d: %d of %d bytes every %v", p.node, p.channel, p.burst, p.bytes, p.every)
}

// run is one life of a node.
type run struct {
	node int
	boot uint64
}

// flow is what one run of a node publishes to one channel.
type flow struct {
	from    run
	channel int
}

// ledger is what was sent and what came, in virtual time.
type ledger struct {
	began time.Time

	mu     sync.Mutex // guards what follows
	sent   map[flow][]sending
	got    map[run]map[flow]*receipt
	faults []string
}

// sending is when a message was published, and how long it is.
type sending struct {
	at    time.Duration
	bytes int
}

// receipt is what one run of a node got of a flow.
type receipt struct {
	next int // number after the last that came
	seen map[int]time.Duration
}

func newLedger() *ledger {
	return &ledger{sent: map[flow][]sending{}, got: map[run]map[flow]*receipt{}}
}

// publish notes a message and returns its payload.
func (l *ledger) publish(f flow, bytes int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := len(l.sent[f])
	b := append(make([]byte, 0, max(bytes, 16)), byte(f.from.node), byte(f.from.boot), byte(f.channel))
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	b = b[:max(bytes, len(b))]
	l.sent[f] = append(l.sent[f], sending{time.Since(l.began), len(b)})
	return b
}

// receiver is what takes a run's deliveries.
func (l *ledger) receiver(to run, wants []bool) func(channel.Message, Trace) {
	return func(m channel.Message, t Trace) {
		b := m.Payload
		f := flow{run{int(b[0]), uint64(b[1])}, int(b[2])}
		if f.from.node == to.node || !wants[f.channel] { // its own, or Bloom's mistake
			return
		}
		l.receive(to, f, int(binary.BigEndian.Uint32(b[3:])), t.Via)
	}
}

func (l *ledger) receive(to run, f flow, number int, via []wire.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.got[to] == nil {
		l.got[to] = map[flow]*receipt{}
	}
	r := l.got[to][f]
	if r == nil {
		r = &receipt{seen: map[int]time.Duration{}}
		l.got[to][f] = r
	}
	now := time.Since(l.began)
	if at, twice := r.seen[number]; twice {
		l.faults = append(l.faults, fmt.Sprintf("%v: n%d got message %d of %v twice, first at %v, now via %v", now, to.node, number, f, at, via))
	} else if number < r.next {
		l.faults = append(l.faults, fmt.Sprintf("%v: n%d got message %d of %v when %d was due, via %v", now, to.node, number, f, r.next, via))
	}
	r.seen[number] = now
	r.next = max(r.next, number+1)
}

// count is how many messages were published to a flow.
func (l *ledger) count(f flow) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent[f])
}

// next is the number after the last that a run got of a flow.
func (l *ledger) next(to run, f flow) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.got[to][f]; r != nil {
		return r.next
	}
	return 0
}

// tally is how a script went.
type tally struct {
	came    int
	excused int           // never came, and no path was there for it
	slowest time.Duration // from the first moment of a path that then worked on, its length allowed for
}

// judge looks for what should have come and did not, or too late.
func (l *ledger) judge(s *script) (t tally) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f, sent := range l.sent {
		for to := range s.size {
			if f.from.node == to || !s.wants[to][f.channel] || !s.survives(to) || !s.survives(f.from.node) {
				continue
			}
			got := l.got[run{to, 1}][f]
			if got == nil {
				got = &receipt{}
			}
			for number, m := range sent {
				came, ok := got.seen[number]
				due, owed := s.due(f.from.node, to, m.bytes, m.at)
				switch {
				case owed && !ok:
					l.faults = append(l.faults, fmt.Sprintf("message %d of %v, published at %v, never came to n%d", number, f, m.at, to))
				case owed && came > due:
					l.faults = append(l.faults, fmt.Sprintf("message %d of %v, published at %v, came to n%d at %v and was due at %v", number, f, m.at, to, came, due))
				case !ok:
					t.excused++
				}
				if ok {
					t.came++
				}
				if ok && owed {
					t.slowest = max(t.slowest, came-due+s.settle())
				}
			}
		}
	}
	return t
}

// publish publishes until ctx ends.
func (c *chaos) publish(ctx context.Context, n *clusterNode, f flow, p publisher) {
	for ctx.Err() == nil {
		for range p.burst {
			m := channel.Message{Tenant: "t", Channel: fmt.Sprint("c", p.channel), Payload: c.ledger.publish(f, p.bytes)}
			if n.Publish(ctx, m) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(p.every):
		}
	}
}
