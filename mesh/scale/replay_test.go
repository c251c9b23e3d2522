//go:build !race

// One goroutine, and no races to look for in what takes ten times as long with them.

package scale

import (
	"os"
	"testing"
	"time"
)

func planetlab(t testing.TB) []*Sites {
	t.Helper()
	f, err := os.Open("../../testdata/latency/planetlab64_series18.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	slices, err := ParseSeries(f)
	if err != nil {
		t.Fatal(err)
	}
	return slices
}

// Paths keep the gain of the best single relay through the measured slices, or more, since they may take several, at few changes. Here with some of the
// sites; with all by FASTPUBSUB_SCALE_PATHS=1, or fastpubsub simulate paths.
func TestPathsFollowMeasuredSlices(t *testing.T) {
	slices := planetlab(t)
	if os.Getenv("FASTPUBSUB_SCALE_PATHS") == "" {
		for i, s := range slices {
			slices[i] = s.First(32)
		}
	}
	q := Slices(slices, 30*time.Second, 0.01, 1).Run()
	switches := q.Switches / float64(q.Pairs) / float64(len(slices))
	t.Logf("%.1f %% of the gain kept, %.4f switches per pair and slice, %.2f %% slower than direct, %.1f vectors told by a node in a minute", 100*q.Share(), switches, 100*q.Slower, q.Told)
	if q.Share() < 0.95 || switches > 0.05 {
		t.Errorf("%.3f of the gain kept at %.3f switches per pair and slice, want 0.95 and 0.05", q.Share(), switches)
	}
}

// Through each weather paths keep what relays save, change seldom, and settle: also where everybody would take the same relay, or all are busy, so that
// what paths carry makes them slower. There the oracle, which does not see what its own messages do, cannot be kept up with. With all sites by
// FASTPUBSUB_SCALE_PATHS=1, where more relays are to be chosen from, and more pairs crowd to one.
func TestPathsInAnyWeather(t *testing.T) {
	limits := map[string]struct{ share, switches, late float64 }{ // late: in the last minute
		"calm":       {1, 0, 0},
		"spikes":     {0.99, 0.05, 0.06},
		"congestion": {0.95, 0.3, 0.35},
		"flaps":      {0.95, 0.1, 0.05},
		"herd":       {0.25, 1.2, 0.15},
		"crowd":      {0.2, 1.5, 0.15},
	}
	sites := planetlab(t)[0].First(20)
	if os.Getenv("FASTPUBSUB_SCALE_PATHS") != "" {
		sites = planetlab(t)[0]
		limits["spikes"] = struct{ share, switches, late float64 }{0.99, 0.1, 0.06}
		limits["congestion"] = struct{ share, switches, late float64 }{0.95, 0.5, 0.35}
		limits["herd"] = struct{ share, switches, late float64 }{0.2, 1.5, 0.5}
		limits["crowd"] = struct{ share, switches, late float64 }{-1, 4, 1} // they settle, too late to have been worth it
	}
	for _, w := range Weathers() {
		q := w.Replay(sites, 0.01, 1).Run()
		pairs := float64(q.Pairs)
		switches, late := q.Switches/pairs/q.Time.Minutes(), q.Late/pairs
		t.Logf("%-10s %5.1f %% of the gain kept, %.3f switches per pair and minute, %.3f in the last, %.2f %% slower than direct, %.1f told/min; direct %.1f taken %.1f oracle %.1f",
			w.Name, 100*q.Share(), switches, late, 100*q.Slower, q.Told, q.Direct/1e12, q.Taken/1e12, q.Oracle/1e12)
		most, known := limits[w.Name]
		if !known || q.Share() < most.share || switches > most.switches || late > most.late {
			t.Errorf("%s: %.3f of the gain kept at %.3f switches, %.3f in the last minute, want %+v", w.Name, q.Share(), switches, late, most)
		}
	}
}
