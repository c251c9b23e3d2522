// Package watch reads files again when they change.
//
// Files are known by modification time and size, looked at every Config.Every, and at once when told to Reload. What does not load changes nothing, and is
// tried again at every look, since files that belong together are rarely replaced in the same instant; it is reported once.
package watch

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"
)

// Config configures Files.
type Config struct {
	Names  []string
	Every  time.Duration // between looks for changes. Default 10 s
	Load   func() error  // reads the files. It is not called concurrently
	Report func(error)   // told of what was loaded again, and of the first of errors in a row
}

// Files are files that may be replaced at any time.
type Files struct {
	cfg Config

	mu     sync.Mutex // guards what follows; held while files are read
	loaded []stamp
	failed bool // the last look found what does not load, and that was reported
}

// stamp tells versions of a file apart.
type stamp struct {
	at   time.Time
	size int64
}

// New loads the files, which must be good.
func New(cfg Config) (*Files, error) {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	f := &Files{cfg: cfg}
	if _, err := f.look(true); err != nil {
		return nil, err
	}
	return f, nil
}

// Run looks for changes until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	ticker := time.NewTicker(f.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f.report(f.look(false))
		case <-ctx.Done():
			return nil
		}
	}
}

// Reload reads the files now, changed or not.
func (f *Files) Reload() { f.report(f.look(true)) }

func (f *Files) report(changed bool, err error) {
	f.mu.Lock()
	before := f.failed
	f.failed = err != nil
	f.mu.Unlock()
	if err != nil && !before || err == nil && changed {
		f.cfg.Report(err)
	}
}

// look loads the files if they are others than those loaded, or in any case.
func (f *Files) look(always bool) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := make([]stamp, len(f.cfg.Names))
	for i, name := range f.cfg.Names {
		info, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if !always && slices.Equal(now, f.loaded) {
		return false, nil
	}
	if err := f.cfg.Load(); err != nil {
		return false, err
	}
	f.loaded = now
	return true, nil
}
