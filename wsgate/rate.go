package wsgate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// errTooFast reports a publication over a budget.
var errTooFast = errors.New("wsgate: published too fast")

const (
	// maxPublication bounds tenant, channel and payload of a valid publication, in bytes: every budget has room for one.
	maxPublication = 128 + 256 + 65_535
	// strikeInterval is the least time between two notices of refused publications.
	strikeInterval = time.Second
	// strikesForgiven is the time without a refusal after which former ones no longer count.
	strikesForgiven = time.Minute
)

// budget is how much may be published. Sessions may share it. Nil limiters do not limit.
type budget struct {
	messages, bytes           *rate.Limiter
	messagesAhead, bytesAhead int // what a session may take at a time, for publications to come
}

// newBudget is a budget of so much a second, of which a second's worth may come at once; or nil without limits.
func newBudget(messages, bytes float64) *budget {
	if messages <= 0 && bytes <= 0 {
		return nil
	}
	b := &budget{messages: newLimiter(messages, messages), bytes: newLimiter(bytes, max(bytes, maxPublication))}
	if b.messages != nil {
		b.messagesAhead = min(64, b.messages.Burst()/64)
	}
	if b.bytes != nil {
		b.bytesAhead = min(64<<10, b.bytes.Burst()/64)
	}
	return b
}

// take takes a publication of n bytes, for a request.
func (b *budget) take(n int) bool {
	now := time.Now()
	return (b.messages == nil || b.messages.AllowN(now, 1)) && (b.bytes == nil || b.bytes.AllowN(now, n))
}

// newLimiter is a limiter of so much a second, and so much, but one at least, at once. Nil means no limit.
func newLimiter(perSecond, burst float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(min(max(burst, 1), math.MaxInt32))))
}

// credit is what a session has taken from a budget and not used yet: most publications then cost no look at the clock and no lock. It is a 64th of what may
// come at once, at most, so that sessions which share a budget keep little from each other.
type credit struct {
	from            *budget
	messages, bytes int
}

// take takes a publication of n bytes, if there is enough.
func (c *credit) take(n int) bool {
	if c.messages < 1 || c.bytes < n {
		now := time.Now()
		if !raise(&c.messages, 1, c.from.messages, c.from.messagesAhead, now) || !raise(&c.bytes, n, c.from.bytes, c.from.bytesAhead, now) {
			return false
		}
	}
	c.messages--
	c.bytes -= n
	return true
}

// raise raises what there is to what is needed, and ahead more if that can be had.
func raise(have *int, need int, from *rate.Limiter, ahead int, now time.Time) bool {
	lack := need - *have
	switch {
	case lack <= 0:
		return true
	case from == nil:
		*have = math.MaxInt
		return true
	case ahead > 0 && from.AllowN(now, lack+ahead):
		*have += lack + ahead
		return true
	case from.AllowN(now, lack):
		*have += lack
		return true
	}
	return false
}

// strikes is what a session knows of publications refused for their rate. It belongs to the reader.
type strikes struct {
	refused uint64 // in the life of the connection
	count   int    // notices of it, of late
	at      time.Time
}

// credits are from all budgets that a publication is taken from.
type credits []credit

// take takes a publication of n bytes from all of them.
func (c credits) take(n int) bool {
	for i := range c {
		if !c[i].take(n) {
			return false
		}
	}
	return true
}

// charge has every publication taken from a budget, besides others; nil changes nothing.
func (c *credits) charge(b *budget) {
	if b != nil {
		*c = append(*c, credit{from: b})
	}
}

// affordable takes a publication of n bytes, made by a request with a token.
func (s *Server) affordable(ctx context.Context, with *share, n int) bool {
	if with != nil {
		if b := with.budget.Load(); b != nil && !b.take(n) {
			return false
		}
	}
	c := callerOf(ctx)
	if now := s.rules.Load(); c.rates != now.rates {
		c.rates = now.rates
		c.credits = nil
		c.credits.charge(newBudget(now.rates.Messages, now.rates.Bytes))
	}
	return c.credits.take(n)
}

// refuseFast counts a publication over a budget. The client is told once a second at most, how many there were; and when it has been told too often, it is closed.
func (s *session) refuseFast(ctx context.Context, id []byte) {
	now := time.Now()
	s.server.counts.tooFast.Add(1)
	s.strikes.refused++
	since := now.Sub(s.strikes.at)
	if since < strikeInterval {
		return
	}
	if since >= strikesForgiven {
		s.strikes.count = 0
	}
	s.strikes.count++
	s.strikes.at = now
	if s.strikes.count > s.server.rules.Load().limits.Strikes {
		s.box.shut(closeRate)
		return
	}
	s.server.counts.errors[codeRateLimited].Add(1)
	s.answer(ctx, reply{event: eventError, fault: fault{codeRateLimited, fmt.Sprint(s.strikes.refused)}, id: id})
}

// paced waits until the client may subscribe or unsubscribe. It is not refused: a client that follows the contract, and connects anew, would never be
// able to publish if one of its subscriptions were not acknowledged.
func (s *session) paced(ctx context.Context) error {
	if s.heed(); s.commands == nil {
		return nil
	}
	return s.commands.Wait(ctx)
}
