package gossip

import (
	"fmt"
	"net/netip"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. Its slices are reused after a call, so what is kept is parsed or copied.
type delegate struct{ g *Gossip }

// NodeMeta describes this node.
func (d *delegate) NodeMeta(int) []byte {
	meta := d.g.cfg.Meta
	meta.Leaving = d.g.leaving.Load()
	meta.Client = *d.g.client.Load()
	return wire.AppendMeta(nil, &meta)
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

// NotifyAlive refuses members whose description is not sound.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := memberOf(n)
	if err != nil {
		d.g.stats.Refused.Add(1)
	}
	return err
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
	d.g.known.seen(m)
	d.g.cfg.Emit(Joined{m})
}

// NotifyLeave tells of a member's end.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	m, err := memberOf(n)
	if err != nil || m.ID == d.g.cfg.Meta.ID {
		return
	}
	// memberlist knows whether a node left or died but does not tell; leaving nodes say so beforehand.
	d.g.known.lost(m, m.Leaving)
	d.g.cfg.Emit(Left{ID: m.ID, Boot: m.Boot, Graceful: m.Leaving})
}

func memberOf(n *memberlist.Node) (Member, error) {
	meta, err := wire.ParseMeta(n.Meta)
	if err != nil {
		return Member{}, err
	}
	if n.Name != memberName(meta.ID, meta.Boot) {
		return Member{}, fmt.Errorf("%w: name %.40q", wire.ErrMeta, n.Name)
	}
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok || n.Port == 0 {
		return Member{}, fmt.Errorf("%w: address %v:%d", wire.ErrMeta, n.Addr, n.Port)
	}
	return Member{Meta: meta, Addr: netip.AddrPortFrom(ip.Unmap(), n.Port)}, nil
}
