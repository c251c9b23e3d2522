package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openTerminal is a pseudo-terminal: what the program sees, and the other end.
func openTerminal(t *testing.T, width, height uint16) (tty, user *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
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
	t.Cleanup(func() { tty.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	return tty, user
}

func TestScreen(t *testing.T) {
	tty, user := openTerminal(t, 100, 30)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openScreen(tty, tty)
	if err != nil || s == nil {
		t.Fatalf("%v, %v", s, err)
	}
	defer s.close()
	if width, height := s.size(); width != 100 || height != 30 {
		t.Errorf("%d by %d", width, height)
	}
	if _, err := user.WriteString("s\x1b[B\x03"); err != nil {
		t.Fatal(err)
	}
	if got := []key{<-s.keys, <-s.keys, <-s.keys}; !slices.Equal(got, []key{keySlow, keyDown, keyQuit}) {
		t.Errorf("keys %v", got)
	}
	for range 2 { // the second changes nothing, so nothing is written
		if err := s.show([]line{{"hello", strong}, {"world", normal}}); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	s.close()
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("%+v before, %+v after, %v", before, after, err)
	}
	seen := readAll(t, user)
	if strings.Count(seen, "hello") != 1 || !strings.HasPrefix(seen, enterScreen) || !strings.HasSuffix(seen, leaveScreen) {
		t.Errorf("written %q", seen)
	}
}

// readAll reads what was written to a terminal until the screen was left.
func readAll(t *testing.T, user *os.File) string {
	t.Helper()
	var seen strings.Builder
	buffer := make([]byte, 1024)
	for !strings.Contains(seen.String(), leaveScreen) {
		n, err := user.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buffer[:n])
	}
	return seen.String()
}

func TestScreenNeedsATerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, out := range []any{file, new(bytes.Buffer)} {
		s, err := openScreen(os.Stdin, out.(interface{ Write([]byte) (int, error) }))
		if s != nil || err != nil {
			t.Errorf("%T: %v, %v", out, s, err)
		}
	}
}

// The live view of a whole demo: keys make faults, the terminal is as before in the end.
func TestRunOnScreen(t *testing.T) {
	tty, user := openTerminal(t, 120, 30)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		var seen strings.Builder
		buffer := make([]byte, 4096)
		// What is typed when what has been seen.
		steps := []struct{ see, typed string }{{"settled after", "\x1b[Bb"}, {" blocked", "k"}, {"no message passes a relay", "h"}, {"  heal", "q"}}
		for len(steps) > 0 {
			n, err := user.Read(buffer)
			if err != nil {
				return
			}
			seen.Write(buffer[:n])
			if strings.Contains(seen.String(), steps[0].see) {
				_, _ = user.WriteString(steps[0].typed)
				seen.Reset()
				steps = steps[1:]
			}
		}
		for { // so that nothing waits for room on the terminal
			if _, err := user.Read(buffer); err != nil {
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Run(ctx, Config{Metros: []string{"London", "Paris"}, In: tty, Out: tty, Err: tty}); err != nil || ctx.Err() != nil {
		t.Error(err, ctx.Err())
	}
	if after, err := term.GetState(int(tty.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal is not as before: %v", err)
	}
	user.Close()
	tty.Close()
	reader.Wait()
}
