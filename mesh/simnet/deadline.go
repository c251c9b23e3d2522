package simnet

import (
	"sync"
	"time"
)

// deadline is the read or write deadline of a socket. It is guarded by the lock of the condition variable given to set.
type deadline struct {
	at    time.Time // zero: never
	fired bool      // the timer has run
	timer *time.Timer
}

// expired tells whether the deadline is past. It looks at the clock as well, because the timers of two deadlines at
// the same time run one after the other; and at the timer, because wall and monotonic clocks may differ.
func (d *deadline) expired() bool {
	return d.fired || !d.at.IsZero() && time.Until(d.at) <= 0
}

// set makes the deadline expire at a time, which wakes those who wait on cond; the zero time means never. Those who
// wait are woken now too, to see the new state.
func (d *deadline) set(at time.Time, cond *sync.Cond) {
	d.stop()
	d.at, d.fired = at, false
	cond.Broadcast()
	if at.IsZero() {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		if d.timer == timer { // else it was set anew while this ran
			d.fired = true
			cond.Broadcast()
		}
	})
	d.timer = timer
}

// stop ends the timer; the state stays as it is.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
