package gossip

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	joinTick     = 250 * time.Millisecond // how often we look whom to join
	retryFirst   = time.Second            // pause after a first failed try
	retrySlowing = 120                    // the pause grows by 1 s in so many seconds without success
	retryMost    = time.Minute
	rejoinFirst  = time.Second      // pause after a success that brought no member at that address, doubling:
	rejoinMost   = 30 * time.Second // an address that no member advertises, such as one behind NAT, never becomes one
	joinsAtOnce  = 4
	knownMost    = 1024
	metMost      = 64
	metKept      = 10 * time.Second
	saveEvery    = 5 * time.Second
)

// known remembers where members are or were, so that a node that lost them finds them again.
type known struct {
	file string

	mu    sync.Mutex // guards what follows
	nodes map[wire.NodeID]*acquaintance
	dirty bool
	met   map[netip.AddrPort]meeting // peers with links that SWIM did not know
}

// meeting is the run that was last met, and when.
type meeting struct {
	boot uint64
	at   time.Time
}

type acquaintance struct {
	Addr  netip.AddrPort `json:"addr"`
	alive bool
	boot  uint64
}

func newKnown(cfg *Config) *known {
	k := &known{file: cfg.KnownFile, nodes: map[wire.NodeID]*acquaintance{}, met: map[netip.AddrPort]meeting{}}
	if k.file == "" {
		return k
	}
	b, err := os.ReadFile(k.file)
	if err == nil {
		err = json.Unmarshal(b, &k.nodes)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		cfg.Log.Warn().Err(err).Str("file", k.file).Msg("members last known are unreadable; starting without")
	}
	for id, a := range k.nodes {
		if a == nil || !a.Addr.IsValid() || id == cfg.Meta.ID {
			delete(k.nodes, id)
		}
	}
	return k
}

func (k *known) seen(m Member) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.nodes[m.ID]; old != nil && old.boot > m.Boot && old.alive {
		return
	}
	k.nodes[m.ID] = &acquaintance{Addr: m.Addr, alive: true, boot: m.Boot}
	k.dirty = true
	for id, a := range k.nodes { // any that is not alive will do
		if len(k.nodes) <= knownMost {
			break
		}
		if !a.alive {
			delete(k.nodes, id)
		}
	}
}

// lost marks a run's end; who left of its own will is not looked for.
func (k *known) lost(m Member, graceful bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.nodes[m.ID]
	if a == nil || a.boot != m.Boot {
		return
	}
	a.alive = false
	if graceful {
		delete(k.nodes, m.ID)
	}
	k.dirty = true
}

// meet takes note that a run of a node at this address, where none as late is a member, has a working link with this one.
func (k *known) meet(addr netip.AddrPort, boot uint64, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.met) < metMost {
		k.met[addr] = meeting{boot, now}
	}
}

// missing are the addresses of nodes that are not members now; alive those of the members.
func (k *known) missing(now time.Time) (missing []netip.AddrPort, alive map[netip.AddrPort]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	alive = map[netip.AddrPort]bool{}
	boots := map[netip.AddrPort]uint64{}
	for _, a := range k.nodes {
		if a.alive {
			alive[a.Addr] = true
			boots[a.Addr] = max(boots[a.Addr], a.boot)
		} else {
			missing = append(missing, a.Addr)
		}
	}
	for addr, m := range k.met {
		if alive[addr] && boots[addr] >= m.boot || now.Sub(m.at) > metKept {
			delete(k.met, addr)
			continue
		}
		missing = append(missing, addr)
		delete(alive, addr) // what is alive there is an earlier run, which is not
	}
	return missing, alive
}

// save writes the file if there is something new: to a temporary name first, so that a crash leaves the old one.
func (k *known) save() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dirty || k.file == "" {
		return
	}
	k.dirty = false
	b, err := json.Marshal(k.nodes)
	if err != nil {
		return
	}
	temporary := filepath.Join(filepath.Dir(k.file), ".members.tmp")
	if os.WriteFile(temporary, b, 0o600) == nil {
		_ = os.Rename(temporary, k.file)
	}
}

// target is an address that we try to join through.
type target struct {
	since time.Time // of the first of the failures in a row
	next  time.Time
	again time.Duration // pause after the next success
	busy  bool
	seed  bool      // somebody said that a member is there
	told  time.Time // when the log last said that none is
}

// joiner tries addresses, each at its own pace.
type joiner struct {
	g     *Gossip
	group sync.WaitGroup
	rnd   *rand.Rand

	mu      sync.Mutex // guards what follows
	targets map[netip.AddrPort]*target
	busy    int
}

