package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/fastpubsub/fastpubsub/mesh/report"
	"golang.org/x/term"
)

// Options are how to show it.
type Options struct {
	Config
	Once bool          // show what there is once all nodes have told of themselves, and end
	JSON bool          // show JSON in place of tables: with Once one object, else one report a line
	Wait time.Duration // with Once: for the nodes; what has come by then is shown; 0 means 10 s
	In   io.Reader
	Out  io.Writer
}

const (
	defaultWait = 10 * time.Second
	plainEvery  = 5 * time.Second // between tables where there is no terminal
)

// ErrNothing reports that no node has told of itself.
var ErrNothing = errors.New("top: no node has told of itself in time")

// Run shows the mesh until ctx ends, the user quits, or once.
func Run(ctx context.Context, o Options) error {
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.Once || o.JSON || !interactive(o.Out) {
		return plain(ctx, o)
	}
	return live(ctx, o)
}

// interactive reports whether out is a terminal that can be drawn on.
func interactive(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// live draws on the terminal.
func live(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := newModel(o.URL, time.Now())
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithoutSignalHandler())
	var group sync.WaitGroup
	group.Go(func() {
		if err := feed(ctx, o.Config, func(v any) { p.Send(v) }); err != nil {
			p.Send(ended{err})
		}
	})
	_, err := p.Run()
	stopped := ctx.Err() != nil
	stop()
	group.Wait()
	if stopped {
		err = nil
	}
	return errors.Join(err, m.fatal)
}

// plain writes lines.
func plain(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	said := make(chan any)
	over := make(chan error, 1)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() {
		over <- feed(ctx, o.Config, func(v any) {
			select {
			case said <- v:
			case <-ctx.Done():
			}
		})
	})
	every := plainEvery
	if o.Once {
		every = o.Wait
	}
	due := time.NewTicker(every)
	defer due.Stop()
	w := writer{o: o, mesh: NewMesh()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-over:
			return err
		case v := <-said:
			if done, err := w.take(v); done || err != nil {
				return err
			}
		case at := <-due.C:
			if done, err := w.due(at); done || err != nil {
				return err
			}
		}
	}
}

// writer writes what is heard.
type writer struct {
	o    Options
	mesh *Mesh
}

// take takes what the feed says, and tells whether that was all.
func (w *writer) take(v any) (done bool, err error) {
	switch v := v.(type) {
	case lost:
		if w.o.Once {
			return true, v.err
		}
		if !w.o.JSON {
			_, err = fmt.Fprintf(w.o.Out, "no connection, trying again: %s\n", cleanLong(v.err.Error()))
		}
	case heard:
		if v.err != nil {
			w.mesh.wrong++
			return false, nil
		}
		w.mesh.hear(v.report, v.at)
		switch {
		case w.o.Once && w.mesh.whole():
			return true, w.write(v.at)
		case w.o.JSON && !w.o.Once:
			err = json.NewEncoder(w.o.Out).Encode(v.report)
		}
	}
	return false, err
}

// due does what is to be done after a while.
func (w *writer) due(now time.Time) (done bool, err error) {
	switch {
	case w.o.Once && len(w.mesh.nodes) == 0:
		return true, fmt.Errorf("%w: %v; fastpubsub status tells whether it runs", ErrNothing, w.o.Wait)
	case w.o.Once:
		return true, w.write(now)
	case w.o.JSON:
		return false, nil
	}
	w.mesh.age(now)
	if _, err := fmt.Fprintf(w.o.Out, "%s\n", now.Format(time.DateTime)); err != nil {
		return false, err
	}
	return false, w.write(now)
}

// write writes all that is known.
func (w *writer) write(now time.Time) error {
	if w.o.JSON {
		all := struct {
			Members int             `json:"members"` // that there are
			Nodes   []report.Report `json:"nodes"`   // that have told of themselves
		}{Members: w.mesh.members()}
		for _, n := range w.mesh.sorted() {
			all.Nodes = append(all.Nodes, n.Report)
		}
		e := json.NewEncoder(w.o.Out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	if _, err := fmt.Fprintf(w.o.Out, "%d of %d nodes\n", len(w.mesh.nodes), w.mesh.members()); err != nil {
		return err
	}
	for _, t := range []*table{nodesTable(w.mesh, now), linksTable(w.mesh)} {
		for _, line := range append([]string{""}, t.lines(0, -1)...) {
			if _, err := fmt.Fprintln(w.o.Out, line); err != nil {
				return err
			}
		}
	}
	return nil
}
