package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wan"
	"github.com/rs/zerolog"
)

const (
	// beat is how often the conductor looks at what is due.
	beat = 50 * time.Millisecond
	// How often it gives up on overdue messages, draws the view, and prints the table where there is no terminal.
	judgeEvery = time.Second
	frameEvery = 250 * time.Millisecond
	tableEvery = 5 * time.Second
	// eventsKept bounds the events kept for the view.
	eventsKept = 100
	// tableRows is how many pairs are printed where there is no terminal.
	tableRows = 20
)

// conductor runs the demo: its goroutine owns all that is here, starts and stops nodes, makes faults, and shows what happens.
type conductor struct {
	cfg     Config
	cluster *cluster
	ledger  *ledger
	links   *linkLog
	direct  []time.Duration   // by pair
	oracle  [][]time.Duration // by site
	script  []step            // still to come

	incident  *incident // the present fault, or nil
	subjects  []pair    // the pairs that standing faults are about
	reports   []faultReport
	lastFault time.Duration // when one was made; 0: never
	settled   time.Duration // when every pair had delivered; 0: not yet
	events    []event
	news      newsdesk

	screen *screen   // nil: no terminal
	log    io.Writer // progress, where there is no screen
	scroll int

	judgeAt, showAt time.Duration
}

func newConductor(cfg Config, matrix *wan.Matrix, places map[string]wan.Place) (*conductor, error) {
	matrix, err := matrix.Subset(cfg.Metros)
	if err != nil {
		return nil, err
	}
	c := &conductor{
		cfg: cfg, ledger: newLedger(matrix.Len(), time.Now()), links: &linkLog{out: cfg.Log}, oracle: matrix.Oracle(relayCost),
		script: cfg.Script.steps, news: newNewsdesk(matrix.Len()), log: cfg.Out,
	}
	if cfg.JSON {
		c.log = cfg.Err
	}
	for p := range pair(matrix.Len() * matrix.Len()) {
		direct, _ := matrix.OneWay(c.ledger.ends(p)) // the data is complete
		c.direct = append(c.direct, direct)
	}
	c.cluster, err = newCluster(clusterConfig{
		matrix: matrix, places: places, ledger: c.ledger, timing: timing(cfg.Nodes), seed: cfg.Seed, browsers: cfg.WS,
		log: zerolog.New(c.links).Level(zerolog.InfoLevel).With().Timestamp().Logger(),
	}, time.Duration(float64(time.Second)/cfg.Rate))
	return c, err
}

// run runs the demo to its end: plays, waits for what is under way, stops the nodes, and reports.
func (c *conductor) run(ctx context.Context) error {
	if !c.cfg.JSON {
		var err error
		if c.screen, err = openScreen(c.cfg.In, c.cfg.Out); err != nil {
			return errors.Join(err, c.cluster.stopAll())
		}
	}
	if c.screen != nil {
		defer c.screen.close() // also when something panics here
	}
	err := c.play(ctx)
	end := c.ledger.now()
	c.conclude(end)
	last := c.scene(end)
	c.drain()
	result := c.report(end)
	last.counts = result.Summary.tally
	if c.screen != nil {
		c.screen.close()
	}
	err = errors.Join(err, c.cluster.stopAll())
	err = errors.Join(append(c.cluster.failures(), err)...)
	if c.cfg.JSON {
		return errors.Join(err, json.NewEncoder(c.cfg.Out).Encode(result))
	}
	_, printErr := fmt.Fprint(c.cfg.Out, table(last, tableRows))
	return errors.Join(err, printErr)
}

// play goes on until the time is over, the user quits or ctx ends.
func (c *conductor) play(ctx context.Context) error {
	c.tell("starting %d nodes: %s", len(c.cluster.names), strings.Join(c.cluster.names, ", "))
	var keys chan key
	if c.screen != nil {
		keys = c.screen.keys
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case k := <-keys:
			if k == keyQuit {
				return nil
			}
			c.press(k, c.ledger.now())
			c.showAt = 0
		case <-ticker.C:
		}
		now := c.ledger.now()
		if c.cfg.Duration > 0 && now >= c.cfg.Duration {
			return nil
		}
		if err := c.attend(now); err != nil {
			return err
		}
	}
}

// attend does what is due now.
func (c *conductor) attend(now time.Duration) error {
	if err := c.cluster.startDue(now, len(c.news.linked)); err != nil {
		return err
	}
	for len(c.script) > 0 && now >= c.script[0].at-c.script[0].lead() {
		c.announce(c.script[0], now)
		c.script = c.script[1:]
	}
	c.watch(now)
	c.tellNews(now)
	if c.settled == 0 && c.allLive() {
		c.settled = now
		c.tell("settled: every pair has delivered, after %.1f s", now.Seconds())
		runtime.GC() // now rather than soon: it holds up all nodes at once, as no computer of the mesh's own would
	}
	if now >= c.judgeAt {
		c.judgeAt = now + judgeEvery
		c.ledger.judge()
	}
	return c.show(now)
}

// allLive tells whether every pair has delivered.
func (c *conductor) allLive() bool {
	all := true
	c.ledger.look(func(_ pair, f *flow) { all = all && f.live })
	return all
}

// drain ends the sending and waits for what is under way, as long as it may still come in time.
func (c *conductor) drain() {
	c.cluster.quiet()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for pending := true; pending; {
		<-ticker.C
		c.ledger.judge()
		pending = false
		c.ledger.look(func(_ pair, f *flow) { pending = pending || f.pending() })
	}
	c.ledger.look(func(_ pair, f *flow) { f.close() })
}

// show draws the view, or prints how things are.
func (c *conductor) show(now time.Duration) error {
	if now < c.showAt {
		return nil
	}
	if c.screen != nil {
		c.showAt = now + frameEvery
		s := c.scene(now)
		width, height := c.screen.size()
		c.scroll = max(min(c.scroll, len(s.rows)-1), 0)
		return c.screen.show(draw(s, view{width, height, c.scroll}))
	}
	if c.showAt == 0 { // nothing to see yet
		c.showAt = tableEvery
		return nil
	}
	c.showAt = now + tableEvery
	s := c.scene(now)
	text := s.summary() + "\n"
	if !c.cfg.JSON {
		text = "\n" + table(s, tableRows) + "\n"
	}
	_, err := io.WriteString(c.log, text)
	return err
}

// tell reports an event. Where it cannot be printed, neither can what follows, so an error of that is found there.
func (c *conductor) tell(format string, args ...any) {
	e := event{c.ledger.now(), fmt.Sprintf(format, args...)}
	c.events = append(c.events, e)
	if len(c.events) > eventsKept {
		c.events = c.events[1:]
	}
	if c.screen == nil {
		fmt.Fprintln(c.log, e)
	}
}
