//go:build !linux

package wan

import "time"

// alarm wakes one goroutine at a time.
type alarm struct {
	timer  *time.Timer
	closed chan struct{}
}

func newAlarm() (*alarm, error) {
	timer := time.NewTimer(0)
	timer.Stop()
	return &alarm{timer: timer, closed: make(chan struct{})}, nil
}

// set makes wait return after d, instead of what was set before. It must not be called after close.
func (a *alarm) set(d time.Duration) { a.timer.Reset(d) }

// wait waits until the time that was set; it reports false after close.
func (a *alarm) wait() bool {
	select {
	case <-a.timer.C:
		return true
	case <-a.closed:
		return false
	}
}

// close ends wait.
func (a *alarm) close() {
	a.timer.Stop()
	close(a.closed)
}
