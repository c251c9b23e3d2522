//go:build !unix

package fleet

import "syscall"

// StopSignal and ContinueSignal would stop a process for a while and let it go on. Here processes refuse them.
const (
	StopSignal     = syscall.Signal(-1)
	ContinueSignal = syscall.Signal(-1)
)
