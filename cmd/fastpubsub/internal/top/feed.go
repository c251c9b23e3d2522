package top

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/wsgate/client"
)

// Config is whom to ask.
type Config struct {
	URL   string // of a node's WebSocket
	Token string // where clients need tokens: one that may subscribe to $mesh.#
}

const (
	dialTime = 10 * time.Second
	dialRest = time.Second // between two tries to connect
	pingTime = 3 * time.Second
)

// ErrRefused reports a node that does not let this client subscribe.
var ErrRefused = errors.New("give --token one that may subscribe to $mesh.# in the tenant ~")

// heard is a report, or what is wrong with one.
type heard struct {
	report report.Report
	err    error
	at     time.Time
}

// lost says why nothing is heard.
type lost struct{ err error }

// met says that the node answers.
type met struct{}

// feed hands on what comes until ctx ends, as heard, lost and met. Whoever cannot connect tries again; where the node refuses, that is returned.
func feed(ctx context.Context, cfg Config, tell func(any)) error {
	for {
		err := listen(ctx, cfg, tell)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		tell(lost{err})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(dialRest):
		}
	}
}

// listen is one connection of the feed.
func listen(ctx context.Context, cfg Config, tell func(any)) error {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	// It does not reconnect by itself, since it would not say when it has; and what it has missed meanwhile is out of date.
	c, err := client.Dial(dialing, client.Config{URL: cfg.URL, Token: cfg.Token, Ping: pingTime, Pong: pingTime})
	if err != nil && (strings.Contains(err.Error(), "got 401") || strings.Contains(err.Error(), "got 403")) { // package websocket has no other way to tell
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Subscribe(dialing, report.Tenant, "$mesh.*"); err != nil {
		if _, refused := errors.AsType[*client.ServerError](err); refused {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return err
	}
	tell(met{})
	for {
		m, err := c.Receive(ctx)
		if err != nil {
			return err
		}
		r, err := parseReport(m.Channel, m.Payload)
		tell(heard{r, err, time.Now()})
	}
}
