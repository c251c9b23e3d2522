package wsgate

import (
	"sync"
	"sync/atomic"
	"time"
)

// sharesKept is how long what a token's connections have together outlives the last of them, so that its budgets do not start anew with every request.
const sharesKept = 5 * time.Second

// share is what all connections and requests with one token have together, on this node.
type share struct {
	budget        *budget      // nil: no limit
	subscriptions atomic.Int64 // held and about to be

	open  int       // connections and requests under way; shares.mu guards it
	since time.Time // when the last ended; shares.mu guards it
}

// shares knows the tokens in use.
type shares struct {
	messages, bytes     float64 // a second, of all; 0: no limit
	most, subscriptions int     // of all; 0: no limit

	mu      sync.Mutex // guards what follows
	known   map[[16]byte]*share
	sweepAt time.Time
}

func newShares(l Limits, r Rates) *shares {
	return &shares{messages: r.TokenMessages, bytes: r.TokenBytes, most: l.PerToken, subscriptions: l.TokenSubscriptions, known: map[[16]byte]*share{}}
}

// off tells whether nothing is limited.
func (x *shares) off() bool {
	return x.messages == 0 && x.bytes == 0 && x.most == 0 && x.subscriptions == 0
}

// enter counts a connection with a token, if that may have one more; the caller owes a leave. The share is nil if nothing is limited, or there is no token.
func (x *shares) enter(id [16]byte, now time.Time) (s *share, ok bool) {
	if x.off() || id == [16]byte{} {
		return nil, true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.After(x.sweepAt) {
		for id, s := range x.known {
			if s.open == 0 && now.Sub(s.since) > sharesKept {
				delete(x.known, id)
			}
		}
		x.sweepAt = now.Add(sharesKept)
	}
	s = x.known[id]
	if s == nil {
		s = &share{budget: newBudget(x.messages, x.bytes)}
		x.known[id] = s
	}
	if x.most > 0 && s.open >= x.most {
		return nil, false
	}
	s.open++
	return s, true
}

func (x *shares) leave(s *share, now time.Time) {
	if s == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.open--
	s.since = now
}

// reserve counts a subscription, if there may be one more.
func (x *shares) reserve(s *share) bool {
	if s == nil || s.subscriptions.Add(1) <= int64(x.subscriptions) || x.subscriptions == 0 {
		return true
	}
	s.subscriptions.Add(-1)
	return false
}

// release takes subscriptions back.
func (s *share) release(n int) {
	if s != nil {
		s.subscriptions.Add(-int64(n))
	}
}
