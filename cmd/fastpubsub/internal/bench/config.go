package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
)

// Errors of Run.
var (
	ErrConfig = errors.New("bench: bad configuration")
	ErrBroken = errors.New("bench: messages lost, twice or out of order")
)

// Config says what to measure. Zero values mean the defaults named.
type Config struct {
	Scenarios   []string // by name; default all
	Target      Target
	Load        Load
	Duration    time.Duration // of a measurement; default 3 s
	WarmUp      time.Duration // before it; default 1 s
	Patience    time.Duration // nothing arrives for so long: what is under way is lost; default 7 s, since nodes keep messages for 5 s
	Repetitions int           // of each scenario; default 3
	JSON        bool          // print the report as JSON
	Version     string        // of this program, for the report
	Out, Err    io.Writer     // report and, if it is a terminal, progress
}

// Target is the mesh to measure.
type Target struct {
	URL     string // WebSocket address of the publisher's node; without one, nodes are started on this computer
	SubURL  string // that of the subscribers' node; default URL
	Token   string // access token; default none
	Tenant  string // of the channels, which are bench.#; default "~"
	Nodes   int    // to start: the publisher's is the first, the subscribers' the second; default 2
	Program string // the executable of these nodes; default the one that runs
}

// Load is how much is asked of the mesh.
type Load struct {
	Sizes         []int   // of payloads in bytes, 24 to 65,535; default 128, for throughput also 16,384
	Rate          float64 // messages per second of latency, fanout and slow; default 1,000, 20 and 100
	Share         float64 // of the greatest throughput, at which load measures latency; default 0.5
	Subscribers   int     // of fanout and slow; default 1,000
	Slow          int     // further subscribers of slow, which are; default 1
	Backlog       int     // messages that wait for each of these; default as many as a node's limits let wait and the system holds besides
	Connections   int     // of fanout and slow, idle and channels; default one a subscriber, 2,000 and 100
	Channels      int     // of channels; default 10,000
	InFlight      int     // messages in flight at most, where there is a window; default 4,096
	InFlightBytes int     // and their payloads in bytes; default 512 KiB
}

// connections is how many a scenario has.
func (c Config) connections(name string) int {
	switch name {
	case "fanout", "slow":
		return cmp.Or(c.Load.Connections, c.Load.Subscribers)
	case "channels":
		return min(cmp.Or(c.Load.Connections, 100), c.Load.Channels)
	default:
		return cmp.Or(c.Load.Connections, 2000)
	}
}

// normal sets defaults and joins all faults.
func (c Config) normal() (Config, error) {
	if len(c.Scenarios) == 0 {
		c.Scenarios = Names()
	}
	c.Duration, c.WarmUp, c.Repetitions = cmp.Or(c.Duration, 3*time.Second), cmp.Or(c.WarmUp, time.Second), cmp.Or(c.Repetitions, 3)
	c.Patience = cmp.Or(c.Patience, 7*time.Second)
	t, l := &c.Target, &c.Load
	t.SubURL, t.Nodes = cmp.Or(t.SubURL, t.URL), cmp.Or(t.Nodes, 2)
	l.Share, l.Slow = cmp.Or(l.Share, 0.5), cmp.Or(l.Slow, 1)
	l.Subscribers, l.Channels = cmp.Or(l.Subscribers, 1000), cmp.Or(l.Channels, 10_000)
	l.InFlight, l.InFlightBytes = cmp.Or(l.InFlight, 4096), cmp.Or(l.InFlightBytes, 512<<10)
	var err error
	if t.Tenant, err = channel.NormalizeTenant(t.Tenant); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := errors.Join(c.checkTimes(), t.check(), c.checkLoad()); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, nil
}

// fault is an error if something is not as it should be.
func fault(bad bool, format string, args ...any) error {
	if !bad {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func (c Config) checkTimes() error {
	var faults []error
	for _, name := range c.Scenarios {
		faults = append(faults, fault(!slices.Contains(Names(), name), "no scenario %q; there are %v", name, Names()))
	}
	return errors.Join(append(faults,
		fault(c.Duration < 0 || c.Duration > time.Hour, "duration %v is not up to 1h", c.Duration),
		fault(c.WarmUp < 0 || c.WarmUp > time.Hour, "warm-up %v is not up to 1h", c.WarmUp),
		fault(c.Patience < 0, "patience is negative"),
		fault(c.Repetitions < 0 || c.Repetitions > 1000, "%d repetitions are not 1 to 1000", c.Repetitions))...)
}

func (t Target) check() error {
	faults := []error{
		fault(t.URL == "" && t.SubURL != "", "an address of the subscribers' node but none of the publisher's"),
		fault(t.Nodes < 1 || t.Nodes > 64, "%d nodes are not 1 to 64", t.Nodes),
	}
	for _, address := range []string{t.URL, t.SubURL} {
		u, err := url.Parse(address)
		faults = append(faults, fault(address != "" && (err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == ""),
			"%q is not an address such as ws://127.0.0.1:8080/ws", address))
	}
	return errors.Join(faults...)
}

func (c Config) checkLoad() error {
	l := c.Load
	var faults []error
	for _, size := range l.Sizes {
		faults = append(faults, fault(size < minSize || size > channel.MaxPayloadLen, "a size of %d bytes is not %d to %d", size, minSize, channel.MaxPayloadLen))
	}
	faults = append(faults,
		fault(l.Rate != 0 && !(l.Rate >= 0.1 && l.Rate <= 1e6), "a rate of %v messages/s is not 0.1 to 1000000", l.Rate),
		fault(!(l.Share > 0 && l.Share <= 1), "a share of %v of the throughput is not over 0 and up to 1", l.Share),
		fault(l.Slow < 1 || l.Slow > 1e4, "%d slow subscribers are not 1 to 10000", l.Slow),
		fault(l.Backlog < 0, "a backlog of %d messages", l.Backlog),
		fault(l.Subscribers < 1 || l.Subscribers > 1e6, "%d subscribers are not 1 to 1000000", l.Subscribers),
		fault(l.Connections < 0 || l.Connections > 1e5, "%d connections are not 1 to 100000", l.Connections),
		fault(l.Channels < 1 || l.Channels > 1e6, "%d channels are not 1 to 1000000", l.Channels),
		fault(l.InFlight < 1 || l.InFlightBytes < 1, "nothing may be in flight"))
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if connections := c.connections("fanout"); slices.Contains(c.Scenarios, "fanout") || slices.Contains(c.Scenarios, "slow") {
		faults = append(faults, fault(l.Subscribers%connections != 0 || l.Subscribers/connections > 1<<patternTokens,
			"%d subscribers cannot be shared out evenly to %d connections, up to %d each", l.Subscribers, connections, 1<<patternTokens))
	}
	return errors.Join(faults...)
}
