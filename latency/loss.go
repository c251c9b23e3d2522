package latency

import (
	"math"
	"math/bits"
)

const (
	lossWindow = 64        // probes looked back on for a sudden rise
	lossGain   = 1.0 / 128 // of one probe
	riseLeast  = 4         // lost probes in the window that can be a rise
	riseSigmas = 3.0
)

// losses estimates the share of probes without an echo.
type losses struct {
	lost    uint64 // the last lossWindow verdicts, newest in bit 0; set = lost
	count   uint64 // verdicts so far
	average float64
}

// restore forgets the verdicts since before, which is an earlier state. Their numbers are not given again.
func (l *losses) restore(before losses) {
	before.lost <<= min(l.count-before.count, lossWindow)
	before.count = l.count
	*l = before
}

// record takes the verdict on a probe and returns its number, by which it can be forgiven.
func (l *losses) record(lost bool) uint64 {
	l.lost <<= 1
	l.average -= lossGain * l.average
	if lost {
		l.lost |= 1
		l.average += lossGain
		l.catchUp()
	}
	l.count++
	return l.count
}

// forgive takes a verdict of lost back: the echo came after all. Number 0 is none.
func (l *losses) forgive(number uint64) {
	if number == 0 {
		return
	}
	age := l.count - number
	if age < lossWindow {
		l.lost &^= 1 << age
	}
	l.average = max(0, l.average-lossGain*math.Pow(1-lossGain, float64(age)))
}

// catchUp makes the average what the window says where chance no longer explains the difference.
func (l *losses) catchUp() {
	lost := bits.OnesCount64(l.lost)
	share := float64(lost) / lossWindow
	sigma := math.Sqrt(l.average * (1 - l.average) / lossWindow)
	if lost >= riseLeast && share > l.average+riseSigmas*sigma {
		l.average = share
	}
}

// roundTrip is the share of probes without an echo.
func (l *losses) roundTrip() float64 { return l.average }

// oneWay is the share of packets lost in one direction, if both directions lose alike.
func (l *losses) oneWay() float64 { return 1 - math.Sqrt(1-min(l.average, 1)) }
