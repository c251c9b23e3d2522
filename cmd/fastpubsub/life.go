package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/wsgate"
	"github.com/rs/zerolog"
)

// gate is the client port.
type gate struct {
	want     string
	addr     net.Addr
	listener net.Listener // nil: another process has the port, and keeps the clients until this one is ready
}

// openGate opens the client port, unless another process has it.
func openGate(ctx context.Context, addr string) (*gate, error) {
	g := &gate{want: addr}
	if !wsgate.Occupied(ctx, addr) {
		return g, g.open(ctx)
	}
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w", err)
	}
	g.addr = resolved
	return g, nil
}

func (g *gate) open(ctx context.Context) error {
	l, err := wsgate.Listen(ctx, g.want)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	g.listener, g.addr = l, l.Addr()
	return nil
}

func (g *gate) close() error {
	if g.listener == nil {
		return nil
	}
	return g.listener.Close()
}

// life is a node's, from its start to its end.
type life struct {
	node     *mesh.Node
	server   *wsgate.Server
	gate     *gate
	drain    time.Duration
	log      zerolog.Logger
	announce func(clients net.Addr) error
	others   []func(context.Context) error // what lives besides node and server
}

// run lives until ctx ends or something fails. Then the clients are handed over, and only when they have gone does the node leave the mesh.
func (l *life) run(ctx context.Context) error {
	if l.gate.listener != nil {
		if err := l.announce(l.gate.addr); err != nil {
			return errors.Join(err, l.gate.close(), free(l.parts()...))
		}
	}
	return together(context.WithoutCancel(ctx), append(l.parts(), func(inner context.Context) error { return l.serve(inner, ctx) })...)
}

// parts are what lives besides the service of clients.
func (l *life) parts() []func(context.Context) error {
	return append([]func(context.Context) error{l.node.Run}, l.others...)
}

// serve serves clients until asked ends, and then drains; or until ctx ends, when there is nothing to drain for any more.
func (l *life) serve(ctx, asked context.Context) error {
	if l.gate.listener == nil {
		l.log.Warn().Str("ws", l.gate.want).Msg("another process has the client port; it is taken over when this node is ready")
		if !l.await(ctx, asked) {
			return nil
		}
		if err := l.gate.open(ctx); err != nil {
			return err
		}
		if err := l.announce(l.gate.addr); err != nil {
			return errors.Join(err, l.gate.close())
		}
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.server.Serve(serving, l.gate.listener) }()
	select {
	case err := <-ended:
		return err
	case <-asked.Done():
	}
	if ctx.Err() == nil {
		l.handOver(ctx)
	}
	stop()
	return <-ended
}

// readyPoll is how often a node that waits for its mesh looks again.
const readyPoll = 20 * time.Millisecond

// await waits until the node is ready; false if it is to end before.
func (l *life) await(ctx, asked context.Context) bool {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for !l.node.Ready() {
		select {
		case <-ticker.C:
		case <-asked.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// handOver has the clients go elsewhere, for as long as that may take or until another signal comes.
func (l *life) handOver(ctx context.Context) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, l.drain)
	defer cancel()
	if err := l.node.SetClient(""); err != nil {
		l.log.Error().Err(err).Msg("drain")
	}
	began := time.Now()
	l.log.Info().Int64("clients", l.server.Stats().Connections).Msg("draining")
	l.server.Drain(ctx)
	l.log.Info().Int64("clients_left", l.server.Stats().Connections).Dur("took", time.Since(began)).Msg("drained")
}

// free frees what parts hold that will not run.
func free(parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return together(ctx, parts...)
}

// together runs all parts; when one returns, the others are told to end. The first error is returned.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	errs := make([]error, len(parts))
	var group sync.WaitGroup
	for i, part := range parts {
		group.Go(func() {
			errs[i] = part(ctx)
			stop(errs[i])
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
