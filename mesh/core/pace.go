package core

import (
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// How changes of interest are gathered. The first goes out at once, but for interestPause; others wait, the longer the more nodes there are, since each record
// costs every node a signature check; and while the mesh is flooded with them, the longer the more come in. So a burst costs a bounded number of records,
// whoever it is at, and bursts everywhere cost each node about interestMost.
const (
	interestPause = 10 * time.Millisecond  // how long changes of interest gather
	interestEach  = 250 * time.Microsecond // between two records, for each node
	interestSlow  = 400 * time.Millisecond // but no more than this
	interestMost  = 1 << 20                // bytes of records of interest that a node wants to be sent in a second
	strainWindow  = 250 * time.Millisecond
	strainMost    = 128.0 // that bursts make the pause longer by
)

// pace says when changes of interest are told.
type pace struct {
	due    time.Time // zero: nothing gathered
	last   time.Time // when they were told last
	strain float64   // what the pause is longer by since too much comes in; at least 1
	since  time.Time // when the present window began
	came   int       // bytes in it
}

// changed notes a change.
func (p *pace) changed(now time.Time, nodes int) {
	if !p.due.IsZero() {
		return
	}
	p.settle(now)
	pause := min(max(interestPause, time.Duration(nodes)*interestEach), interestSlow)
	p.due = now.Add(interestPause)
	if next := p.last.Add(time.Duration(float64(pause) * p.strain)); p.due.Before(next) {
		p.due = next
	}
}

// flush reports whether changes are to be told now.
func (p *pace) flush(now time.Time) bool {
	if p.due.IsZero() || now.Before(p.due) {
		return false
	}
	p.due, p.last = time.Time{}, now
	return true
}

// heard notes records of others' interest, which all nodes get alike, and so slow down alike.
func (p *pace) heard(now time.Time, r *wire.Record) {
	if r.Kind == wire.RecordInterest {
		p.settle(now)
		p.came += len(r.Raw)
	}
}

// settle judges the windows that have passed.
func (p *pace) settle(now time.Time) {
	passed := now.Sub(p.since)
	if passed < strainWindow {
		return
	}
	rate := float64(p.came) / passed.Seconds()
	switch {
	case rate > interestMost:
		p.strain = min(p.strain*2, strainMost)
	case rate < interestMost/2:
		for range min(passed/strainWindow, 16) {
			p.strain = max(1, p.strain/1.25)
		}
	}
	p.since, p.came = now, 0
}
