package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Control sequences (ECMA-48, and xterm's private modes). Synchronized output keeps terminals that know it from showing half a frame; others
// ignore it.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // other buffer, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H"
	endFrame    = "\x1b[J\x1b[?2026l"
	endLine     = "\x1b[0m\x1b[K"
)

// screen is the terminal while the live view is on it. It takes keys where the system lets it.
type screen struct {
	out   *os.File
	in    *os.File // nil: no keys
	state *term.State
	keys  chan key // what nobody takes is dropped
	last  []byte
	shut  bool

	stop   *os.File // closing it ends the reader of keys
	reader sync.WaitGroup
}

// openScreen takes over the terminal that out is, and in if that is one too; nil if out is none. close gives it back.
func openScreen(in io.Reader, out io.Writer) (*screen, error) {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, nil
	}
	s := &screen{out: file, keys: make(chan key, 16)}
	if keyboard, ok := in.(*os.File); ok && hasKeys && term.IsTerminal(int(keyboard.Fd())) {
		if err := s.takeKeyboard(keyboard); err != nil {
			return nil, fmt.Errorf("demo: terminal: %w", err)
		}
	}
	if _, err := s.out.WriteString(enterScreen); err != nil {
		s.close()
		return nil, fmt.Errorf("demo: terminal: %w", err)
	}
	return s, nil
}

// takeKeyboard has the terminal hand over keys as they are pressed, and starts the goroutine that reads them.
func (s *screen) takeKeyboard(keyboard *os.File) error {
	stopped, stop, err := os.Pipe()
	if err != nil {
		return err
	}
	if s.state, err = term.MakeRaw(int(keyboard.Fd())); err != nil {
		return err
	}
	s.in, s.stop = keyboard, stop
	s.reader.Go(func() {
		defer stopped.Close()
		s.readKeys(stopped)
	})
	return nil
}

// readKeys reads keys until the other end of the pipe is closed.
func (s *screen) readKeys(stopped *os.File) {
	var buffer [64]byte
	var rest []byte
	for waitReadable(s.in, stopped) {
		n, err := s.in.Read(buffer[:])
		if err != nil {
			return
		}
		var keys []key
		keys, rest = parseKeys(append(rest, buffer[:n]...))
		for _, k := range keys {
			select {
			case s.keys <- k:
			default:
			}
		}
	}
}

// size is that of the terminal now.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// show draws the lines, in one write, unless nothing changed.
func (s *screen) show(lines []line) error {
	frame := appendFrame(nil, lines)
	if bytes.Equal(frame, s.last) {
		return nil
	}
	s.last = frame
	_, err := s.out.Write(frame)
	return err
}

func appendFrame(b []byte, lines []line) []byte {
	b = append(b, beginFrame...)
	for i, l := range lines {
		if i > 0 {
			b = append(b, "\r\n"...)
		}
		b = append(b, l.style.sequence()...)
		b = append(b, l.text...)
		b = append(b, endLine...)
	}
	return append(b, endFrame...)
}

// sequence turns the style on.
func (s style) sequence() string {
	switch s {
	case strong:
		return "\x1b[1m"
	case good:
		return "\x1b[32m"
	case bad:
		return "\x1b[31m"
	case faint:
		return "\x1b[2m"
	default:
		return ""
	}
}

// close gives the terminal back as it was and waits for the reader. Called again, it does nothing.
func (s *screen) close() {
	if s.shut {
		return
	}
	s.shut = true
	if s.stop != nil {
		_ = s.stop.Close()
		s.reader.Wait()
	}
	_, _ = s.out.WriteString(leaveScreen)
	if s.state != nil {
		_ = term.Restore(int(s.in.Fd()), s.state)
	}
}
