package wan

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes one goroutine at a time. On Linux it is a timerfd read through the runtime's poller, because the poller
// waits in whole milliseconds for timers of package time: with them packets were 0.6 ms late on average, so 0.1 ms.
type alarm struct {
	fd   int
	file *os.File
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// set makes wait return after d, instead of what was set before. It must not be called after close.
func (a *alarm) set(d time.Duration) {
	value := unix.NsecToTimespec(max(int64(d), 1)) // 0 would disarm
	if err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: value}, nil); err != nil {
		panic(err) // fails only for arguments that are not valid
	}
}

// wait waits until the time that was set; it reports false after close.
func (a *alarm) wait() bool {
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err == nil
}

// close ends wait.
func (a *alarm) close() { a.file.Close() }
