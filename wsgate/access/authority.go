package access

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate/token"
)

// Config configures an Authority.
type Config struct {
	Keys    *token.Keys    // required
	Masters token.Masters  // who may issue, refresh, revoke and list; none: nobody
	Region  string         // of this node, for tokens that name regions
	Log     zerolog.Logger // the zero value logs nothing
	File    string         // where Keep keeps the ledger; default nowhere
	Settled func() bool    // tells whether the ledger was compared with another node's, if there is any; clients wait for it. nil: it was
	Spread  func([]byte)   // tells all other nodes of a chunk; it may not block for long. nil: there are none
	Ledger  token.LedgerConfig
}

// Authority decides who may come in. It is safe for concurrent use.
type Authority struct {
	keys    atomic.Pointer[token.Keys]
	masters atomic.Pointer[token.Masters]
	region  string
	log     zerolog.Logger
	file    string
	kept    string // digest of what the file holds at the start
	settled func() bool
	spread  func([]byte)
	counts  counters

	mu     sync.Mutex // guards what follows
	ledger *token.Ledger
	passes map[token.ID]map[*Pass]struct{} // of live connections
	swept  time.Time
}

type counters struct{ entered, unknown, barred, cut, malformed atomic.Uint64 }

// Stats is a snapshot of an Authority's counters.
type Stats struct {
	Passes    int    // connections that came in with a token and are still here
	Entered   uint64 // clients admitted
	Unknown   uint64 // refused: no token, or one that is not good, over, or revoked; or it was too early to tell
	Barred    uint64 // refused: a good token, but not for this address, region or origin
	Cut       uint64 // connections ended because their token was revoked
	Malformed uint64 // digests and chunks of other nodes that did not parse
	Ledger    token.LedgerStats
}

// Why clients are refused, besides the errors of package token.
var (
	ErrNoToken   = errors.New("access: no token")
	ErrUnsettled = errors.New("access: this node has just started and does not know yet which tokens were revoked")
)

// New returns an Authority whose ledger holds what Config.File does.
func New(cfg Config, now time.Time) (*Authority, error) {
	if cfg.Keys == nil {
		return nil, errors.New("access: config lacks keys")
	}
	if cfg.Spread == nil {
		cfg.Spread = func([]byte) {}
	}
	if cfg.Settled == nil {
		cfg.Settled = func() bool { return true }
	}
	a := &Authority{
		region: cfg.Region, log: cfg.Log, file: cfg.File, settled: cfg.Settled, spread: cfg.Spread,
		ledger: token.NewLedger(cfg.Ledger), passes: map[token.ID]map[*Pass]struct{}{},
	}
	a.keys.Store(cfg.Keys)
	a.masters.Store(&cfg.Masters)
	if cfg.File == "" {
		return a, nil
	}
	if err := a.load(now); err != nil {
		return nil, fmt.Errorf("access: ledger: %w", err)
	}
	return a, nil
}

// SetMasters makes others the master tokens.
func (a *Authority) SetMasters(masters token.Masters) { a.masters.Store(&masters) }

// SetKeys makes others the keys. Who came in by the old ones stays in.
func (a *Authority) SetKeys(keys *token.Keys) { a.keys.Store(keys) }

// Visitor is a client as far as tokens may restrict it.
type Visitor struct {
	Addr        netip.Addr
	Origin      string
	OriginGiven bool // whether there was an Origin header
}

// Pass is what a client that came in may do. It ends with Leave. A nil Pass is that of an open gateway: everything but to publish on
// reserved channels.
type Pass struct {
	id     token.ID
	rights *token.Rights

	// The Authority's lock guards what follows.
	cut     func()
	revoked bool
}

// Enter admits a client by the text of its token. Errors wrap those of package token, ErrNoToken or ErrUnsettled; Barred tells refusals of good tokens apart.
// Whoever enters must leave.
func (a *Authority) Enter(text string, v Visitor, now time.Time) (*Pass, error) {
	p, err := a.enter(text, v, now)
	switch {
	case err == nil:
		a.counts.entered.Add(1)
	case Barred(err):
		a.counts.barred.Add(1)
	default:
		a.counts.unknown.Add(1)
	}
	return p, err
}

func (a *Authority) enter(text string, v Visitor, now time.Time) (*Pass, error) {
	switch {
	case text == "":
		return nil, ErrNoToken
	case !a.settled():
		return nil, ErrUnsettled
	}
	t, err := a.keys.Load().Verify(text, now)
	if err != nil && !errors.Is(err, token.ErrExpired) {
		return nil, err
	}
	p := &Pass{id: t.ID, rights: t.Rights}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.ledger.Check(t, now); err != nil {
		return nil, err
	}
	if err := t.Rights.Admits(v.Addr, a.region, v.Origin, v.OriginGiven); err != nil {
		return nil, err
	}
	if a.passes[p.id] == nil {
		a.passes[p.id] = map[*Pass]struct{}{}
	}
	if !t.Plain { // others may give two tokens one name
		for twin := range a.passes[p.id] {
			p.rights = twin.rights // so that many connections with one token hold them once
			break
		}
	}
	a.passes[p.id][p] = struct{}{}
	return p, nil
}

