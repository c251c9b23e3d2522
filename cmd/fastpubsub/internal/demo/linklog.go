package demo

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// linkLog is where the nodes log to: it passes lines on and picks out what happened to links. It is safe for concurrent use.
type linkLog struct {
	mu      sync.Mutex // guards what follows
	out     io.Writer  // nil: nowhere
	changes []linkChange
}

// linkChange is a link that one of its ends declared up or down.
type linkChange struct {
	node string
	peer wire.NodeID
	up   bool
	why  string
}

// changesKept bounds changes that nobody has taken yet; more are dropped.
const changesKept = 8192

// Write takes one line of JSON.
func (l *linkLog) Write(line []byte) (int, error) {
	change, ok := parseLinkLine(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok && len(l.changes) < changesKept {
		l.changes = append(l.changes, change)
	}
	if l.out == nil {
		return len(line), nil
	}
	return l.out.Write(line)
}

// take is what happened since it was called last.
func (l *linkLog) take() []linkChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.changes
	l.changes = nil
	return taken
}

// parseLinkLine reads a line that package mesh logs when a link goes down or comes up; false if it is another line.
func parseLinkLine(line []byte) (linkChange, bool) {
	const up, down = "link up", "link down"
	if !bytes.Contains(line, []byte(`"`+up+`"`)) && !bytes.Contains(line, []byte(`"`+down+`"`)) {
		return linkChange{}, false // most lines: spare them the parser
	}
	var v struct{ Message, Node, Peer, Detail string }
	if json.Unmarshal(line, &v) != nil || v.Message != up && v.Message != down {
		return linkChange{}, false
	}
	peer, err := wire.ParseNodeID(v.Peer)
	if err != nil {
		return linkChange{}, false
	}
	return linkChange{node: v.Node, peer: peer, up: v.Message == up, why: v.Detail}, true
}
