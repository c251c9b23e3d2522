//go:build !linux

package bench

import "time"

// coarse is how much the runtime's timers can be late; elsewhere there is nothing better to sleep by.
const coarse = 2 * time.Millisecond

func beExact() (release func()) { return func() {} }

func doze(d time.Duration) { time.Sleep(d) }
