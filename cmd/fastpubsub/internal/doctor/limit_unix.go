//go:build unix

package doctor

import "golang.org/x/sys/unix"

// openFiles is how many files this process may have open, as a node may: package os raises the soft limit to the hard one for both.
func openFiles() (most uint64, ok bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Max), true //nolint:unconvert // it is signed on some systems
}
