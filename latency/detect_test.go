package latency

import (
	"testing"
	"time"
)

// detection is how long after the death of its path a link went down, at worst over phases, and the greatest bound.
func detection(t *testing.T, cfg Config, p path, bound func(*Link) time.Duration) (worst time.Duration) {
	t.Helper()
	for seed := range uint64(12) {
		w := newWorld(cfg, seed)
		died := 12*time.Second + time.Duration(seed)*w.prober.cfg.IdleInterval/12 + time.Duration(seed)*5300*time.Microsecond
		one := p
		one.dead = func(at time.Duration) bool { return at >= died }
		link := w.add(1, &one)
		w.run(died, nil)
		if link.State() != Up || w.downs() > 0 {
			t.Fatalf("seed %d: %v after %d downs before the path died", seed, link.State(), w.downs())
		}
		limit := bound(link)
		w.run(died+10*time.Second, func() bool { return w.downs() > 0 })
		if link.State() != Down {
			t.Fatalf("seed %d: still up", seed)
		}
		took := w.changes[len(w.changes)-1].at - died
		worst = max(worst, took)
		if took > limit {
			t.Errorf("seed %d: down after %v; bound %v", seed, took, limit)
		}
	}
	return worst
}

func pathRTTs() []time.Duration {
	return []time.Duration{200 * time.Microsecond, 5 * ms, 40 * ms, 100 * ms, 250 * ms}
}

// L1
func TestActiveDetectionBound(t *testing.T) {
	for _, interval := range []time.Duration{20 * ms, 50 * ms, 200 * ms} {
		for _, rtt := range pathRTTs() {
			cfg := Config{ActiveInterval: interval}
			worst := detection(t, cfg, path{rtt: steady(rtt), used: always}, func(l *Link) time.Duration {
				return 3*interval + l.timeout()
			})
			t.Logf("interval %v, RTT %v: at most RTT %+v", interval, rtt, worst-rtt)
			if interval == 50*ms && worst > rtt+200*ms {
				t.Errorf("RTT %v: %v is more than 200 ms + RTT", rtt, worst)
			}
		}
	}
}

// L1 where loss demands more misses, and with the peer's own probes heard up to the end.
func TestLossyDetectionBound(t *testing.T) {
	for _, loss := range []float64{0.02, 0.03} {
		for _, rtt := range pathRTTs() {
			cfg := Config{ActiveInterval: 50 * ms}
			worst := detection(t, cfg, path{rtt: steady(rtt), used: always, loss: loss, peers: 50 * ms}, func(l *Link) time.Duration {
				return 3*50*ms + l.timeout()
			})
			t.Logf("loss %v, RTT %v: at most RTT %+v", loss, rtt, worst-rtt)
			if worst > rtt+200*ms {
				t.Errorf("RTT %v: %v is more than 200 ms + RTT", rtt, worst)
			}
		}
	}
}

// L2
func TestIdleDetectionBound(t *testing.T) {
	for _, idle := range []time.Duration{200 * ms, time.Second} {
		for _, rtt := range pathRTTs() {
			worst := detection(t, Config{IdleInterval: idle}, path{rtt: steady(rtt)}, func(l *Link) time.Duration {
				return idle*5/4 + 3*50*ms + 2*l.timeout()
			})
			t.Logf("idle %v, RTT %v: at most %v", idle, rtt, worst)
		}
	}
}

// A path that works one way only: the peer's frames come, echoes do not.
func TestDeafPathGoesDown(t *testing.T) {
	w := newWorld(Config{}, 1)
	link := w.add(1, &path{rtt: steady(30 * ms), used: always})
	w.run(5*time.Second, nil)
	w.paths[1].dead = always
	for w.now < 10*time.Second && link.State() == Up {
		w.run(w.now+10*ms, nil)
		link.Heard(w.time())
	}
	if took := w.now - 5*time.Second; link.State() != Down || took > deafFor+200*ms || took < deafFor-100*ms {
		t.Fatalf("%v after %v", link.State(), took)
	}
}

