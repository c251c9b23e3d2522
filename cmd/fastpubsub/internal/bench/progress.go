package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progressEvery is how often the line is drawn.
const progressEvery = 200 * time.Millisecond

// progress is a line on the terminal that says what goes on. Its zero value, as where there is no terminal, shows nothing.
type progress struct {
	out     io.Writer // nil: nowhere
	width   func() int
	started time.Time
	stop    chan struct{}
	drawer  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	label string
	phase string
	since time.Time
}

// newProgress draws on out if that is a terminal, until close.
func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &progress{}
	}
	p := &progress{out: out, stop: make(chan struct{}), started: time.Now(), width: func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}}
	p.drawer.Go(p.draw)
	return p
}

// begin says what is measured.
func (p *progress) begin(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.label, p.phase, p.since = label, "", time.Now()
}

// say says how far that is.
func (p *progress) say(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.since = phase, time.Now()
}

// line is what is shown.
func (p *progress) line(now time.Time, width int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := []rune(fmt.Sprintf("%3.0f s  %s: %s %.1f s", now.Sub(p.started).Seconds(), p.label, p.phase, now.Sub(p.since).Seconds()))
	return string(text[:min(len(text), max(width-1, 0))])
}

// draw draws until close.
func (p *progress) draw() {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			fmt.Fprintf(p.out, "\r%s\x1b[K", p.line(now, p.width()))
		case <-p.stop:
			fmt.Fprint(p.out, "\r\x1b[K")
			return
		}
	}
}

// close takes the line away.
func (p *progress) close() {
	if p.out == nil {
		return
	}
	close(p.stop)
	p.drawer.Wait()
}
