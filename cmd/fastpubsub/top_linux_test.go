package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The mesh is shown once, as tables and as JSON, with every node; a node that takes no clients, or lets nobody see, is named with what to do.
func TestTopOnce(t *testing.T) {
	a := startProcess(t, "amsterdam", "--region", "eu")
	b := startProcess(t, "singapore", "--region", "asia", "--join", a.node)
	wholeMesh(t, []*process{a, b})
	text := output(t, "top", "--once", "--url", "ws://"+a.gate+"/ws")
	for _, want := range []string{"2 of 2 nodes\n", "amsterdam eu ", "singapore asia ", "amsterdam singapore up ", "singapore amsterdam up "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var all struct {
		Members int
		Nodes   []struct{ Node struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(output(t, "top", "--once", "--json", "--url", "ws://"+b.gate+"/ws")), &all); err != nil || all.Members != 2 || len(all.Nodes) != 2 {
		t.Errorf("%v, %+v", err, all)
	}

	closed := startProcess(t, "closed", "--token-secret-file", writeFile(t, strings.Repeat("s", 32)))
	for url, want := range map[string]string{"ws://" + closed.gate + "/ws": "--token", "ws://127.0.0.1:1/ws": "no node takes clients there"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"top", "--once", "--url", url}, streams{nil, &out, &errs}); code != exitFailure || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, %s", url, code, errs.String())
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return f.Name()
}

// openTerminal is a pseudo-terminal: what the program sees, and the other end.
func openTerminal(t *testing.T) (tty, user *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 80, Row: 24}); err != nil {
		t.Fatal(err)
	}
	return tty, user
}

// On a terminal it is drawn, obeys keys, says that its node has gone, goes on when that is back, and leaves the terminal as it was.
func TestTopOnTerminal(t *testing.T) {
	dir := t.TempDir()
	a := startProcess(t, "amsterdam", "--data-dir", dir)
	tty, user := openTerminal(t)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t.Context(), "top", "--url", "ws://"+a.gate+"/ws")
	cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=1")
	errs := new(lockedBuffer)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drawn := new(lockedBuffer)
	go func() { _, _ = io.Copy(drawn, user) }() // ends with the terminal
	sees := func(text string) {
		t.Helper()
		waitFor(t, text+" is drawn", func() bool { return strings.Contains(drawn.String(), text) })
	}
	sees("[1 nodes]")
	sees("amsterdam")
	sees("q quit")
	if _, err := user.WriteString("2"); err != nil {
		t.Fatal(err)
	}
	sees("RTT ms")
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = a.cmd.Wait()
	sees("NO CONNECTION")
	lines := len(drawn.String())
	b := startProcess(t, "back", "--ws", a.gate, "--data-dir", dir)
	if _, err := user.WriteString("1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the node is back", func() bool { return strings.Contains(drawn.String()[lines:], "back") })
	if strings.Contains(drawn.String(), "\x1b[31m") {
		t.Error("colours, although NO_COLOR is set")
	}
	if _, err := user.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs)
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is left otherwise than it was: %v", err)
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
}

// A terminal that cannot be drawn on gets plain tables, again and again, and nothing but text.
func TestTopOnDumbTerminal(t *testing.T) {
	a := startProcess(t, "amsterdam")
	tty, user := openTerminal(t)
	cmd := program(t.Context(), "top", "--url", "ws://"+a.gate+"/ws")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	cmd.Stdin, cmd.Stdout = tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drawn := new(lockedBuffer)
	go func() { _, _ = io.Copy(drawn, user) }() // ends with the terminal
	waitFor(t, "two tables", func() bool { return strings.Count(drawn.String(), "1 of 1 nodes") >= 2 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Contains(drawn.String(), "\x1b") {
		t.Errorf("drew %q", drawn.String())
	}
}
