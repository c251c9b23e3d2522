package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/fastpubsub/fastpubsub/forward"
	"github.com/fastpubsub/fastpubsub/mesh/trust"
)

// seed looks at a seed by each of its addresses.
func (v *visit) seed(ctx context.Context, p *port, seed string) {
	addrs, err := v.resolve(ctx, seed)
	if err != nil {
		v.add(Fail, "seed", fmt.Sprintf("%s does not resolve: %v", seed, err), "correct the name in --join, or this machine's DNS (/etc/resolv.conf)")
		return
	}
	own := sameFamily(addrs, p.advertise.Addr())
	if len(own) == 0 {
		v.add(Fail, "seed", fmt.Sprintf("%s has %v, and this node advertises %v: a mesh is of one family", seed, addrs, p.advertise), "give --listen or --advertise an address of the same family, IPv4 or IPv6")
		return
	}
	for _, addr := range own[:min(len(own), addrsMost)] {
		if local := p.socket.LocalAddr().(*net.UDPAddr); local.IP.IsLoopback() && !addr.Addr().IsLoopback() {
			v.add(Fail, "seed", fmt.Sprintf("%v cannot be reached from %v, which is for this machine alone", addr, v.cfg.Listen), "--listen 0.0.0.0:7946")
			continue
		}
		if ctx.Err() != nil {
			return
		}
		v.node(ctx, p, seed, addr)
	}
}

// sameFamily are the addresses that a node with this one uses: of IPv4, or of IPv6.
func sameFamily(addrs []netip.AddrPort, own netip.Addr) (out []netip.AddrPort) {
	for _, addr := range addrs {
		if addr.Addr().Is4() == own.Is4() {
			out = append(out, addr)
		}
	}
	return out
}

func (v *visit) resolve(ctx context.Context, seed string) ([]netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(number))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Wait)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(number)))
	}
	v.add(OK, "seed name", fmt.Sprintf("%s is %v", seed, ips), "")
	return out, nil
}

// encounter is what is known of one node.
type encounter struct {
	*visit
	port    *port
	addr    netip.AddrPort
	checker *forward.Checker
	met     *forward.Met
	rtt     time.Duration
}

// node looks at one node.
func (v *visit) node(ctx context.Context, p *port, seed string, addr netip.AddrPort) {
	e := &encounter{visit: v, port: p, addr: addr}
	e.checker = forward.NewChecker(forward.CheckerConfig{Socket: p.socket, Trust: trust.NewKeeper(v.cfg.Trust)})
	defer func() {
		_ = e.checker.Close()
		_ = p.socket.SetReadDeadline(time.Time{}) // quic-go leaves one behind
	}()
	inner, cancel := context.WithTimeout(ctx, v.cfg.Wait)
	defer cancel()
	began := time.Now()
	met, err := e.checker.Meet(inner, net.UDPAddrFromAddrPort(addr), 0)
	if err != nil {
		if ctx.Err() == nil {
			what, do := v.explain(ctx, addr, err)
			v.add(Fail, "handshake", fmt.Sprintf("%s (%v): %s", seed, addr, what), do)
		}
		return
	}
	e.met, e.rtt = met, time.Since(began)
	defer met.Close()
	how := "an open mesh, which anybody may join"
	if met.Authority != "" {
		how = "its certificate is by " + met.Authority
	}
	v.add(OK, "handshake", fmt.Sprintf("%s (%v) is node %v; %s", seed, addr, met.ID, how), "")
	if e.ask(ctx) {
		e.mtu(ctx)
	}
}

// ask learns from the node how it sees this one.
func (e *encounter) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Wait)
	defer cancel()
	var nearest forward.CheckAnswer
	var offset time.Duration
	e.rtt = e.cfg.Wait
	for range 3 { // the fastest is the most exact
		sent, began := e.cfg.Now(), time.Now()
		answer, err := e.met.Ask(ctx, 0, [16]byte{})
		if errors.Is(err, forward.ErrNoCheck) {
			e.add(Skip, "release", "the seed's release is older and answers no checks: clock, NAT, inbound packets and MTU were not looked at", "upgrade the seed")
			return false
		}
		if err != nil {
			e.add(Fail, "answer", fmt.Sprintf("the handshake succeeded, but then: %v", err), "try again; if it stays so, the path loses packets: see the MTU and the seed's log")
			return false
		}
		if took := time.Since(began); took < e.rtt {
			e.rtt, nearest, offset = took, answer, answer.Now.Sub(sent.Add(took/2))
		}
	}
	if nearest.Protocol != forward.Protocol {
		e.add(Fail, "release", fmt.Sprintf("the seed's links are %s, this program's %s", nearest.Protocol, forward.Protocol), "run releases that are compatible")
	}
	e.clock(nearest.Now, offset)
	e.seen(nearest.Seen)
	e.inbound(ctx, nearest.Seen)
	return true
}

