package latency

import (
	"math"
	"time"
)

// State says whether a link can carry messages.
type State uint8

// The states of a link. A new link is Down.
const (
	Down State = iota
	Up
)

// String is "down" or "up".
func (s State) String() string {
	if s == Up {
		return "up"
	}
	return "down"
}

// Times that bound the judgement of a probe.
const (
	marginLeast  = 25 * time.Millisecond // beyond the smoothed round trip
	marginBase   = 10 * time.Millisecond // added to four deviations
	timeoutFirst = time.Second           // before the first sample
	timeoutMost  = 3 * time.Second
	rttMost      = 10 * time.Second // a longer round trip is absurd
	excuse       = 25 * time.Millisecond
)

// Rules about misses.
const (
	falseAlarm   = 1e-6  // chance that a run of misses on a live link reaches the limit
	lossCertain  = 0.005 // added to the estimate of loss where it is not below this itself
	deafFactor   = 3     // times MissedLimit: misses in a row that are too many though frames are heard
	deafFor      = time.Second
	calmFactor   = 6  // times ActiveInterval: between probes of a link in use from which frames come
	rareShare    = 4  // messages further apart than 1/rareShare of ActiveFor are rare, and reason for fast probes for so long
	settleProbes = 10 // fast ones, of a link that comes up: its round trip is known then, and without use there is no more reason for haste
	missTakes    = 4  // good probes that one missed takes back
	lossIgnored  = 0.003
	lossDelay    = 5 * time.Millisecond // what a retransmission costs beyond the time-out
	quietForNews = time.Second
)

// Link measures one link: round trip, loss, and whether it works. Make it with Prober.Add.
type Link struct {
	cfg   Config    // normal
	base  time.Time // all times below count from here
	rtt   estimator
	loss  losses
	kept  losses // loss as it was when the misses began that may yet prove to be a death
	flaps flaps

	state, told State
	restart     bool // the next sample starts the estimate anew
	probes      history
	patience    time.Duration // given to echoes beyond what the round trip asks for
	wakeAt      time.Duration // least deadline of the probes on their way, or never
	clock       time.Duration // latest time seen
	sentAt      time.Duration // of the last probe
	heardAt     time.Duration // last sign of life
	spokeAt     time.Duration // last frame of the peer that was no echo
	echoAt      time.Duration // last echo in time
	usedAt      time.Duration // last use
	livelyAt    time.Duration // last reason to probe fast: use, or a change of fortune

	run        int // missed probes that nothing heard explains
	unanswered int // missed probes since the last echo
	limit      int // run that takes the link down; it stands while a run lasts
	good       int // answered probes towards coming up
	stats      Stats
}

// Stats is what a link has measured.
type Stats struct {
	SRTT      time.Duration // smoothed round trip; 0 before the first sample
	Deviation time.Duration // mean deviation of samples from it
	MinRTT    time.Duration // least sample of the last 30 to 60 s
	Loss      float64       // share of packets lost one way, taking both directions as equal
	Sent      uint64        // probes
	Missed    uint64        // probes without an echo in time
	Late      uint64        // of those, probes whose echo came later
	Refused   uint64        // echoes not believed: unknown or repeated number, or absurd round trip
	Downs     uint64        // times that the link went from up to down
}

// never is later than any deadline.
const never time.Duration = math.MaxInt64

// newLink is a link added now.
func newLink(cfg Config, base, now time.Time) *Link {
	at := now.Sub(base)
	return &Link{cfg: cfg, base: base, limit: cfg.MissedLimit, wakeAt: never, clock: at, sentAt: at, heardAt: at, livelyAt: at}
}

// at is now on the link's own scale.
func (l *Link) at(now time.Time) time.Duration {
	if l.base.IsZero() {
		l.base = now
	}
	at := now.Sub(l.base)
	l.clock = max(l.clock, at)
	return at
}

// Probe takes note of a probe sent now and returns its number.
func (l *Link) Probe(now time.Time) uint32 {
	at := l.at(now)
	p, crowded := l.probes.add()
	if crowded {
		l.miss(p)
	}
	*p = probe{seq: p.seq, sent: at, expect: at + l.rtt.smoothed(), deadline: at + l.timeout() + l.patience, fate: pending}
	if l.stats.Sent == 0 {
		l.livelyAt = max(l.livelyAt, at)
	}
	l.wakeAt = min(l.wakeAt, p.deadline)
	l.sentAt = at
	l.stats.Sent++
	return p.seq
}

// timeout is how long an echo may take.
func (l *Link) timeout() time.Duration {
	if l.rtt.samples == 0 || l.restart {
		return timeoutFirst
	}
	return min(l.rtt.smoothed()+max(4*l.rtt.deviation()+marginBase, marginLeast), timeoutMost)
}

