package forward

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	probesKept = 64                   // probes of a link whose echo may still come
	heldMost   = 2 * time.Millisecond // that a peer may say it had a probe for; none has reason to keep it
)

// probeLog is what a link remembers of its probes. The peer gets a token with each and no clock, so that it cannot answer before the probe has come, nor
// seem nearer than it is by more than heldMost.
type probeLog struct {
	mu   sync.Mutex // guards what follows
	sent [probesKept]sentProbe
}

type sentProbe struct {
	token   int64
	at      int64 // on the endpoint's clock
	seq     uint32
	waiting bool
}

// add takes note of a probe sent now and returns its token.
func (p *probeLog) add(seq uint32, now int64) (token int64) {
	token = int64(rand.Uint64()) //nolint:gosec // ChaCha8 under a seed of the system's: not to be guessed
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[seq%probesKept] = sentProbe{token, now, seq, true}
	return token
}

// echoed is the round trip of a probe whose echo comes now; false for one too old to be known. An echo of a probe that was not sent is false too,
// as is one that came before.
func (p *probeLog) echoed(echo wire.Probe, now int64) (rtt time.Duration, known, honest bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sent[echo.Seq%probesKept]
	switch {
	case s.seq != echo.Seq:
		return 0, false, int32(s.seq-echo.Seq) > 0
	case !s.waiting || s.token != echo.Token:
		return 0, false, false
	}
	s.waiting = false
	took := time.Duration(now - s.at)
	return took - min(echo.Held, heldMost, took/2), true, true
}
