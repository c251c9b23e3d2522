package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/gossip"
	"github.com/fastpubsub/fastpubsub/gossip/interest"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// loop owns the core: it gathers what happened, steps, carries out the effects, and sleeps until something happens or is due.
func (n *Node) loop(ctx context.Context, stop context.CancelCauseFunc) {
	defer close(n.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []core.Event
	var strain strainTold
	var due, polled, counted time.Time // when the core wants to be called, which a stream of events must not put off; when links, and flows, were last asked
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
			if !due.IsZero() {
				n.core.Late(now.Sub(due))
				strain.tell(&n.log, now, n.core.Strain())
			}
			batch = n.activities(batch)
			polled = now
			batch = n.flows(now, &counted, batch)
		}
		for _, effect := range n.step(now, batch) {
			n.carryOut(effect, stop)
		}
		due = n.core.Next(now)
		if rested := polled.Add(time.Duration(float64(minSleep) * n.core.Strain())); due.Before(rested) {
			due = rested
		}
		timer.Reset(time.Until(due))
	}
}

// strainTold is what was last said of the node's strain (core.Core.Strain).
type strainTold struct {
	high bool
	at   time.Time
}

const (
	strainHigh  = 3 // said to be from here on, until there is none
	strainTells = time.Minute
)

// tell says when the node begins to have too little processor time, and when it has enough again, but not all the time.
func (s *strainTold) tell(log *zerolog.Logger, now time.Time, strain float64) {
	switch {
	case now.Sub(s.at) < strainTells:
	case !s.high && strain >= strainHigh:
		s.high, s.at = true, now
		log.Warn().Float64("strain", strain).Msg("this node gets too little processor time: it probes its links less, and finds out later that one broke")
	case s.high && strain == 1:
		s.high, s.at = false, now
		log.Info().Msg("this node gets the processor time that it needs")
	}
}

// step steps the core, and notes how long it took where routes were computed, which then takes nearly all of it.
func (n *Node) step(now time.Time, batch []core.Event) []core.Effect {
	before := n.core.Computations()
	effects := n.core.Step(now, batch)
	if n.core.Computations() != before {
		n.computing.Add(uint64(time.Since(now)))
	}
	return effects
}

// minSleep bounds how often the loop wakes by itself.
const minSleep = 5 * time.Millisecond

