package forward

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/simnet"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rs/zerolog"
)

// intruder opens QUIC connections from a host of its own, with nothing on them.
type intruder struct {
	t         *testing.T
	transport *quic.Transport
	station   *station
}

func newIntruder(t *testing.T, n *simnet.Net, host string, at *station) *intruder {
	t.Helper()
	socket, err := n.Host(host).ListenPacket(host + ":999")
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{t: t, transport: &quic.Transport{Conn: socket}, station: at}
	t.Cleanup(func() { _ = socket.Close() })
	return i
}

// knock tries to open so many connections at once, and returns those that opened.
func (i *intruder) knock(ctx context.Context, times int) (opened []*quic.Conn) {
	i.t.Helper()
	open, err := trust.Open(keyOf(99))
	if err != nil {
		i.t.Fatal(err)
	}
	client := trust.NewKeeper(open).Client(http3.NextProtoH3)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range times {
		group.Go(func() {
			if conn, err := i.transport.Dial(ctx, i.station.addr, client, quicConfig()); err == nil {
				mu.Lock()
				defer mu.Unlock()
				opened = append(opened, conn)
			}
		})
	}
	group.Wait()
	return opened
}

func (g *guard) state() (shaking, idle int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shaking, len(g.idle)
}

// Callers that make their addresses up, so that no answer reaches them, cost a bounded number of handshakes; others prove theirs meanwhile, and are let in.
func TestGuardAgainstMadeUpAddresses(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		short, cancel := context.WithTimeout(ctx, 1200*time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		for i := range 10 {
			host := fmt.Sprint("10.0.9.", i+1)
			n.SetPath("10.0.0.1", host, simnet.Path{Block: simnet.BlockUDP})
			ghost := newIntruder(t, n, host, a)
			group.Go(func() {
				if open := ghost.knock(short, 30); len(open) > 0 {
					t.Errorf("%d connections opened", len(open))
				}
			})
		}
		time.Sleep(time.Second)
		shaking, _ := a.guard.state()
		if shaking < handshakesFree/2 || shaking > handshakesFree {
			t.Errorf("%d handshakes under way, want about %d", shaking, handshakesFree)
		}
		began := time.Now()
		if err := b.Dial(ctx, a.addr, a.self); err != nil {
			t.Errorf("an honest node after %v: %v", time.Since(began), err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("an honest node was let in after %v", took)
		}
		group.Wait()
		time.Sleep(3 * time.Second)
		if shaking, _ := a.guard.state(); shaking != 0 {
			t.Errorf("%d handshakes at the end", shaking)
		}
	})
}

// One address gets so many handshakes once it has to prove itself, a bounded number of connections may have nothing on them, and none for long.
func TestGuardAgainstOneAddress(t *testing.T) {
	bubble(t, tenMS, func(ctx context.Context, t *testing.T, n *simnet.Net) {
		a, b := newStation(ctx, t, n, 1), newStation(ctx, t, n, 2)
		i := newIntruder(t, n, "10.0.9.1", a)
		began, opened := time.Now(), 0
		for range 10 {
			open := i.knock(ctx, 60)
			opened += len(open)
			if _, idle := a.guard.state(); idle > idleMost {
				t.Errorf("%d connections with nothing on them", idle)
			}
		}
		free := freeBurst + int(time.Since(began).Seconds()*freeRate) + 10*handshakesFree
		if most := free + callerBurst + int(time.Since(began).Seconds()*callerRate); opened > most {
			t.Errorf("%d connections opened, want at most %d", opened, most)
		}
		if err := b.Dial(ctx, a.addr, a.self); err != nil {
			t.Errorf("an honest node: %v", err)
		}
		time.Sleep(idleAfter + 100*time.Millisecond)
		if _, idle := a.guard.state(); idle != 0 {
			t.Errorf("%d connections with nothing on them are left", idle)
		}
		if a.Link(b.self) == nil {
			t.Error("the honest link is gone, too")
		}
		if a.Counters().Dropped(DropIdle) == 0 {
			t.Error("nothing was counted")
		}
	})
}

// What comes to nothing is limited on this machine too, where no other limit holds; a node that has had a link is let in all the same, and what comes to something
// does not count.
func TestGuardAgainstWhatComesToNothing(t *testing.T) {
	g := newGuard(new(Counters), zerolog.Nop())
	begin := func(port int) *calling {
		ctx, err := g.begin(t.Context(), &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}})
		if err != nil {
			return nil
		}
		return ctx.Value(callKey{}).(*calling)
	}
	node := begin(7)
	g.nodes[portOf(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7})] = struct{}{}
	node.end()
	let := 0
	for range 10 * barrenBurst {
		if c := begin(1000 + let); c != nil {
			c.end()
			let++
		}
	}
	if let < barrenBurst-1 || let > barrenBurst+barrenRate {
		t.Errorf("%d let in, want about %d", let, barrenBurst)
	}
	if c := begin(7); c == nil {
		t.Error("a known node is refused")
	}
	if n := g.counters.Dropped(DropHandshakes); n < 8*barrenBurst {
		t.Errorf("%d counted as refused", n)
	}
	if g.shaking != 1 {
		t.Errorf("%d handshakes under way", g.shaking)
	}
}

// Addresses that nothing is open from are forgotten, and their number is bounded.
func TestGuardForgetsCallers(t *testing.T) {
	g := newGuard(new(Counters), zerolog.Nop())
	now := time.Now()
	for i := range callersMost + 100 {
		who := g.caller(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		who.shake.AllowN(now, 1)
	}
	if len(g.callers) > callersMost+1 {
		t.Errorf("%d callers are known", len(g.callers))
	}
	g.caller(netip.AddrFrom4([4]byte{11, 0, 0, 1}), now.Add(time.Minute))
	if len(g.callers) != 1 {
		t.Errorf("%d callers are known after a while", len(g.callers))
	}
}
