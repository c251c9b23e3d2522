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
	budget        atomic.Pointer[budget] // nil: no limit
	subscriptions atomic.Int64           // held and about to be

	open  int       // connections and requests under way; shares.mu guards it
	since time.Time // when the last ended; shares.mu guards it
}

// shares knows the tokens in use.
type shares struct {
	mu              sync.Mutex // guards what follows
	messages, bytes float64    // a second, of all; 0: no limit
	most            int        // of all; 0: no limit
	known           map[[16]byte]*share
	sweepAt         time.Time
}

func newShares(l Limits, r Rates) *shares {
	return &shares{messages: r.TokenMessages, bytes: r.TokenBytes, most: l.PerToken, known: map[[16]byte]*share{}}
}

// set changes the limits, for those who have a share already, too. Where they change, a second's worth can come at once.
func (x *shares) set(next *rules) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.most = next.limits.PerToken
	if x.messages == next.rates.TokenMessages && x.bytes == next.rates.TokenBytes {
		return
	}
	x.messages, x.bytes = next.rates.TokenMessages, next.rates.TokenBytes
	for _, s := range x.known {
		s.budget.Store(newBudget(x.messages, x.bytes))
	}
}

// request is enter for what is over at once, and so need not count while nothing is limited.
func (x *shares) request(id [16]byte, now time.Time, under *rules) (s *share, ok bool) {
	if under.rates.TokenMessages == 0 && under.rates.TokenBytes == 0 && under.limits.PerToken == 0 {
		return nil, true
	}
	return x.enter(id, now)
}

// enter counts a connection with a token, if that may have one more; the caller owes a leave. The share is nil if there is no token. Connections count even while
// nothing is limited, since there may be limits before they end.
func (x *shares) enter(id [16]byte, now time.Time) (s *share, ok bool) {
	if id == [16]byte{} {
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
		s = new(share)
		s.budget.Store(newBudget(x.messages, x.bytes))
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

// reserve counts a subscription, if there may be one more; most is 0 where nothing is limited.
func (s *share) reserve(most int) bool {
	if s == nil || s.subscriptions.Add(1) <= int64(most) || most == 0 {
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
