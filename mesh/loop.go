package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// loop owns the core: it gathers what happened, steps, carries out the effects, and sleeps until something happens or is due.
func (n *Node) loop(ctx context.Context, stop context.CancelCauseFunc) {
	defer close(n.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []event
	var due, polled time.Time // when the core wants to be called, which a stream of events must not put off; when links were last asked
	for {
		batch = batch[:0]
		timed := false
		select {
		case <-ctx.Done():
			return
		case e := <-n.events:
			batch = append(batch, e)
		case f := <-n.asks:
			f(n.core)
			continue
		case <-timer.C:
			timed = true
		}
		batch = n.drain(batch)
		now := time.Now()
		if timed || !now.Before(due) {
			batch = n.activities(batch)
			polled = now
		}
		for _, effect := range n.core.step(now, batch) {
			n.carryOut(effect, stop)
		}
		if due = n.core.next(now); due.Before(polled.Add(minSleep)) {
			due = polled.Add(minSleep)
		}
		timer.Reset(time.Until(due))
	}
}

// minSleep bounds how often the loop wakes by itself.
const minSleep = 5 * time.Millisecond

// drain adds the events that wait, so that one step serves them all.
func (n *Node) drain(batch []event) []event {
	for len(batch) < eventQueue {
		select {
		case e := <-n.events:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// activities adds when each link last heard and carried something.
func (n *Node) activities(batch []event) []event {
	for _, l := range n.endpoint.Links() {
		batch = append(batch, activity{peer: l.Peer, link: l.Number, heard: l.LastHeard(), used: l.LastUsed()})
	}
	return append(batch, polled{})
}

func (n *Node) carryOut(e effect, stop context.CancelCauseFunc) {
	switch e := e.(type) {
	case dial:
		n.dial(e)
	case closeLink:
		if l := n.endpoint.Link(e.peer); l != nil && l.Number == e.link {
			l.Close()
		}
	case probe:
		if l := n.endpoint.Link(e.peer); l != nil {
			l.Probe(e.seq)
		}
	case setRTT:
		if l := n.endpoint.Link(e.peer); l != nil {
			l.SetRTT(e.srtt)
		}
	case setTwin:
		if l := n.endpoint.Link(e.peer); l != nil {
			l.SetTwin(e.on)
		}
	case introduce:
		if l := n.endpoint.Link(e.peer); l != nil {
			n.gossip.Introduce(l.RemoteAddr())
		}
	case sendControl:
		n.sendControl(e)
	case compareShared:
		n.compareWith(e.to, false)
	case announce:
		n.mu.Lock()
		n.held[recordKey{e.entry.Origin, e.entry.Kind}] = e.entry.Stamp
		n.mu.Unlock()
		n.gossip.Announce(e.entry)
	case forgot:
		n.mu.Lock()
		delete(n.held, recordKey{e.origin, wire.RecordLinks})
		delete(n.held, recordKey{e.origin, wire.RecordInterest})
		delete(n.addrs, e.origin)
		n.mu.Unlock()
	case publishRoutes:
		n.publishRoutes(e)
	case spreadDone:
		n.spreads.done(e.ids)
	case notice:
		n.log.Info().Stringer("peer", e.peer).Str("detail", e.text).Msg(e.what)
	case impostor:
		stop(fmt.Errorf("%w (boot %d, ours %d)", ErrImpostor, e.boot, n.cfg.Identity.Boot))
	}
}

func (n *Node) dial(e dial) {
	n.mu.Lock()
	n.addrs[e.peer] = e.addr
	n.mu.Unlock()
	n.group.Go(func() {
		err := n.endpoint.Dial(n.dials, net.UDPAddrFromAddrPort(e.addr), e.peer)
		if err != nil && n.dials.Err() == nil {
			n.log.Debug().Err(err).Stringer("peer", e.peer).Msg("dial")
		}
		n.post(dialed{peer: e.peer, ok: err == nil})
	})
}

// sendControl takes the peer's own link, working or not by the probes, or else the mesh.
func (n *Node) sendControl(e sendControl) {
	if l := n.endpoint.Link(e.to); l != nil && l.SendControl(e.frame) == nil {
		return
	}
	m := wire.Message{Class: wire.ClassControl, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Payload: e.frame}
	if len(e.frame) <= wire.MaxPayload {
		_ = n.endpoint.Forwarder().Send(&m, e.to)
	}
}

// publishRoutes hands the data plane its next view and tells links whether they carry messages.
func (n *Node) publishRoutes(e publishRoutes) {
	s := &forward.Snapshot{Table: e.table, Links: make(map[wire.NodeID]*forward.Link, len(e.usable)), Boots: e.boots}
	for _, id := range e.usable {
		if l := n.endpoint.Link(id); l != nil {
			l.SetUsable(true)
			s.Links[id] = l
		}
	}
	n.endpoint.Forwarder().Publish(s, e.broken)
	for _, l := range n.endpoint.Links() {
		if s.Links[l.Peer] != l {
			l.SetUsable(false)
		}
	}
}

func (n *Node) linkEvent(e forward.Event) {
	switch e := e.(type) {
	case forward.Opened:
		n.post(linkOpened{peer: e.Link.Peer, boot: e.Link.Boot, link: e.Link.Number})
	case forward.Closed:
		n.log.Debug().Err(e.Err).Msg("link ended")
		n.post(linkClosed{peer: e.Link.Peer, link: e.Link.Number})
	case forward.Woken:
		n.post(activity{peer: e.Link.Peer, link: e.Link.Number, heard: e.Link.LastHeard(), used: e.Link.LastUsed()})
	case forward.Echoed:
		n.post(echoed{peer: e.Link.Peer, link: e.Link.Number, seq: e.Seq, rtt: e.RTT, at: e.At})
	}
}

func (n *Node) gossipEvent(e gossip.Event) {
	switch e := e.(type) {
	case gossip.Joined:
		n.mu.Lock()
		n.addrs[e.Member.ID] = e.Member.Addr
		n.mu.Unlock()
		n.post(memberUp{meta: e.Member.Meta, addr: e.Member.Addr})
	case gossip.Left:
		n.post(memberDown{id: e.ID, boot: e.Boot, graceful: e.Graceful})
	case gossip.Announced:
		n.post(digestCame{digest: e.Digest})
	case gossip.Exchanged:
		n.post(digestCame{digest: e.Digest, whole: true})
	}
}

// control takes a control frame from a link's peer, or from a node across the mesh.
func (n *Node) control(from wire.NodeID, frame []byte) error {
	switch wire.Kind(frame[0]) {
	case wire.KindRecords:
		records, err := wire.ParseRecords(frame)
		if err != nil {
			return err
		}
		if records, err = n.verified(records); err != nil {
			return err
		}
		n.post(recordsCame{from: from, records: records})
	case wire.KindCompare, wire.KindShare:
		return n.sharedCame(from, frame)
	default:
		kind, d, err := wire.ParseDigest(frame)
		if err != nil {
			return err
		}
		d.From = from
		switch kind {
		case wire.KindWant:
			n.post(wantCame{d})
		case wire.KindAsk:
			n.post(askCame{d})
		case wire.KindHave:
			n.post(haveCame{d})
		default:
			n.post(digestCame{digest: d, whole: true})
		}
	}
	return nil
}

// verified leaves out the records that the core would find stale and checks the signatures of the others.
func (n *Node) verified(records []wire.Record) ([]wire.Record, error) {
	fresh := records[:0]
	for _, r := range records {
		n.mu.Lock()
		held := n.held[recordKey{r.Origin, r.Kind}]
		n.mu.Unlock()
		if r.Stamp().Compare(held) <= 0 {
			continue
		}
		if err := r.Verify(); err != nil {
			return nil, fmt.Errorf("record of %v: %w", r.Origin, err)
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}

// wholeDigest is this node's part of a push/pull.
func (n *Node) wholeDigest() []byte {
	var out []byte
	n.ask(func(c *core) {
		d := wire.Digest{From: c.self, Entries: c.store.digest()}
		out = wire.AppendDigest(nil, wire.KindDigest, &d)
	})
	return out
}

// writePacket sends a SWIM packet: raw where the direct path works or nothing is known of it, over the mesh where the link is down and the mesh has a way.
func (n *Node) writePacket(b []byte, id wire.NodeID, addr net.Addr) error {
	f := n.endpoint.Forwarder()
	if id != 0 && id != n.meta.ID && !f.Direct(id) && f.Reachable(id) {
		m := wire.Message{Class: wire.ClassSWIM, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Payload: b}
		return f.Send(&m, id)
	}
	return n.endpoint.WritePacket(b, addr)
}

// swimPacket hands over a SWIM packet that came across the mesh, as if from its origin's own address.
func (n *Node) swimPacket(m *wire.Message) {
	n.mu.Lock()
	addr, known := n.addrs[m.Origin]
	n.mu.Unlock()
	if !known {
		addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	n.gossip.Receive(append([]byte(nil), m.Payload...), net.UDPAddrFromAddrPort(addr), time.Now())
}
