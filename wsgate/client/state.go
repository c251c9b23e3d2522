package client

import "time"

// State is what a Client tells of itself.
type State struct {
	URL        string        // of the node in use; empty while there is none
	RTT        time.Duration // to that node and back, as measured last; 0 until it was
	Reconnects uint64        // how often a connection in use was lost, and another took its place
	Moves      uint64        // how often another connection took over from one that was there
	Duplicates uint64        // messages dropped because the other connection of a hand-over had brought them
	Forced     uint64        // messages delivered out of order because too many waited for the former connection
	Unwanted   uint64        // messages dropped because they match no subscription that is wanted (any more)
	Nodes      []Node        // to choose from, the nearest first, those that did not answer last; at most 64
}

// State is a snapshot.
func (c *Client) State() State {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	s := State{
		Reconnects: c.reconnects.Load(),
		Moves:      c.moves.Load(),
		Duplicates: c.merged.duplicates.Load(),
		Forced:     c.merged.forced.Load(),
		Unwanted:   c.unwanted.Load(),
		Nodes:      c.nodes.known(),
	}
	if l == nil {
		return s
	}
	s.URL, s.RTT = l.url, time.Duration(l.rtt.Load())
	for _, n := range s.Nodes {
		if s.RTT == 0 && n.URL == l.url {
			s.RTT = n.RTT
		}
	}
	return s
}

// url is the address of the node in use, or empty.
func (c *Client) url() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return ""
	}
	return c.link.url
}
