package report

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Node is the node to report on.
type Node interface {
	ID() wire.NodeID
	View() (v core.View, ok bool)                         // ok is false once it has stopped
	Wanted(tenant, name string) bool                      // whether any node has subscribers
	Publish(ctx context.Context, m channel.Message) error // to all of them; it may wait where links are full
}

// Config is what a reporter needs.
type Config struct {
	Node Node
	// Clients is how many connections of clients are open, and the messages ever delivered to clients.
	Clients func() (connections int64, delivered uint64)
	// CPU is the processor time that the node's process has taken so far; nil: not known, or other nodes are in it.
	CPU func() time.Duration
}

// Run reports for as long as somebody reads, until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	r := reporter{cfg: cfg, name: Channel(cfg.Node.ID())}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		if report := r.look(time.Now()); report != nil {
			// What is wrong with it, if anything, ctx has ended: the next report says the same and more.
			_ = cfg.Node.Publish(ctx, channel.Message{Tenant: Tenant, Channel: r.name, Payload: report.encode()})
		}
	}
}

// reporter is what is remembered from one look to the next.
type reporter struct {
	cfg  Config
	name string
	last *state // as seen at the last look; nil: nobody was reading
	told *state // at the last report
	due  time.Time

	first bool // the next report is the first to who reads now
}

// look sees whether there is something to tell, and somebody to tell it to.
func (r *reporter) look(at time.Time) *Report {
	if !r.cfg.Node.Wanted(Tenant, r.name) {
		r.last, r.told = nil, nil
		return nil
	}
	now := &state{at: at}
	var ok bool
	if now.view, ok = r.cfg.Node.View(); !ok {
		return nil
	}
	now.connections, now.delivered = r.cfg.Clients()
	if r.cfg.CPU != nil {
		now.cpu = r.cfg.CPU()
	}
	members := len(now.view.Members) + 1
	if r.last == nil { // rates and events need two
		r.last, r.told, r.first = now, now, true
		r.due = at.Add(rand.N(shared(members, firstMost) - everyLeast + 1)) // who has just begun to read does not get all nodes' reports at once
		return nil
	}
	happened := events(&r.last.view, &now.view)
	r.last = now
	if len(happened) == 0 && at.Before(r.due) {
		return nil
	}
	report := compose(r.told, now, happened)
	next := Every(members) - lookEvery/2
	if r.first && Every(members) > shared(members, firstMost) {
		next = next/2 + rand.N(next) // the first ones came close together
	}
	r.told, r.due, r.first = now, at.Add(next), false
	return &report
}
