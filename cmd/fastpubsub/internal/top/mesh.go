package top

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fastpubsub/fastpubsub/mesh/report"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

const (
	nodesMost   = 4096
	eventsMost  = 1000
	textMost    = 64 // runes of a name
	staleSlack  = 2 * time.Second
	forgetAfter = time.Minute
)

var errReport = errors.New("top: not a report")

// parseReport reads a message of a node's channel and cleans what is text in it.
func parseReport(channel string, payload []byte) (r report.Report, err error) {
	if err := json.Unmarshal(payload, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errReport, err)
	}
	if channel != report.Channel(r.Node.ID) {
		return r, fmt.Errorf("%w: of %v on %.60q", errReport, r.Node.ID, channel)
	}
	if !(r.Every > 0 && r.Every < 3600) {
		return r, fmt.Errorf("%w: the next in %v s", errReport, r.Every)
	}
	for _, text := range []*string{&r.Node.Name, &r.Node.Region, &r.Node.Addr, &r.Node.Client, &r.Node.Authority} {
		*text = clean(*text)
	}
	if r.Node.Name == "" {
		r.Node.Name = r.Node.ID.Short()
	}
	for i := range r.Events {
		e := &r.Events[i]
		e.Kind, e.Name = report.Kind(clean(string(e.Kind))), clean(e.Name)
		for _, path := range [][]string{e.Path, e.Was} {
			for j := range path {
				path[j] = clean(path[j])
			}
		}
	}
	drops := map[string]float64{}
	for reason, rate := range r.Drops {
		drops[clean(reason)] += rate
	}
	r.Drops = drops
	return r, nil
}

// clean is text of a peer without what a terminal would obey, or what would turn its direction, and not too long.
func clean(s string) string {
	runes := 0
	var out strings.Builder
	for _, r := range s {
		if runes++; runes > textMost {
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		out.WriteRune(r)
	}
	return out.String()
}

// node is what one has told.
type node struct {
	report.Report
	at time.Time // of its last report
}

// stale reports whether the next report is overdue by far.
func (n *node) stale(now time.Time) bool {
	return now.Sub(n.at) > n.patience()
}

// patience is how long a node may be silent.
func (n *node) patience() time.Duration {
	return 3*time.Duration(n.Every*float64(time.Second)) + staleSlack
}

// event is what a node saw.
type event struct {
	report.Event
	at     time.Time
	seenBy string
}

// Mesh is what has been heard of a mesh.
type Mesh struct {
	nodes  map[wire.NodeID]*node
	events []event // oldest first
	missed int     // events that nodes had no room to tell
	wrong  int     // messages that were no reports
}

// NewMesh has heard nothing.
func NewMesh() *Mesh { return &Mesh{nodes: map[wire.NodeID]*node{}} }

// hear takes a report.
func (m *Mesh) hear(r report.Report, now time.Time) {
	if m.nodes[r.Node.ID] == nil && len(m.nodes) >= nodesMost {
		return
	}
	m.nodes[r.Node.ID] = &node{r, now}
	m.missed += r.Missed
	for _, e := range r.Events {
		m.events = append(m.events, event{e, now, r.Node.Name})
	}
	if over := len(m.events) - eventsMost; over > 0 {
		m.events = slices.Delete(m.events, 0, over)
	}
}

// age forgets nodes that have been silent for long.
func (m *Mesh) age(now time.Time) {
	for id, n := range m.nodes {
		if now.Sub(n.at) > n.patience()+forgetAfter {
			delete(m.nodes, id)
		}
	}
}

// whole reports whether as many nodes have told of themselves as any of them knows.
func (m *Mesh) whole() bool { return len(m.nodes) > 0 && len(m.nodes) >= m.members() }

// members is how many nodes there are by the word of the one that knows most.
func (m *Mesh) members() (n int) {
	for _, one := range m.nodes {
		n = max(n, one.Members)
	}
	return n
}

// name is a node's name, or its ID's first digits.
func (m *Mesh) name(id wire.NodeID) string {
	if n := m.nodes[id]; n != nil {
		return n.Node.Name
	}
	return id.Short()
}

// sorted are all nodes by name.
func (m *Mesh) sorted() []*node {
	all := make([]*node, 0, len(m.nodes))
	for _, n := range m.nodes {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *node) int {
		if c := strings.Compare(a.Node.Name, b.Node.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Node.ID.String(), b.Node.ID.String())
	})
	return all
}
