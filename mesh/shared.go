package mesh

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// Shared is what all nodes are to hold alike, apart from the mesh's own records: a set that merges in any order. The mesh carries it and does not
// look into it. Digests and chunks of other nodes are not to be trusted. Its methods do not block.
//
// News goes to all nodes at once (SpreadShared). What that does not reach is found by comparing: with a neighbour when a link opens, and with one, in
// turn, about every digestPause. A Compare is answered by up to chunksAtOnce Shares of what its sender may lack, and by a Compare; the last Share is
// flagged, and if it was news, its receiver compares again. So large differences go over in rounds, as fast as they are taken.
type Shared interface {
	// Digest is what nodes compare by, at most wire.MaxShared bytes.
	Digest() []byte
	// Missing is what the sender of a digest may lack, or so many chunks of it. Differs tells whether there is any difference, either way.
	Missing(digest []byte, most int) (chunks [][]byte, differs bool, err error)
	// Merge takes in a chunk, at most wire.MaxShared bytes, and returns how much of it was news.
	Merge(chunk []byte, now time.Time) (news int, err error)
}

// chunksAtOnce bounds what one comparison sends: the receiver asks for more when it has that.
const chunksAtOnce = 4

// sharing is what a node knows of its share in Config.Shared.
type sharing struct {
	settled atomic.Bool // compared with another node, and taken what that had

	mu     sync.Mutex // guards what follows
	credit map[wire.NodeID]credit
}

// credit is how many comparisons a node may still ask for at a time: each costs this node a look at all it holds.
type credit struct {
	left float64
	at   time.Time
}

const (
	creditMost  = 100  // enough for a large difference to go over without a pause
	creditRate  = 20   // a second
	creditNodes = 4096 // of which it is remembered
)

// grant takes one comparison off a node's credit; false if there is none left.
func (s *sharing) grant(from wire.NodeID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.credit[from]
	switch {
	case known:
		c.left = min(creditMost, c.left+now.Sub(c.at).Seconds()*creditRate)
	case s.credit == nil || len(s.credit) >= creditNodes:
		s.credit = map[wire.NodeID]credit{}
		fallthrough
	default:
		c.left = creditMost
	}
	granted := c.left >= 1
	if granted {
		c.left--
	}
	c.at = now
	s.credit[from] = c
	return granted
}

// SpreadShared sends a chunk of Config.Shared to all nodes known now, and again to those that do not acknowledge it, until the deadline. Nodes
// that it does not reach find it by comparing.
func (n *Node) SpreadShared(chunk []byte) {
	frame := wire.AppendShared(nil, &wire.Shared{Kind: wire.KindShare, Body: chunk})
	// The deadline is that of all messages, since windows count on it (package flight).
	n.endpoint.Forwarder().SpreadAll(&wire.Message{Class: wire.ClassShared, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Payload: frame})
}

// SharedSettled tells whether this run of the node has compared Config.Shared with another node, and taken in what that had.
func (n *Node) SharedSettled() bool { return n.sharing.settled.Load() }

// compareWith tells a node what this one holds; answers tells that the node has done so before.
func (n *Node) compareWith(to wire.NodeID, answers bool) {
	if n.cfg.Shared != nil {
		n.sendShared(to, &wire.Shared{Kind: wire.KindCompare, Flag: answers, Body: n.cfg.Shared.Digest()})
	}
}

func (n *Node) sendShared(to wire.NodeID, s *wire.Shared) {
	n.sendControl(core.SendControl{To: to, Frame: wire.AppendShared(nil, s)})
}

// sharedCame takes a Compare or Share frame that a node sent to this one alone. What is wrong inside of it, as of a later version, is no reason to end
// the link.
func (n *Node) sharedCame(from wire.NodeID, frame []byte) error {
	s, err := wire.ParseShared(frame)
	switch {
	case err != nil:
		return err
	case n.cfg.Shared == nil:
	case s.Kind == wire.KindCompare:
		n.compareCame(from, &s)
	default:
		news := n.shareCame(s.Body)
		switch {
		case !s.Flag: // more of the batch comes
		case news > 0:
			n.compareWith(from, false)
		default: // what differs still, as clocks do, is not to be had
			n.sharing.settled.Store(true)
		}
	}
	return nil
}

func (n *Node) compareCame(from wire.NodeID, s *wire.Shared) {
	if !n.sharing.grant(from, time.Now()) {
		n.endpoint.Counters().Drop(forward.DropTooOften, 1)
		return
	}
	chunks, differs, err := n.cfg.Shared.Missing(s.Body, chunksAtOnce)
	if err != nil {
		n.endpoint.Counters().Drop(forward.DropMalformed, 1)
		return
	}
	if !differs {
		n.sharing.settled.Store(true)
	}
	for i, chunk := range chunks {
		n.sendShared(from, &wire.Shared{Kind: wire.KindShare, Flag: i == len(chunks)-1, Body: chunk})
	}
	if !s.Flag {
		n.compareWith(from, true)
	}
}

func (n *Node) shareCame(chunk []byte) (news int) {
	news, err := n.cfg.Shared.Merge(chunk, time.Now())
	if err != nil {
		n.endpoint.Counters().Drop(forward.DropMalformed, 1)
	}
	return news
}

// spreadCame takes a chunk that its origin has sent to all nodes. It must not send anything: the window that hands it out is locked.
func (n *Node) spreadCame(m *wire.Message) {
	s, err := wire.ParseShared(m.Payload)
	if err != nil || s.Kind != wire.KindShare {
		n.endpoint.Counters().Drop(forward.DropMalformed, 1)
	} else if n.cfg.Shared != nil {
		n.shareCame(s.Body)
	}
}