// drain adds the events that wait, so that one step serves them all.
func (n *Node) drain(batch []core.Event) []core.Event {
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
func (n *Node) activities(batch []core.Event) []core.Event {
	for _, l := range n.endpoint.Links() {
		batch = append(batch, core.Activity{Peer: l.Peer, Link: l.Number, Heard: l.LastHeard(), Used: l.LastUsed()})
	}
	return append(batch, core.Polled{})
}

// countFlows is how often it is looked where messages go and come from, in a mesh too large for links to all.
const countFlows = time.Second

// flows adds where messages went and came from, once each countFlows. What was counted before the mesh was too large for links to all is no second's.
func (n *Node) flows(now time.Time, counted *time.Time, batch []core.Event) []core.Event {
	switch {
	case !n.core.Sparse():
		*counted = time.Time{}
	case counted.IsZero():
		n.traffic()
		*counted = now
	case now.Sub(*counted) >= countFlows:
		batch = append(batch, n.traffic())
		*counted = now
	}
	return batch
}

// traffic is where messages went of late, and where they came from.
func (n *Node) traffic() core.Traffic {
	sent, came := n.endpoint.Flows()
	return core.Traffic{Sent: coreFlows(sent), Came: coreFlows(came)}
}

func coreFlows(flows []forward.Flow) []core.Flow {
	out := make([]core.Flow, len(flows))
	for i, f := range flows {
		out[i] = core.Flow(f)
	}
	return out
}

func (n *Node) carryOut(e core.Effect, stop context.CancelCauseFunc) {
	switch e := e.(type) {
	case core.Dial:
		n.dial(e)
	case core.CloseLink:
		if l := n.endpoint.Link(e.Peer); l != nil && l.Number == e.Link {
			l.Close()
		}
	case core.Probe:
		if l := n.endpoint.Link(e.Peer); l != nil {
			l.Probe(e.Seq)
		}
	case core.Ping:
		n.ping(e)
	case core.SetRTT:
		if l := n.endpoint.Link(e.Peer); l != nil {
			l.SetRTT(e.SRTT)
		}
	case core.SetTwin:
		if l := n.endpoint.Link(e.Peer); l != nil {
			l.SetTwin(e.On)
		}
	case core.Introduce:
		if l := n.endpoint.Link(e.Peer); l != nil {
			n.gossip.Introduce(l.RemoteAddr(), l.Boot)
		}
	case core.SendControl:
		n.sendControl(e)
	case core.CompareShared:
		n.compareWith(e.To, false)
	case core.Announce:
		n.mu.Lock()
		n.held[core.RecordKey{Origin: e.Entry.Origin, Kind: e.Entry.Kind}] = e.Entry.Stamp
		n.mu.Unlock()
		n.gossip.Announce(e.Entry)
	case core.Forgot:
		n.mu.Lock()
		delete(n.held, core.RecordKey{Origin: e.Origin, Kind: wire.RecordLinks})
		delete(n.held, core.RecordKey{Origin: e.Origin, Kind: wire.RecordInterest})
		delete(n.addrs, e.Origin)
		n.mu.Unlock()
	case core.PublishRoutes:
		n.publishRoutes(e)
	case core.SpreadDone:
		n.spreads.done(e.IDs)
	case core.TooFast:
		n.endpoint.Blame(e.Origin, forward.FaultLight, e.Links)
	case core.Notice:
		n.log.Info().Stringer("peer", e.Peer).Str("detail", e.Text).Msg(e.What)
	case core.Impostor:
		stop(fmt.Errorf("%w (boot %d, ours %d)", ErrImpostor, e.Boot, n.cfg.Identity.Boot))
	}
}

func (n *Node) dial(e core.Dial) {
	n.mu.Lock()
	n.addrs[e.Peer] = whereabouts{e.Addr, n.addrs[e.Peer].boot}
	n.mu.Unlock()
	n.group.Go(func() {
		err := n.endpoint.Dial(n.dials, net.UDPAddrFromAddrPort(e.Addr), e.Peer)
		if err != nil && n.dials.Err() == nil {
			n.log.Debug().Err(err).Stringer("peer", e.Peer).Msg("dial")
		}
		n.post(core.Dialed{Peer: e.Peer, OK: err == nil})
	})
}

// ping measures the way to a node without a link. The core asks for few at a time.
func (n *Node) ping(e core.Ping) {
	n.group.Go(func() {
		rtt, err := n.gossip.Ping(e.Peer, e.Boot, e.Addr)
		if err != nil {
			rtt = 0
		}
		n.post(core.Pinged{Peer: e.Peer, RTT: rtt})
	})
}

// sendControl takes the peer's own link if that works, else the mesh; and the link after all where nothing else leads there: it may be new.
func (n *Node) sendControl(e core.SendControl) {
	if wire.Kind(e.Frame[0]) == wire.KindRecords {
		n.budgets.spend(e.To, len(e.Frame)/workRecord, time.Now()) // it may have asked for them
	}
	l := n.endpoint.Link(e.To)
	if l != nil && l.Usable() && l.SendControl(e.Frame) == nil {
		return
	}
	if len(e.Frame) <= wire.MaxPayload {
		m := wire.Message{Class: wire.ClassControl, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Payload: e.Frame}
		if n.endpoint.Forwarder().Send(&m, e.To) == nil {
			return
		}
	}
	if l != nil {
		_ = l.SendControl(e.Frame)
	}
}

// publishRoutes hands the data plane its next view and tells links whether they carry messages.
func (n *Node) publishRoutes(e core.PublishRoutes) {
	s := &forward.Snapshot{Table: e.Table, Links: make(map[wire.NodeID]*forward.Link, len(e.Usable)), Boots: e.Boots, Keys: e.Keys}
	for _, id := range e.Usable {
		if l := n.endpoint.Link(id); l != nil {
			l.SetUsable(true)
			s.Links[id] = l
		}
	}
	n.endpoint.Forwarder().Publish(s, e.Broken)
	for _, l := range n.endpoint.Links() {
		if s.Links[l.Peer] != l {
			l.SetUsable(false)
		}
	}
}

func (n *Node) linkEvent(e forward.Event) {
	switch e := e.(type) {
	case forward.Opened:
		for known := n.newestBoot.Load(); e.Link.Boot > known && !n.newestBoot.CompareAndSwap(known, e.Link.Boot); {
			known = n.newestBoot.Load()
		}
		n.post(core.LinkOpened{Peer: e.Link.Peer, Boot: e.Link.Boot, Link: e.Link.Number, Renews: e.Link.Renews})
	case forward.Closed:
		n.log.Debug().Err(e.Err).Msg("link ended")
		n.post(core.LinkClosed{Peer: e.Link.Peer, Link: e.Link.Number})
	case forward.Woken:
		n.post(core.Activity{Peer: e.Link.Peer, Link: e.Link.Number, Heard: e.Link.LastHeard(), Used: e.Link.LastUsed()})
	case forward.Echoed:
		n.post(core.Echoed{Peer: e.Link.Peer, Link: e.Link.Number, Seq: e.Seq, RTT: e.RTT, At: e.At})
	}
}

// whereabouts is where a run of a node is reached.
type whereabouts struct {
	addr netip.AddrPort
	boot uint64
}

func (n *Node) gossipEvent(e gossip.Event) {
	switch e := e.(type) {
	case gossip.Joined:
		n.mu.Lock()
		if meta := e.Member.Meta; meta.Boot >= n.addrs[meta.ID].boot { // else it is late news
			n.addrs[meta.ID] = whereabouts{e.Member.Addr, meta.Boot}
		}
		n.mu.Unlock()
		n.post(core.MemberUp{Meta: e.Member.Meta, Addr: e.Member.Addr})
	case gossip.Left:
		n.post(core.MemberDown{ID: e.ID, Boot: e.Boot, Graceful: e.Graceful})
	case gossip.Announced:
		if n.affords(0, 1+len(e.Digest.Entries)/4) {
			n.post(core.DigestCame{Digest: e.Digest, Hearsay: true})
		}
	case gossip.Exchanged:
		if n.affords(0, workSWIMSums) {
			n.post(core.SumsCame{Sums: e.Sums})
		}
	}
}

// control takes a control frame from a link's peer, or from a node across the mesh.
func (n *Node) control(from wire.NodeID, frame []byte) error {
	if !n.affords(from, workOf(frame)) {
		return nil
	}
	switch wire.Kind(frame[0]) {
	case wire.KindRecords:
		records, err := wire.ParseRecords(frame)
		if err != nil {
			return err
		}
		if records, err = n.verified(from, records); err != nil {
			return err
		}
		n.post(core.RecordsCame{From: from, Records: records})
	case wire.KindCompare, wire.KindShare:
		return n.sharedCame(from, frame)
	case wire.KindSums:
		s, err := wire.ParseSums(frame)
		if err != nil {
			return err
		}
		s.From = from
		n.post(core.SumsCame{Sums: s})
	case wire.KindPart:
		p, err := wire.ParsePart(frame)
		if err != nil {
			return err
		}
		p.Digest.From = from
		n.post(core.DigestCame{Digest: p.Digest, Classes: p.Classes, Reply: p.Reply})
	case wire.KindNeed:
		needed, err := wire.ParseNeed(frame)
		if err != nil {
			return err
		}
		n.post(core.NeedCame{From: from, Needed: needed})
	default:
		kind, d, err := wire.ParseDigest(frame)
		if err != nil {
			return err
		}
		d.From = from
		switch kind {
		case wire.KindWant:
			n.post(core.WantCame{Digest: d})
		case wire.KindAsk:
			n.post(core.AskCame{Digest: d})
		case wire.KindHave:
			n.post(core.HaveCame{Digest: d})
		default:
			n.post(core.DigestCame{Digest: d})
		}
	}
	return nil
}

// futureMost is how far ahead of this node's clock a run of another may begin, or of the run of a node that it has had a link with: this node's own clock may be wrong.
const futureMost = 24 * time.Hour

// verified leaves out records that are not newer than what is held, or cannot be meant, and checks the signatures of the others. What is wrong is counted
// against who sent it, or signed it.
func (n *Node) verified(from wire.NodeID, records []wire.Record) ([]wire.Record, error) {
	last := max(uint64(time.Now().UnixMilli()), n.newestBoot.Load()) + uint64(futureMost.Milliseconds())
	fresh := records[:0]
	for _, r := range records {
		n.mu.Lock()
		held := n.held[core.RecordKey{Origin: r.Origin, Kind: r.Kind}]
		n.mu.Unlock()
		switch {
		case r.Stamp().Compare(held) <= 0:
			n.endpoint.Blame(from, forward.FaultStale, 1)
			continue
		case r.Boot > last: // it could not be told from an impostor's, and nothing later would count
			n.endpoint.Blame(from, forward.FaultFuture, 1)
			continue
		case !n.affords(from, 1):
			continue
		}
		n.checked.Add(1)
		if err := r.Verify(); err != nil {
			return nil, fmt.Errorf("record of %v: %w", r.Origin, err)
		}
		if !sound(&r) {
			n.endpoint.Blame(r.Origin, forward.FaultBody, 1)
			continue
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}

// sound reports whether the body of a record parses.
func sound(r *wire.Record) bool {
	var err error
	switch {
	case r.Kind == wire.RecordLinks && r.Base == 0:
		_, _, err = wire.ParseLinks(r.Body)
	case r.Kind == wire.RecordLinks:
		return false // is always whole
	case r.Base == 0:
		_, err = interest.ParseFull(r.Body)
	default:
		err = interest.CheckDelta(r.Body)
	}
	return err == nil
}

// sums are this node's part of a push/pull.
func (n *Node) sums() []byte {
	var out []byte
	n.ask(func(c *core.Core) { out = c.Sums(time.Now()) })
	return out
}

// writePacket sends a SWIM packet: raw where the direct path works or nothing is known of it, over the mesh where the link is down and the mesh has a way. Where there is
// a link its peer is where the link says, which behind NAT is not what it tells others.
func (n *Node) writePacket(b []byte, id wire.NodeID, addr net.Addr) error {
	f := n.endpoint.Forwarder()
	if l := n.endpoint.Link(id); l != nil && f.Direct(id) {
		return n.endpoint.WritePacket(b, l.RemoteAddr())
	}
	if id != 0 && id != n.meta.ID && !f.Direct(id) && f.Reachable(id) {
		m := wire.Message{Class: wire.ClassSWIM, Deadline: uint32(n.cfg.Deadline.Milliseconds()), Payload: b}
		return f.Send(&m, id)
	}
	return n.endpoint.WritePacket(b, addr)
}

// swimPacket hands over a SWIM packet that came across the mesh, as if from its origin's own address.
func (n *Node) swimPacket(m *wire.Message) {
	n.mu.Lock()
	addr := n.addrs[m.Origin].addr
	n.mu.Unlock()
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	n.gossip.Receive(append([]byte(nil), m.Payload...), net.UDPAddrFromAddrPort(addr), time.Now())
}
