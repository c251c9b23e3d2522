package latency

import "time"

// bucket bounds a rate: in any span of time w at most burst + w/period are taken. It is the generic cell rate algorithm (ITU-T
// I.371, annex A), a token bucket that stores one time.
type bucket struct {
	period time.Duration // between two, in the long run
	depth  time.Duration // (burst-1) periods
	next   time.Time     // when the bucket would be full again
}

func newBucket(perSecond float64, burst int) bucket {
	period := time.Duration(float64(time.Second) / perSecond)
	return bucket{period: period, depth: time.Duration(burst-1) * period}
}

// take takes one if there is one.
func (b *bucket) take(now time.Time) bool {
	if now.Before(b.ready()) {
		return false
	}
	if b.next.Before(now) {
		b.next = now
	}
	b.next = b.next.Add(b.period)
	return true
}

// ready is when the next can be taken; long past if it has been for long.
func (b *bucket) ready() time.Time { return b.next.Add(-b.depth) }