// Echo takes the echo of the probe with this number, received now after rtt. An echo of a probe already judged missed still
// shows the round trip and takes the loss back; an unknown or repeated number and an absurd time are counted and ignored.
func (l *Link) Echo(now time.Time, seq uint32, rtt time.Duration) {
	at := l.at(now)
	p := l.probes.find(seq)
	if p == nil || p.fate == answered || rtt < 0 || rtt > rttMost {
		l.stats.Refused++
		return
	}
	late := p.fate == missed
	p.fate = answered
	if late {
		l.stats.Late++
		l.loss.forgive(p.verdict)
	} else if l.state == Up {
		p.verdict = l.loss.record(false)
	}
	if stalled := !late && at > p.deadline+stallAfter; !p.excused && !stalled { // Advance on time would have judged it missed
		l.sample(at, max(rtt, time.Microsecond))
	}
	l.alive(at)
	if late {
		return
	}
	l.resetWake()
	l.unanswered, l.echoAt = 0, max(l.echoAt, at)
	if l.state == Up {
		if l.run == 0 {
			l.limit = l.missLimit()
		}
		return
	}
	l.livelyAt = max(l.livelyAt, at-max(0, l.cfg.ActiveFor-settleProbes*l.cfg.ActiveInterval))
	l.good++
	if l.good >= l.flaps.need(now, l.cfg.GoodLimit) {
		l.state, l.run, l.limit = Up, 0, l.missLimit()
	}
}

// held reports whether the link answers every probe and only its record of downs keeps it Down.
func (l *Link) held() bool {
	return l.state == Down && l.unanswered == 0 && l.good >= l.cfg.GoodLimit
}

// Release brings a held link up: a path that may break again is better than none. Advance tells of it like of any change.
func (l *Link) Release() {
	if l.held() {
		l.state, l.run, l.limit = Up, 0, l.missLimit()
	}
}

func (l *Link) sample(at, rtt time.Duration) {
	first := l.rtt.samples == 0
	if l.restart {
		l.rtt, l.restart, first = estimator{}, false, true
	}
	l.rtt.observe(at, rtt)
	if !first {
		return
	}
	// Probes already on their way had to do without an estimate.
	for p := range l.probes.waiting() {
		p.deadline = min(p.deadline, p.sent+l.timeout())
	}
}

// resetWake finds the least deadline again after one went.
func (l *Link) resetWake() {
	l.wakeAt = never
	for p := range l.probes.waiting() {
		l.wakeAt = min(l.wakeAt, p.deadline)
	}
}

// Heard takes note that some frame other than an echo came at this time: a sign of life, but no sample. Times may come late and repeat.
func (l *Link) Heard(at time.Time) {
	heard := l.recently(at)
	l.spokeAt = max(l.spokeAt, heard)
	l.alive(heard)
}

// Used takes note that the link carried a message at this time. Times may come late and repeat. Where messages are rare, each is followed by fast probes for a
// short while alone: they would be many times the messages, and a message that goes into a dead link has it probed at once.
func (l *Link) Used(at time.Time) {
	used := l.recently(at)
	if used <= l.usedAt {
		return
	}
	rare := used-l.usedAt > l.cfg.ActiveFor/rareShare
	l.usedAt = used
	if rare {
		used -= l.cfg.ActiveFor - l.cfg.ActiveFor/rareShare
	}
	l.livelyAt = max(l.livelyAt, used)
}

// recently is a time given by another clock's reading, which must not lead far into the future.
func (l *Link) recently(at time.Time) time.Duration {
	if l.base.IsZero() {
		return 0
	}
	return min(at.Sub(l.base), l.clock+l.cfg.IdleInterval)
}

// alive moves the last sign of life on, and counts again which missed probes it explains.
func (l *Link) alive(at time.Duration) {
	if at <= l.heardAt {
		return
	}
	if l.state == Down && at-l.heardAt > quietForNews {
		l.livelyAt = max(l.livelyAt, at)
	}
	l.heardAt = at
	if l.run > 0 {
		l.run = l.probes.unexplained(at)
	}
}

// Failed takes the link down at once: its connection broke.
func (l *Link) Failed(now time.Time) {
	at := l.at(now)
	l.good = 0
	if l.state == Up {
		l.goDown(now, at)
	}
}

// Renewed says that another connection has taken the place of the link's: echoes of probes under way are lost to it, which says nothing of the path.
func (l *Link) Renewed(now time.Time) {
	l.alive(l.at(now))
	for p := range l.probes.waiting() {
		p.fate = answered
	}
	l.resetWake()
}

func (l *Link) goDown(now time.Time, at time.Duration) {
	if l.unanswered > 0 {
		l.loss.restore(l.kept)
	}
	l.state, l.run, l.unanswered, l.good = Down, 0, 0, 0
	l.restart = true
	l.livelyAt = max(l.livelyAt, at)
	l.flaps.add(now)
	l.stats.Downs++
}

