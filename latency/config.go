package latency

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Config tunes measuring and advertising. The zero value of a field means its default; so does a value that Validate refuses.
type Config struct {
	ActiveInterval time.Duration // between probes of a link in use, at most; default 50 ms
	IdleInterval   time.Duration // between probes of any other link; default 2 s
	ActiveFor      time.Duration // how long after its last use a link counts as in use; default 2 s
	Budget         int           // probes per second over all links of the node; default 200
	MissedLimit    int           // unanswered probes in a row until a link is down, where it loses next to none; default 3
	GoodLimit      int           // answered probes in a row until a link that was down is up again; default 5
	HopCost        time.Duration // a relay's own work, added to the cost of each link; default 500 µs
	AdvertiseMin   time.Duration // a cost that fell by no more than this is not advertised; default 1 ms
	AdvertiseShare float64       // nor one that fell by no more than this share of itself; default 0.06
	AdvertiseRise  float64       // a cost that rose is not advertised below so many times these thresholds; default 5
	AdvertiseEvery time.Duration // between two advertisements that are not urgent, at least; default 500 ms
	AdvertiseMost  time.Duration // what churn can stretch AdvertiseEvery to; default 8 s
}

// Validate reports every field that is out of range, or nil.
func (c Config) Validate() error {
	_, err := c.normal()
	return err
}

// normal is c with each field in range, and what was not.
func (c Config) normal() (Config, error) {
	var faults []error
	settle(&faults, "ActiveInterval", &c.ActiveInterval, span[time.Duration]{5 * time.Millisecond, 10 * time.Second, 50 * time.Millisecond})
	settle(&faults, "IdleInterval", &c.IdleInterval, span[time.Duration]{c.ActiveInterval, time.Minute, max(2*time.Second, c.ActiveInterval)})
	settle(&faults, "ActiveFor", &c.ActiveFor, span[time.Duration]{time.Millisecond, time.Hour, 2 * time.Second})
	settle(&faults, "Budget", &c.Budget, span[int]{1, 1_000_000, 200})
	settle(&faults, "MissedLimit", &c.MissedLimit, span[int]{1, historySize / 8, 3})
	settle(&faults, "GoodLimit", &c.GoodLimit, span[int]{1, 1000, 5})
	settle(&faults, "HopCost", &c.HopCost, span[time.Duration]{time.Microsecond, time.Minute, 500 * time.Microsecond})
	settle(&faults, "AdvertiseMin", &c.AdvertiseMin, span[time.Duration]{time.Microsecond, time.Minute, time.Millisecond})
	settle(&faults, "AdvertiseShare", &c.AdvertiseShare, span[float64]{1e-6, 1, 0.06})
	settle(&faults, "AdvertiseRise", &c.AdvertiseRise, span[float64]{1, 1000, 5})
	settle(&faults, "AdvertiseEvery", &c.AdvertiseEvery, span[time.Duration]{time.Millisecond, time.Minute, 500 * time.Millisecond})
	settle(&faults, "AdvertiseMost", &c.AdvertiseMost, span[time.Duration]{c.AdvertiseEvery, time.Hour, max(8*time.Second, c.AdvertiseEvery)})
	return c, errors.Join(faults...)
}

// span is the range of a field, ends included, and its default.
type span[T cmp.Ordered] struct{ low, high, preset T }

func settle[T cmp.Ordered](faults *[]error, name string, v *T, s span[T]) {
	var zero T
	if *v >= s.low && *v <= s.high { // false for NaN
		return
	}
	if *v != zero {
		*faults = append(*faults, fmt.Errorf("latency: %s %v is not in %v to %v", name, *v, s.low, s.high))
	}
	*v = s.preset
}
