package latency

import (
	"math"
	"slices"
	"time"
)

// Constants of the round trip's estimate; doc.go says where they come from.
const (
	steadyGain    = 1.0 / 16 // while it stands
	riseGain      = 1.0 / 2  // while the level rises
	fallGain      = 1.0 / 4  // while it falls
	deviationGain = 1.0 / 8
	rangeGain     = 1.0 / 4
	controlLimit  = 3.0 // deviations
	clipLimit     = 6.0 // deviations that one sample counts for at most
	followMost    = 12  // samples that a shift is followed for at most
	window        = 5   // samples whose median counts
	belowMost     = 8   // samples in a row below the estimate that show it to be wrong
	doubtLimit    = 4.0 // deviations, beyond which one sample asks for more
	firstShare    = 1.0 / 8

	limitFloor = 100 * time.Microsecond // added to the control limits
	clipFloor  = time.Millisecond       // added to the clip
	doubtFloor = 2 * time.Millisecond   // added to the limit of doubt
	minWindow  = 30 * time.Second       // MinRTT is over the last one to two of these
)

// estimator smooths round-trip times. Times in it are nanoseconds.
type estimator struct {
	recent  [window]float64 // the last samples, in a ring
	samples uint64
	srtt    float64
	dev     float64
	jumps   float64 // mean moving range: what one sample differs from the one before
	shift   float64 // +1 or -1 while the level moves up or down, else 0
	follow  int     // samples until a shift must show itself again
	below   int     // samples in a row below srtt
	doubt   int     // samples until one that stood out is decided upon

	low, lowBefore float64 // least sample of this window and of the one before
	lowSince       time.Duration
}

// observe takes one sample at a time that does not matter but for the window of the minimum.
func (e *estimator) observe(at, rtt time.Duration) {
	sample := float64(rtt)
	e.noteLow(at, sample)
	e.noteRange(sample)
	e.recent[e.samples%window] = sample
	e.samples++
	e.question(sample)
	switch {
	case e.samples == 1:
		e.srtt, e.dev = sample, sample*firstShare
		return
	case e.samples <= window: // the first probe on a new path is often the slow one
		e.srtt = lowerMedian(e.recent[:e.samples])
		e.deviate(sample)
		return
	case e.correct(sample):
		return
	}
	off := lowerMedian(e.recent[:]) - e.srtt
	if e.shift*off > 0 { // on the same side still: the deviation from a level left behind says nothing
		e.srtt += e.gain() * off
		if e.follow--; e.follow == 0 {
			e.shift = 0
		}
		return
	}
	e.shift = 0
	if math.Abs(off) > controlLimit*min(e.dev, e.jumps)+float64(limitFloor) {
		e.shift, e.follow = math.Copysign(1, off), followMost
	}
	e.deviate(sample)
	e.srtt += e.gain() * off
}

// question notes whether a sample stands out, so that it or the estimate is wrong, which the next ones show.
func (e *estimator) question(sample float64) {
	e.doubt = max(0, e.doubt-1)
	if e.doubt == 0 && e.samples > window && math.Abs(sample-e.srtt) > doubtLimit*e.dev+float64(doubtFloor) {
		e.doubt = window
	}
}

// unsettled reports whether the level may have moved.
func (e *estimator) unsettled() bool { return e.doubt > 0 || e.shift != 0 }

// correct sets the estimate to what the last samples say once so many in a row lie below it, and reports whether it did.
func (e *estimator) correct(sample float64) bool {
	if sample >= e.srtt {
		e.below = 0
		return false
	}
	if e.below++; e.below < belowMost {
		return false
	}
	e.srtt, e.dev = lowerMedian(e.recent[:]), min(e.dev, e.jumps)
	e.below, e.shift = 0, 0
	return true
}

func (e *estimator) gain() float64 {
	switch {
	case e.shift > 0:
		return riseGain
	case e.shift < 0:
		return fallGain
	}
	return steadyGain
}

func (e *estimator) deviate(sample float64) {
	off := min(math.Abs(sample-e.srtt), clipLimit*e.dev+float64(clipFloor))
	e.dev += deviationGain * (off - e.dev)
}

// noteRange keeps the moving range, which a level that was wrong, or has moved, does not inflate as it does the deviation.
func (e *estimator) noteRange(sample float64) {
	if e.samples == 0 {
		e.jumps = sample * firstShare
		return
	}
	before := e.recent[(e.samples-1)%window]
	jump := min(math.Abs(sample-before), clipLimit*e.jumps+float64(clipFloor))
	e.jumps += rangeGain * (jump - e.jumps)
}

func (e *estimator) noteLow(at time.Duration, sample float64) {
	switch {
	case e.samples == 0:
		e.low, e.lowBefore, e.lowSince = sample, sample, at
	case at-e.lowSince >= minWindow:
		e.low, e.lowBefore, e.lowSince = sample, e.low, at
	default:
		e.low = min(e.low, sample)
	}
}

func (e *estimator) smoothed() time.Duration  { return time.Duration(e.srtt) }
func (e *estimator) deviation() time.Duration { return time.Duration(e.dev) }
func (e *estimator) least() time.Duration     { return time.Duration(min(e.low, e.lowBefore)) }

// lowerMedian is the middle value, the lower of two; there are at most window.
func lowerMedian(samples []float64) float64 {
	var sorted [window]float64
	n := copy(sorted[:], samples)
	slices.Sort(sorted[:n])
	return sorted[(n-1)/2]
}
