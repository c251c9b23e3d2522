package latency

import (
	"math"
	"time"
)

const (
	firstGood      = 2                // answered probes that bring a link up that was never down
	flapHalf       = 30 * time.Second // half-life of the penalty
	flapMost       = 6.0              // greatest penalty: 2^5 times GoodLimit
	flapForgotten  = 0.1              // a penalty below this is none
	rememberedMost = 1024             // removed links whose penalty a node remembers
)

// flaps is the record of a link's downs: a penalty of one each that decays (RFC 2439, section 2.3).
type flaps struct {
	penalty float64
	at      time.Time // of the last down
}

func (f *flaps) add(now time.Time) {
	f.penalty = min(f.now(now)+1, flapMost)
	f.at = now
}

// now is the penalty decayed.
func (f *flaps) now(now time.Time) float64 {
	if f.penalty == 0 {
		return 0
	}
	halves := max(0, now.Sub(f.at).Seconds()/flapHalf.Seconds())
	return f.penalty * math.Exp2(-halves)
}

// need is how many probes answered in a row bring the link up.
func (f *flaps) need(now time.Time, goodLimit int) int {
	penalty := f.now(now)
	if penalty < flapForgotten {
		return min(firstGood, goodLimit)
	}
	return int(math.Ceil(float64(goodLimit) * math.Exp2(max(0, penalty-1))))
}
