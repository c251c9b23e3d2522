package forward

import (
	"crypto/ed25519"
	"io"
	"testing"
	"time"

	"github.com/fastpubsub/fastpubsub/forward/route"
	"github.com/fastpubsub/fastpubsub/mesh/alloc"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
)

// hostile is an endpoint that a peer has a link to, of which the fuzzer writes what comes, and another to pass things on to. All is usable and nothing is really sent.
func hostile(t testing.TB) (h *hub, peer, other *Link) {
	h = newHub(t, 2)
	peer, other = h.links[0], h.links[1]
	s := h.forwarder.snapshot.Load()
	db := route.NewDatabase()
	all := []wire.NodeID{h.self, peer.Peer, other.Peer, 77}
	for _, id := range all {
		var links []route.Link
		for _, to := range all {
			links = append(links, route.Link{To: to, Cost: 1000 + uint32(id%7)})
		}
		db.Set(id, links)
	}
	public := keyOf(2).Public().(ed25519.PublicKey)
	h.forwarder.snapshot.Store(&Snapshot{
		Table: route.Compute(h.self, db), Links: s.Links, Boots: map[wire.NodeID]uint64{peer.Peer: 1, other.Peer: 1, 77: 1},
		Keys: map[wire.NodeID]ed25519.PublicKey{peer.Peer: public, other.Peer: public, 77: public},
	})
	return h, peer, other
}

// fresh makes the endpoint forget what earlier inputs did.
func (h *hub) fresh() {
	h.flights = newFlights(h.Endpoint)
	h.blames.peers = map[wire.NodeID]*blame{}
	for _, l := range h.links {
		l.out, l.queued, l.control = make([]outbox, len(l.out)), 0, 0
	}
}

// pieces are read so many bytes at a time.
type pieces struct {
	rest []byte
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), p.most)])
	p.rest = p.rest[n:]
	return n, nil
}

// FuzzLink: whatever stream a peer writes to a lane, in whatever pieces, it makes nothing panic, takes memory in proportion to its bytes, and is passed on
// to each neighbour once at most.
func FuzzLink(f *testing.F) {
	message := func(lane byte, change func(*wire.Message, *wire.Destination)) []byte {
		m := wire.Message{HopsLeft: 5, Origin: 2, Boot: 1, Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c"), Payload: []byte("payload")}
		d := wire.Destination{ID: 77, Seq: 1, Boot: 1}
		change(&m, &d)
		return append([]byte{lane}, wire.AppendFrame(nil, wire.AppendMessageHead(nil, &m, []wire.Destination{d, {ID: 3}}), m.Payload)...)
	}
	self := wire.IDOf(keyOf(1).Public().(ed25519.PublicKey))
	f.Add(message(1, func(*wire.Message, *wire.Destination) {}), uint16(9))
	f.Add(message(1, func(_ *wire.Message, d *wire.Destination) { d.ID, d.Seq, d.Back, d.Ahead = self, 1<<60, 5, 1<<59 }), uint16(50))
	f.Add(message(1, func(m *wire.Message, _ *wire.Destination) {
		m.Via, m.Avoid, m.Sealed = []wire.NodeID{5, 2}, []wire.NodeID{3, 77}, true
	}), uint16(3))
	ack := wire.AppendAck(nil, &wire.Ack{Boot: 1, OriginBoot: 1, Floor: 1, Newest: 9, Ranges: []wire.Range{{First: 3, Last: 9}}, Refused: []uint64{4}})
	f.Add(message(0, func(m *wire.Message, d *wire.Destination) {
		m.Class, m.Payload, *d = wire.ClassAck, ack, wire.Destination{ID: self}
	}), uint16(100))
	f.Add(append([]byte{2}, wire.AppendFrame(nil, []byte{byte(wire.KindTwin), 1}, message(1, func(*wire.Message, *wire.Destination) {})[2:])...), uint16(1000))
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0x7f}, uint16(1))
	f.Add([]byte("0\x98\xbd10000000"), uint16(2)) // claims much, and brings it byte by byte
	h, peer, other := hostile(f)
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16) {
		if len(stream) == 0 {
			return
		}
		h.fresh()
		m := wire.Message{Deadline: 5000, Tenant: []byte("t"), Channel: []byte("c")}
		for range 9 { // what acknowledgements may be of
			if err := h.Forwarder().Spread(t.Context(), &m, []wire.NodeID{peer.Peer, 77}); err != nil {
				t.Fatal(err)
			}
		}
		index := int(stream[0]) % len(peer.lanes)
		stream = stream[1:]
		sent := h.counters.Originated.Load() + h.counters.Relayed.Load()
		check := alloc.Bound(t, 4*busyBuffer+256*len(stream))
		_ = peer.read(index, &pieces{stream, int(piece) + 1})
		check()
		if copies := h.counters.Originated.Load() + h.counters.Relayed.Load() - sent; copies > uint64(len(stream))*2 {
			t.Errorf("%d bytes made %d copies", len(stream), copies)
		}
		if state := h.Flights(); state.HeldBytes > len(stream)+cargoBytes*len(stream) {
			t.Errorf("%d bytes hold %d", len(stream), state.HeldBytes)
		}
		for _, l := range []*Link{peer, other} {
			if l.queued < 0 || l.queued > 2*nearFactor*h.cfg.QueueBytes {
				t.Errorf("%d bytes wait for %v", l.queued, l.Peer)
			}
		}
	})
}

// FuzzProbe: no datagram of a peer makes it seem nearer than it is by more than heldMost.
func FuzzProbe(f *testing.F) {
	f.Add(uint32(3), int64(5), uint32(9), uint32(100), true)
	f.Fuzz(func(t *testing.T, seq uint32, token int64, held, after uint32, knows bool) {
		var p probeLog
		real := p.add(seq, 1000)
		if knows {
			token = real
		}
		echo, err := wire.ParseProbe(wire.AppendProbe(nil, wire.Probe{Kind: wire.KindEcho, Seq: seq, Token: token, Held: time.Duration(held) * time.Microsecond}))
		if err != nil {
			t.Fatal(err)
		}
		rtt, known, _ := p.echoed(echo, 1000+int64(after))
		if known != (token == real) {
			t.Fatalf("token %d, want %d: known %v", token, real, known)
		}
		if took := time.Duration(after); known && (rtt < took/2 || rtt < took-heldMost || rtt > took) {
			t.Errorf("after %v: %v", took, rtt)
		}
	})
}
