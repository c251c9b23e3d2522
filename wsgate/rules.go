package wsgate

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// rules are the limits that clients are held to. They are replaced as a whole, and so read without a lock.
type rules struct {
	limits Limits // none is zero where that means its default
	rates  Rates
}

// CheckLimits joins all faults of limits and rates, as New and SetLimits would find them.
func CheckLimits(l Limits, r Rates) error {
	var faults []error
	if min(l.Connections, l.PerAddress, l.PerToken, l.Subscriptions, l.TokenSubscriptions, l.QueueBytes, l.QueueFrames, l.BadFrames, l.Strikes, l.HeaderBytes) < 0 {
		faults = append(faults, fmt.Errorf("negative limit: %+v", l))
	}
	if l.Subscriptions > math.MaxUint16 {
		faults = append(faults, fmt.Errorf("%d subscriptions do not fit a delivery, limit %d", l.Subscriptions, math.MaxUint16))
	}
	all := []float64{r.Messages, r.Bytes, r.TokenMessages, r.TokenBytes, r.Commands, r.Connects}
	for _, each := range all {
		if !(each >= 0 && each <= math.MaxFloat64) { // NaN is neither
			faults = append(faults, fmt.Errorf("a rate that is negative or no number: %+v", r))
			break
		}
	}
	return errors.Join(faults...)
}

// SetLimits has clients held to other limits and rates from now on, as the package comment says under Limits. It changes nothing if they are not valid. Calls
// must not overlap.
func (s *Server) SetLimits(l Limits, r Rates) error {
	if err := CheckLimits(l, r); err != nil {
		return fmt.Errorf("wsgate: limits: %w", err)
	}
	next := &rules{limits: l.withDefaults(), rates: r}
	if *next == *s.rules.Load() {
		return nil
	}
	now := time.Now()
	s.visitors.set(next.limits.PerAddress, r.Connects, now)
	s.shares.set(next)
	s.rules.Store(next) // last: who sees it finds the budgets of its token made anew
	return nil
}

// obey has a session go by the present rules. Only its reader calls it.
func (s *session) obey(now *rules) {
	before := s.rules
	s.rules = now
	if before == nil || before.rates.Messages != now.rates.Messages || before.rates.Bytes != now.rates.Bytes {
		s.own = newBudget(now.rates.Messages, now.rates.Bytes)
	}
	s.commands = adjust(s.commands, now.rates.Commands, float64(now.limits.Subscriptions), time.Now())
	s.credits = s.credits[:0]
	s.credits.charge(s.own)
	if s.share != nil {
		s.credits.charge(s.share.budget.Load())
	}
}

// heed has a session go by the present rules.
func (s *session) heed() {
	if now := s.server.rules.Load(); now != s.rules {
		s.obey(now)
	}
}

// adjust gives a limiter other bounds, see newLimiter: what was used of it stays used.
func adjust(l *rate.Limiter, perSecond, burst float64, now time.Time) *rate.Limiter {
	next := newLimiter(perSecond, burst)
	if l == nil || next == nil {
		return next
	}
	if l.Limit() != next.Limit() || l.Burst() != next.Burst() {
		l.SetLimitAt(now, next.Limit())
		l.SetBurstAt(now, next.Burst())
	}
	return l
}