// Barred reports whether an error of Enter is about a good token that is not for this client.
func Barred(err error) bool {
	return errors.Is(err, token.ErrAddress) || errors.Is(err, token.ErrRegion) || errors.Is(err, token.ErrOrigin)
}

// OnRevoke has cut called when the token is revoked, at once if it was meanwhile. It must not block.
func (a *Authority) OnRevoke(p *Pass, cut func()) {
	a.mu.Lock()
	p.cut = cut
	late := p.revoked
	a.mu.Unlock()
	if late {
		a.end([]func(){cut})
	}
}

// Leave ends a pass.
func (a *Authority) Leave(p *Pass) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.passes[p.id], p)
	if len(a.passes[p.id]) == 0 {
		delete(a.passes, p.id)
	}
}

// MayPublish tells whether the client may publish to a channel; both names are valid and the tenant is in normal form.
func (p *Pass) MayPublish(tenant, name string) bool {
	return !channel.IsReserved(name) && (p == nil || p.rights.MayPublish(tenant, name))
}

// MaySubscribe tells whether the client may subscribe a pattern; the tenant is in normal form.
func (p *Pass) MaySubscribe(tenant string, pattern channel.Pattern) bool {
	return p == nil || p.rights.MaySubscribe(tenant, pattern)
}

// ID is the ID of the token that the client came in with; the zero ID where it needed none.
func (p *Pass) ID() token.ID {
	if p == nil {
		return token.ID{}
	}
	return p.id
}

// IsMaster tells whether text is a master token.
func (a *Authority) IsMaster(text string) bool { return a.masters.Load().Match(text) }

// Issue makes a token and tells the other nodes of it. Errors wrap token.ErrRequest, ErrExpiry, ErrFull or ErrNoSecret.
func (a *Authority) Issue(r token.Request, now time.Time) (text string, err error) {
	var id token.ID
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("access: token ID: %w", err)
	}
	text, t, err := a.keys.Load().Mint(r, id, now)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	e, err := a.ledger.Issue(t, r.Description)
	a.mu.Unlock()
	if err != nil {
		return "", err
	}
	a.tell(e)
	return text, nil
}

// Refresh moves a token's expiry. Errors wrap token.ErrUnknown, ErrRevoked, ErrExpired or ErrExpiry, or are ErrUnsettled.
func (a *Authority) Refresh(id token.ID, expires, now time.Time) (token.Entry, error) {
	a.mu.Lock()
	e, err := a.ledger.Refresh(id, expires, now)
	a.mu.Unlock()
	switch {
	case errors.Is(err, token.ErrUnknown) && !a.settled():
		return token.Entry{}, ErrUnsettled
	case err != nil:
		return token.Entry{}, err
	}
	a.tell(e)
	return e, nil
}

// Revoke ends a token, given as its whole text, for good and on all nodes. Errors are those of token.Keys.Verify but ErrExpired.
func (a *Authority) Revoke(text string, now time.Time) (token.Entry, error) {
	t, err := a.keys.Load().Verify(text, now)
	if err != nil && !errors.Is(err, token.ErrExpired) {
		return token.Entry{}, err
	}
	a.mu.Lock()
	e := a.ledger.Revoke(t, now)
	cuts := a.revoked(nil, e.ID)
	a.mu.Unlock()
	a.end(cuts)
	a.tell(e)
	return e, nil
}

// List is what the ledger knows of tokens that createdBy asked for, or of all if it is empty.
func (a *Authority) List(createdBy string) []token.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ledger.List(createdBy)
}

// revoked appends how to cut the connections of a revoked token. a.mu is held.
func (a *Authority) revoked(cuts []func(), id token.ID) []func() {
	for p := range a.passes[id] {
		if p.revoked {
			continue
		}
		p.revoked = true
		if p.cut != nil {
			cuts = append(cuts, p.cut)
		}
	}
	return cuts
}

func (a *Authority) end(cuts []func()) {
	for _, cut := range cuts {
		cut()
	}
	a.counts.cut.Add(uint64(len(cuts)))
}

func (a *Authority) tell(e token.Entry) {
	chunk, _ := token.AppendEntries(nil, []token.Entry{e}) // one entry always fits
	a.spread(chunk)
}

// Stats is a snapshot of the counters.
func (a *Authority) Stats() Stats {
	s := Stats{
		Entered: a.counts.entered.Load(), Unknown: a.counts.unknown.Load(), Barred: a.counts.barred.Load(),
		Cut: a.counts.cut.Load(), Malformed: a.counts.malformed.Load(),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, live := range a.passes {
		s.Passes += len(live)
	}
	s.Ledger = a.ledger.Stats()
	return s
}
