package gossip

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

const (
	membersMost = 8192                 // runs of nodes known at a time
	checkEach   = 5 * time.Millisecond // signature checks of descriptions take about 2 % of a core at most,
	checksSaved = 4096                 // but for so many at once: of all members, when a node joins
	tellEvery   = time.Minute          // between log lines that say the same
)

// Why a description is not taken.
var (
	errOutdated  = errors.New("gossip: not newer than what the node has said")
	errUnchecked = errors.New("gossip: too many new descriptions at a time")
	errCrowded   = errors.New("gossip: too many members")
)

// descriptions are what members have said of themselves, as proved by their signatures: SWIM's messages are only known to come from some
// member, and any of them could say where another is. A copy of what is known costs no check, and neither does what is not newer.
type descriptions struct {
	stats *Stats
	log   zerolog.Logger

	mu    sync.Mutex // guards what follows
	runs  map[string]*description
	clear time.Time            // when as many checks as may be are saved up
	told  map[string]time.Time // when the log last said what
}

// description is the newest of one run of a node.
type description struct {
	raw     string
	addr    netip.AddrPort
	edition uint32
	alive   bool
}

func newDescriptions(stats *Stats, log zerolog.Logger) *descriptions {
	return &descriptions{stats: stats, log: log, runs: map[string]*description{}, told: map[string]time.Time{}}
}

// check reports why what is said of a run, by its SWIM name, is not to be believed.
func (d *descriptions) check(name string, raw []byte, addr netip.AddrPort, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.runs[name]
	if known != nil && known.raw == string(raw) && known.addr == addr {
		return nil
	}
	meta, err := parseMember(name, raw)
	switch {
	case err != nil:
		d.tell(name, now, d.stats.Refused.Add(1), err, "a member's description cannot be read; its node may be of another version")
		return err
	case known != nil && meta.Edition < known.edition:
		return errOutdated // who has not heard of the newer one says so in good faith
	case known != nil && meta.Edition == known.edition:
		return d.forged(name, now, errOutdated)
	case !d.mayCheck(now):
		d.stats.Unchecked.Add(1)
		return errUnchecked
	}
	if err := wire.VerifyMeta(raw, addr); err != nil {
		return d.forged(name, now, err)
	}
	if known == nil {
		if !d.makeRoom() {
			d.stats.Crowded.Add(1)
			return errCrowded
		}
		known = new(description)
		d.runs[name] = known
	}
	known.raw, known.addr, known.edition = string(raw), addr, meta.Edition
	return nil
}

// forged counts what a node has not said of itself. Memberlist does not tell who sent it.
func (d *descriptions) forged(name string, now time.Time, err error) error {
	d.tell(name, now, d.stats.Forged.Add(1), err, "some member says of another what that has not signed")
	return err
}

// tell logs a message that it has not logged of late.
func (d *descriptions) tell(name string, now time.Time, sofar uint64, err error, what string) {
	if last, told := d.told[what]; !told || now.Sub(last) >= tellEvery {
		d.told[what] = now
		d.log.Warn().Err(err).Str("of", name[:min(len(name), 40)]).Uint64("so_far", sofar).Msg(what)
	}
}

// mayCheck takes one of the checks that are saved up.
func (d *descriptions) mayCheck(now time.Time) bool {
	if d.clear.Before(now) {
		d.clear = now
	}
	if d.clear.Sub(now) > (checksSaved-1)*checkEach {
		return false
	}
	d.clear = d.clear.Add(checkEach)
	return true
}

// makeRoom forgets a run that is over, if there is no room for another.
func (d *descriptions) makeRoom() bool {
	if len(d.runs) < membersMost {
		return true
	}
	for name, known := range d.runs {
		if !known.alive {
			delete(d.runs, name)
			return true
		}
	}
	return false
}

// live notes that SWIM has a run for alive, or no longer.
func (d *descriptions) live(name string, alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.runs[name]; known != nil {
		known.alive = alive
	}
}

// parseMember reads a description that is to be of the run with this SWIM name.
func parseMember(name string, raw []byte) (wire.Meta, error) {
	meta, err := wire.ParseMeta(raw)
	if err == nil && name != memberName(meta.ID, meta.Boot) {
		err = fmt.Errorf("%w: name %.40q", wire.ErrMeta, name)
	}
	return meta, err
}
