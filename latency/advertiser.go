package latency

import (
	"maps"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	urgentRate  = 10 // urgent advertisements per second
	urgentBurst = 5

	riseKept   = 2 * time.Minute // how long a rise is remembered after it was told, at least
	climbEvery = time.Second / 2 // between two steps up: some samples
	climbParts = 2               // a step up is so much of what was told
	climbLeast = 10 * time.Millisecond
	easeEvery  = 2 * time.Second // between two steps down after it
	easeParts  = 4               // of the way down in a step
	floorParts = 8               // of a rise that follows another lie below the floor
	holdFirst  = 30 * time.Second
	holdMost   = 5 * time.Minute // that the floor is kept, twice as long each time
)

// Cost is what the link to a node costs, one way, in microseconds.
type Cost struct {
	To   wire.NodeID
	Cost uint32
}

// Advertiser decides when a node tells the mesh what its links cost. One goroutine owns it.
type Advertiser struct {
	cfg    Config
	told   []Cost // as last advertised
	risen  map[wire.NodeID]rise
	easing time.Time     // when more of a fall may be told; zero: all is told
	ever   bool          // anything was advertised
	at     time.Time     // of the last advertisement
	pause  time.Duration // AdvertiseEvery, stretched by churn
	held   time.Time     // when a change held back may be told; zero if none is
	urgent bucket

	strain  float64 // see Strain
	patient bool    // a link that is new, or no more, is told like a small change
}

// NewAdvertiser is an Advertiser that has told nothing, which is the same as an empty vector.
func NewAdvertiser(cfg Config) *Advertiser {
	cfg, _ = cfg.normal()
	return &Advertiser{cfg: cfg, risen: map[wire.NodeID]rise{}, strain: 1, pause: cfg.AdvertiseEvery, urgent: newBucket(urgentRate, urgentBurst)}
}

// Patient says whether links that are new, and those given up, may wait as long as the least of changes, which churn puts off most: in a large mesh a node that starts
// has tens of them, one after another, whoever is reached by a few is reached, and none is given up that carried messages of late. One that broke is urgent.
func (a *Advertiser) Patient(patient bool) { a.patient = patient }

// Strain has costs told only where they move so many times further than else, at least 1: a node that is late measures, for the most part, itself.
func (a *Advertiser) Strain(times float64) { a.strain = times }

// Offer takes what the node's working links cost now, sorted by To, and says whether it is due to be told. If so vector is what to
// tell, the caller's to keep: links that moved less than the threshold keep the number told before. Urgent means that a link went
// down or came up: then a change is told at once, within a bound. An urgent offer that is held back is to be repeated as such.
func (a *Advertiser) Offer(now time.Time, costs []Cost, urgent bool) (vector []Cost, due bool) {
	vector, change := a.damp(now, costs)
	if change == 0 {
		a.held = a.easing
		return nil, false
	}
	free := a.free(change)
	if now.Before(free) && urgent {
		if a.urgent.take(now) {
			a.tell(now, vector)
			return slices.Clone(vector), true
		}
		if ready := a.urgent.ready(); ready.Before(free) {
			free = ready
		}
	}
	if now.Before(free) {
		a.held = free
		return nil, false
	}
	if a.ever && !urgent {
		a.adapt(now.Sub(a.at))
	}
	a.tell(now, vector)
	return slices.Clone(vector), true
}

// Next is when a change that was held back may be told; false if none is held back. Offer is to be called then.
func (a *Advertiser) Next() (time.Time, bool) { return a.held, !a.held.IsZero() }

func (a *Advertiser) tell(now time.Time, vector []Cost) {
	a.note(now, vector)
	a.told, a.ever, a.at, a.held = vector, true, now, a.easing
}

// free is when a change as many thresholds large as said may be told. What churn adds to the pause, a large change does not wait
// for: it waits the less the larger it is.
func (a *Advertiser) free(change float64) time.Time {
	if !a.ever {
		return time.Time{}
	}
	return a.at.Add(max(a.cfg.AdvertiseEvery, time.Duration(float64(a.pause)/change)))
}

// adapt stretches the pause if this advertisement follows soon after the last one, and shrinks it by the quiet before it otherwise.
func (a *Advertiser) adapt(quiet time.Duration) {
	if quiet < 2*a.pause {
		a.pause = min(2*a.pause, a.cfg.AdvertiseMost)
		return
	}
	for quiet >= 2*a.pause && a.pause > a.cfg.AdvertiseEvery {
		quiet -= 2 * a.pause
		a.pause = max(a.pause/2, a.cfg.AdvertiseEvery)
	}
}

// rise is what is known of a link that was told to cost more: when, when it was last told to cost less again, and, where it rose again after that, a
// floor that it is not told to be below for some time. It outlasts the link: one that is gone since its echoes were late comes back with the cost that it had.
type rise struct {
	at, eased time.Time
	told      uint32 // last
	floor     uint32
	hold      time.Duration
}

