package chaos

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/fleet"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"two nodes":         {Metros: []string{"London", "Paris"}},
		"a metro of none":   {Metros: []string{"London", "Paris", "Atlantis"}},
		"no such drill":     {Drills: []string{"flood"}},
		"negative times":    {Times: -1},
		"too many a second": {Rate: 1e9},
		"no rate at all":    {Rate: -1},
		"channels":          {Channels: 5000},
	} {
		c.Out, c.Err = io.Discard, io.Discard
		if err := Run(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Config{}.normal()
	if err != nil || len(c.Metros) != 8 || len(c.Drills) != len(drills()) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCast(t *testing.T) {
	c := cluster{cfg: Config{Channels: 50}, Fleet: &fleet.Fleet{Nodes: make([]*fleet.Node, 5)}}
	c.cast(rand.New(rand.NewPCG(1, 1)))
	for channel := range c.from {
		all := slices.Concat(c.from[channel], c.to[channel])
		slices.Sort(all)
		if len(c.from[channel]) != 2 || len(c.to[channel]) != 3 || len(slices.Compact(all)) != 5 {
			t.Errorf("channel %d: %v to %v", channel, c.from[channel], c.to[channel])
		}
	}
}

func TestBroken(t *testing.T) {
	good := Result{Counts: Counts{Delivered: 5, Expired: 3, CutOff: 2}}
	if good.broken() {
		t.Error("what expired or was cut off breaks no promise")
	}
	for name, r := range map[string]Result{
		"lost":         {Counts: Counts{Delivered: 5, Lost: 1}},
		"twice":        {Counts: Counts{Delivered: 5, Duplicates: 1}},
		"disorder":     {Counts: Counts{Delivered: 5, OutOfOrder: 1}},
		"no recovery":  {Counts: Counts{Delivered: 5}, Recovery: -1},
		"nothing came": {},
	} {
		if !r.broken() {
			t.Errorf("%s passes", name)
		}
	}
}

func TestReport(t *testing.T) {
	var text, object bytes.Buffer
	results := []Result{{Drill: "kill", What: "kill -9 London", Counts: Counts{Delivered: 7}, Gap: 250, Recovery: -0.001}}
	if err := errors.Join(report(Config{Out: &text}, results), report(Config{Out: &object, JSON: true}, results)); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(text.String(), "\n"); len(lines) != 3 || !strings.Contains(lines[1], "kill -9 London") {
		t.Errorf("table %q", text.String())
	}
	if !strings.Contains(object.String(), `"delivered":7`) || !strings.Contains(object.String(), `"longest_gap_ms":250`) {
		t.Errorf("JSON %s", object.String())
	}
}
