package forward

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// TestSpacing: few messages go at once, on links of any length; of many on a near link some 32 go together, on a far one what comes in a twentieth of its RTT.
func TestSpacing(t *testing.T) {
	const near, far = time.Millisecond, 40 * time.Millisecond
	for name, c := range map[string]struct {
		srtt     time.Duration
		messages uint64        // in the window so far
		flushes  int           // likewise
		passed   time.Duration // since it began
		want     time.Duration
	}{
		"near, few":        {srtt: near, messages: 150, flushes: 100, passed: 2 * time.Millisecond},
		"near, 80,000/s":   {srtt: near, messages: 160, flushes: 100, passed: 2 * time.Millisecond, want: 400 * time.Microsecond},
		"near, 32,000/s":   {srtt: near, messages: 160, flushes: 100, passed: 5 * time.Millisecond, want: maxPause},
		"near, a million":  {srtt: near, messages: 5000, flushes: 100, passed: 5 * time.Millisecond, want: minPause},
		"near, a new one":  {srtt: near, messages: 5000, flushes: 100, passed: 6 * time.Millisecond},
		"far, few":         {srtt: far, messages: 10_000, flushes: 7, passed: 9 * time.Millisecond},
		"far, many":        {srtt: far, messages: 10, flushes: 8, passed: 9 * time.Millisecond, want: maxSpacing},
		"far, not by much": {srtt: 12 * time.Millisecond, messages: 10, flushes: 8, passed: 9 * time.Millisecond, want: 600 * time.Microsecond},
		"far, a new one":   {srtt: far, messages: 10_000, flushes: 50, passed: 51 * time.Millisecond},
	} {
		start := time.Now()
		p := pacer{start: start, flushes: c.flushes}
		if got := p.spacing(start.Add(c.passed), c.srtt, c.messages); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// steady brings a probe each millisecond.
type steady struct{ left int }

func (s *steady) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(time.Millisecond)
	return copy(b, wire.AppendFrame(nil, wire.AppendProbe(nil, wire.Probe{Kind: wire.KindProbe}), nil)), nil
}

// TestNearHoldsBack: while ever more comes by a near stream, clients get it every heldBack and at the end; the stream tells when it pauses.
func TestNearHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushes := 0
		l := &Link{endpoint: &Endpoint{counters: new(Counters), cfg: Config{Delivered: func() { flushes++ }}}}
		l.lanes, l.out = make([]lane, 2), make([]outbox, 3)
		const reads = 30
		if err := l.read(l.nearBox(), &steady{left: reads}); err != io.EOF { //nolint:errorlint // as it is
			t.Fatal(err)
		}
		if want := reads/int(heldBack/time.Millisecond+1) + 1; flushes != want {
			t.Errorf("%d flushes, want %d", flushes, want)
		}
	})
}
