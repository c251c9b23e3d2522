package wsgate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/access"
)

// Broker is the overlay as clients need it.
type Broker interface {
	// Publish hands one message, or a batch of them, to the overlay, which also gives it to Hub.Deliver for this node's own subscribers. It
	// blocks while the overlay pushes back. m.Payload is valid only during the call. Modes other than channel.Broadcast mean
	// one subscriber, here or elsewhere.
	Publish(ctx context.Context, m channel.Message) error
	// SetInterest tells that the first local subscriber of a pattern came, or the last one went. Calls for one (tenant,
	// pattern) do not overlap.
	SetInterest(tenant string, p channel.Pattern, wanted bool)
	// AfterSpread calls f once, when the whole overlay goes by the interest set before, or never. f does not block.
	AfterSpread(f func())
}

// Server serves clients: WebSocket sessions and a few pages.
type Server struct {
	hub       *Hub
	broker    Broker
	authority *access.Authority
	log       zerolog.Logger
	version   string
	ready     func() bool
	describe  func() any
	trace     func(ctx context.Context, request []byte) (any, error)
	tracing   atomic.Int32 // traces under way

	listEdges func() []Edge
	edges     edgeList

	handlers map[string]http.Handler
	home     string
	tls      *tls.Config
	rules    atomic.Pointer[rules]
	shares   *shares
	visitors *visitors
	timing   Timing
	draining atomic.Bool

	mu      sync.Mutex // guards what follows
	serving map[*gathering]struct{}

	connections atomic.Uint64 // accepted

	counts  counters
	knocks  *knocks
	journal *journal
	buffers sync.Pool // of *[]byte: messages that the library reads
	intakes *intakeBuffers
	bundles sync.Pool // of *channel.Batch
	batches sync.Pool // of *batch
}

// New returns a Server that serves nothing yet. The error lists all that is wrong with the Config.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("wsgate: config: %w", err)
	}
	s := &Server{
		hub:       cfg.Hub,
		broker:    cfg.Broker,
		authority: cfg.Authority,
		log:       cfg.Logger,
		version:   cfg.Version,
		ready:     cfg.Ready,
		describe:  cfg.Describe,
		trace:     cfg.Trace,
		listEdges: cfg.Edges,
		handlers:  cfg.Handlers,
		home:      cfg.Home,
		tls:       cfg.TLS,
		shares:    newShares(cfg.Limits, cfg.Rates),
		visitors:  newVisitors(cfg.Limits.PerAddress, cfg.Rates.Connects),
		timing:    cfg.Timing.withDefaults(),
		serving:   map[*gathering]struct{}{},
	}
	s.rules.Store(&rules{limits: cfg.Limits.withDefaults(), rates: cfg.Rates})
	if s.listEdges == nil {
		s.listEdges = func() []Edge { return nil }
	}
	if s.describe == nil {
		s.describe = func() any { return struct{}{} }
	}
	if s.trace == nil {
		s.trace = func(context.Context, []byte) (any, error) { return nil, errors.New("this node does not trace") }
	}
	if s.ready == nil {
		s.ready = func() bool { return true }
	}
	s.journal = newJournal(s.log)
	s.knocks = newKnocks(func() { s.counts.useless.Add(1) })
	s.buffers.New = func() any { return new([]byte) }
	s.intakes = newIntakeBuffers()
	s.bundles.New = func() any { return new(channel.Batch) }
	s.batches.New = func() any { return new(batch) }
	return s, nil
}

// Stats is a snapshot of the counters. Drops.TooLarge includes those of the Hub.
func (s *Server) Stats() Stats {
	stats := s.counts.snapshot()
	stats.Subscriptions = s.hub.subscriptions()
	stats.Drops.TooLarge += s.hub.tooLarge.Load()
	return stats
}

// Deliveries is how many connections are open, and the deliveries ever written: of Stats, what costs next to nothing.
func (s *Server) Deliveries() (connections int64, delivered uint64) {
	return s.counts.open.Load(), s.counts.messagesOut.Load()
}

