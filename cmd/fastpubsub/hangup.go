package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// hangups has things read again at SIGHUP. The signal is caught from before the node says that it is there until it is gone, whether there is anything to
// read or not, since one that nobody catches ends the process.
type hangups struct {
	signals chan os.Signal
	reloads []func()
}

func catchHangups() *hangups {
	h := &hangups{signals: make(chan os.Signal, 1)}
	signal.Notify(h.signals, syscall.SIGHUP)
	return h
}

// release leaves the signal to whoever catches it next.
func (h *hangups) release() { signal.Stop(h.signals) }

// reload has something done at each signal, after what was asked for before. It must not be called while run runs.
func (h *hangups) reload(do func()) { h.reloads = append(h.reloads, do) }

// reloadFirst is reload for what is done before all that was asked for before.
func (h *hangups) reloadFirst(do func()) { h.reloads = slices.Insert(h.reloads, 0, do) }

// run does what was asked for, at each signal since the first moment, until ctx ends.
func (h *hangups) run(ctx context.Context) error {
	for {
		select {
		case <-h.signals:
			for _, do := range h.reloads {
				do()
			}
		case <-ctx.Done():
			return nil
		}
	}
}
