package wsgate

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// drainTick is how often a drain acts.
	drainTick = 10 * time.Millisecond
	// drainLook is how often it looks for connections that came in the meantime, and for another process at the same address.
	drainLook = time.Second
	// drainEach is the most time that one connection adds to Timing.Spread's actual length: few need not be spread over all of it.
	drainEach = 10 * time.Millisecond
)

// Drain hands the clients over to whoever serves their address next, and returns when all have gone or ctx ends. From its call on, /readyz says not
// ready. Each client is told RECONNECT once, all of them spread over Timing.Spread; meanwhile and afterwards everything else goes on as before, until the client
// closes the connection. New WebSocket connections are refused with 503; but where another process listens at the same address (see Listen), the
// listener is closed at once, so that they go there. Serve goes on until its context ends, and then closes what is left with 1001.
func (s *Server) Drain(ctx context.Context) {
	serving := s.gatherings()
	for _, g := range serving {
		g.yield() // first, so that nobody is refused who could go to the other process
	}
	s.draining.Store(true)
	s.edges.forget()
	var all sync.WaitGroup
	for _, g := range serving {
		all.Go(func() { g.drain(ctx) })
	}
	all.Wait()
}

// farewell is what a drain knows of its progress.
type farewell struct {
	untold []*session
	told   map[*session]struct{}
	share  float64 // of a session that a tick tells
	owed   float64 // sessions that should have been told by now
}

func (g *gathering) drain(ctx context.Context) {
	g.web.SetKeepAlivesEnabled(false) // proxies are to connect anew, and so elsewhere
	f := farewell{told: map[*session]struct{}{}}
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	var lookAt, quietFrom time.Time
	if g.door.shutting.Load() {
		quietFrom = time.Now().Add(drainLook) // those who were just let in have yet to ask for a WebSocket
	}
	for now := time.Now(); ; {
		if !now.Before(lookAt) {
			lookAt = now.Add(drainLook)
			if g.yield() {
				quietFrom = now.Add(drainLook)
			}
			g.look(&f)
		}
		if g.empty() && !now.Before(quietFrom) {
			return
		}
		if !g.door.shutting.Load() || g.door.closed.Load() { // else some would come back here
			f.tell()
		}
		select {
		case now = <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// yield shuts the door if another process takes connections at the same address, and tells whether it did so now.
func (g *gathering) yield() bool {
	if g.door.shutting.Load() || !g.door.shared() {
		return false
	}
	g.door.shut()
	return true
}

// look adds the sessions that were not there before to those who are to be told. The first look sets the pace: later ones find few.
func (g *gathering) look(f *farewell) {
	all := g.all()
	waiting := map[*session]struct{}{}
	for _, s := range f.untold {
		waiting[s] = struct{}{}
	}
	for _, s := range all {
		_, told := f.told[s]
		_, known := waiting[s]
		if !told && !known {
			f.untold = append(f.untold, s)
		}
	}
	if f.share == 0 {
		period := min(g.server.timing.Spread, time.Duration(len(all))*drainEach)
		f.share = float64(len(all)) * float64(drainTick) / float64(max(period, drainTick))
	}
	f.share = max(f.share, float64(drainTick)/float64(drainEach))
}

// tell tells those whose turn it is. Who has no room for it, as he does not read, has another turn later.
func (f *farewell) tell() {
	f.owed = min(f.owed+f.share, float64(len(f.untold)))
	for range int(math.Floor(f.owed)) {
		s := f.untold[0]
		f.untold = f.untold[1:]
		f.owed--
		if taken, err := s.box.offer(s.encode(reply{event: eventReconnect})); err == nil && !taken {
			f.untold = append(f.untold, s)
			continue
		}
		f.told[s] = struct{}{}
	}
}
