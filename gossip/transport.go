package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/hashicorp/memberlist"
)

// PacketBytes is the most that a SWIM packet takes: it must fit the smallest path that QUIC supports.
const PacketBytes = 1200

const packetsWaiting = 512 // SWIM packets between the socket and memberlist; more are dropped and counted

// lastMessageType is memberlist's highest message type; encrypted packets start with a version of 0 or 1. Anything else is garbage.
const lastMessageType = 13

// transport is memberlist's way to the node's socket. It implements memberlist.NodeAwareTransport.
type transport struct {
	cfg     *Config
	packets chan *memberlist.Packet
	streams chan net.Conn
	stats   *Stats
	done    chan struct{}
	once    sync.Once
}

func newTransport(cfg *Config, stats *Stats) *transport {
	return &transport{
		cfg: cfg, stats: stats, done: make(chan struct{}),
		packets: make(chan *memberlist.Packet, packetsWaiting), streams: make(chan net.Conn),
	}
}

// FinalAdvertiseAddr is the configured address.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.cfg.Advertise.Addr().AsSlice(), int(t.cfg.Advertise.Port()), nil
}

// WriteTo sends a packet to an address whose node is not known.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet to a member.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	to, err := udpAddr(addr.Addr)
	if err != nil {
		return time.Time{}, err
	}
	id, _ := splitName(addr.Name)
	t.stats.PacketsOut.Add(1)
	t.stats.BytesOut.Add(uint64(len(b)))
	return time.Now(), t.cfg.Write(b, id, to)
}

// PacketCh is where memberlist takes packets from.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh is where memberlist takes streams from.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream to an address.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream to a member.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := udpAddr(addr.Addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with the dial
		select {
		case <-t.done:
			cancel()
		case <-stop:
		}
	}()
	conn, err := t.cfg.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return t.seal(conn), nil
}

// Shutdown ends the transport; what still arrives is dropped.
func (t *transport) Shutdown() error {
	t.once.Do(func() { close(t.done) })
	return nil
}

// receive takes a packet off the socket. It never waits.
func (t *transport) receive(b []byte, from net.Addr, at time.Time) {
	t.stats.PacketsIn.Add(1)
	t.stats.BytesIn.Add(uint64(len(b)))
	if len(b) == 0 || !t.firstByte(b[0]) {
		t.stats.Garbage.Add(1)
		return
	}
	select {
	case t.packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: at}:
	default:
		t.stats.PacketsDropped.Add(1)
	}
}

// accept takes a stream that a peer opened.
func (t *transport) accept(conn net.Conn) {
	select {
	case t.streams <- t.seal(conn):
	case <-t.done:
		_ = conn.Close()
	}
}

func udpAddr(text string) (net.Addr, error) {
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, fmt.Errorf("gossip: address: %w", err)
	}
	return net.UDPAddrFromAddrPort(addr), nil
}

// memberName is the SWIM name of one run of a node.
func memberName(id wire.NodeID, boot uint64) string { return fmt.Sprintf("%v.%x", id, boot) }

// splitName takes the NodeID from a SWIM name; zero and false if it is not one of ours.
func splitName(name string) (wire.NodeID, bool) {
	if len(name) < 18 || name[16] != '.' {
		return 0, false
	}
	id, err := wire.ParseNodeID(name[:16])
	return id, err == nil
}
