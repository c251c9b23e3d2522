//go:build !unix

package doctor

// openFiles is how many files this process may have open, where a system has such a limit.
func openFiles() (most uint64, ok bool) { return 0, false }
