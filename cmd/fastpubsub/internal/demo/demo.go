package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/latency"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/fastpubsub/fastpubsub/testdata"
)

// ErrConfig reports a Config that cannot be carried out.
var ErrConfig = errors.New("demo: invalid configuration")

// Limits of a Config.
const (
	leastNodes = 2
	mostRate   = 100 // messages per second and pair
	leastRate  = 0.01
)

// Config says what to show. Zero values mean the defaults named.
type Config struct {
	Nodes    int           // 2 to 36; default 8, or as many as Metros
	Metros   []string      // at which metros; default those that show most
	Duration time.Duration // until the end; default until the user quits or the context ends
	JSON     bool          // write one JSON document to Out at the end, and progress to Err
	Script   Script        // faults to make
	Rate     float64       // messages per second for each ordered pair of metros; default what two cores carry easily, 5 at most
	Seed     uint64        // of jitter, phases and the nodes' keys; default 1
	WS       string        // TCP address for browsers, which see the dashboard there, and other clients; default none
	Log      io.Writer     // what the nodes log; default nowhere

	In       io.Reader // keys, if it is a terminal
	Out, Err io.Writer // required
}

// Run runs the demo. The error is ErrConfig's, or that of a node that failed.
func Run(ctx context.Context, cfg Config) error {
	matrix, places, err := measured()
	if err != nil {
		return err
	}
	if cfg, err = cfg.normal(matrix, places); err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(collector))
	c, err := newConductor(cfg, matrix, places)
	if err != nil {
		return err
	}
	return c.run(ctx)
}

// measured is the data that the emulated network follows.
func measured() (*wan.Matrix, map[string]wan.Place, error) {
	matrix, err := wan.ParseMatrix(bytes.NewReader(testdata.Metro36CSV()))
	if err != nil {
		return nil, nil, err
	}
	places, err := wan.ParsePlaces(bytes.NewReader(testdata.Metro36Places()))
	if err != nil {
		return nil, nil, err
	}
	matrix, err = symmetric(matrix)
	return matrix, places, err
}

// symmetric gives both directions of a pair the mean of the two round trips measured. These were measured at different times from the two
// ends of one loop: their difference says nothing about the directions, and delays that differ by direction are what no
// measurement of round trips, and so no node, could find out.
func symmetric(m *wan.Matrix) (*wan.Matrix, error) {
	var csv bytes.Buffer
	csv.WriteString("from,to,rtt_ms,mdev_ms\n")
	names := m.Names()
	for i, from := range names {
		for j, to := range names[:i] {
			there, ok1 := m.OneWay(i, j)
			back, ok2 := m.OneWay(j, i)
			if ok1 && ok2 {
				jitter := m.Jitter(i, j) + m.Jitter(j, i)
				fmt.Fprintf(&csv, "%s,%s,%f,%f\n", from, to, ms(there+back), ms(jitter))
			}
		}
	}
	return wan.ParseMatrix(&csv)
}

// normal is the Config with its defaults filled in.
func (cfg Config) normal(matrix *wan.Matrix, places map[string]wan.Place) (Config, error) {
	if err := cfg.fillMetros(matrix, places); err != nil {
		return cfg, err
	}
	pairs := cfg.Nodes * (cfg.Nodes - 1)
	if cfg.Rate == 0 {
		cfg.Rate = min(5, max(carried/float64(pairs), 0.2))
	}
	if !(cfg.Rate >= leastRate && cfg.Rate <= mostRate) {
		return cfg, fmt.Errorf("%w: a rate of %v messages/s is not from %v to %v", ErrConfig, cfg.Rate, leastRate, mostRate)
	}
	if cfg.Duration < 0 {
		return cfg, fmt.Errorf("%w: a duration of %v", ErrConfig, cfg.Duration)
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	script, err := cfg.Script.check(cfg.Metros)
	cfg.Script = script
	return cfg, err
}

// fillMetros settles the metros, in the order of their names.
func (cfg *Config) fillMetros(matrix *wan.Matrix, places map[string]wan.Place) error {
	if len(cfg.Metros) > 0 {
		metros := make([]string, 0, len(cfg.Metros))
		for _, given := range cfg.Metros {
			i := slices.IndexFunc(matrix.Names(), func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(given)) })
			if i < 0 {
				return fmt.Errorf("%w: no metro %q; there are %s", ErrConfig, given, strings.Join(matrix.Names(), ", "))
			}
			metros = append(metros, matrix.Names()[i])
		}
		slices.Sort(metros)
		if len(slices.Compact(slices.Clone(metros))) != len(metros) {
			return fmt.Errorf("%w: a metro is named twice", ErrConfig)
		}
		if cfg.Nodes != 0 && cfg.Nodes != len(metros) {
			return fmt.Errorf("%w: %d nodes at %d metros", ErrConfig, cfg.Nodes, len(metros))
		}
		cfg.Metros, cfg.Nodes = metros, len(metros)
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 8
	}
	if cfg.Nodes < leastNodes || cfg.Nodes > matrix.Len() {
		return fmt.Errorf("%w: %d nodes, want %d to %d", ErrConfig, cfg.Nodes, leastNodes, matrix.Len())
	}
	if len(cfg.Metros) > 0 {
		return nil
	}
	chosen, err := choose(matrix, places, cfg.Nodes)
	cfg.Metros = chosen
	return err
}

// carried is how many messages per second, over all pairs, the default rate amounts to at most.
const carried = 300

// timing is how nodes measure: as by default where there are few. Many nodes share one computer, on which each delays the packets of the others.
// So they probe less, for all of them together to send no more than probed probes per second, and do not tell the mesh of small changes,
// which are such delays for the most part, and which cost every node a signature check and a computation of routes each time.
func timing(nodes int) latency.Config {
	const probed, few = 700, 12
	cfg := latency.Config{Budget: min(200, probed/nodes)}
	if nodes > few {
		cfg.AdvertiseMin, cfg.AdvertiseShare, cfg.AdvertiseEvery = 1500*time.Microsecond, 0.03, time.Duration(nodes)*70*time.Millisecond
		cfg.MissedLimit, cfg.GoodLimit = 4, 3
	}
	return cfg
}

// collector is the percentage by which the heap may grow before it is collected: all nodes share one heap, with tens of thousands of stacks
// to look at, and memory is less dear here than time.
const collector = 400
