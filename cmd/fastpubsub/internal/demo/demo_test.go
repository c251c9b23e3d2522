package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// memberlist's Shutdown does not wait for a probe under way; that ends with its time-out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

func TestConfig(t *testing.T) {
	matrix, places := data(t)
	script := func(text string) Script {
		s, err := ParseScript(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		cfg   Config
		nodes int // 0: it is refused
		is    error
	}{
		"default":             {Config{}, 8, nil},
		"most":                {Config{Nodes: 36}, 36, nil},
		"too many":            {Config{Nodes: 37}, 0, ErrConfig},
		"too few":             {Config{Nodes: 1}, 0, ErrConfig},
		"negative":            {Config{Nodes: -8}, 0, ErrConfig},
		"metros":              {Config{Metros: []string{"tokyo", " PARIS", "Lima"}}, 3, nil},
		"metros and number":   {Config{Metros: []string{"Tokyo", "Paris"}, Nodes: 2}, 2, nil},
		"metros against it":   {Config{Metros: []string{"Tokyo", "Paris"}, Nodes: 3}, 0, ErrConfig},
		"one metro":           {Config{Metros: []string{"Tokyo"}}, 0, ErrConfig},
		"no such metro":       {Config{Metros: []string{"Tokyo", "Atlantis"}}, 0, ErrConfig},
		"a metro twice":       {Config{Metros: []string{"Tokyo", "tokyo"}}, 0, ErrConfig},
		"rate":                {Config{Rate: 100}, 8, nil},
		"too fast":            {Config{Rate: 101}, 0, ErrConfig},
		"too slow":            {Config{Rate: 0.001}, 0, ErrConfig},
		"backwards":           {Config{Rate: -1}, 0, ErrConfig},
		"no time":             {Config{Duration: -1}, 0, ErrConfig},
		"script":              {Config{Metros: []string{"Tokyo", "Paris"}, Script: script("1s block tokyo paris")}, 2, nil},
		"script of elsewhere": {Config{Metros: []string{"Tokyo", "Paris"}, Script: script("1s kill Lima")}, 0, ErrScript},
	} {
		got, err := c.cfg.normal(matrix, places)
		if !errors.Is(err, c.is) || err == nil && (got.Nodes != c.nodes || len(got.Metros) != c.nodes || got.Rate <= 0 || got.Seed == 0) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for nodes := leastNodes; nodes <= matrix.Len(); nodes++ {
		if err := timing(nodes).Validate(); err != nil {
			t.Errorf("%d nodes: %v", nodes, err)
		}
	}
}

// quitWriter ends the demo once a text has been written, so that nothing depends on how long that takes.
type quitWriter struct {
	bytes.Buffer
	text string
	quit context.CancelFunc
}

func (w *quitWriter) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.text) {
		w.quit()
	}
	return n, err
}

// The whole of it with real nodes: a mesh that settles, a link that is blocked, a node that is killed and comes back, and nothing left at the
// end but the report. Three European metros are near enough to one another that it takes seconds.
func TestRun(t *testing.T) {
	ctx, quit := context.WithTimeout(t.Context(), time.Minute)
	defer quit()
	var out, log bytes.Buffer
	progress := &quitWriter{text: "Paris is up again", quit: quit}
	script, err := ParseScript("1500ms block London Paris; 2s kill Paris; 2500ms heal")
	if err != nil {
		t.Fatal(err)
	}
	err = Run(ctx, Config{
		Metros: []string{"London", "Paris", "Frankfurt"}, JSON: true, Script: script, Rate: 10, Log: &log,
		Out: &out, Err: progress,
	})
	if err != nil || !strings.Contains(progress.String(), progress.text) {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if len(r.Nodes) != 3 || len(r.Pairs) != 6 || r.Summary.Pairs != 6 || r.Summary.Delivered == 0 || r.Emulator.Packets == 0 {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Pairs {
		if sum := p.Delivered + p.Lost + p.Early + p.CutOff; p.Sent != sum || p.Direct <= 0 || p.Oracle > p.Direct {
			t.Errorf("%d messages of %+v", sum, p)
		}
	}
	// The demo waits for links, and tells of them, by what the nodes log.
	up := false
	for line := range bytes.Lines(log.Bytes()) {
		if change, ok := parseLinkLine(line); ok && change.up && change.node != "" {
			up = true
		}
	}
	if !up {
		t.Errorf("no link came up, as far as the log tells: %s", log.String())
	}
	var what []string
	for _, f := range r.Faults {
		what = append(what, f.What)
	}
	if got := strings.Join(what, "; "); got != "block London Paris; kill Paris; heal" {
		t.Errorf("faults %q", got)
	}
}

// A demo that ends before anything has begun leaves nothing behind either.
func TestRunEndsAtOnce(t *testing.T) {
	ctx, quit := context.WithCancel(t.Context())
	quit()
	var out bytes.Buffer
	if err := Run(ctx, Config{Nodes: 2, Out: &out, Err: io.Discard}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), tableHead) {
		t.Errorf("%q", out.String())
	}
}
