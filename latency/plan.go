package latency

import (
	"math"
	"time"
)

// Shares of the budget. What planShare leaves free is for probes that go a little early because a tick takes them along.
const (
	planShare    = 0.85
	suspectShare = 0.40 // at most, for suspected links
	baseShare    = 0.35 // at least, where needed, for every link alike
	planRounds   = 8
)

// plan divides the budget over the links, in probes per second:
//
//   - every link gets base: the rate of IdleInterval if that fits;
//   - suspected links get their fast rate, all stretched alike past suspectShare;
//   - the rest is for lively links. Where it does not give each its fast rate it is shared by weight, which falls with the time since
//     the link's last use.
type plan struct {
	at      time.Duration // when it was made, on the links' scale
	base    float64
	suspect float64 // part of their fast rate that suspected links get
	scale   float64 // a lively link gets min(1, scale·weight) of its fast rate beyond base
}

// newPlan is the plan for the links as they are now, of a budget that is less by a factor.
func newPlan(at time.Duration, cfg *Config, members []*member, less float64) plan {
	var suspects, lively float64
	for _, m := range members {
		switch {
		case m.link.suspected():
			suspects += rate(m.link.fast())
		case m.link.lively(at) || m.link.unsettled():
			lively += rate(m.link.pace(at))
		}
	}
	budget, n := float64(cfg.Budget)/less, float64(max(len(members), 1))
	granted := min(suspects, suspectShare*budget)
	pl := plan{at: at, suspect: 1, scale: math.Inf(1)}
	pl.base = min(rate(cfg.IdleInterval), max(baseShare*budget, planShare*budget-granted-lively)/n)
	if granted < suspects {
		pl.suspect = granted / suspects
	}
	if left := planShare*budget - granted - pl.base*n; lively > left {
		pl.scale = pl.fill(members, left)
	}
	return pl
}

// fill is the scale at which the lively links together take what is left. A link that reaches its fast rate leaves the others more, so
// each round can only raise the scale (water-filling).
func (pl *plan) fill(members []*member, left float64) (scale float64) {
	for range planRounds {
		rest, weights := left, 0.0
		for _, m := range members {
			if m.link.suspected() || !m.link.lively(pl.at) && !m.link.unsettled() {
				continue
			}
			extra := max(0, rate(m.link.pace(pl.at))-pl.base)
			if w := m.link.weight(pl.at); w*scale >= 1 {
				rest -= extra
			} else {
				weights += w * extra
			}
		}
		if weights == 0 || rest <= scale*weights {
			break
		}
		scale = rest / weights
	}
	return scale
}

// interval is the time between two probes of a link that may be fast.
func (pl *plan) interval(l *Link) time.Duration {
	full := rate(l.fast())
	share := pl.suspect
	if !l.suspected() {
		share = min(1, pl.scale*l.weight(pl.at))
		return interval(pl.base + max(0, full-pl.base)*share)
	}
	return interval(max(pl.base, full*share))
}

// pace is the interval that a lively link wants to be probed at.
func (l *Link) pace(at time.Duration) time.Duration {
	if l.heardOf(at) && !l.unsettled() {
		return l.calm()
	}
	return l.fast()
}

// rate and interval are each other's inverse, in 1/s.
func rate(interval time.Duration) float64 { return float64(time.Second) / float64(interval) }

func interval(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }
