package bench

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// coarse is how much the runtime's timers can be late: its poller waits in whole milliseconds.
const coarse = 2 * time.Millisecond

// beExact makes the goroutine's next sleeps exact until the function returned is called: its thread is its own and the kernel does not gather
// its timers, as it else does within 50 µs.
func beExact() (release func()) {
	runtime.LockOSThread()
	// A kernel that refuses only makes it later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}

// doze sleeps in the kernel; a signal ends it early.
func doze(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}