// Serve serves clients that come through l, until ctx ends or l fails. It then closes l, ends all sessions with status
// 1001, and returns when all of them have ended, which takes about Timing.Close at most. After the end of ctx the error
// is nil. Serve may be called for several listeners at a time. See Drain for a gentler end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	s.warnIfOpen(l.Addr())
	limits := &s.rules.Load().limits
	g := &gathering{server: s, door: &door{Listener: l, spareLoopback: limits.SpareLoopback, visitors: s.visitors, unheard: func() { s.counts.refusedAddress.Add(1) }}, sessions: map[*session]struct{}{}}
	upgrade := func(w http.ResponseWriter, r *http.Request) { g.upgrade(inner, w, r) }
	stream := func(w http.ResponseWriter, r *http.Request) { g.stream(inner, w, r) }
	g.web = &http.Server{
		Handler:           s.knocks.heard(s.journal.failures(s.answerable(s.routes(upgrade, stream)))),
		ConnState:         s.knocks.turned,
		ReadHeaderTimeout: s.timing.Request,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    limits.HeaderBytes,
		ConnContext:       s.callers,
		BaseContext:       func(net.Listener) context.Context { return inner },
		ErrorLog:          log.New(s.journal, "", 0),
		TLSConfig:         s.tls,
		Protocols:         new(http.Protocols),
	}
	g.web.Protocols.SetHTTP1(true) // WebSocket needs it; with a second protocol browsers would open a second connection
	s.begin(g)
	defer s.end(g)
	clock, stopClock := context.WithCancel(context.WithoutCancel(ctx))
	var own sync.WaitGroup
	own.Go(func() { g.watch(clock) })
	failed := make(chan error, 1)
	own.Go(func() {
		if s.tls != nil {
			failed <- g.web.ServeTLS(g.door, "", "")
		} else {
			failed <- g.web.Serve(g.door)
		}
	})

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		if errors.Is(err, errDoorShut) {
			<-ctx.Done()
			err = nil
		}
	}
	cancel()
	g.close()
	s.stopPages(context.WithoutCancel(ctx), g.web)
	g.running.Wait()
	stopClock()
	own.Wait()
	if err != nil {
		return fmt.Errorf("wsgate: serve: %w", err)
	}
	return nil
}

// warnIfOpen says once that anybody who reaches an address beyond this machine may come in.
func (s *Server) warnIfOpen(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); s.authority == nil && ok && !tcp.IP.IsLoopback() {
		s.log.Warn().Stringer("address", addr).Msg("no token secret: everyone who reaches this address may publish and subscribe everything")
	}
}

// stopPages ends the HTTP side; hijacked connections are none of its business.
func (s *Server) stopPages(ctx context.Context, web *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Close)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		s.log.Debug().Err(errors.Join(err, web.Close())).Msg("pages cut short")
	}
}

func (s *Server) begin(g *gathering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving[g] = struct{}{}
}

func (s *Server) end(g *gathering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.serving, g)
}

// gatherings are those of all Serves under way.
func (s *Server) gatherings() []*gathering {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.serving))
}

// gathering is the sessions of one Serve.
type gathering struct {
	server  *Server
	web     *http.Server
	door    *door
	running sync.WaitGroup

	entering atomic.Int64 // requests that may become sessions

	mu       sync.Mutex // guards what follows
	closed   bool
	sessions map[*session]struct{}
}

// add starts a session, unless the server stops.
func (g *gathering) add(ctx context.Context, s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.sessions[s] = struct{}{}
	ctx, s.cancel = context.WithCancel(ctx)
	g.running.Go(func() {
		s.run(ctx)
		g.remove(s)
	})
	return true
}

func (g *gathering) remove(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s)
	g.server.counts.open.Add(-1)
}

// close refuses further sessions and ends those that run.
func (g *gathering) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	for _, s := range g.all() {
		s.box.shut(closeShutdown)
	}
}

// empty reports whether there is no session, nor one that is about to be.
func (g *gathering) empty() bool {
	if g.entering.Load() > 0 { // first: who has entered has a session
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions) == 0
}

// all is the sessions as they are now.
func (g *gathering) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		all = append(all, s)
	}
	return all
}

// watch looks at the clock for all sessions, in place of several timers for each.
func (g *gathering) watch(ctx context.Context) {
	ticker := time.NewTicker(g.server.timing.tick())
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, s := range g.all() {
				s.tick(now)
			}
			if a := g.server.authority; a != nil {
				a.Tick(now)
			}
			g.server.visitors.sweep(now)
		case <-ctx.Done():
			return
		}
	}
}
