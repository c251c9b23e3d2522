package flight

import (
	"math"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	penaltyFirst = 10 * time.Second // how long relays are avoided that were found not to pass messages on
	penaltyMost  = 5 * time.Minute  // doubled up to this each time that they are found again soon after
	penaltyKept  = 4                // within this many penalties after one

	futileFor = time.Second // before other ways are tried again

	lostLeast = 3  // messages lost, among others that came through, that condemn a path,
	lostShare = 20 // if they are this part of those that came
)

// Way is how messages reach the destination while they avoid some relays: the relays passed, and how long the way takes at most in
// quiet times. False: there is no way.
type Way func(avoid []wire.NodeID) (relays []wire.NodeID, takes time.Duration, ok bool)

// Judge watches what becomes of messages on the path to one destination, and says which relays to avoid.
type Judge struct {
	plain  []wire.NodeID // relays of the path if none are avoided
	relays []wire.NodeID // of the path that messages take now
	since  time.Time     // when they began to take it
	avoid  []wire.NodeID // relays found or suspected not to pass messages on
	named  bool          // the plain path leads through one of them
	heard  time.Time     // when the last acknowledgement came

	suspecting bool          // some of avoid are merely suspected
	answerable time.Time     // nothing sent on the way without them is acknowledged before
	detoured   bool          // single messages have taken other ways of late
	patience   time.Duration // what an acknowledgement may take on the way tried now, at least
	futile     time.Time     // until then no other way is tried: the destination has not answered on any
	found      []wire.NodeID // relays found; avoid again once a suspicion proves wrong
	until      time.Time     // when they are given another chance; zero: there are none
	pardoned   time.Time     // when some last were
	penalty    time.Duration // the last

	lost, came float64 // messages that were sent on this path and timed out, and that were acknowledged; decaying
	at         time.Time
}

// Avoid is the relays to name in messages to the destination now; nil most of the time.
func (j *Judge) Avoid() []wire.NodeID {
	if j.named {
		return j.avoid
	}
	return nil
}

// Over reports whether relays that were avoided are to be given another chance, by Route.
func (j *Judge) Over(now time.Time) bool { return !j.until.IsZero() && !now.Before(j.until) }

// Route takes note of which ways there are now; it is to be called when that may have changed. It reports whether messages went around relays by a path that is not
// the one to take any more: it may be broken, and what is under way on it lost.
func (j *Judge) Route(now time.Time, way Way) (astray bool) {
	over, named := j.Over(now), j.named
	if over {
		j.avoid, j.found, j.suspecting = nil, nil, false
		j.until, j.pardoned = time.Time{}, now
	}
	plain, _, _ := way(nil)
	if !slices.Equal(plain, j.plain) {
		j.plain, j.futile, j.lost, j.came = plain, time.Time{}, 0, 0
	}
	relays := plain
	j.named = slices.ContainsFunc(plain, func(id wire.NodeID) bool { return slices.Contains(j.avoid, id) })
	if j.named {
		if around, _, ok := way(j.avoid); ok {
			relays = around
		}
	}
	if slices.Equal(relays, j.relays) {
		return false
	}
	j.relays, j.since = relays, now
	return named && !over
}

// Missed takes note of a message, last sent then, that was not acknowledged in time, and reports whether messages take another way from now on.
func (j *Judge) Missed(now, sent time.Time, way Way) (changed bool) {
	if sent.Before(j.since) || j.suspecting && now.Sub(sent) < j.patience {
		return false // it went another way, or that is longer than the time-out knows
	}
	j.decay(now)
	j.lost++
	silent := !j.heard.After(sent)
	switch {
	case silent && now.Before(j.futile):
		return false
	case !silent && (j.lost < lostLeast || j.lost*lostShare < j.came):
		return false
	}
	return j.leave(now, silent, way)
}

// leave has messages go around the relays of the present path, if there is a way.
func (j *Judge) leave(now time.Time, silent bool, way Way) (changed bool) {
	avoid := j.around()
	takes, ok := time.Duration(0), false
	if avoid != nil {
		_, takes, ok = way(avoid)
	}
	switch {
	case ok && silent:
		j.avoid, j.suspecting = avoid, true
		j.answerable = now.Add(2 * takes * 3 / 4)
		j.patience = 2*takes*5/4 + 2*AckDelay
	case ok:
		j.avoid = avoid
		j.condemn(now)
	case j.suspecting: // nothing comes back whichever way it goes: the destination itself is silent
		j.futile = now.Add(futileFor)
		j.avoid, j.suspecting = j.found, false
	default:
		return false
	}
	j.Route(now, way)
	return ok
}

// around is the avoided relays and those of the present path; nil if that has none, or they are too many.
func (j *Judge) around() []wire.NodeID {
	avoid := with(j.avoid, j.relays)
	if len(j.relays) == 0 || len(avoid) > wire.MaxAvoid {
		return nil
	}
	return avoid
}

// with is a new list of both, none twice.
func with(avoid, relays []wire.NodeID) []wire.NodeID {
	avoid = slices.Clone(avoid)
	for _, id := range relays {
		if !slices.Contains(avoid, id) {
			avoid = append(avoid, id)
		}
	}
	return avoid
}

// Detour is the relays that a message is to avoid which was not acknowledged after so many tries on the present path: those of that path too, then those of the
// next, and so on, as far as there are other paths.
func (j *Judge) Detour(tries int, way Way) []wire.NodeID {
	avoid := j.Avoid()
	relays := j.relays
	for range (tries + 1) / 2 {
		more := with(avoid, relays)
		next, _, ok := way(more)
		if len(relays) == 0 || len(more) > wire.MaxAvoid || !ok {
			break
		}
		avoid, relays, j.detoured = more, next, true
	}
	return avoid
}

// Heard takes note that an acknowledgement came, which freed so many messages.
func (j *Judge) Heard(now time.Time, freed int, way Way) {
	j.decay(now)
	j.came += float64(freed)
	j.heard, j.futile = now, time.Time{}
	switch {
	case !j.suspecting:
		j.detoured = false
		return
	case now.Before(j.answerable) && j.detoured: // perhaps of a message that went yet another way
		return
	case now.Before(j.answerable): // it was merely late
		j.avoid, j.suspecting = j.found, false
	default:
		j.condemn(now)
	}
	j.Route(now, way)
}

// condemn has the relays in avoid avoided for a while.
func (j *Judge) condemn(now time.Time) {
	switch {
	case !j.until.IsZero(): // some were already
	case j.penalty > 0 && now.Sub(j.pardoned) < penaltyKept*j.penalty:
		j.penalty = min(2*j.penalty, penaltyMost)
	default:
		j.penalty = penaltyFirst
	}
	j.found, j.suspecting, j.detoured = j.avoid, false, false
	j.until = now.Add(j.penalty)
	j.lost, j.came = 0, 0
}

// decay halves what was counted for each second since.
func (j *Judge) decay(now time.Time) {
	share := math.Exp2(-now.Sub(j.at).Seconds())
	j.lost *= share
	j.came *= share
	j.at = now
}
