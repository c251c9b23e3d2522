package gossip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. Its slices are reused after a call, so what is kept is parsed or copied.
type delegate struct{ g *Gossip }

// NodeMeta describes this node, anew each time.
func (d *delegate) NodeMeta(int) []byte {
	meta := d.g.cfg.Meta
	meta.Edition = d.g.edition.Add(1)
	meta.Leaving = d.g.leaving.Load()
	meta.Client = *d.g.client.Load()
	return wire.AppendMeta(nil, &meta, d.g.cfg.Advertise, d.g.cfg.Key)
}

// NotifyMsg takes user data off a packet: an announcement.
func (d *delegate) NotifyMsg(b []byte) {
	if kind, digest, err := wire.ParseDigest(b); err != nil || kind != wire.KindDigest {
		d.g.stats.Malformed.Add(1)
	} else {
		d.g.cfg.Emit(Announced{digest})
	}
}

// GetBroadcasts fills what room a packet has left.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	frame := d.g.announce.take(limit - overhead)
	if frame == nil {
		return nil
	}
	return [][]byte{frame}
}

// LocalState is this node's part of a push/pull.
func (d *delegate) LocalState(bool) []byte { return d.g.cfg.Sums() }

// MergeRemoteState is the other's part.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if len(b) == 0 {
		return
	}
	if sums, err := wire.ParseSums(b); err != nil {
		d.g.stats.Malformed.Add(1)
	} else {
		d.g.cfg.Emit(Exchanged{sums})
	}
}

// NotifyAlive refuses members whose description is not sound, or not theirs.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	addr, err := addrOfNode(n)
	if err != nil {
		d.g.stats.Refused.Add(1)
		return err
	}
	return d.g.described.check(n.Name, n.Meta, addr, time.Now())
}

// NotifyJoin tells of a new member.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	d.NotifyUpdate(n)
}

// NotifyUpdate tells of a member's new description.
func (d *delegate) NotifyUpdate(n *memberlist.Node) {
	m, err := memberOf(n)
	if err != nil || m.ID == d.g.cfg.Meta.ID {
		return
	}
	d.g.described.live(n.Name, true)
	d.g.known.seen(m)
	d.g.cfg.Emit(Joined{m})
}

// NotifyLeave tells of a member's end.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	m, err := memberOf(n)
	if err != nil || m.ID == d.g.cfg.Meta.ID {
		return
	}
	d.g.described.live(n.Name, false)
	// memberlist knows whether a node left or died but does not tell; leaving nodes say so beforehand.
	d.g.known.lost(m, m.Leaving)
	d.g.cfg.Emit(Left{ID: m.ID, Boot: m.Boot, Graceful: m.Leaving})
}

func memberOf(n *memberlist.Node) (Member, error) {
	meta, err := parseMember(n.Name, n.Meta)
	if err != nil {
		return Member{}, err
	}
	addr, err := addrOfNode(n)
	return Member{Meta: meta, Addr: addr}, err
}

func addrOfNode(n *memberlist.Node) (netip.AddrPort, error) {
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok || n.Port == 0 {
		return netip.AddrPort{}, fmt.Errorf("%w: address %v:%d", wire.ErrMeta, n.Addr, n.Port)
	}
	return netip.AddrPortFrom(ip.Unmap(), n.Port), nil
}
