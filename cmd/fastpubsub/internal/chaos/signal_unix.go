//go:build unix

package chaos

import "syscall"

// The signals that stop a process for a while and let it go on.
const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)
