//go:build !linux

package simulate

import "time"

// threadTime is the time, since that of the processor is not to be had.
func threadTime() time.Duration { return time.Since(time.Time{}) }
