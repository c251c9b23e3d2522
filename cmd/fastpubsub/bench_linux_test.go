package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// children are the processes that a process has started.
func children(t *testing.T, parent int) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pid)
		}
	}
	return all
}

// Ctrl-C, which reaches the nodes as well, ends a bench with an error that names it, and no node outlives it. The same if only the bench is told.
func TestBenchInterrupted(t *testing.T) {
	for _, all := range []bool{true, false} {
		cmd := program(t.Context(), "bench", "throughput", "--duration", "1h", "--size", "128")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var nodes []int
		waitFor(t, "a bench starts its nodes", func() bool {
			nodes = children(t, cmd.Process.Pid)
			return len(nodes) == 2
		})
		target := cmd.Process.Pid
		if all {
			target = -target
		}
		if err := syscall.Kill(target, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailure || !strings.Contains(errs.String(), "interrupt") {
			t.Errorf("%v: %s", err, errs.String())
		}
		for _, pid := range nodes {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("node %d is still there: %v", pid, err)
			}
		}
	}
}
