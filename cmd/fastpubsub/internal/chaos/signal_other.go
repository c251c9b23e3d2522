//go:build !unix

package chaos

import "syscall"

// Elsewhere processes refuse these, and the drill says so.
const (
	stopSignal     = syscall.Signal(-1)
	continueSignal = syscall.Signal(-1)
)
