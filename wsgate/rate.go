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

// budget is how much may be published. It may be shared: a session takes from all of its budgets. Nil limiters do not limit.
type budget struct{ messages, bytes *rate.Limiter }

// newBudget is a budget of so much a second, of which a second's worth may come at once; or nil without limits.
func newBudget(messages, bytes float64) *budget {
	if messages <= 0 && bytes <= 0 {
		return nil
	}
	return &budget{messages: newLimiter(messages, messages), bytes: newLimiter(bytes, max(bytes, maxPublication))}
}

// newLimiter is a limiter of so much a second, and so much, but one at least, at once. Nil means no limit.
func newLimiter(perSecond, burst float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(min(max(burst, 1), math.MaxInt32))))
}

// allow takes a publication of n bytes from the budget, if there is enough.
func (b *budget) allow(now time.Time, n int) bool {
	return (b.messages == nil || b.messages.AllowN(now, 1)) && (b.bytes == nil || b.bytes.AllowN(now, n))
}

// strikes is what a session knows of publications refused for their rate. It belongs to the reader.
type strikes struct {
	refused uint64 // in the life of the connection
	count   int    // notices of it, of late
	at      time.Time
}

// affordable takes a publication of n bytes from all budgets of the session.
func (s *session) affordable(n int) bool {
	if len(s.budgets) == 0 {
		return true
	}
	now := time.Now()
	for _, b := range s.budgets {
		if !b.allow(now, n) {
			return false
		}
	}
	return true
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
	if s.strikes.count > s.server.limits.Strikes {
		s.box.shut(closeRate)
		return
	}
	s.server.counts.errors[codeRateLimited].Add(1)
	s.answer(ctx, reply{event: eventError, fault: fault{codeRateLimited, fmt.Sprint(s.strikes.refused)}, id: id})
}

// paced waits until the client may subscribe or unsubscribe. It is not refused: a client that follows the contract, and connects anew, would never be
// able to publish if one of its subscriptions were not acknowledged.
func (s *session) paced(ctx context.Context) error {
	if s.commands == nil {
		return nil
	}
	return s.commands.Wait(ctx)
}
