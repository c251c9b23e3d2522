package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// breath is how long duplicates are waited for when all has come.
	breath = 50 * time.Millisecond
	// dialsAtOnce is how many connections are made at the same time.
	dialsAtOnce = 16
)

// errClosing ends what is under way when a rig closes.
var errClosing = errors.New("bench: closing")

// rig is one repetition: its connections, their readers, and its clock.
type rig struct {
	cfg        Config
	pub, sub   string // addresses
	pids       []int  // of the nodes, if they were started here; the subscribers' is subPID
	subPID     int
	repetition uint32
	began      time.Time
	progress   *progress

	fail    context.CancelCauseFunc // ends the repetition
	readers sync.WaitGroup
	left    func() bool // unhooks hangUp from the context

	mu     sync.Mutex // guards what follows
	conns  []*conn
	closed bool
}

// newRig starts the clock of a repetition. The context returned ends with ctx, with close, or with the first connection that fails.
func newRig(ctx context.Context, cfg Config, pub, sub string) (*rig, context.Context) {
	r := &rig{cfg: cfg, pub: pub, sub: sub, repetition: rand.Uint32(), began: time.Now(), progress: &progress{}}
	ctx, r.fail = context.WithCancelCause(ctx)
	r.left = context.AfterFunc(ctx, r.hangUp)
	return r, ctx
}

// another is a rig for the same nodes and part of the same repetition, on connections of its own.
func (r *rig) another(ctx context.Context) (*rig, context.Context) {
	o, ctx := newRig(ctx, r.cfg, r.pub, r.sub)
	o.pids, o.subPID, o.progress = r.pids, r.subPID, r.progress
	return o, ctx
}

// now is the time since the repetition began.
func (r *rig) now() time.Duration { return time.Since(r.began) }

// close ends all connections and waits for their readers.
func (r *rig) close() {
	r.fail(errClosing)
	r.hangUp()
	r.readers.Wait()
}

// hangUp ends all connections, and those made from here on at once.
func (r *rig) hangUp() {
	r.mu.Lock()
	conns := r.conns
	r.conns, r.closed = nil, true
	r.mu.Unlock()
	for _, c := range conns {
		c.hangUp()
	}
}

// connect makes a connection; prepare sets what its reader, which then starts, is to call.
func (r *rig) connect(ctx context.Context, dialer *net.Dialer, address string, prepare func(*conn)) (*conn, error) {
	transport, rest, err := dialWebSocket(ctx, dialer, address, r.cfg.Target.Token)
	if err != nil {
		return nil, err
	}
	c := newConn(transport, rest, r.now)
	c.ended = r.fail
	prepare(c)
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.conns = append(r.conns, c)
		r.readers.Go(func() { c.ended(c.read()) })
	}
	r.mu.Unlock()
	if closed {
		c.hangUp()
		return nil, context.Cause(ctx)
	}
	return c, nil
}

// many calls each number's function, a few at the same time, until all have returned or one fails.
func many(ctx context.Context, count int, each func(i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(dialsAtOnce, count) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := each(i); err != nil {
					fail(err)
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// channelName is that of a channel of this repetition.
func (r *rig) channelName(i int) string { return fmt.Sprintf("bench.%08x.%d", r.repetition, i) }
