package wsgate

import "sync/atomic"

// closing is why a connection ended.
type closing uint8

const (
	closeNone     closing = iota // it has not, or the reason is yet to be found
	closeLost                    // closed by the client, or the network failed
	closeProtocol                // the client broke the WebSocket protocol, or sent a message over the read limit
	closePolicy                  // too many bad frames
	closeRate                    // published too fast for too long
	closeSlow                    // did not keep up for too long
	closeStalled                 // took nothing at all for too long
	closeSilent                  // did not answer a ping
	closeRevoked                 // its token was revoked
	closeShutdown                // the server stops
	numClosings
)

// String is the reason for a log.
func (c closing) String() string {
	return [numClosings]string{"none", "lost", "protocol", "policy", "rate", "slow", "stalled", "silent", "revoked", "shutdown"}[c]
}

// frame is the close frame that tells the client of it. Statuses: RFC 6455, section 7.4.1, and the IANA registry.
func (c closing) frame() []byte {
	switch c {
	case closeProtocol:
		return closeFrame(1007, "text is not UTF-8")
	case closePolicy:
		return closeFrame(1008, "too many bad frames")
	case closeRate:
		return closeFrame(1008, "published too fast")
	case closeSlow:
		return closeFrame(1013, "slow consumer")
	case closeRevoked:
		return closeFrame(1008, "token revoked")
	case closeShutdown:
		return closeFrame(1001, "going away")
	case closeNone, closeLost, closeStalled, closeSilent, numClosings:
	}
	panic("wsgate: nobody is told of this closing")
}

// counters are shared by all connections of a server.
type counters struct {
	open                                                                                 atomic.Int64
	opened, refused, refusedAddress, tooFast, messagesIn, messagesOut, bytesIn, bytesOut atomic.Uint64
	useless, replaced, dropsSlow, dropsTooLarge, dropsEnded                              atomic.Uint64
	errors                                                                               [numCodes]atomic.Uint64
	closings                                                                             [numClosings]atomic.Uint64
}

// Stats is a snapshot of a Server's counters. They grow from the Server's creation; those marked gauge go up and down.
type Stats struct {
	Connections   int64  // gauge: open now
	Subscriptions int    // gauge: held by open connections
	Opened        uint64 // connections accepted
	Refused       uint64 // connections refused for Limits.Connections or because the server stops
	AddressOver   uint64 // connections refused for their address's Limits.PerAddress or Rates.Connects, or requests on them
	Useless       uint64 // connections that ended, or were closed for want of room, before a request came that could be read
	MessagesIn    uint64 // publications accepted
	TooFast       uint64 // publications refused for Rates
	BytesIn       uint64 // WebSocket payload received, whatever it was
	MessagesOut   uint64 // deliveries written
	BytesOut      uint64 // bytes written, frame headers included
	Drops         Drops
	Closed        Closed
	Errors        map[string]uint64 // errors told to clients, by code, those at zero too
}

// Drops counts deliveries that did not reach a connection, by reason.
type Drops struct {
	Slow     uint64 // the connection's queue was full
	Replaced uint64 // by a newer message of the same channel, as a subscription with policy latest wants; clients are not told
	TooLarge uint64 // the frame was larger than the queue, or listed more patterns than HubConfig.MaxFrame allows
	Ended    uint64 // the connection ended with deliveries in its queue
}

// Closed counts connections that ended, by reason.
type Closed struct {
	Lost     uint64 // closed by the client, or the network failed
	Protocol uint64 // WebSocket protocol broken, or a message over the read limit
	Policy   uint64 // too many bad frames
	Rate     uint64 // published too fast for too long
	Slow     uint64 // queue overflowing for Timing.Overflow, or with a delivery of policy close
	Stalled  uint64 // nothing written for Timing.Write
	Silent   uint64 // no answer to a ping within Timing.Pong
	Revoked  uint64 // the token it came in with was revoked
	Shutdown uint64 // the server stopped
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Connections: c.open.Load(),
		Opened:      c.opened.Load(),
		Refused:     c.refused.Load(),
		AddressOver: c.refusedAddress.Load(),
		Useless:     c.useless.Load(),
		MessagesIn:  c.messagesIn.Load(),
		TooFast:     c.tooFast.Load(),
		BytesIn:     c.bytesIn.Load(),
		MessagesOut: c.messagesOut.Load(),
		BytesOut:    c.bytesOut.Load(),
		Drops:       Drops{Slow: c.dropsSlow.Load(), Replaced: c.replaced.Load(), TooLarge: c.dropsTooLarge.Load(), Ended: c.dropsEnded.Load()},
		Closed: Closed{
			Lost:     c.closings[closeLost].Load(),
			Protocol: c.closings[closeProtocol].Load(),
			Policy:   c.closings[closePolicy].Load(),
			Rate:     c.closings[closeRate].Load(),
			Slow:     c.closings[closeSlow].Load(),
			Stalled:  c.closings[closeStalled].Load(),
			Silent:   c.closings[closeSilent].Load(),
			Revoked:  c.closings[closeRevoked].Load(),
			Shutdown: c.closings[closeShutdown].Load(),
		},
		Errors: map[string]uint64{},
	}
	for i := range c.errors {
		s.Errors[code(i).String()] = c.errors[i].Load()
	}
	return s
}