// kept reports whether the rise still counts.
func (r *rise) kept(now time.Time) bool { return now.Sub(r.at) <= max(riseKept, 2*r.hold) }

// Changes of the set of links, in thresholds: as large as any; and as small, where they may wait.
const (
	setChange   = 1e9
	leastChange = 1 + 1e-9
)

// damp is the vector to tell, and how many thresholds the largest change in it is: 0 if nothing is worth telling, else more than 1.
func (a *Advertiser) damp(now time.Time, costs []Cost) (vector []Cost, change float64) {
	vector = slices.Clone(costs)
	a.easing = time.Time{}
	set := float64(setChange)
	if a.patient {
		set = leastChange
	}
	same, old := 0, a.told
	for i, c := range costs {
		for len(old) > 0 && old[0].To < c.To {
			old = old[1:]
		}
		if len(old) == 0 || old[0].To != c.To {
			if r, risen := a.risen[c.To]; risen && r.kept(now) && c.Cost < r.told { // one that comes back dearer is told as it is
				vector[i].Cost = a.ease(now, c.To, r.told, c.Cost)
			}
			change = max(change, set)
			continue
		}
		same++
		told := old[0].Cost
		vector[i].Cost = a.ease(now, c.To, told, c.Cost)
		if moved := a.moved(told, vector[i].Cost); moved > 1 {
			change = max(change, moved)
		} else {
			vector[i].Cost = told
		}
	}
	if same < len(a.told) {
		change = max(change, set)
	}
	return vector, change
}

// ease is what to tell of a link that costs another than was told: not all of a rise at once, nor of a fall where it had cost more not long ago.
func (a *Advertiser) ease(now time.Time, to wire.NodeID, told, cost uint32) uint32 {
	r, risen := a.risen[to]
	if cost >= told {
		return a.climb(now, r.at, told, cost)
	}
	if !risen || !r.kept(now) {
		return cost
	}
	if held := r.at.Add(r.hold); r.floor > cost && now.Before(held) {
		a.easeAt(held)
		cost = min(r.floor, told)
	}
	if a.moved(told, cost) <= 1 {
		return told
	}
	again := r.eased.Add(easeEvery)
	if now.Before(again) {
		a.easeAt(again)
		return told
	}
	step := max((told-cost)/easeParts, uint32(2*a.least(told)))
	if step >= told-cost {
		return cost
	}
	a.easeAt(now.Add(easeEvery))
	return told - step
}

// climb is ease for a cost that rose, as it was told to have done last at this time.
func (a *Advertiser) climb(now, last time.Time, told, cost uint32) uint32 {
	step := max(told/climbParts, uint32(climbLeast/time.Microsecond))
	switch {
	case a.moved(told, cost) <= 1 || cost-told <= step:
		return cost
	case now.Sub(last) < climbEvery:
		a.easeAt(last.Add(climbEvery))
		return told
	}
	a.easeAt(now.Add(climbEvery))
	return told + step
}

// easeAt says that more of a fall may be told then.
func (a *Advertiser) easeAt(at time.Time) {
	if a.easing.IsZero() || at.Before(a.easing) {
		a.easing = at
	}
}

// moved is the difference of two costs, in thresholds.
func (a *Advertiser) moved(from, to uint32) float64 {
	if to > from {
		return float64(to-from) / (a.least(from) * a.cfg.AdvertiseRise)
	}
	return float64(from-to) / a.least(from)
}

// least is the threshold of a cost that falls.
func (a *Advertiser) least(cost uint32) float64 {
	return a.strain * max(float64(a.cfg.AdvertiseMin)/float64(time.Microsecond), a.cfg.AdvertiseShare*float64(cost))
}

// note keeps which links were told to cost more, and forgets those that did long ago.
func (a *Advertiser) note(now time.Time, vector []Cost) {
	old := a.told
	for _, c := range vector {
		for len(old) > 0 && old[0].To < c.To {
			old = old[1:]
		}
		before := c.Cost
		if len(old) > 0 && old[0].To == c.To {
			before = old[0].Cost
		}
		r, risen := a.risen[c.To]
		switch kept := risen && r.kept(now); {
		case c.Cost > before && kept && r.at.Equal(r.eased): // another step up
			r.at, r.eased = now, now
		case c.Cost > before && kept: // it was told to be too low
			r.floor = before + (c.Cost-before)/floorParts
			r.at, r.eased, r.hold = now, now, min(max(2*r.hold, holdFirst), holdMost)
		case c.Cost > before:
			r, risen = rise{at: now, eased: now}, true
		case c.Cost < before:
			r.eased = now
		}
		if risen {
			r.told = c.Cost
			a.risen[c.To] = r
		}
	}
	maps.DeleteFunc(a.risen, func(_ wire.NodeID, r rise) bool { return !r.kept(now) })
}
