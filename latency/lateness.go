package latency

import "time"

// Where a computer is short of processor time, probes and their echoes come late, links look dead that are not, and what is done about them takes
// more processor time: without a remedy all of a node's links break. A node that finds itself late therefore probes less, and gives echoes more time.
const (
	lateShare = 8                    // each sample counts 1/lateShare
	lateLeast = 5 * time.Millisecond // smoothed, from which on less is probed
	lateMost  = 8                    // the budget is divided by up to this
	lateTold  = 2                    // smoothed latenesses that echoes are given more
)

// lateness is how much later than it is due the caller comes, smoothed.
type lateness struct{ mean time.Duration }

// add adds a sample.
func (l *lateness) add(late time.Duration) {
	l.mean += (min(max(late, 0), time.Second) - l.mean) / lateShare
}

// factor is what is probed less by, 1 to lateMost.
func (l *lateness) factor() float64 {
	return min(max(1, float64(l.mean)/float64(lateLeast)), lateMost)
}

// patience is how much longer than else an echo may take.
func (l *lateness) patience() time.Duration {
	if l.mean < lateLeast {
		return 0
	}
	return lateTold * l.mean
}
