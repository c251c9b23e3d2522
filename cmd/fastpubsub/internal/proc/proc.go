// Package proc tells what processes on this computer take, where the system has a /proc as Linux does. Elsewhere every call is an error.
package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of times in /proc/PID/stat, which is the same on all Linux systems (USER_HZ).
const ticksPerSecond = 100

// maxTickBits bounds each of two times so that their sum fits a time.Duration: 87 years.
const maxTickBits = 38

// ErrText reports text in /proc that is not as expected.
var ErrText = errors.New("proc: unknown text in /proc")

// CPU is the user and system time that a process has taken.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("proc: %w", err)
	}
	return parseStat(string(text))
}

// Resident is the memory of a process in bytes.
func Resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("proc: %w", err)
	}
	return parseResident(string(text))
}

// parseStat reads the user and system time out of /proc/PID/stat.
func parseStat(text string) (time.Duration, error) {
	// The second field is the program's name, which may contain anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, ErrText
	}
	user, err1 := strconv.ParseUint(fields[11], 10, maxTickBits)
	system, err2 := strconv.ParseUint(fields[12], 10, maxTickBits)
	if err1 != nil || err2 != nil {
		return 0, ErrText
	}
	return time.Duration(user+system) * (time.Second / ticksPerSecond), nil
}

// parseResident reads VmRSS in bytes out of /proc/PID/status.
func parseResident(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 48)
			if err != nil {
				return 0, ErrText
			}
			return int64(kilobytes) << 10, nil
		}
	}
	return 0, ErrText
}