// keepJoined tries seeds and members last known that are not members, until ctx ends.
func (g *Gossip) keepJoined(ctx context.Context) {
	j := &joiner{g: g, rnd: g.cfg.Rand, targets: map[netip.AddrPort]*target{}}
	defer j.group.Wait()
	tick := time.NewTicker(joinTick)
	defer tick.Stop()
	settle := settling(time.Now())
	var compareAt time.Time
	resolver := &seedResolver{g: g, addrs: map[string][]netip.AddrPort{}, told: map[string]time.Time{}}
	saved := time.Now()
	for {
		now := time.Now()
		missing, alive := g.known.missing(now)
		seeds := resolver.resolve(ctx, now, alive)
		j.try(ctx, now, append(seeds, missing...), len(seeds), alive)
		if len(settle) > 0 && now.After(settle[0]) {
			settle = settle[1:]
			j.compare(alive)
			compareAt = j.nextCompare(now, len(alive))
		} else if len(settle) == 0 && now.After(compareAt) {
			j.compare(alive)
			compareAt = j.nextCompare(now, len(alive))
		}
		if now.Sub(saved) > saveEvery {
			g.known.save()
			saved = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// settling are the times at which a node that has just started compares its members with another's. A join tells the newcomer of all
// and a few of the newcomer; gossip does the rest but may miss one, and push/pull alone would take long to repair that.
func settling(start time.Time) (at []time.Time) {
	for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 8 * time.Second} {
		at = append(at, start.Add(after))
	}
	return at
}

// Between two exchanges of all that is known with one member lies compareEvery, or compareEach for each member if that is more: what is exchanged grows with the
// members, and is not to cost more than about half a kilobyte a second. memberlist's own push/pull slows down by far less.
const (
	compareEvery = 30 * time.Second
	compareEach  = 660 * time.Millisecond
)

func (j *joiner) nextCompare(now time.Time, members int) time.Time {
	pause := max(compareEvery, time.Duration(members)*compareEach)
	j.mu.Lock()
	defer j.mu.Unlock()
	return now.Add(pause*3/4 + time.Duration(j.rnd.Int64N(int64(pause)/2)))
}

// compare exchanges all that is known with one member.
func (j *joiner) compare(alive map[netip.AddrPort]bool) {
	for addr := range alive { // any of them
		j.group.Go(func() { _, _ = j.g.list.Join([]string{addr.String()}) })
		return
	}
}

// try starts a join of every address that is due and no member's. The first are of seeds.
func (j *joiner) try(ctx context.Context, now time.Time, addrs []netip.AddrPort, seeds int, alive map[netip.AddrPort]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wanted := make(map[netip.AddrPort]bool, len(addrs))
	for i, addr := range addrs {
		if alive[addr] || addr == j.g.cfg.Advertise {
			continue
		}
		wanted[addr] = true
		t := j.targets[addr]
		if t == nil {
			t = &target{since: now, next: now, again: rejoinFirst}
			j.targets[addr] = t
		}
		t.seed = t.seed || i < seeds
		if t.busy || now.Before(t.next) || j.busy >= joinsAtOnce {
			continue
		}
		t.busy = true
		j.busy++
		j.group.Go(func() { j.join(ctx, addr, t) })
	}
	for addr, t := range j.targets {
		if !wanted[addr] && !t.busy {
			delete(j.targets, addr)
		}
	}
}

func (j *joiner) join(ctx context.Context, addr netip.AddrPort, t *target) {
	_, err := j.g.list.Join([]string{addr.String()})
	if err != nil && ctx.Err() == nil {
		j.g.cfg.Log.Debug().Err(err).Stringer("addr", addr).Msg("join")
	}
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.busy--
	t.busy = false
	pause := min(retryFirst+now.Sub(t.since)/retrySlowing, retryMost)
	if err != nil && ctx.Err() == nil && t.seed && now.Sub(t.since) >= seedPatience && now.Sub(t.told) >= resolveTells {
		t.told = now
		j.g.cfg.Log.Warn().Err(err).Stringer("seed", addr).
			Msg("no member answers there: is a node running, does UDP get through both ways, and has it the same mesh secret? fastpubsub doctor with this node's options tells")
	}
	if err == nil {
		// After a partition a join can succeed and yet leave the other one dead in our eyes: it has to refute its death first, which
		// it gossips, and gossip may miss us. Only another exchange helps then.
		t.since = now
		pause = t.again
		t.again = min(2*t.again, rejoinMost)
	}
	t.next = now.Add(pause + time.Duration(j.rnd.Int64N(int64(pause)/2)))
}

// seedResolver turns seeds into addresses, anew while one of them is not a member.
type seedResolver struct {
	g     *Gossip
	addrs map[string][]netip.AddrPort
	told  map[string]time.Time // when the log last said that a seed does not resolve
	next  time.Time
}

const (
	resolveEvery = 3 * time.Second
	resolveTells = time.Minute     // between two warnings about a seed
	seedPatience = 3 * time.Second // before the first that nobody is there
)

var errFamily = errors.New("gossip: no address of this mesh's family, IPv4 or IPv6")

func (r *seedResolver) resolve(ctx context.Context, now time.Time, alive map[netip.AddrPort]bool) []netip.AddrPort {
	var out []netip.AddrPort
	due := !now.Before(r.next)
	if due {
		r.next = now.Add(resolveEvery)
	}
	seeds := *r.g.seeds.Load()
	maps.DeleteFunc(r.addrs, func(seed string, _ []netip.AddrPort) bool { return !slices.Contains(seeds, seed) })
	for _, seed := range seeds {
		if due && !anyAlive(r.addrs[seed], alive) {
			if found, err := r.lookup(ctx, seed); err == nil {
				r.addrs[seed] = found
			} else if last, told := r.told[seed]; !told || now.Sub(last) >= resolveTells {
				r.told[seed] = now
				r.g.cfg.Log.Warn().Err(err).Str("seed", seed).Msg("seed does not resolve")
			}
		}
		out = append(out, r.addrs[seed]...)
	}
	return out
}

func anyAlive(addrs []netip.AddrPort, alive map[netip.AddrPort]bool) bool {
	for _, a := range addrs {
		if alive[a] {
			return true
		}
	}
	return false
}

func (r *seedResolver) lookup(ctx context.Context, seed string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if ips, err = r.g.cfg.Resolve(ctx, host); err != nil {
			return nil, err
		}
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() == r.g.cfg.Advertise.Addr().Is4() { // one family per mesh
			out = append(out, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	if len(out) == 0 {
		return nil, errFamily
	}
	return out, nil
}