// clockSlack is how far apart clocks may be: tokens and certificates are judged by them.
const clockSlack = time.Second

// clock compares this machine's with the node's, which is ahead by offset, give or take half of a round trip.
func (e *encounter) clock(theirs time.Time, offset time.Duration) {
	unsure := e.rtt / 2
	detail := fmt.Sprintf("%v behind the seed's, ±%v", offset.Round(time.Millisecond), unsure.Round(time.Millisecond))
	switch {
	case offset.Abs() <= unsure:
		detail = fmt.Sprintf("the same as the seed's, ±%v", unsure.Round(time.Microsecond))
	case offset < 0:
		detail = fmt.Sprintf("%v ahead of the seed's, ±%v", (-offset).Round(time.Millisecond), unsure.Round(time.Millisecond))
	}
	const do = "have both set their clocks: timedatectl set-ntp true"
	switch {
	case theirs.Before(e.cfg.Trust.From()) || theirs.After(e.cfg.Trust.Until()):
		e.add(Fail, "clock", fmt.Sprintf("by the seed's clock, %s, this node's certificate is not good: %s to %s; this one is %s", day(theirs), day(e.cfg.Trust.From()), day(e.cfg.Trust.Until()), detail), do)
	case offset.Abs() > clockSlack+unsure:
		e.add(Warn, "clock", detail+": tokens and certificates are judged by it", do)
	default:
		e.add(OK, "clock", detail, "")
	}
}

// seen compares where the node saw this one with what it would advertise.
func (e *encounter) seen(at netip.AddrPort) {
	switch adv := e.port.advertise; {
	case at.Addr() != adv.Addr():
		e.add(Warn, "seen as", fmt.Sprintf("the seed sees %v, but other nodes will be told %v: there is NAT between, or another interface is used", at, adv), "--advertise HOST:PORT, where others reach this node")
	case e.port.own && at.Port() != adv.Port():
		e.add(Warn, "seen as", fmt.Sprintf("the seed sees port %d, other nodes will be told %d: NAT changes ports", at.Port(), adv.Port()), fmt.Sprintf("forward UDP port %d of the NAT to this machine; if done, see inbound", adv.Port()))
	default:
		e.add(OK, "seen as", fmt.Sprintf("the seed sees %v, as other nodes will be told", at.Addr()), "")
	}
}

// inbound has the node send a datagram that nothing from here has opened a way for.
func (e *encounter) inbound(ctx context.Context, seen netip.AddrPort) {
	if !e.port.own {
		e.add(Skip, "inbound", "packets from other nodes go to the process that has the port", "fastpubsub status shows a running node's links; else stop it and ask again")
		return
	}
	to := seen
	if e.port.advertise.Addr() == seen.Addr() {
		to = e.port.advertise
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	answer, err := e.met.Ask(ctx, to.Port(), nonce)
	if err != nil || !answer.Called {
		e.add(Skip, "inbound", "the seed sent no packet to try it with", "ask again in some seconds")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(e.cfg.Wait, e.rtt+time.Second))
	defer cancel()
	if err := e.checker.Heard(ctx, nonce); err != nil {
		do := fmt.Sprintf("let UDP port %d in (firewall, security group)", to.Port())
		if to != e.port.advertise {
			do = fmt.Sprintf("have the NAT at %v forward a UDP port to %v, and give both by --advertise", to.Addr(), e.port.socket.LocalAddr())
		}
		e.add(Warn, "inbound", fmt.Sprintf("only answers come in: a packet from another port of the seed to %v did not arrive", to),
			do+"; without it this node has links only with those that it can dial")
		return
	}
	e.add(OK, "inbound", fmt.Sprintf("packets from ports that were not asked arrive at %v", to), "")
}

// mtu finds the largest datagrams that get through whole.
func (e *encounter) mtu(ctx context.Context) {
	sizes := []int{1452, 1400, 1350, 1280, 1200}
	for _, size := range sizes {
		inner, cancel := context.WithTimeout(ctx, min(e.cfg.Wait, 4*e.rtt+time.Second))
		met, err := e.checker.Meet(inner, net.UDPAddrFromAddrPort(e.addr), size)
		cancel()
		if err != nil {
			continue
		}
		met.Close()
		detail := fmt.Sprintf("datagrams of %d bytes get through", size)
		if size == sizes[0] {
			e.add(OK, "MTU", detail, "")
		} else {
			e.add(Warn, "MTU", fmt.Sprintf("%s, of %d not: more packets for the same messages", detail, sizes[0]), "a tunnel or VPN takes room; raise its MTU to 1500 where you can")
		}
		return
	}
	if ctx.Err() == nil {
		e.add(Fail, "MTU", "no handshake in datagrams of 1200 bytes or more succeeded, after one had: many packets are lost", "look for a link on the way that loses packets, or a tunnel with an MTU below 1280")
	}
}