// Advance applies what is due by time alone, and says whether the state is another than at the last call.
func (l *Link) Advance(now time.Time) (changed bool) {
	at := l.at(now)
	if at >= l.wakeAt {
		for p := range l.probes.waiting() {
			if p.deadline <= at {
				l.miss(p)
			}
		}
		l.resetWake()
	}
	deaf := l.unanswered >= deafFactor*l.cfg.MissedLimit && at-l.echoAt >= deafFor
	if l.state == Up && (l.run >= l.limit || deaf) {
		l.goDown(now, at)
	}
	changed = l.state != l.told
	l.told = l.state
	return changed
}

func (l *Link) miss(p *probe) {
	p.fate = missed
	if l.unanswered == 0 {
		l.kept = l.loss
	}
	if l.state == Up { // what a dead link does not answer says nothing of how it loses when it lives
		p.verdict = l.loss.record(true)
	}
	l.stats.Missed++
	l.unanswered++
	l.good = max(0, l.good-missTakes)
	if l.state == Up && p.expect > l.heardAt {
		l.run++
	}
}

// missLimit is how many misses in a row mean down: so many that chance brings them about no more often than falseAlarm.
func (l *Link) missLimit() int {
	loss := l.loss.roundTrip()
	if loss >= lossCertain {
		loss += lossCertain
	}
	limit := l.cfg.MissedLimit
	for chance := math.Pow(loss, float64(limit)); chance > falseAlarm && limit < 2*l.cfg.MissedLimit; limit++ {
		chance *= loss
	}
	return limit
}

// fast is the interval of fast probing: however many misses the limit is, they take no longer than MissedLimit at ActiveInterval.
func (l *Link) fast() time.Duration {
	return l.cfg.ActiveInterval * time.Duration(l.cfg.MissedLimit) / time.Duration(l.limit)
}

// heardOf reports whether the peer was heard so lately, with no probe unanswered since, that the link need not be asked whether it works.
func (l *Link) heardOf(at time.Duration) bool {
	return l.state == Up && l.unanswered == 0 && l.spokeAt > 0 && at-l.spokeAt < l.fast()
}

// putOff is how long after the last probe the next is due: pause, or, since silence is what asks for a probe, some time after the peer was last heard, but not most.
func (l *Link) putOff(pause, silence, most time.Duration) time.Duration {
	if l.state != Up || l.unanswered > 0 || l.spokeAt <= l.sentAt {
		return pause
	}
	return max(pause, min(l.spokeAt-l.sentAt+silence, most))
}

// calm is the interval of probes that only measure, while frames show that the link works.
func (l *Link) calm() time.Duration { return min(calmFactor*l.cfg.ActiveInterval, l.cfg.IdleInterval) }

// livelyUntil is when fast probing ends.
func (l *Link) livelyUntil() time.Duration { return l.livelyAt + l.cfg.ActiveFor }

// lively reports whether there is reason to probe fast.
func (l *Link) lively(at time.Duration) bool { return at <= l.livelyUntil() }

// weight is how much the link counts where not all can be probed fast: 1 just after its last use, 1/5 before it is idle.
func (l *Link) weight(at time.Duration) float64 {
	age := max(0, at-l.livelyAt)
	return 1 / (1 + 4*float64(age)/float64(l.cfg.ActiveFor))
}

// suspected reports whether the link may be dying.
func (l *Link) suspected() bool { return l.state == Up && l.run > 0 }

// unsettled reports whether the round trip may have changed, which the next samples tell.
func (l *Link) unsettled() bool { return l.state == Up && l.rtt.unsettled() }

// wake is when Advance has something to do, or never.
func (l *Link) wake() time.Duration {
	if l.state != l.told {
		return l.clock
	}
	return l.wakeAt
}

// stalled gives probes more time, once each, since the caller came so late that their echoes may wait unread.
func (l *Link) stalled(now time.Time) {
	at := l.at(now)
	for p := range l.probes.waiting() {
		if !p.excused {
			p.excused, p.deadline = true, max(p.deadline, at+excuse)
		}
	}
	l.resetWake()
}

// State is Up or Down.
func (l *Link) State() State { return l.state }

// Stats is what the link has measured so far.
func (l *Link) Stats() Stats {
	s := l.stats
	s.SRTT, s.Deviation, s.MinRTT = l.rtt.smoothed(), l.rtt.deviation(), l.rtt.least()
	s.Loss = l.loss.oneWay()
	return s
}

// Cost is the link's cost in microseconds, one way: half the smoothed round trip, what loss costs on average, and the hop. It is
// never 0, and the greatest number while nothing is measured.
func (l *Link) Cost() uint32 {
	if l.rtt.samples == 0 {
		return math.MaxUint32
	}
	penalty := l.rtt.srtt + 4*l.rtt.dev + float64(lossDelay)
	loss := max(0, l.loss.oneWay()-lossIgnored)
	cost := (l.rtt.srtt/2 + loss*penalty + float64(l.cfg.HopCost)) / float64(time.Microsecond)
	return uint32(min(max(cost, 1), math.MaxUint32))
}
