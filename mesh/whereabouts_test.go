package mesh

import (
	"net/netip"
	"testing"

	"github.com/fastpubsub/fastpubsub/gossip"
	"github.com/fastpubsub/fastpubsub/mesh/core"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// What was said of an earlier run of a node, said again, does not move the node.
func TestLateNewsMoveNobody(t *testing.T) {
	n := &Node{addrs: map[wire.NodeID]whereabouts{}, events: make(chan core.Event, 8), stopped: make(chan struct{})}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }
	for _, step := range []struct {
		boot uint64
		port uint16
		want uint16
	}{{4, 40, 40}, {5, 50, 50}, {4, 40, 50}, {5, 51, 51}} {
		n.gossipEvent(gossip.Joined{Member: gossip.Member{Meta: wire.Meta{ID: 7, Boot: step.boot}, Addr: at(step.port)}})
		if got := n.addrs[7].addr; got != at(step.want) {
			t.Errorf("run %d at port %d: the node is at %v, want port %d", step.boot, step.port, got, step.want)
		}
	}
}
