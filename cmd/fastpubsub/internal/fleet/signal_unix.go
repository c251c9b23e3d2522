//go:build unix

package fleet

import "syscall"

// StopSignal and ContinueSignal stop a process for a while and let it go on.
const (
	StopSignal     = syscall.SIGSTOP
	ContinueSignal = syscall.SIGCONT
)
