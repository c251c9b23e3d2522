package scale

import (
	"math/rand/v2"
	"time"
)

// Weather is a way in which paths change, for a Replay.
type Weather struct {
	Name string
	What string
	make func(r *Replay, s *Sites, rnd *rand.Rand)
}

// Numbers of the weathers.
const (
	weatherSettle   = 20 * time.Second
	weatherLength   = 5 * time.Minute
	congestedShare  = 0.05 // of links
	congestedEvery  = 40 * time.Second
	flappingShare   = 0.02
	flappingEvery   = 10 * time.Second
	flappingBy      = 30 * time.Millisecond
	spikeShare      = 0.01 // of packets
	spikeMost       = 400 * time.Millisecond
	loadShare       = 2   // capacity of a site's way out, in times of what it sends itself
	hubShare        = 0.1 // of all pairs
	loadService     = 2 * time.Millisecond
	loadMost        = 200 * time.Millisecond
	congestionLeast = 20 * time.Millisecond
	congestionMost  = 120 * time.Millisecond
)

// Weathers are those that paths are judged in.
func Weathers() []Weather {
	return []Weather{
		{"calm", "nothing changes but for jitter", func(*Replay, *Sites, *rand.Rand) {}},
		{"spikes", "one packet in a hundred is up to 400 ms late", func(r *Replay, _ *Sites, _ *rand.Rand) {
			r.Spike = func(rnd *rand.Rand) time.Duration {
				if rnd.Float64() >= spikeShare {
					return 0
				}
				return time.Duration(rnd.Int64N(int64(spikeMost)))
			}
		}},
		{"congestion", "a link in twenty takes 20 to 120 ms more, others every 40 s", func(r *Replay, s *Sites, rnd *rand.Rand) {
			r.Delay = disturbed(s, rnd, congestedShare, congestedEvery, func(rnd *rand.Rand, _ time.Duration) time.Duration {
				return congestionLeast + time.Duration(rnd.Int64N(int64(congestionMost-congestionLeast)))
			})
		}},
		{"flaps", "a link in fifty takes 30 ms more half of the time, 10 s each", func(r *Replay, s *Sites, rnd *rand.Rand) {
			r.Delay = disturbed(s, rnd, flappingShare, time.Hour, func(_ *rand.Rand, at time.Duration) time.Duration {
				return flappingBy * (at / flappingEvery % 2)
			})
		}},
		{"herd", "one site is a third as far from all as others are, and can pass on the messages of one pair in ten; queues grow with load", func(r *Replay, s *Sites, _ *rand.Rand) {
			r.Delay = func(i, j int, _ time.Duration) time.Duration {
				if i == 0 || j == 0 {
					return s.OneWay(i, j) / 3
				}
				return s.OneWay(i, j)
			}
			n := float64(s.Len())
			r.Load = &Load{Capacity: n + n*n*hubShare, Hub: true, Service: loadService, Most: loadMost}
		}},
		{"crowd", "any site's way out carries twice what the site sends itself, and queues grow with load", func(r *Replay, s *Sites, _ *rand.Rand) {
			r.Load = &Load{Capacity: loadShare * float64(s.Len()-1), Service: loadService, Most: loadMost}
		}},
	}
}

// disturbed is the delay of sites of which a share of the links, others in each period, take more.
func disturbed(s *Sites, rnd *rand.Rand, share float64, period time.Duration, more func(rnd *rand.Rand, at time.Duration) time.Duration) func(int, int, time.Duration) time.Duration {
	seed := rnd.Uint64()
	return func(i, j int, at time.Duration) time.Duration {
		d := s.OneWay(i, j)
		if at < weatherSettle {
			return d
		}
		p := pairOf(i, j)
		own := rand.New(rand.NewPCG(seed^uint64(at/period), uint64(p.a)<<32|uint64(p.b))) // the same at all times within a period
		if own.Float64() < share {
			d += more(own, at)
		}
		return d
	}
}

// Replay is the weather over some sites.
func (w Weather) Replay(s *Sites, jitter float64, seed uint64) *Replay {
	r := &Replay{
		Sites: s.Len(), Length: weatherSettle + weatherLength, Settle: weatherSettle, Jitter: jitter, Seed: seed,
		Delay: func(i, j int, _ time.Duration) time.Duration { return s.OneWay(i, j) },
	}
	w.make(r, s, rand.New(rand.NewPCG(seed, 0x3ea7)))
	return r
}

// Slices is a Replay of measured slices, one after another, each for so long.
func Slices(slices []*Sites, each time.Duration, jitter float64, seed uint64) *Replay {
	return &Replay{
		Sites: slices[0].Len(), Length: time.Duration(len(slices)) * each, Settle: each / 3, Jitter: jitter, Seed: seed,
		Delay: func(i, j int, at time.Duration) time.Duration {
			return slices[min(int(at/each), len(slices)-1)].OneWay(i, j)
		},
	}
}

// First are the first so many of the sites.
func (s *Sites) First(n int) *Sites {
	n = min(n, len(s.oneWay))
	out := &Sites{}
	for _, row := range s.oneWay[:n] {
		out.oneWay = append(out.oneWay, row[:n])
	}
	return out
}
