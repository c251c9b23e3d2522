//go:build !unix

package demo

import "os"

// hasKeys: there is no way here to wait for a key that could be ended, so the view goes without keys, Ctrl-C aside.
const hasKeys = false

func waitReadable(_, _ *os.File) bool { return false }
