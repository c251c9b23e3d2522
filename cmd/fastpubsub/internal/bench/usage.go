package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of times in /proc/PID/stat, which is the same on all Linux systems (USER_HZ).
const ticksPerSecond = 100

var errProc = errors.New("bench: unknown text in /proc")

// nodeCPU is the processor time that processes have taken together, in seconds; NaN where the system does not tell.
func nodeCPU(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return math.NaN()
		}
		d, err := parseStat(string(text))
		if err != nil {
			return math.NaN()
		}
		sum += d.Seconds()
	}
	return known(sum, len(pids) > 0)
}

// resident is the memory of a process in bytes; NaN where the system does not tell.
func resident(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return math.NaN()
	}
	bytes, err := parseResident(string(text))
	return known(float64(bytes), err == nil)
}

// largest is the most memory of any of the processes, in bytes; NaN where the system does not tell.
func largest(pids []int) float64 {
	most := 0.0
	for _, pid := range pids {
		most = max(most, resident(pid))
	}
	return known(most, len(pids) > 0)
}

// known is a figure, or NaN if it is not known.
func known(figure float64, ok bool) float64 {
	if !ok {
		return math.NaN()
	}
	return figure
}

// parseStat reads the user and system time out of /proc/PID/stat.
func parseStat(text string) (time.Duration, error) {
	// The second field is the program's name, which may contain anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, errProc
	}
	user, err1 := strconv.ParseUint(fields[11], 10, 48)
	system, err2 := strconv.ParseUint(fields[12], 10, 48)
	if err1 != nil || err2 != nil {
		return 0, errProc
	}
	return time.Duration(user+system) * (time.Second / ticksPerSecond), nil
}

// parseResident reads VmRSS in bytes out of /proc/PID/status.
func parseResident(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 48)
			if err != nil {
				return 0, errProc
			}
			return int64(kilobytes) << 10, nil
		}
	}
	return 0, errProc
}
