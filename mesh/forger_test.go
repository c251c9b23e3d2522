package mesh

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/rs/zerolog"
)

// Types of memberlist's messages.
const (
	swimSuspect = 3
	swimAlive   = 4
	swimDead    = 5
)

// swimMessage is one of memberlist's, in MessagePack: fields are names and values in turn.
func swimMessage(kind byte, fields ...any) []byte {
	b := []byte{kind, 0x80 | byte(len(fields)/2)}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(append(b, 0xce), uint32(f))
		case string:
			b = append(binary.BigEndian.AppendUint16(append(b, 0xda), uint16(len(f))), f...)
		case []byte:
			b = append(binary.BigEndian.AppendUint16(append(b, 0xda), uint16(len(f))), f...)
		}
	}
	return b
}

func swimAliveAt(name string, incarnation int, addr netip.AddrPort, meta []byte) []byte {
	return swimMessage(swimAlive, "Incarnation", incarnation, "Node", name, "Addr", addr.Addr().AsSlice(), "Port", int(addr.Port()), "Meta", meta, "Vsn", []byte{1, 5, 2, 2, 5, 4})
}

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), what)
}

// A member that tells all others, all the time, that one of them has restarted elsewhere, or has moved, is found out, and cuts it off from nobody: every message
// from and to it arrives, once, in order and without a pause.
func TestForgerMovesNobody(t *testing.T) {
	forgeAbout(t, 10*time.Second, func(v *victim) [][]byte {
		return [][]byte{
			swimAliveAt(v.name(2), 1000, v.elsewhere, v.spoilt),
			swimAliveAt(v.name(1), 1000, v.elsewhere, v.genuine),
			swimMessage(swimDead, "Incarnation", 2000, "Node", v.name(1), "From", "x"),
			swimAliveAt(v.name(1), 3000, v.elsewhere, v.genuine),
		}
	}, func(n *Node, logged *syncBuffer) {
		view, _ := n.View()
		if forged, lines := view.Dropped["swim_forged"], logged.count("some member says of another"); forged < 60 || lines != 1 {
			t.Errorf("%d forged descriptions counted, %d lines about them", forged, lines)
		}
	})
}

// One that tells them that it is suspect, dead, or has left, under incarnations that leave it nothing to answer, is believed as to membership,
// but that makes no difference either: links that work outvote SWIM.
func TestForgerKillsNobody(t *testing.T) {
	forgeAbout(t, 20*time.Second, func(v *victim) [][]byte {
		return [][]byte{
			swimMessage(swimSuspect, "Incarnation", math.MaxUint32, "Node", v.name(1), "From", "x"),
			swimAliveAt(v.name(1), math.MaxUint32, v.home, v.genuine),
			swimMessage(swimDead, "Incarnation", math.MaxUint32, "Node", v.name(1), "From", "x"),
			swimMessage(swimDead, "Incarnation", math.MaxUint32, "Node", v.name(1), "From", v.name(1)),
		}
	}, func(_ *Node, logged *syncBuffer) {
		if died := logged.count("member died"); died == 0 || logged.count("member left") != 0 {
			t.Errorf("SWIM had it for dead %d times, and for gone %d times", died, logged.count("member left"))
		}
	})
}

// victim is a node that a forger speaks of.
type victim struct {
	*clusterNode
	home, elsewhere netip.AddrPort
	genuine, spoilt []byte // descriptions: what it said of this run, and of another what it did not
}

func (v *victim) name(boot int) string { return fmt.Sprintf("%v.%x", v.ID(), boot) }

func victimOf(n *clusterNode) *victim {
	v := &victim{clusterNode: n, home: n.Addr(), elsewhere: netip.MustParseAddrPort("10.0.9.9:7946")}
	meta := wire.Meta{Boot: 1, Edition: 1, Name: n.Name()}
	v.genuine = wire.AppendMeta(nil, &meta, v.home, n.cfg.Identity.Key)
	meta.Boot = 2
	v.spoilt = wire.AppendMeta(nil, &meta, v.elsewhere, n.cfg.Identity.Key)
	v.spoilt[len(v.spoilt)-1] ^= 1
	return v
}

// direct tells whether this node has a link to another that works.
func (n *clusterNode) direct(to wire.NodeID) bool { return n.endpoint.Forwarder().Direct(to) }

func forgeAbout(t *testing.T, lasting time.Duration, lies func(*victim) [][]byte, after func(n *Node, logged *syncBuffer)) {
	t.Helper()
	inBubble(t, simnet.Path{Delay: 20 * time.Millisecond}, func(c *cluster) {
		const honest = 3
		every := lasting / 50
		logged := new(syncBuffer)
		c.adjust = func(i int, cfg *Config) {
			if i == 0 {
				cfg.Log = zerolog.New(logged)
			}
		}
		for i := range honest {
			c.start(i, 1, max(0, i-1)).subscribe(t, fmt.Sprint("to.", i))
		}
		c.meshed(5 * time.Second)
		nodes, hurt := c.nodes[:honest], victimOf(c.nodes[1])
		x := c.infiltrate(honest, 0)
		time.Sleep(3 * time.Second)
		packets := lies(hurt)
		c.group.Go(func() {
			for x.life.Err() == nil {
				for i := range honest {
					for _, packet := range packets {
						_ = x.WritePacket(packet, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(ipOf(i)+":7946")))
					}
				}
				time.Sleep(250 * time.Millisecond)
			}
		})
		began := time.Now()
		var flows [][2]*clusterNode
		var stops []func() int
		for i, n := range nodes {
			if n != hurt.clusterNode {
				flows = append(flows, [2]*clusterNode{n, hurt.clusterNode}, [2]*clusterNode{hurt.clusterNode, n})
				stops = append(stops, c.stream(n, "to.1", every), c.stream(hurt.clusterNode, fmt.Sprint("to.", i), every))
			}
		}
		time.Sleep(lasting)
		sent, got := 0, 0
		for _, stop := range stops {
			sent += stop()
		}
		time.Sleep(2 * time.Second)
		for _, flow := range flows {
			count, gap, _ := flow[1].flowOf(t, flow[0].ID(), began)
			got += count
			if gap > every+300*time.Millisecond {
				t.Errorf("nothing from %s at %s for %v", flow[0].Name(), flow[1].Name(), gap)
			}
		}
		t.Logf("%d of %d messages arrived", got, sent)
		if got != sent {
			t.Errorf("%d of %d messages arrived", got, sent)
		}
		after(nodes[0].Node, logged)

		c.net.Cut(nodes[0].ip, hurt.ip)
		time.Sleep(15 * time.Second)
		if nodes[0].direct(hurt.ID()) {
			t.Error("a link over a path that is cut")
		}
		c.net.Heal(nodes[0].ip, hurt.ip)
		c.eventually(10*time.Second, "a link that broke is made anew", func() bool { return nodes[0].direct(hurt.ID()) && hurt.direct(nodes[0].ID()) })
	})
}
