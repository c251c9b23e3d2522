package bench

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// On a terminal the line is drawn, as wide as fits, and taken away in the end.
func TestProgressOnTerminal(t *testing.T) {
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminal here")
	}
	defer user.Close()
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 40, Row: 10}); err != nil {
		t.Fatal(err)
	}
	p := newProgress(tty)
	p.begin("latency, 128 B: 1 of 3")
	p.say("a phase with a long name that does not fit")
	in := bufio.NewReader(user)
	line := ""
	for !strings.Contains(line, "latency") {
		if line, err = in.ReadString('K'); err != nil { // the end of ESC [ K
			t.Fatal(err)
		}
	}
	if text, ok := strings.CutSuffix(strings.TrimPrefix(line, "\r"), "\x1b[K"); !ok || len(text) != 39 {
		t.Errorf("%q", line)
	}
	p.close()
	for line != "\r\x1b[K" {
		if line, err = in.ReadString('K'); err != nil {
			t.Fatal(err)
		}
	}
}
