//go:build unix

package bench

import (
	"math"
	"syscall"
	"time"
)

// ownCPU is the processor time that this process has taken, in seconds.
func ownCPU() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return math.NaN()
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}