// Random loss takes hardly any link down, and none where the peer's probes are heard.
func TestFalseAlarms(t *testing.T) {
	for _, c := range []struct {
		loss  float64
		peers time.Duration
		most  int
	}{{0.01, 0, 0}, {0.02, 0, 1}, {0.03, 0, 1}, {0.02, 50 * ms, 0}, {0.05, 50 * ms, 0}} {
		w := newWorld(Config{}, 3)
		for i := range 4 {
			w.add(wireID(i), &path{rtt: jittery(w.rnd, 50*ms, 2*ms), used: always, loss: c.loss, peers: c.peers})
		}
		w.run(time.Minute, nil)
		t.Logf("%+v: %d downs in 4 link minutes, %.1f probes/s a link", c, w.downs(), float64(len(w.sent))/240)
		if w.downs() > c.most {
			t.Errorf("%+v: %d downs", c, w.downs())
		}
	}
}

// The rate of false alarms that doc.go states, from the limits that links choose.
func TestMissLimit(t *testing.T) {
	for _, c := range []struct {
		each float64 // loss each way
		want int
	}{{0, 3}, {0.002, 3}, {0.005, 4}, {0.02, 5}, {0.03, 6}, {0.2, 6}} {
		l := newLine().link
		l.loss.average = 1 - (1-c.each)*(1-c.each)
		if got := l.missLimit(); got != c.want {
			t.Errorf("loss %v each way: limit %d; want %d", c.each, got, c.want)
		}
	}
}

// A process that stood still does not take its links down: their echoes wait unread.
func TestStallIsNotSilence(t *testing.T) {
	for i, rtt := range append(pathRTTs(), pathRTTs()...) {
		advanceFirst := i%2 == 0
		w := newWorld(Config{}, 2)
		link := w.add(1, &path{rtt: steady(rtt), used: always})
		w.run(5*time.Second, nil)
		before := link.Stats().SRTT
		w.now += 3 * time.Second
		kept := w.flights
		w.flights = nil
		if advanceFirst {
			w.step()
		}
		for _, f := range kept {
			f.at, f.rtt = w.now, f.rtt+3*time.Second
			w.flights = append(w.flights, f)
		}
		w.run(w.now+3*time.Second, nil)
		if w.downs() > 0 || link.Stats().Missed > 0 || link.Stats().SRTT != before {
			t.Errorf("RTT %v, Advance before echoes %v: %d downs, %+v", rtt, advanceFirst, w.downs(), link.Stats())
		}
	}
}

// A time read off a wall clock that leapt ahead hides a death no longer than IdleInterval more.
func TestHeardInTheFuture(t *testing.T) {
	w := newWorld(Config{}, 1)
	died := 5 * time.Second
	link := w.add(1, &path{rtt: steady(20 * ms), used: always, dead: func(at time.Duration) bool { return at >= died }})
	w.run(died, nil)
	link.Heard(w.time().Add(time.Hour))
	link.Used(w.time().Add(time.Hour))
	w.run(died+time.Minute, func() bool { return w.downs() > 0 })
	if took := w.now - died; took > time.Second+250*ms {
		t.Fatalf("down after %v", took)
	}
	w.paths[1].used = unused
	w.run(w.now+10*time.Second, nil)
	if n := w.probes(1, w.now-5*time.Second); n > 7 {
		t.Errorf("%d probes in 5 s on a link out of use", n)
	}
}

// A frame after long silence makes a link that is down fast: its path may be back.
func TestNewsAfterSilence(t *testing.T) {
	w := newWorld(Config{}, 1)
	link := w.add(1, &path{rtt: steady(20 * ms), dead: always})
	w.run(10*time.Second, nil)
	link.Heard(w.time())
	w.run(11*time.Second, nil)
	if n := w.probes(1, 10*time.Second); n < 15 {
		t.Fatalf("%d probes in the second after a frame", n)
	}
}
